//! The end of the leader, and signals before and after it.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::thread;
use std::time::{Duration, Instant};

use longtake_process::{
    Child, Command, Input, Killer, Output, Signal, SignalError, set_nonblocking,
};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::{ClockId, clock_gettime};

use crate::{LONG, eventually, lives, read_line, sh, start, state, until_ready};

#[test]
fn statuses() {
    #[track_caller]
    fn check(script: &str, code: Option<i32>, signal: Option<i32>) {
        let mut child = sh(script).spawn().unwrap();
        let status = child.wait().unwrap();
        assert_eq!((status.code(), status.signal()), (code, signal), "{script}");
        assert_eq!(child.wait().unwrap(), status, "ask again");
        assert_eq!(child.try_wait().unwrap(), Some(status));
        assert_eq!(child.kill().unwrap().status, status);
    }
    check("exit 0", Some(0), None);
    check("exit 255", Some(255), None);
    check("kill -KILL $$", None, Some(9));
    check("kill -TERM $$", None, Some(15));
    check("ulimit -c 0; kill -ABRT $$", None, Some(6));
}

#[test]
fn a_wait_has_a_limit() {
    let (mut child, _stdout, _) = start("echo ready; exec sleep 1000");
    assert_eq!(child.try_wait().unwrap(), None);
    assert_eq!(child.wait_timeout(Duration::ZERO).unwrap(), None);
    assert_eq!(child.wait_timeout(Duration::from_millis(20)).unwrap(), None);
    child.signal(Signal::Kill).unwrap();
    assert!(child.wait_timeout(Duration::MAX).unwrap().is_some());
}

/// A grandchild that holds the pipes does not delay the news.
#[test]
fn a_grandchild_holds_the_pipes() {
    let (mut child, mut stdout, grandchild) = start("sleep 1000 & echo ready $!; exit 3");
    let begin = Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(3));
    assert!(begin.elapsed() < LONG);
    assert!(lives(grandchild.parse().unwrap()));
    set_nonblocking(&stdout).unwrap();
    let error = stdout.read(&mut [0]).unwrap_err();
    assert_eq!(
        error.kind(),
        std::io::ErrorKind::WouldBlock,
        "the pipe is still held"
    );
}

#[test]
fn the_pidfd_is_readable_when_the_leader_has_exited() {
    let mut child = sh("read -r line; exit 2")
        .stdin(Input::Pipe)
        .spawn()
        .unwrap();
    let now = rustix::event::Timespec::default();
    assert_eq!(
        poll(&mut [PollFd::new(&child, PollFlags::IN)], Some(&now)).unwrap(),
        0
    );
    child.take_stdin().unwrap().write_all(b"\n").unwrap();
    assert_eq!(
        poll(&mut [PollFd::new(&child, PollFlags::IN)], None).unwrap(),
        1
    );
    assert_eq!(child.try_wait().unwrap().unwrap().code(), Some(2));
}

/// A debugger holds the dead leader: its pidfd is readable, but its status cannot be had. Waiting for it
/// neither hangs nor spins, and a stop ends the debugger too, which lets go of it.
#[test]
fn a_debugger_holds_the_zombie() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_misbehave"));
    let (mut child, _stdout, tracer) = until_ready(command.arg("traced"));
    child.signal(Signal::Kill).unwrap();
    eventually("the leader is dead", || !lives(child.pid()));
    let before = clock_gettime(ClockId::ThreadCPUTime);
    assert_eq!(
        child.wait_timeout(Duration::from_millis(500)).unwrap(),
        None
    );
    let spent = clock_gettime(ClockId::ThreadCPUTime) - before;
    assert!(
        spent.tv_sec == 0 && spent.tv_nsec < 250_000_000,
        "{spent:?} of CPU to wait 500 ms"
    );
    let stopped = child.kill().unwrap();
    assert_eq!(stopped.status.signal(), Some(9));
    assert!(!lives(tracer.parse().unwrap()));
}

/// A process lives as long as one of its threads does, though the first is a zombie.
#[test]
fn the_first_thread_is_not_the_process() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_misbehave"));
    let (mut child, _stdout, _) = until_ready(command.arg("headless"));
    assert_eq!(state(child.pid()), Some('Z'));
    assert_eq!(child.wait_timeout(Duration::from_millis(20)).unwrap(), None);
    assert_eq!(child.usage().unwrap().processes, 1);
    child.signal(Signal::Term).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(15));
}

