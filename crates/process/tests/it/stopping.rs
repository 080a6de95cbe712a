//! Stopping children as an event loop does, without blocking.

use std::os::unix::process::ExitStatusExt;
use std::thread;
use std::time::{Duration, Instant};

use longtake_process::{
    Census, Child, Input, Kin, Signal, StopError, StopLadder, Stopped, StoppedBy, Stopping, Wait,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::{LONG, eventually, lives, sh, start, state};

/// An event loop of one child, which counts what it is told to wait for.
#[derive(Default)]
struct Loop {
    censuses: usize,
}

impl Loop {
    fn run(&mut self, child: &mut Child, stopping: &mut Stopping) -> Result<Stopped, StopError> {
        let mut census = None;
        loop {
            let wait = stopping.go_on(child, census.take().as_ref());
            if let Wait::Over(result) = wait {
                return result;
            }
            if let Some(taken) = self.wait(&wait, &[child.kin()]) {
                census = Some(taken);
            }
        }
    }

    fn wait(&mut self, wait: &Wait, kin: &[Kin]) -> Option<Census> {
        match wait {
            Wait::Readable { fd, until } => ready(&mut PollFd::new(fd, PollFlags::IN), *until),
            Wait::Writable { fd, until } => ready(&mut PollFd::new(fd, PollFlags::OUT), *until),
            Wait::Until(until) => sleep_until(*until),
            Wait::Census { not_before } => {
                self.censuses += 1;
                sleep_until(not_before.unwrap_or_else(Instant::now));
                return Some(Census::take(kin).unwrap());
            }
            other => panic!("what is {other:?}?"),
        }
        None
    }
}

fn ready(file: &mut PollFd<'_>, until: Option<Instant>) {
    let left = until.map(|until| until.saturating_duration_since(Instant::now()));
    let left = left.map(|left| Timespec::try_from(left).unwrap());
    poll(std::slice::from_mut(file), left.as_ref()).unwrap();
}

fn sleep_until(until: Instant) {
    thread::sleep(until.saturating_duration_since(Instant::now()));
}

fn patient() -> StopLadder {
    StopLadder::kill_only().signal(Signal::Term, LONG)
}

#[test]
fn who_ended_by_itself_costs_one_census() {
    let mut child = sh("exit 9").spawn().unwrap();
    child.wait().unwrap();
    let mut counted = Loop::default();
    let stopped = counted.run(&mut child, &mut Stopping::new(patient()));
    let stopped = stopped.unwrap();
    assert_eq!(
        (stopped.by, stopped.status.code()),
        (StoppedBy::Itself, Some(9))
    );
    assert_eq!(counted.censuses, 1);
    assert_eq!(state(child.pid()), None, "reaped");
}

#[test]
fn a_census_from_before_does_not_count() {
    let (mut child, _stdout, grandchild) = start("sleep 1000 & echo ready $!; exit 0");
    child.wait().unwrap();
    let (other, _other_stdout, _) = start("echo ready; exec sleep 1000");
    let old = Census::take([child.kin()]).unwrap();
    let mut stopping = Stopping::new(StopLadder::kill_only());
    for census in [None, Some(&old), None, Some(&old)] {
        let wait = stopping.go_on(&mut child, census);
        assert!(matches!(wait, Wait::Census { .. }), "{wait:?}");
    }
    let of_another = Census::take([other.kin()]).unwrap();
    let wait = stopping.go_on(&mut child, Some(&of_another));
    assert!(matches!(wait, Wait::Census { .. }), "{wait:?}");
    let stopped = Loop::default().run(&mut child, &mut stopping).unwrap();
    assert_eq!(stopped.killed, [grandchild.parse().unwrap()]);
}

/// Going on all the time, also when nothing of what it waits for has come, changes nothing.
#[test]
fn to_go_on_early_does_no_harm() {
    let script = "trap '' TERM; setsid sh -c 'trap \"\" TERM; echo ready $$; sleep 1000' & wait";
    let (mut child, _stdout, stray) = start(script);
    let ladder = StopLadder::kill_only().signal(Signal::Term, Duration::from_millis(50));
    let mut stopping = Stopping::new(ladder);
    assert_eq!(stopping.trying(), StoppedBy::Itself);
    let begin = Instant::now();
    let stopped = loop {
        let wait = stopping.go_on(&mut child, None);
        let again = stopping.go_on(&mut child, None);
        if let Wait::Census { not_before } = wait {
            assert!(matches!(again, Wait::Census { .. }), "{again:?}");
            sleep_until(not_before.unwrap_or_else(Instant::now));
            let census = Census::take([child.kin()]).unwrap();
            if let Wait::Over(stopped) = stopping.go_on(&mut child, Some(&census)) {
                break stopped.unwrap();
            }
        }
        assert!(begin.elapsed() < LONG);
    };
    assert!(begin.elapsed() >= Duration::from_millis(50));
    assert_eq!(stopped.by, StoppedBy::Kill);
    assert!(stopped.killed.contains(&stray.parse().unwrap()));
    assert!(!lives(stray.parse().unwrap()));
    let Wait::Over(Ok(again)) = stopping.go_on(&mut child, None) else {
        panic!("it is over");
    };
    assert_eq!(again, stopped);
}

/// A hundred children with strays, half of which ignore SIGTERM: one loop in one thread, and one census at
/// a time for all of them.
#[test]
fn a_hundred_at_once() {
    let mut children: Vec<_> = (0..100)
        .map(|number| {
            let trap = if number % 2 == 0 { "trap '' TERM;" } else { "" };
            let script = format!("{trap} setsid sleep 1000 & sleep 1000 & echo ready; wait");
            start(&script).0
        })
        .collect();
    let ladder = StopLadder::kill_only().signal(Signal::Term, Duration::from_millis(500));
    let mut stoppings: Vec<_> = children
        .iter()
        .map(|_| Some(Stopping::new(ladder.clone())))
        .collect();
    let (mut census, mut censuses, begin) = (None, 0, Instant::now());
    while stoppings.iter().any(Option::is_some) {
        assert!(begin.elapsed() < LONG);
        let mut waiting = Vec::new();
        for (child, slot) in children.iter_mut().zip(&mut stoppings) {
            let Some(stopping) = slot else { continue };
            match stopping.go_on(child, census.as_ref()) {
                Wait::Census { .. } => waiting.push(child.kin()),
                Wait::Over(stopped) => {
                    let stopped = stopped.unwrap();
                    assert!(stopped.by != StoppedBy::Itself, "{stopped:?}");
                    assert_eq!(state(child.pid()), None, "reaped");
                    *slot = None;
                }
                _ => {}
            }
        }
        census = None;
        if !waiting.is_empty() {
            census = Some(Census::take(&waiting).unwrap());
            censuses += 1;
        }
        thread::sleep(Duration::from_millis(5));
    }
    assert!(censuses < 100, "{censuses} censuses for 100 children");
}

#[test]
fn a_second_and_harsher_stop() {
    let (mut child, _stdout, _) = start("trap '' TERM; echo ready; while :; do sleep 0.02; done");
    let mut stopping = Stopping::new(patient());
    let wait = stopping.go_on(&mut child, None);
    assert!(matches!(wait, Wait::Readable { .. }), "{wait:?}");
    let signal = Signal::Term;
    assert_eq!(stopping.trying(), StoppedBy::Signal { step: 0, signal });
    assert_eq!(stopping.left(), [child.pid()]);
    stopping.hasten(StopLadder::kill_only());
    let begin = Instant::now();
    let stopped = Loop::default().run(&mut child, &mut stopping).unwrap();
    assert!(begin.elapsed() < LONG);
    assert_eq!(stopped.by, StoppedBy::Kill);
    assert_eq!(stopped.status.signal(), Some(9));
    assert!(stopping.left().is_empty());
}

/// The end of stdin that somebody took is given back; more than it holds goes out in pieces.
#[test]
fn bytes_on_a_stdin_that_was_taken() {
    let script = "echo ready; sleep 0.1; [ $(head -c 1000000 | wc -c) -eq 1000000 ] && exit 6";
    let mut child = sh(script).stdin(Input::Pipe).spawn().unwrap();
    let stdin = child.take_stdin().unwrap();
    let ladder = StopLadder::kill_only().stdin(vec![b'q'; 1_000_000], LONG);
    let mut stopping = Stopping::new(ladder).stdin(stdin);
    let wait = stopping.go_on(&mut child, None);
    assert!(matches!(wait, Wait::Writable { .. }), "{wait:?}");
    let stopped = Loop::default().run(&mut child, &mut stopping).unwrap();
    assert_eq!(
        (stopped.by, stopped.status.code()),
        (StoppedBy::Stdin { step: 0 }, Some(6))
    );
}

/// A stop that is dropped half way leaves the child to the next one.
#[test]
fn dropped_half_way() {
    let (mut child, _stdout, _) = start("trap '' TERM; echo ready; while :; do sleep 0.02; done");
    let mut stopping = Stopping::new(patient());
    let wait = stopping.go_on(&mut child, None);
    assert!(matches!(wait, Wait::Readable { .. }), "{wait:?}");
    drop(stopping);
    assert_eq!(child.try_wait().unwrap(), None);
    assert_eq!(child.kill().unwrap().by, StoppedBy::Kill);
    eventually("it is gone", || state(child.pid()).is_none());
}

/// Nobody can look at `/proc` for the whole stop: the group is killed all the same, and the stop ends by saying
/// that it does not know. It asks for a census again and again, but not all the time.
#[test]
fn every_census_fails() {
    let script = "trap '' TERM; sleep 1000 & echo ready $!; wait";
    let (mut child, _stdout, grandchild) = start(script);
    let grandchild = grandchild.parse().unwrap();
    let ladder = StopLadder::kill_only()
        .signal(Signal::Term, Duration::from_millis(50))
        .kill_within(Duration::from_millis(500));
    let mut stopping = Stopping::new(ladder);
    let (mut failed, begin) = (0, Instant::now());
    let error = loop {
        assert!(begin.elapsed() < LONG);
        match stopping.go_on(&mut child, None) {
            Wait::Over(result) => break result.unwrap_err(),
            Wait::Census { not_before } => {
                sleep_until(not_before.unwrap_or_else(Instant::now));
                stopping.census_failed(Errno::MFILE.into());
                failed += 1;
            }
            wait => assert!(Loop::default().wait(&wait, &[]).is_none()),
        }
    };
    assert!(matches!(error, StopError::Proc { .. }), "{error:?}");
    assert_eq!(state(child.pid()), Some('Z'), "not reaped");
    assert!(!lives(grandchild));
    assert!(
        (3..=8).contains(&failed),
        "{failed} censuses in half a second"
    );
    assert_eq!(child.kill().unwrap().status.signal(), Some(9));
}

/// A census that fails once costs a moment, no more: nobody is taken for gone, and nobody for alive.
#[test]
fn one_census_fails() {
    let (mut child, _stdout, grandchild) = start("sleep 1000 & echo ready $!; exit 3");
    child.wait().unwrap();
    let mut stopping = Stopping::new(patient());
    let wait = stopping.go_on(&mut child, None);
    assert!(matches!(wait, Wait::Census { .. }), "{wait:?}");
    stopping.census_failed(Errno::MFILE.into());
    let stopped = Loop::default().run(&mut child, &mut stopping).unwrap();
    let signal = Signal::Term;
    assert_eq!(stopped.by, StoppedBy::Signal { step: 0, signal });
    assert_eq!(stopped.status.code(), Some(3));
    assert!(!lives(grandchild.parse().unwrap()));
}

#[test]
fn a_stop_may_go_to_another_thread() {
    fn check<T: Send + Sync>() {}
    check::<Stopping>();
    check::<Wait>();
    check::<Census>();
    check::<Kin>();
}
