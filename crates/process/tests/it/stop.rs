//! Every kind of child that does not want to go.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use longtake_process::{Command, Input, Output, Signal, StopError, StopLadder, StoppedBy};

use crate::{LONG, eventually, group, lives, read_line, sh, start, state, until_ready};

const SHORT: Duration = Duration::from_millis(100);

/// A ladder whose SIGTERM may take as long as it needs.
fn patient() -> StopLadder {
    StopLadder::kill_only().signal(Signal::Term, LONG)
}

/// A ladder whose SIGTERM is ignored anyway.
fn hasty() -> StopLadder {
    StopLadder::kill_only().signal(Signal::Term, SHORT)
}

fn by_term() -> StoppedBy {
    StoppedBy::Signal {
        step: 0,
        signal: Signal::Term,
    }
}

/// SIGTERM ends a child that lets it.
#[test]
fn obedient() {
    let (mut child, _stdout, _) = start("echo ready; exec sleep 1000");
    let stopped = child.stop(&patient()).unwrap();
    assert_eq!(stopped.by, by_term());
    assert_eq!(stopped.status.signal(), Some(15));
    assert!(stopped.killed.is_empty());
    assert_eq!(state(child.pid()), None, "reaped");
}

#[test]
fn ignores_sigterm() {
    let (mut child, _stdout, _) = start("trap '' TERM; echo ready; sleep 1000");
    let stopped = child.stop(&hasty()).unwrap();
    assert_eq!(stopped.by, StoppedBy::Kill);
    assert_eq!(stopped.status.signal(), Some(9));
    assert!(stopped.killed.contains(&child.pid()), "{stopped:?}");
    assert_eq!(state(child.pid()), None, "reaped");
}

/// The second SIGTERM of a ladder counts as a step of its own.
#[test]
fn gives_in_to_the_second_sigterm() {
    let script = "n=0; trap 'n=$((n+1)); [ $n -lt 2 ] || exit 7' TERM
        echo ready; while :; do sleep 0.02; done";
    let (mut child, _stdout, _) = start(script);
    let stopped = child.stop(&hasty().signal(Signal::Term, LONG)).unwrap();
    assert_eq!(
        stopped.by,
        StoppedBy::Signal {
            step: 1,
            signal: Signal::Term
        }
    );
    assert_eq!(stopped.status.code(), Some(7));
}

#[test]
fn stopped_by_sigstop() {
    let script = "trap 'exit 5' TERM; echo ready; kill -STOP $$; while :; do sleep 0.02; done";
    let (mut child, _stdout, _) = start(script);
    eventually("the child stands still", || state(child.pid()) == Some('T'));
    let stopped = child.stop(&patient()).unwrap();
    assert_eq!((stopped.by, stopped.status.code()), (by_term(), Some(5)));
}

#[test]
fn grandchild_in_the_group_ignores_sigterm() {
    let script = "(trap '' TERM; echo ready $(exec sh -c 'echo $PPID'); sleep 1000) & wait";
    let (mut child, _stdout, grandchild) = start(script);
    let grandchild: u32 = grandchild.parse().unwrap();
    let stopped = child.stop(&hasty()).unwrap();
    assert_eq!(stopped.by, StoppedBy::Kill);
    assert!(
        stopped.killed.contains(&grandchild),
        "{stopped:?}, {grandchild}"
    );
    assert!(!lives(grandchild));
}

/// A grandchild that left the group gets the signal when the leader has gone.
#[test]
fn grandchild_in_its_own_session() {
    let script =
        "setsid sh -c 'trap \"exit 0\" TERM; echo ready $$; while :; do sleep 0.02; done' &
        wait";
    let (mut child, _stdout, grandchild) = start(script);
    let grandchild: u32 = grandchild.parse().unwrap();
    let stopped = child.stop(&patient()).unwrap();
    assert_eq!(stopped.by, by_term(), "{stopped:?}");
    assert!(!lives(grandchild));
}

/// As long as somebody is left in the group, ending the others may be that one's business.
#[test]
fn grandchild_in_its_own_session_is_asked_last() {
    let script = r#"
        sh -c 'trap "sleep 0.3; exit" TERM; echo slow; while :; do sleep 0.02; done' &
        slow=$!
        setsid sh -c '
            slow_is_dead() { case $(cut -d")" -f2 "/proc/$1/stat") in " Z"* | "") true ;; *) false ;; esac; }
            trap "slow_is_dead $0 && echo last || echo early; exit" TERM
            echo ready; while :; do sleep 0.02; done' $slow 2>&- &
        wait"#;
    let mut child = sh(script).spawn().unwrap();
    let mut stdout = child.take_stdout().unwrap();
    let mut lines = [read_line(&mut stdout), read_line(&mut stdout)];
    lines.sort();
    assert_eq!(lines, ["ready", "slow"]);
    assert_eq!(child.stop(&patient()).unwrap().by, by_term());
    assert_eq!(read_line(&mut stdout), "last");
}

