use std::process::{Output, Stdio};

use crate::daemon;

#[track_caller]
fn check(
    Output {
        status,
        stdout,
        stderr,
    }: Output,
    code: i32,
    out: &str,
    err: &str,
) {
    let (stdout, stderr) = (
        String::from_utf8(stdout).unwrap(),
        String::from_utf8(stderr).unwrap(),
    );
    assert_eq!(status.code(), Some(code), "{stdout}{stderr}");
    assert!(stdout.contains(out), "{stdout}");
    assert!(stderr.contains(err), "{stderr}");
}

#[test]
fn help_is_printed_and_is_no_failure() {
    let help = daemon(&["--help"]).output().unwrap();
    assert!(help.stderr.is_empty());
    check(help, 0, "TEST_DAEMON_LOG_FORMAT", "");
    check(
        daemon(&["--version"]).output().unwrap(),
        0,
        "test-daemon 0.",
        "",
    );
}

#[test]
fn help_into_a_full_disk_fails() {
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = daemon(&["--help"])
        .stdout(Stdio::from(full))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_wrong_command_line_is_a_wrong_usage() {
    check(
        daemon(&["--colour"]).output().unwrap(),
        2,
        "",
        "unexpected argument '--colour'",
    );
    check(
        daemon(&["log", "--log", "inof"]).output().unwrap(),
        2,
        "",
        "write error, warn, info",
    );
}

#[test]
fn the_log_flags_have_variables_with_the_programs_name() {
    let output = daemon(&["log"])
        .env("TEST_DAEMON_LOG", "off")
        .output()
        .unwrap();
    check(output, 0, "", "");
    let output = daemon(&["log"])
        .env("TEST_DAEMON_LOG", "loud")
        .output()
        .unwrap();
    check(output, 2, "", "\"loud\" is no log level");
}