/// Somebody else in the process takes the status away: that is an answer, everywhere, and no signal goes
/// to a number that is not ours any more.
#[test]
fn the_status_is_stolen() {
    let mut embedder = Command::new(env!("CARGO_BIN_EXE_embedder"));
    let mut child = embedder
        .stdin(Input::Pipe)
        .stdout(Output::Pipe)
        .spawn()
        .unwrap();
    child.take_stdin().unwrap().write_all(b"steal\n").unwrap();
    let said = read_line(&mut child.take_stdout().unwrap());
    assert_eq!(said, "wait: lost, signal: gone, stop: lost");
}

/// Only our end becomes non-blocking: a child that reads slowly still blocks in its own.
#[test]
fn non_blocking_is_our_end_alone() {
    let mut child = sh("read -r line; echo \"$line\"")
        .stdin(Input::Pipe)
        .spawn()
        .unwrap();
    let mut stdin = child.take_stdin().unwrap();
    let mut stdout = child.take_stdout().unwrap();
    set_nonblocking(&stdin).unwrap();
    set_nonblocking(&stdout).unwrap();
    assert_eq!(
        stdout.read(&mut [0]).unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock
    );
    stdin.write_all(b"hello\n").unwrap();
    assert!(
        child.wait().unwrap().success(),
        "its read would have failed"
    );
    let mut said = String::new();
    stdout.read_to_string(&mut said).unwrap();
    assert_eq!(said, "hello\n");
}

#[test]
fn a_killer_works_from_another_thread() {
    let (mut child, _stdout, _) = start("echo ready; exec sleep 1000");
    let killer = child.killer();
    let thread = thread::spawn(move || killer.kill().unwrap());
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    thread.join().unwrap();
}

#[test]
fn the_group_is_signalled_as_one() {
    let (mut child, mut stdout, _) = start(
        "trap 'exit 0' USR1; sh -c 'trap \"echo grandchild; exit 0\" USR1
            echo ready; while :; do sleep 0.02; done' & wait; wait",
    );
    child.signal_group(Signal::Usr1).unwrap();
    assert_eq!(read_line(&mut stdout), "grandchild");
    child.wait().unwrap();
}

/// After the reaping a signal is answered; it reaches nobody, whoever has the number by then.
#[test]
fn a_signal_after_the_reaping_is_an_answer() {
    let (mut child, _stdout, _) = start("echo ready; exec sleep 1000");
    let killer = child.killer();
    child.kill().unwrap();
    let answers = [
        child.signal(Signal::Kill),
        child.signal_group(Signal::Kill),
        killer.signal(Signal::Kill),
        killer.signal_group(Signal::Kill),
        killer.kill(),
    ];
    for answer in answers {
        assert!(
            matches!(answer, Err(SignalError::Gone { .. })),
            "{answer:?}"
        );
    }
}

/// Killing and reaping from two threads at once, many times: every child is killed once and reaped once.
#[test]
fn killing_does_not_race_with_reaping() {
    for _ in 0..50 {
        let mut child = sh("exec sleep 1000").spawn().unwrap();
        let killer = child.killer();
        let thread = thread::spawn(move || while killer.kill().is_ok() {});
        child.wait().unwrap();
        let stopped = child.kill().unwrap();
        assert_eq!(stopped.status.signal(), Some(9));
        thread.join().unwrap();
        assert_eq!(state(child.pid()), None);
    }
}

#[test]
fn handles_may_go_to_other_threads() {
    fn check<T: Send + Sync>() {}
    check::<Child>();
    check::<Killer>();
    check::<Command>();
}

#[test]
fn a_zombie_keeps_its_number_until_it_is_reaped() {
    let mut child = sh("exit 1").spawn().unwrap();
    child.wait().unwrap();
    assert_eq!(state(child.pid()), Some('Z'));
    child.signal(Signal::Term).unwrap();
    child.signal_group(Signal::Term).unwrap();
    let pid = child.pid();
    drop(child);
    eventually("the zombie is reaped", || state(pid).is_none());
}