#[test]
fn grandchild_in_its_own_session_ignores_sigterm() {
    let script = "setsid sh -c 'trap \"\" TERM; echo ready $$; sleep 1000' & wait";
    let (mut child, _stdout, grandchild) = start(script);
    let grandchild: u32 = grandchild.parse().unwrap();
    let stopped = child.stop(&hasty()).unwrap();
    assert_eq!(stopped.by, StoppedBy::Kill, "{stopped:?}");
    assert!(stopped.killed.contains(&grandchild), "{stopped:?}");
    assert!(!lives(grandchild));
}

/// A process in the middle of an exec shows no environment, and this one is nearly always in one.
#[test]
fn grandchild_in_its_own_session_runs_one_program_after_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("restless");
    fs::write(&path, "#!/bin/sh\nexec $0\n").unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    let script = format!("setsid {} & echo ready $!; wait", path.display());
    for _ in 0..10 {
        let (mut child, _stdout, grandchild) = start(&script);
        let grandchild = grandchild.parse().unwrap();
        eventually("it has left the group", || {
            Some(grandchild) == group(grandchild)
        });
        child.kill().unwrap();
        assert!(!lives(grandchild));
    }
}

/// The stray's group dies with it, also who has no environment to be known by.
#[test]
fn grandchild_in_its_own_session_has_a_child_without_environment() {
    let script = "setsid sh -c 'env -i sleep 1000 & echo ready $!; wait' & wait";
    let (mut child, _stdout, nobody) = start(script);
    child.kill().unwrap();
    eventually("it is gone", || !lives(nobody.parse().unwrap()));
}

/// Two children, each with a stray: stopping one leaves the other's alone.
#[test]
fn strays_of_another_child_are_left_alone() {
    let script = "setsid sh -c 'echo ready $$; exec sleep 1000' & wait";
    let (mut one, _stdout, stray_of_one) = start(script);
    let (mut other, _stdout_too, stray_of_other) = start(script);
    one.kill().unwrap();
    assert!(!lives(stray_of_one.parse().unwrap()));
    assert!(lives(stray_of_other.parse().unwrap()));
    assert_eq!(other.try_wait().unwrap(), None);
    other.kill().unwrap();
    assert!(!lives(stray_of_other.parse().unwrap()));
}

#[test]
fn closed_its_pipes() {
    let mut child = sh("trap 'exit 3' TERM; exec >&- 2>&-; while :; do sleep 0.02; done")
        .stdin(Input::Pipe)
        .stderr(Output::Pipe)
        .spawn()
        .unwrap();
    let (mut stdout, mut stderr) = (child.take_stdout().unwrap(), child.take_stderr().unwrap());
    assert_eq!(stdout.read(&mut [0]).unwrap(), 0);
    assert_eq!(stderr.read(&mut [0]).unwrap(), 0);
    let stopped = child.stop(&patient()).unwrap();
    assert_eq!((stopped.by, stopped.status.code()), (by_term(), Some(3)));
}

/// More than a pipe holds, said after SIGTERM: the stop reads it away, as nobody else does.
#[test]
fn says_much_on_its_way_out() {
    let script = "trap 'head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2; exit 4' TERM
        echo ready >&3; while :; do sleep 0.02; done";
    let (mut ready, writer) = std::io::pipe().unwrap();
    let mut command = sh(script);
    command.stderr(Output::Pipe).pass_fd(writer.into());
    let mut child = command.spawn().unwrap();
    assert_eq!(read_line(&mut ready), "ready");
    let stopped = child.stop(&patient()).unwrap();
    assert_eq!((stopped.by, stopped.status.code()), (by_term(), Some(4)));
}

/// The same, but somebody took the pipe and does not read it: SIGKILL ends it all the same.
#[test]
fn says_much_to_somebody_who_does_not_listen() {
    let script = "trap 'head -c 1000000 /dev/zero; exit 4' TERM
        echo ready; while :; do sleep 0.02; done";
    let (mut child, _stdout, _) = start(script);
    assert_eq!(child.stop(&hasty()).unwrap().by, StoppedBy::Kill);
}

#[test]
fn bytes_on_stdin() {
    let mut child = sh("echo ready; read -r line; [ \"$line\" = q ] && exit 6")
        .stdin(Input::Pipe)
        .spawn()
        .unwrap();
    let ladder = StopLadder::kill_only()
        .stdin("q\n", LONG)
        .signal(Signal::Term, LONG);
    let stopped = child.stop(&ladder).unwrap();
    assert_eq!(
        (stopped.by, stopped.status.code()),
        (StoppedBy::Stdin { step: 0 }, Some(6))
    );
}

