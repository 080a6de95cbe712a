use std::process::Child;

use nix::{
    sys::signal::{Signal, kill},
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
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
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
fn a_program_that_ends_by_itself_does_not_wait_for_a_signal() {
    let signals = longtake_service::Signals::install(|_| ()).unwrap();
    drop(signals);
}
