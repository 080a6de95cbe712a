use std::{
    fs,
    process::{Child, Command, Stdio},
    thread,
};

use nix::{
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

use crate::{daemon, next_line};

/// A daemon that takes signals.
fn ready(how: &str) -> Child {
    let mut daemon = daemon(&[how]).spawn().unwrap();
    assert_eq!(next_line(&mut daemon), "ready");
    daemon
}

fn send(daemon: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(daemon.id()).unwrap()), signal).unwrap();
}

#[test]
fn one_signal_stops_in_order() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let mut daemon = ready("wait");
        send(&daemon, signal);
        assert_eq!(next_line(&mut daemon), signal.as_str());
        assert_eq!(daemon.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn a_second_signal_of_either_kind_ends_a_daemon_whose_threads_all_hang() {
    for (first, second) in [
        (Signal::SIGINT, Signal::SIGINT),
        (Signal::SIGINT, Signal::SIGTERM),
        (Signal::SIGTERM, Signal::SIGTERM),
        (Signal::SIGHUP, Signal::SIGTERM),
    ] {
        let mut daemon = ready("hang");
        send(&daemon, first);
        assert_eq!(next_line(&mut daemon), first.as_str());
        assert!(
            daemon.try_wait().unwrap().is_none(),
            "one signal must not end it"
        );
        send(&daemon, second);
        assert_eq!(daemon.wait().unwrap().code(), Some(1));
    }
}

#[test]
fn a_second_hang_up_ends_nothing() {
    let mut daemon = ready("hang");
    send(&daemon, Signal::SIGHUP);
    assert_eq!(next_line(&mut daemon), "SIGHUP");
    send(&daemon, Signal::SIGHUP);
    // Once it is no longer pending its handler runs, which would end the daemon before it can be
    // stopped.
    while is_pending(&daemon, Signal::SIGHUP) {
        thread::yield_now();
    }
    send(&daemon, Signal::SIGSTOP);
    let pid = Pid::from_raw(i32::try_from(daemon.id()).unwrap());
    let fate = waitpid(pid, Some(WaitPidFlag::WUNTRACED)).unwrap();
    assert_eq!(fate, WaitStatus::Stopped(pid, Signal::SIGSTOP));
    daemon.kill().unwrap();
    daemon.wait().unwrap();
}

fn is_pending(daemon: &Child, signal: Signal) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("ShdPnd:"));
    let mask = u64::from_str_radix(mask.unwrap().trim(), 16).unwrap();
    mask & (1 << (signal as i32 - 1)) != 0
}

#[test]
fn a_hang_up_that_is_ignored_stays_so() {
    let mut command = Command::new("nohup");
    let piped = daemon(&["wait"]);
    command.arg(piped.get_program()).args(piped.get_args());
    let mut daemon = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    assert_eq!(next_line(&mut daemon), "ready");
    send(&daemon, Signal::SIGHUP);
    send(&daemon, Signal::SIGTERM);
    assert_eq!(next_line(&mut daemon), "SIGTERM");
    assert_eq!(daemon.wait().unwrap().code(), Some(0));
}

#[test]
fn a_program_that_ends_by_itself_does_not_wait_for_a_signal() {
    let signals = longtake_service::Signals::install(|_| ()).unwrap();
    drop(signals);
}
