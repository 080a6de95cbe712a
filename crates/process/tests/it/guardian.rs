//! The death of a process with children.

use std::fs;
use std::io::{PipeReader, PipeWriter, Write};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use longtake_process::{
    Child, Command, Input, Limit, Output, Resource, Signal, StopLadder, set_nonblocking,
};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::{eventually, lives, read_line};

pub(crate) struct Embedder {
    child: Child,
    stdin: PipeWriter,
    stdout: PipeReader,
}

impl Embedder {
    fn start() -> Self {
        Self::of(&mut Command::new(env!("CARGO_BIN_EXE_embedder")))
    }

    pub(crate) fn of(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Input::Pipe)
            .stdout(Output::Pipe)
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.take_stdin().unwrap(), child.take_stdout().unwrap());
        Self {
            child,
            stdin,
            stdout,
        }
    }

    pub(crate) fn order(&mut self, order: &str) -> String {
        writeln!(self.stdin, "{order}").unwrap();
        read_line(&mut self.stdout)
    }

    /// Has it start a child with two grandchildren.
    fn family(&mut self) -> Vec<u32> {
        self.three("family")
    }

    /// Has it start a child that is gone by now, with three grandchildren that are hard to find.
    fn orphans(&mut self) -> Vec<u32> {
        self.three("orphans")
    }

    pub(crate) fn three(&mut self, order: &str) -> Vec<u32> {
        let said = self.order(order);
        let pids: Vec<u32> = said.split(' ').map(|pid| pid.parse().unwrap()).collect();
        assert_eq!(pids.len(), 3, "{said}");
        assert!(pids.iter().all(|&pid| lives(pid)), "{pids:?}");
        pids
    }

    /// What all its descendants carry in their environment.
    fn marker(&self) -> Vec<u8> {
        let environ = fs::read(format!("/proc/{}/environ", self.child.pid())).unwrap();
        let mut variables = environ.split(|&byte| byte == 0);
        variables
            .find(|variable| variable.starts_with(b"LONGTAKE_CHILD="))
            .unwrap()
            .to_vec()
    }

    fn guardian(&self) -> Option<u32> {
        let guards = |pid: &u32| {
            let read = |file| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
            read("cmdline").contains("longtake-guardian")
                && read("status").contains(&format!("PPid:\t{}\n", self.child.pid()))
        };
        processes().filter(guards).find(|&pid| lives(pid))
    }
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").unwrap();
    entries.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
}

fn carriers(marker: &[u8]) -> Vec<u32> {
    let carries = |pid: &u32| {
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.windows(marker.len()).any(|part| part == marker)
    };
    processes().filter(carries).collect()
}

fn signal(pid: u32, signal: nix::sys::signal::Signal) {
    let pid = nix::unistd::Pid::from_raw(pid.try_into().unwrap());
    nix::sys::signal::kill(pid, signal).unwrap();
}

#[track_caller]
pub(crate) fn all_gone(pids: &[u32]) {
    eventually("the family is gone", || !pids.iter().any(|&pid| lives(pid)));
}

/// Whatever kills the parent: nothing of three families and three orphans is left, and the guardian leaves too.
#[test]
fn the_parent_dies() {
    #[track_caller]
    fn check(kill: impl FnOnce(&mut Embedder)) {
        let mut embedder = Embedder::start();
        let mut pids: Vec<u32> = (0..3).flat_map(|_| embedder.family()).collect();
        pids.extend(embedder.orphans());
        let guardian = embedder.guardian().unwrap();
        kill(&mut embedder);
        embedder.child.wait().unwrap();
        all_gone(&pids);
        eventually("the guardian is gone", || !lives(guardian));
    }
    check(|embedder| embedder.child.signal(Signal::Kill).unwrap());
    check(|embedder| embedder.child.signal_group(Signal::Kill).unwrap());
    check(|embedder| embedder.child.signal_group(Signal::Term).unwrap());
    check(|embedder| writeln!(embedder.stdin, "exit").unwrap());
}

