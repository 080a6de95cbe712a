//! What a child takes of the machine.

use std::fs;
use std::time::Duration;

use longtake_process::{Census, Signal, Usage, UsageError};

use crate::{eventually, sh, start};

#[test]
fn memory_and_processes() {
    let script =
        "x=$(head -c 30000000 /dev/zero | tr '\\0' x); sleep 1000 & sleep 1000 & echo ready; wait";
    let (child, _stdout, _) = start(script);
    let usage = child.usage().unwrap();
    assert_eq!(usage.processes, 3);
    assert!(usage.resident_bytes > 30_000_000, "{usage:?}");
}

/// A descendant that left the group counts with the others.
#[test]
fn memory_of_a_grandchild_in_its_own_session() {
    let script = "setsid sh -c '
            x=$(head -c 30000000 /dev/zero | tr \"\\0\" x)
            echo ready; kill -STOP $$' & wait";
    let (child, _stdout, _) = start(script);
    let usage = child.usage().unwrap();
    assert_eq!(usage.processes, 2, "{usage:?}");
    assert!(usage.resident_bytes > 30_000_000, "{usage:?}");
    let io = usage.io.unwrap();
    assert!(io.read_bytes > 30_000_000, "{io:?}");
}

/// One census tells each child's own, and nothing of a child that it was not taken for.
#[test]
fn one_census_for_many() {
    let family = |strays: usize| {
        let stray = "setsid sh -c 'echo ready; exec sleep 1000' &\n";
        let script = format!("sleep 1000 &\n{} echo ready; wait", stray.repeat(strays));
        let (child, mut stdout, _) = start(&script);
        for _ in 0..strays {
            assert_eq!(crate::read_line(&mut stdout), "ready");
        }
        child
    };
    let children: Vec<_> = (0..5).map(family).collect();
    let others = family(1);
    let kin: Vec<_> = children.iter().map(|child| child.kin()).collect();
    let census = Census::take(&kin).unwrap();
    for (kin, strays) in kin.iter().zip(0..) {
        let usage = census.usage(kin);
        assert_eq!((usage.processes, usage.io), (2 + strays, None));
    }
    assert_eq!(census.usage(&others.kin()), Usage::default());
    let with_io = Census::take_with_io(&kin).unwrap();
    assert!(with_io.usage(&kin[0]).io.unwrap().read_bytes > 0);
}

/// What the kernel tells at the reaping: also of a child that the leader waited for.
#[test]
fn spent() {
    let script = "(i=0; while [ $i -lt 500000 ]; do i=$((i+1)); done)
        head -c 30000000 /dev/zero | sh -c 'x=$(tr \"\\0\" x)'";
    let mut child = sh(script).spawn().unwrap();
    assert!(child.wait().unwrap().success());
    let spent = child.kill().unwrap().spent;
    assert!(spent.user_time > Duration::from_millis(20), "{spent:?}");
    assert!(spent.cpu_time() >= spent.user_time, "{spent:?}");
    assert!(spent.peak_resident_bytes > 30_000_000, "{spent:?}");
    assert!(spent.peak_resident_bytes < 1 << 30, "{spent:?}");
    assert_eq!(child.kill().unwrap().spent, spent, "told again");
}

/// The time of a child that the leader has waited for stays in the sum, also when the leader is a zombie.
#[test]
fn cpu_time_of_those_who_ended() {
    let script = "(i=0; while [ $i -lt 500000 ]; do i=$((i+1)); done); echo ready; read -r line";
    let (mut child, _stdout, _) = start(script);
    let living = child.usage().unwrap();
    assert_eq!(living.processes, 1);
    assert!(living.cpu_time() > Duration::from_millis(20), "{living:?}");
    drop(child.take_stdin());
    child.wait().unwrap();
    let dead = child.usage().unwrap();
    assert_eq!((dead.processes, dead.resident_bytes), (0, 0));
    assert!(dead.cpu_time() >= living.cpu_time(), "{dead:?}, {living:?}");
}

#[test]
fn cpu_time_of_those_who_run() {
    let (child, _stdout, _) =
        start("(while :; do :; done) & (while :; do :; done) & echo ready; wait");
    eventually("the two loops have run", || {
        child.usage().unwrap().user_time > Duration::from_millis(50)
    });
}

#[test]
fn bytes() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    let script = format!(
        "head -c 5000000 /dev/zero > {}; echo ready; read -r line",
        file.display()
    );
    let (mut child, _stdout, _) = start(&script);
    assert_eq!(fs::metadata(&file).unwrap().len(), 5_000_000);
    let io = child.usage().unwrap().io.unwrap();
    assert!(
        io.read_bytes >= 5_000_000 && io.written_bytes >= 5_000_000,
        "{io:?}"
    );
    assert!(
        io.read_bytes < 6_000_000 && io.written_bytes < 6_000_000,
        "{io:?}"
    );
    child.kill().unwrap();
}

#[test]
fn gone() {
    let (mut child, _stdout, _) = start("echo ready; exec sleep 1000");
    child.signal(Signal::Kill).unwrap();
    child.wait().unwrap();
    assert!(child.usage().is_ok(), "a zombie still tells");
    child.kill().unwrap();
    assert!(matches!(child.usage(), Err(UsageError::Gone { .. })));
}
