use std::{
    fs::File,
    io::{self, Read as _},
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    process::{Command, Stdio},
    thread,
};

use nix::pty::openpty;

use crate::{daemon, next_line};

/// What a command writes to standard error.
fn stderr(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_plain_line_has_a_time_and_the_whole_error() {
    let told = stderr(&mut daemon(&["log"]));
    let [warning, info] = told.lines().collect::<Vec<_>>()[..] else {
        panic!("{told}")
    };
    let (time, rest) = warning.split_once(' ').unwrap();
    assert!(time.parse::<jiff::Timestamp>().is_ok(), "{time}");
    assert!(
        rest.contains("WARN recording{id=7}: service_test_daemon: camera lost"),
        "{rest}"
    );
    assert!(
        rest.contains("cannot open camera front") && rest.contains("no such device"),
        "{rest}"
    );
    assert!(info.contains("INFO") && info.contains("count=3"), "{info}");
}

#[test]
fn a_json_line_has_a_time_and_the_whole_error() {
    let told = stderr(&mut daemon(&["log", "--log-format", "json"]));
    let [warning, info] = told.lines().collect::<Vec<_>>()[..] else {
        panic!("{told}")
    };
    let mut warning: serde_json::Value = serde_json::from_str(warning).unwrap();
    let time = warning.as_object_mut().unwrap().remove("time").unwrap();
    assert!(
        time.as_str().unwrap().parse::<jiff::Timestamp>().is_ok(),
        "{time}"
    );
    let want = serde_json::json!({
        "level": "WARN",
        "target": "service_test_daemon",
        "message": "camera lost",
        "fields": {"error": "cannot open camera front: no such device", "stream": "front"},
        "spans": ["recording{id=7}"],
    });
    assert_eq!(warning, want);
    let info: serde_json::Value = serde_json::from_str(info).unwrap();
    assert_eq!(info["fields"], serde_json::json!({"count": 3}));
}

#[test]
fn the_level_is_the_flags_else_the_environments() {
    let lines = |command: &mut Command| stderr(command).lines().count();
    assert_eq!(lines(&mut daemon(&["log"])), 2);
    assert_eq!(lines(daemon(&["log"]).env("TEST_DAEMON_LOG", "debug")), 3);
    assert_eq!(
        lines(daemon(&["log", "--log", "error"]).env("TEST_DAEMON_LOG", "debug")),
        0
    );
    assert_eq!(
        lines(&mut daemon(&[
            "log",
            "--log",
            "off,service-test-daemon=warn"
        ])),
        1
    );
}

/// What a command writes when its standard error is a terminal.
fn on_a_terminal(command: &mut Command) -> String {
    let pty = openpty(None, None).unwrap();
    assert!(command.stderr(pty.slave).status().unwrap().success());
    // The command holds the terminal's other end; reading ends in an error once it is closed.
    command.stderr(Stdio::null());
    let mut terminal = File::from(pty.master);
    let mut told = Vec::new();
    let end = terminal.read_to_end(&mut told).unwrap_err();
    assert_eq!(end.raw_os_error(), Some(nix::libc::EIO));
    String::from_utf8(told).unwrap()
}

#[test]
fn colour_is_for_terminals_that_want_it() {
    let coloured = |told: &str| told.contains("\x1b[");
    assert!(coloured(&on_a_terminal(
        daemon(&["log"]).env("TERM", "xterm")
    )));
    assert!(!coloured(&on_a_terminal(
        daemon(&["log"]).env("TERM", "dumb")
    )));
    assert!(!coloured(&on_a_terminal(
        daemon(&["log"]).envs([("TERM", "xterm"), ("NO_COLOR", "1")])
    )));
    let json = &["log", "--log-format", "json"];
    assert!(!coloured(&on_a_terminal(daemon(json).env("TERM", "xterm"))));
    assert!(!coloured(&stderr(daemon(&["log"]).env("TERM", "xterm"))));
}

/// What a command writes when its standard error is a pipe that is said to be the journal.
fn to_the_journal(command: &mut Command) -> String {
    let (mut reader, writer) = io::pipe().unwrap();
    let file = File::from(OwnedFd::from(writer));
    let metadata = file.metadata().unwrap();
    command.env(
        "JOURNAL_STREAM",
        format!("{}:{}", metadata.dev(), metadata.ino()),
    );
    assert!(command.stderr(file).status().unwrap().success());
    command.stderr(Stdio::null());
    let mut told = String::new();
    reader.read_to_string(&mut told).unwrap();
    told
}

#[test]
fn the_journal_gets_priorities_and_no_time() {
    let told = to_the_journal(&mut daemon(&["log", "--log", "debug"]));
    let starts: Vec<_> = told
        .lines()
        .map(|line| line.split_whitespace().next().unwrap())
        .collect();
    assert_eq!(starts, ["<4>", "<6>", "<7>DEBUG"], "{told}");
    let told = to_the_journal(&mut daemon(&["log", "--log-format", "json"]));
    assert!(told.starts_with("<4>{"), "{told}");
}

#[test]
fn a_journal_that_is_elsewhere_changes_nothing() {
    let told = stderr(daemon(&["log"]).env("JOURNAL_STREAM", "8:1"));
    assert!(!told.starts_with('<'), "{told}");
}

#[test]
fn a_full_disk_does_not_end_the_daemon() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = daemon(&["log"]).stderr(full).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_blocked_standard_error_does_not_hold_the_daemon() {
    const LINES: usize = 40_000;
    // Nobody reads standard error: its pipe is full after 64 KiB, the backlog after 1 MiB.
    let mut flood = daemon(&["flood", &LINES.to_string()])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    assert_eq!(next_line(&mut flood), "done");

    // Now somebody does, and learns how much is missing.
    let mut pipe = flood.stderr.take().unwrap();
    let reader = thread::spawn(move || {
        let mut told = String::new();
        pipe.read_to_string(&mut told).unwrap();
        told
    });
    drop(flood.stdin.take());
    assert!(flood.wait().unwrap().success());
    let told = reader.join().unwrap();
    let written = told
        .lines()
        .filter(|line| line.contains("flood flood"))
        .count();
    let dropped: usize = told
        .lines()
        .filter_map(|line| line.split_once("dropped_lines="))
        .map(|(_, count)| count.trim().parse::<usize>().unwrap())
        .sum();
    assert!(dropped > 0);
    assert_eq!(written + dropped, LINES);
}

#[test]
fn a_standard_error_that_stays_blocked_does_not_hold_the_end() {
    let mut flood = daemon(&["flood", "40000"]).spawn().unwrap();
    assert_eq!(next_line(&mut flood), "done");
    assert!(flood.wait().unwrap().success());
}
