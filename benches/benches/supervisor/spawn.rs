//! How long a start takes, by the size of the process that starts.

use std::env;
use std::hint::black_box;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::getuid;

use crate::table::median;

/// The medians of one process.
pub(crate) struct SpawnTimes {
    pub(crate) ours: Duration,
    /// By `fork`, as whatever runs between fork and exec demands it.
    pub(crate) by_fork: Duration,
}

/// Measures in a process that has this much resident.
pub(crate) fn measure(resident_mb: usize, rounds: usize) -> SpawnTimes {
    let this = env::current_exe().expect("the path of the bench");
    let output = Command::new(this)
        .args(["spawn", &resident_mb.to_string(), &rounds.to_string()])
        .stderr(Stdio::inherit())
        .output();
    let output = output.expect("the bench itself").stdout;
    let text = String::from_utf8(output).expect("text of our own");
    let mut times = text
        .split_whitespace()
        .map(|ns| Duration::from_nanos(ns.parse().expect("a number of our own")));
    let mut next = || times.next().expect("two numbers of our own");
    SpawnTimes {
        ours: next(),
        by_fork: next(),
    }
}

/// Prints the two medians in nanoseconds.
#[expect(clippy::print_stdout, reason = "the answer of a process of the bench")]
pub(crate) fn measure_here(resident_mb: &str, rounds: &str) {
    let megabytes: usize = resident_mb.parse().expect("the bench's own argument");
    let rounds: usize = rounds.parse().expect("the bench's own argument");
    let mut resident = vec![0_u8; megabytes << 20];
    // Touched, page by page.
    resident.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    let (mut ours, mut by_fork) = (Vec::new(), Vec::new());
    // The first start brings up the guardian, and is not counted.
    spawn_ours();
    // One after the other: a fork leaves all memory of ours to be copied at the next write.
    for _ in 0..rounds {
        ours.push(spawn_ours());
    }
    for _ in 0..rounds {
        by_fork.push(spawn_by_fork());
    }
    black_box(&resident);
    println!(
        "{} {}",
        median(&ours).as_nanos(),
        median(&by_fork).as_nanos()
    );
}

/// Until the program is executed; its end is not counted.
fn spawn_ours() -> Duration {
    let began = Instant::now();
    let mut child = longtake_process::Command::new("true")
        .spawn()
        .expect("true in PATH");
    let took = began.elapsed();
    child.wait().expect("a child of ours");
    took
}

/// The standard library forks as soon as a user is named, be it our own.
fn spawn_by_fork() -> Duration {
    let began = Instant::now();
    let mut child = Command::new("true")
        .uid(getuid().as_raw())
        .stdin(Stdio::null())
        .spawn()
        .expect("true in PATH");
    let took = began.elapsed();
    child.wait().expect("a child of ours");
    took
}
