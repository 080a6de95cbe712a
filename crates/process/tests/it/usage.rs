//! What a group takes of the machine.

use std::fs;
use std::time::Duration;

use longtake_process::{Signal, UsageError};

use crate::{eventually, start};

#[test]
fn memory_and_processes() {
    let script =
        "x=$(head -c 30000000 /dev/zero | tr '\\0' x); sleep 1000 & sleep 1000 & echo ready; wait";
    let (child, _stdout, _) = start(script);
    let usage = child.usage().unwrap();
    assert_eq!(usage.processes, 3);
    assert!(usage.resident_bytes > 30_000_000, "{usage:?}");
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
