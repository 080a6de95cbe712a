//! Children that cannot be started: each try is told with its errno, and counts as a failure.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use longtake_process::Command;
use longtake_supervisor::{
    Backoff, Cause, ChildSpec, GaveUp, RestartPolicy, StartError, State, Supervisor,
};
use nix::libc;

use crate::{end, run, state};

/// A child that cannot be started is tried again once, and given up; each try ends like this.
#[track_caller]
fn check(
    build: impl Fn() -> Command + Send + Sync + 'static,
    wanted_errno: Option<i32>,
    wanted_reason: &str,
) {
    let wanted_reason = wanted_reason.to_owned();
    run(async move {
        let policy = RestartPolicy::default()
            .backoff(Backoff::new(Duration::ZERO))
            .max_restarts(1);
        let supervisor = Supervisor::new(ChildSpec::new("child", build).policy(policy));
        let mut events = supervisor.events();
        let started = supervisor.start().await;
        let Err(StartError::Failed(first)) = started else {
            panic!("{started:?}");
        };
        assert_eq!(first.run, 1);
        for number in 1..=2 {
            let report = end(&mut events).await;
            assert_eq!((report.run, report.pid, report.exit), (number, None, None));
            assert!(!report.success && !report.was_ready);
            let Cause::Exec { reason, errno } = &report.cause else {
                panic!("{report}");
            };
            assert_eq!(*errno, wanted_errno, "{reason}");
            assert!(reason.contains(&wanted_reason), "{reason}");
        }
        state(&mut events, State::Failed).await;
        let health = supervisor.health();
        assert_eq!(health.gave_up, Some(GaveUp::MaxRestarts));
        assert_eq!((health.restart_count, health.failures), (1, 2));
        assert_eq!(supervisor.last_report().unwrap().run, 2);
    });
}

fn file(dir: &Path, name: &str, content: &[u8], mode: u32) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

#[test]
fn no_such_program() {
    let error = Some(libc::ENOENT);
    check(
        || Command::new("/no/such/program"),
        error,
        "/no/such/program",
    );
    check(|| Command::new("no-such-program"), error, "no-such-program");
}

#[test]
fn no_program_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let not_executable = file(dir.path(), "plain", b"#!/bin/sh\n", 0o644);
    let garbage = file(dir.path(), "garbage", b"\x01\x02\x03 garbage\n", 0o755);
    let orphan = file(dir.path(), "orphan", b"#!/no/such/interpreter\n", 0o755);
    check(
        move || Command::new(&not_executable),
        Some(libc::EACCES),
        "plain",
    );
    check(
        move || Command::new(&garbage),
        Some(libc::ENOEXEC),
        "garbage",
    );
    check(move || Command::new(&orphan), Some(libc::ENOENT), "orphan");
    let folder = dir.path().to_owned();
    check(move || Command::new(&folder), Some(libc::EACCES), "cannot");
}

#[test]
fn an_argument_that_is_too_long() {
    let build = || {
        let mut command = Command::new("true");
        command.arg("x".repeat((128 << 10) + 1));
        command
    };
    check(build, Some(libc::E2BIG), "true");
}

#[test]
fn an_argument_with_a_nul_byte() {
    let build = || {
        let mut command = Command::new("true");
        command.arg("a\0b");
        command
    };
    check(build, None, "nul byte");
}

#[test]
fn no_folder_to_start_in() {
    let build = || {
        let mut command = Command::new("true");
        command.cwd("/no/such/folder");
        command
    };
    check(
        build,
        Some(libc::ENOENT),
        "cannot enter folder /no/such/folder",
    );
}

#[test]
fn a_panic_of_the_one_who_builds_the_command() {
    check(|| panic!("out of cameras"), None, "out of cameras");
}

#[test]
fn secrets_stay_out_of_the_reason() {
    run(async {
        let spec = ChildSpec::new("child", || Command::new("/no/rtsp://me:hunter2@camera/x"));
        let supervisor = Supervisor::new(spec);
        let mut events = supervisor.events();
        drop(supervisor.start().await);
        let told = end(&mut events).await.to_string();
        assert!(
            told.contains("camera") && !told.contains("hunter2"),
            "{told}"
        );
        supervisor.stop().await.unwrap();
    });
}

/// Runs a process that has children of its own, and gives what it tells.
pub(crate) fn starter(order: &str) -> String {
    let output = process::Command::new(env!("CARGO_BIN_EXE_supervisor-starter"))
        .arg(order)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn no_files_left() {
    let told = starter("files");
    let (started, failed): (Vec<_>, Vec<_>) = told
        .lines()
        .partition(|line| line.starts_with("started with "));
    assert_eq!(started.len(), 1, "{told}");
    assert!(failed.len() > 3, "{told}");
    for line in failed {
        assert!(line.starts_with("errno 24: sleeper"), "{line}");
    }
}

#[test]
fn another_user_without_the_right_to() {
    let told = starter("user");
    assert!(told.starts_with("errno 1: root: "), "{told}");
}
