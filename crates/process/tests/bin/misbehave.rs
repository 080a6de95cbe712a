//! A child that a debugger holds: it lets a grandchild trace it, which then does nothing.
//!
//! `ready` and the grandchild's process id are printed when that is so.

#![expect(unsafe_code, reason = "ptrace and prctl have no safe form here")]

use std::env;
use std::io::{self, Write};
use std::process::Command;
use std::thread;
use std::time::Duration;

fn main() -> io::Result<()> {
    match env::args().nth(1) {
        None => let_a_grandchild_trace_me()?,
        Some(tracee) => trace(tracee.parse().map_err(io::Error::other)?)?,
    }
    thread::sleep(Duration::from_secs(1000));
    Ok(())
}

fn let_a_grandchild_trace_me() -> io::Result<()> {
    // SAFETY: the call sets a flag of this process and touches no memory of ours. It lets others than
    // our ancestors trace us, where Yama would refuse it.
    unsafe { libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY) };
    let me = std::process::id().to_string();
    // Nobody waits for it: it outlives us.
    Command::new(env::current_exe()?).arg(me).spawn().map(drop)
}

fn trace(tracee: i32) -> io::Result<()> {
    let nothing = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: PTRACE_SEIZE takes no address and, without options, no data.
    if unsafe { libc::ptrace(libc::PTRACE_SEIZE, tracee, nothing, nothing) } == -1 {
        return Err(io::Error::last_os_error());
    }
    writeln!(io::stdout(), "ready {}", std::process::id())
}
