//! Children of every kind, started, watched and stopped for real.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod guardian;
mod shortage;
mod spawn;
mod stop;
mod stopping;
mod usage;
mod wait;

use std::fs;
use std::io::{PipeReader, Read};
use std::thread;
use std::time::{Duration, Instant};

use longtake_process::{Child, Command, Input, Output};

/// Longer than anything takes here, however busy the machine.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// `/bin/sh -c SCRIPT` with its stdout on a pipe.
pub(crate) fn sh(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", script])
        .stdout(Output::Pipe)
        .stderr(Output::Null);
    command
}

/// Starts the script with a pipe as its stdin, and returns when it has said `ready`, with what else was on
/// that line.
pub(crate) fn start(script: &str) -> (Child, PipeReader, String) {
    until_ready(sh(script).stdin(Input::Pipe))
}

/// Starts the command, and returns when it has said `ready`, with what else was on that line.
pub(crate) fn until_ready(command: &mut Command) -> (Child, PipeReader, String) {
    let mut child = command.stdout(Output::Pipe).spawn().unwrap();
    let mut stdout = child.take_stdout().unwrap();
    let line = read_line(&mut stdout);
    let said = line
        .strip_prefix("ready")
        .expect("the child says that it is ready");
    let said = said.trim().to_owned();
    (child, stdout, said)
}

/// Reads one line without taking anything behind it.
pub(crate) fn read_line(from: &mut PipeReader) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while from.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

/// Everything that the child says until nobody holds the pipe.
pub(crate) fn output_of(command: &mut Command) -> String {
    let mut child = command.stdout(Output::Pipe).spawn().unwrap();
    let mut text = String::new();
    child
        .take_stdout()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert!(child.wait().unwrap().success(), "{text}");
    text
}

/// The state letter of a process; `None` when there is none of that number.
pub(crate) fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// The group of a process.
pub(crate) fn group(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(2)?.parse().ok()
}

pub(crate) fn lives(pid: u32) -> bool {
    state(pid).is_some_and(|state| state != 'Z' && state != 'X')
}

#[track_caller]
pub(crate) fn eventually(what: &str, mut fact: impl FnMut() -> bool) {
    let start = Instant::now();
    while !fact() {
        assert!(start.elapsed() < LONG, "not in {LONG:?}: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}