/// Killed while it starts children as fast as it can: none of them escapes.
#[test]
fn the_parent_dies_in_the_middle_of_a_start() {
    for after_us in (0..12).map(|step| step * 250) {
        let mut embedder = Embedder::start();
        let pids = embedder.family();
        embedder
            .stdin
            .write_all(b"family\nfamily\nfamily\nfamily\n")
            .unwrap();
        std::thread::sleep(Duration::from_micros(after_us));
        let marker = embedder.marker();
        let guardian = embedder.guardian().unwrap();
        embedder.child.signal(Signal::Kill).unwrap();
        embedder.child.wait().unwrap();
        all_gone(&pids);
        eventually("the guardian has done its work", || !lives(guardian));
        eventually("nobody carries its marker", || carriers(&marker).is_empty());
    }
}

#[test]
fn the_guardian_is_deaf_to_polite_signals() {
    let mut embedder = Embedder::start();
    let pids = embedder.family();
    let guardian = embedder.guardian().unwrap();
    for polite in ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"] {
        signal(guardian, polite.parse().unwrap());
    }
    embedder.child.signal(Signal::Kill).unwrap();
    all_gone(&pids);
    eventually("the guardian is gone", || !lives(guardian));
}

/// A killed guardian is replaced without anybody doing anything, and the new one knows everything.
#[test]
fn a_killed_guardian_is_replaced() {
    let mut embedder = Embedder::start();
    let mut pids = embedder.family();
    pids.extend(embedder.orphans());
    let first = embedder.guardian().unwrap();
    signal(first, nix::sys::signal::SIGKILL);
    eventually("there is another guardian", || {
        embedder.guardian().is_some_and(|pid| pid != first)
    });
    assert!(
        pids.iter().all(|&pid| lives(pid)),
        "the change harms nobody"
    );
    assert!(embedder.family().iter().all(|&pid| lives(pid)));
    embedder.child.signal(Signal::Kill).unwrap();
    all_gone(&pids);
}

/// A guardian that stands still does not hold up its parent, which replaces it when the pipe is full.
#[test]
fn a_stuck_guardian_is_replaced() {
    let mut embedder = Embedder::start();
    let pids = embedder.family();
    let first = embedder.guardian().unwrap();
    signal(first, nix::sys::signal::SIGSTOP);
    fill_stdin_of(first);
    assert_eq!(embedder.order("churn 1"), "done");
    assert_ne!(embedder.guardian().unwrap(), first);
    assert!(!lives(first));
    assert!(
        pids.iter().all(|&pid| lives(pid)),
        "the change harms nobody"
    );
    embedder.child.signal(Signal::Kill).unwrap();
    all_gone(&pids);
}

/// Writes into the pipe that a process has as its stdin until it is full.
fn fill_stdin_of(pid: u32) {
    let pipe = fs::OpenOptions::new()
        .write(true)
        .open(format!("/proc/{pid}/fd/0"));
    let mut pipe = pipe.unwrap();
    set_nonblocking(&pipe).unwrap();
    let error = loop {
        if let Err(error) = pipe.write_all(b"\n") {
            break error;
        }
    };
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
}

/// A thousand children start and end before the guardian gets to read a line: it stays, and knows what is
/// left.
#[test]
fn a_burst_does_not_replace_the_guardian() {
    let mut embedder = Embedder::start();
    let pids = embedder.family();
    let guardian = embedder.guardian().unwrap();
    signal(guardian, nix::sys::signal::SIGSTOP);
    assert_eq!(embedder.order("churn 1000"), "done");
    assert_eq!(embedder.guardian(), Some(guardian));
    signal(guardian, nix::sys::signal::SIGCONT);
    embedder.child.signal(Signal::Kill).unwrap();
    all_gone(&pids);
    eventually("the guardian is gone", || !lives(guardian));
}

/// From the death of a parent with 200 children, of which every fourth has a grandchild in a session of its
/// own, until all of them are gone: under 100 ms. The best of three, as the machine has other work.
#[test]
fn a_crowd_is_gone_in_a_moment() {
    let measured = [(); 3].map(|()| {
        let mut embedder = Embedder::start();
        let said = embedder.order("crowd 200");
        let pids: Vec<u32> = said.split(' ').map(|pid| pid.parse().unwrap()).collect();
        assert_eq!(pids.len(), 250);
        let pidfds: Vec<_> = pids.iter().map(|&pid| pidfd(pid)).collect();
        let begin = Instant::now();
        embedder.child.signal(Signal::Kill).unwrap();
        for pidfd in &pidfds {
            poll(&mut [PollFd::new(pidfd, PollFlags::IN)], None).unwrap();
        }
        begin.elapsed()
    });
    eprintln!("250 processes gone after {measured:?}");
    let best = *measured.iter().min().unwrap();
    assert!(best < Duration::from_millis(100), "{measured:?}");
}

