//! The death of a program with supervised children: nothing of them is left.

use std::fs;
use std::io::{BufRead, BufReader, PipeReader};
use std::thread;
use std::time::{Duration, Instant};

use longtake_process::{Child, Command, Limit, Output, Resource, Signal};

use crate::{LONG, lives};

/// How soon everything must be gone.
const SOON: Duration = Duration::from_millis(100);

struct Embedder {
    child: Child,
    stdout: BufReader<PipeReader>,
}

impl Embedder {
    fn start(order: &str) -> Self {
        Self::of(Command::new(env!("CARGO_BIN_EXE_supervisor-embedder")).arg(order))
    }

    fn of(command: &mut Command) -> Self {
        let mut child = command.stdout(Output::Pipe).spawn().unwrap();
        let stdout = BufReader::new(child.take_stdout().unwrap());
        Self { child, stdout }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// Three children with a grandchild in the group and one in a session of its own each.
    fn families() -> (Self, Vec<u32>) {
        let mut embedder = Self::start("families");
        let lines: Vec<String> = (0..3).map(|_| embedder.line()).collect();
        let pids: Vec<u32> = lines
            .iter()
            .flat_map(|line| line.split(' ').map(|pid| pid.parse().unwrap()))
            .collect();
        assert_eq!(pids.len(), 9, "{lines:?}");
        assert!(pids.iter().all(|&pid| lives(pid)), "{pids:?}");
        (embedder, pids)
    }

    /// What all its descendants carry in their environment.
    fn marker(&self) -> Vec<u8> {
        let environ = fs::read(format!("/proc/{}/environ", self.child.pid())).unwrap();
        let mut variables = environ.split(|&byte| byte == 0);
        let marker = variables.find(|variable| variable.starts_with(b"LONGTAKE_CHILD="));
        marker.unwrap().to_vec()
    }

    fn guardian(&self) -> u32 {
        let parent = format!("PPid:\t{}\n", self.child.pid());
        let guards = |pid: &u32| {
            let read = |file| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
            read("cmdline").contains("longtake-guardian") && read("status").contains(&parent)
        };
        processes().find(guards).unwrap()
    }
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").unwrap();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Those of a program's descendants that live, and itself.
fn carriers(marker: &[u8]) -> Vec<u32> {
    let carries = |pid: &u32| {
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.windows(marker.len()).any(|part| part == marker)
    };
    processes()
        .filter(|pid| lives(*pid) && carries(pid))
        .collect()
}

/// How long it takes until a fact holds.
#[track_caller]
fn time_until(what: &str, fact: impl Fn() -> bool) -> Duration {
    let begin = Instant::now();
    while !fact() {
        assert!(begin.elapsed() < LONG, "not in {LONG:?}: {what}");
        thread::sleep(Duration::from_millis(1));
    }
    begin.elapsed()
}

/// How long the children outlive their program: the best of some tries, as other tests run beside.
#[track_caller]
fn all_are_gone_soon(kill: impl Fn(&Embedder)) -> Duration {
    let mut best = LONG;
    for _try in 0..5 {
        let (mut embedder, pids) = Embedder::families();
        kill(&embedder);
        let took = time_until("the families are gone", || {
            !pids.iter().any(|&pid| lives(pid))
        });
        embedder.child.wait().unwrap();
        best = best.min(took);
        if best < SOON {
            break;
        }
    }
    assert!(best < SOON, "{best:?}");
    best
}

#[test]
fn nobody_outlives_a_killed_program() {
    let took = all_are_gone_soon(|embedder| embedder.child.signal(Signal::Kill).unwrap());
    println!("nine processes gone after {took:?}");
}

/// The guardian is spared by what ends the program, be it sent to everybody around it.
#[test]
fn nobody_outlives_a_program_whose_group_is_ended() {
    for signal in [Signal::Term, Signal::Kill] {
        let took = all_are_gone_soon(|embedder| embedder.child.signal_group(signal).unwrap());
        println!("nine processes gone {took:?} after {signal} to the group");
    }
}

/// It starts children as fast as it can, each with a grandchild in a session of its own: none of those that
/// are on their way escapes.
#[test]
fn nobody_outlives_a_program_that_is_killed_while_it_starts_children() {
    for after_us in (0..6).map(|step| step * 2_300) {
        let mut embedder = Embedder::start("churn");
        assert_eq!(embedder.line(), "ready");
        let (marker, guardian) = (embedder.marker(), embedder.guardian());
        time_until("it has children", || carriers(&marker).len() > 2);
        thread::sleep(Duration::from_micros(after_us));
        embedder.child.signal(Signal::Kill).unwrap();
        embedder.child.wait().unwrap();
        let took = time_until("all are gone", || carriers(&marker).is_empty());
        println!("killed after {after_us} us: all gone {took:?} later");
        time_until("the guardian has done its work", || !lives(guardian));
        assert_eq!(carriers(&marker), [0; 0]);
    }
}

/// No file number is left to look for processes with: the group is killed in time all the same, the stop says
/// that it is not done, and it is done when there are some again.
#[test]
fn files_run_out_at_a_stop() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_supervisor-embedder"));
    command
        .arg("starved")
        .limit(Resource::OpenFiles, Limit::both(64));
    let mut embedder = Embedder::of(&mut command);
    let line = embedder.line();
    let pids: Vec<u32> = line.split(' ').map(|pid| pid.parse().unwrap()).collect();
    assert_eq!(pids.len(), 3, "{line}");
    assert_eq!(embedder.line(), "still alive");
    assert!(!lives(pids[0]) && !lives(pids[1]), "in the group");
    assert_eq!(embedder.line(), "gone");
    assert!(!pids.iter().any(|&pid| lives(pid)), "{pids:?}");
}