/// A child that does not read its stdin is not waited for longer than the step's grace.
#[test]
fn stdin_is_full() {
    let mut child = sh("exec sleep 1000").stdin(Input::Pipe).spawn().unwrap();
    let ladder = StopLadder::kill_only()
        .stdin(vec![b'q'; 1 << 20], SHORT)
        .signal(Signal::Term, LONG);
    let stopped = child.stop(&ladder).unwrap();
    assert_eq!(
        stopped.by,
        StoppedBy::Signal {
            step: 1,
            signal: Signal::Term
        }
    );
}

/// Without a stdin to write to, its step costs no time.
#[test]
fn stdin_is_not_ours() {
    for take in [false, true] {
        let mut child = if take {
            sh("exec sleep 1000").stdin(Input::Pipe).spawn().unwrap()
        } else {
            sh("exec sleep 1000").spawn().unwrap()
        };
        let stdin = child.take_stdin();
        assert_eq!(stdin.is_some(), take);
        let begin = Instant::now();
        let stopped = child.stop(
            &StopLadder::kill_only()
                .stdin("q", LONG)
                .signal(Signal::Term, LONG),
        );
        assert_eq!(
            stopped.unwrap().by,
            StoppedBy::Signal {
                step: 1,
                signal: Signal::Term
            }
        );
        assert!(begin.elapsed() < LONG);
    }
}

/// A stranger traces the leader, and the kernel keeps the dead leader for it: the stop ends in time, says who
/// is left, and works when it is tried again later.
#[test]
fn outlives_sigkill() {
    let misbehave = env!("CARGO_BIN_EXE_misbehave");
    let (mut child, _stdout, _) = until_ready(Command::new(misbehave).arg("traceable"));
    let pid = child.pid();
    let trace = ["trace".to_owned(), pid.to_string()];
    let (mut tracer, _tracer_stdout, _) = until_ready(Command::new(misbehave).args(trace));
    for _ in 0..2 {
        let error = child.stop(&StopLadder::kill_only().kill_within(SHORT));
        let StopError::StillAlive { pids } = error.unwrap_err() else {
            panic!("it is alive");
        };
        assert_eq!(pids, [pid]);
    }
    tracer.kill().unwrap();
    let stopped = child.kill().unwrap();
    assert_eq!(stopped.status.signal(), Some(9));
    assert_eq!(state(pid), None, "reaped");
}

#[test]
fn twice() {
    let (mut child, _stdout, _) = start("echo ready; exec sleep 1000");
    let first = child.stop(&patient()).unwrap();
    let again = child.stop(&patient()).unwrap();
    assert_eq!(again.by, StoppedBy::Itself);
    assert_eq!(again.status, first.status);
    assert_eq!(child.wait().unwrap(), first.status);
    assert_eq!(child.kill().unwrap().status, first.status);
}

/// The leader has gone of its own accord, but not what it started.
#[test]
fn after_the_leader_left_a_grandchild() {
    let (mut child, _stdout, grandchild) = start("sleep 1000 & echo ready $!; exit 0");
    assert!(child.wait().unwrap().success());
    let grandchild = grandchild.parse().unwrap();
    assert!(lives(grandchild), "nobody has stopped the group yet");
    assert_eq!(
        state(child.pid()),
        Some('Z'),
        "the leader keeps the group's number"
    );
    let stopped = child.stop(&patient()).unwrap();
    assert_eq!(stopped.by, by_term());
    assert!(stopped.status.success());
    assert!(!lives(grandchild));
    assert_eq!(state(child.pid()), None, "reaped");
}

/// What the leader left looks like a zombie and is none.
#[test]
fn after_the_leader_left_a_headless_grandchild() {
    let script = format!("{} headless & exit 0", env!("CARGO_BIN_EXE_misbehave"));
    let (mut child, mut stdout, _) = start(&script);
    child.wait().unwrap();
    assert_eq!(child.stop(&patient()).unwrap().by, by_term());
    assert_eq!(stdout.read(&mut [0]).unwrap(), 0, "nobody holds the pipe");
}

#[test]
fn after_everything_ended_by_itself() {
    let (mut child, _stdout, _) = start("echo ready; exit 9");
    assert_eq!(child.wait().unwrap().code(), Some(9));
    let stopped = child.stop(&patient()).unwrap();
    assert_eq!(
        (stopped.by, stopped.status.code()),
        (StoppedBy::Itself, Some(9))
    );
}

#[test]
fn dropped_while_running() {
    let script = "trap '' TERM; sleep 1000 & one=$!
        setsid sh -c 'trap \"\" TERM; echo ready '$one' $$; sleep 1000' & wait";
    let (child, _stdout, others) = start(script);
    let leader = child.pid();
    drop(child);
    assert_eq!(state(leader), None, "reaped");
    for pid in others.split(' ') {
        assert!(!lives(pid.parse().unwrap()), "{pid} of {others}");
    }
}

#[test]
fn dropped_after_the_leader_left_a_grandchild() {
    let (mut child, _stdout, grandchild) = start("sleep 1000 & echo ready $!; exit 0");
    child.wait().unwrap();
    drop(child);
    assert!(!lives(grandchild.parse().unwrap()));
}