fn pidfd(pid: u32) -> OwnedFd {
    let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    pidfd_open(pid, PidfdFlags::empty()).unwrap()
}

#[test]
fn two_parents_are_not_confused() {
    let (mut one, mut other) = (Embedder::start(), Embedder::start());
    let (of_one, of_other) = (one.family(), other.family());
    let guardian = one.guardian().unwrap();
    one.child.signal(Signal::Kill).unwrap();
    all_gone(&of_one);
    eventually("the guardian has done its work", || !lives(guardian));
    assert!(of_other.iter().all(|&pid| lives(pid)));
}

/// At whatever moment the files run out: the answer says so, what was half started is gone, and the
/// guardian still knows all others.
#[test]
fn files_run_out_in_the_parent() {
    for open_files in 24..44 {
        let mut command = Command::new(env!("CARGO_BIN_EXE_embedder"));
        let mut embedder =
            Embedder::of(command.limit(Resource::OpenFiles, Limit::both(open_files)));
        let pids = embedder.family();
        let said = embedder.order("hoard");
        assert_eq!(
            said, "cannot open the files for program /bin/sleep",
            "{open_files} files"
        );
        let marker = embedder.marker();
        assert!(
            carriers(&marker).len() > pids.len(),
            "at least one more was started"
        );
        embedder.child.signal(Signal::Kill).unwrap();
        all_gone(&pids);
        eventually("nobody carries its marker", || carriers(&marker).is_empty());
    }
}

/// The kernel has no process left for the parent's user: the answer says so. As root the parent becomes a user
/// that nobody else is; as anybody else it has processes already, and cannot even start its guardian.
#[test]
fn processes_run_out_in_the_parent() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_embedder"));
    let root = rustix::process::geteuid().is_root();
    if root {
        command
            .uid(61_234)
            .limit(Resource::Processes, Limit::both(12));
    } else {
        command.limit(Resource::Processes, Limit::both(1));
    }
    let mut embedder = Embedder::of(&mut command);
    let want = if root {
        "no resources left to start program /bin/sleep"
    } else {
        "cannot start the guardian by /bin/sh"
    };
    assert_eq!(embedder.order("hoard"), want);
    let marker = embedder.marker();
    embedder.child.signal(Signal::Kill).unwrap();
    embedder.child.wait().unwrap();
    eventually("nobody carries its marker", || carriers(&marker).is_empty());
}

/// A start is as cheap in a process of 512 MiB as in a small one: at most half as much again, the median of
/// many, in turns. The best of three rounds, as the machine has other work; a fork takes six times as long.
#[test]
fn a_start_costs_the_same_in_a_large_parent() {
    let (mut small, mut large) = (Embedder::start(), Embedder::start());
    assert_eq!(large.order("eat 512"), "done");
    let measured = [(); 3].map(|()| {
        let (mut of_small, mut of_large) = (Vec::new(), Vec::new());
        for _ in 0..51 {
            of_small.push(small.order("time").parse::<u64>().unwrap());
            of_large.push(large.order("time").parse::<u64>().unwrap());
        }
        of_small.sort_unstable();
        of_large.sort_unstable();
        (of_small[25], of_large[25])
    });
    eprintln!("a start in a small and in a large parent takes {measured:?} ns");
    let cheap = measured.iter().any(|(small, large)| large * 2 <= small * 3);
    assert!(cheap, "{measured:?} ns");
}

/// The children of a child that embeds this crate too are found as well. What in their groups has no
/// environment is left to its guardian.
#[test]
fn killing_a_parent_ends_its_families() {
    let mut embedder = Embedder::start();
    let pids: Vec<u32> = (0..2).flat_map(|_| embedder.family()).collect();
    let marker = embedder.marker();
    embedder.child.stop(&StopLadder::kill_only()).unwrap();
    assert_eq!(
        carriers(&marker),
        Vec::<u32>::new(),
        "gone when the stop returns"
    );
    all_gone(&pids);
}
