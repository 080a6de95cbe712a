//! The service crate as its users see it: a real daemon, real files, real signals.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod arguments;
mod config;
mod logs;
mod signals;

use std::{
    io::Read as _,
    process::{Child, Command, Stdio},
};

/// The daemon in `tests/bin/daemon.rs`, with no environment but what the test gives.
pub(crate) fn daemon(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_service-test-daemon"));
    command
        .env_clear()
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Reads one line from the daemon's standard output, byte by byte: what follows it stays there.
pub(crate) fn next_line(daemon: &mut Child) -> String {
    let stdout = daemon.stdout.as_mut().unwrap();
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        let mut byte = [0];
        stdout.read_exact(&mut byte).unwrap();
        line.extend(byte);
    }
    String::from_utf8(line).unwrap().trim_end().to_owned()
}
