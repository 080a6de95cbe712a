//! A child that does what shells cannot, by the name in its first argument. It prints `ready` when it has.
//!
//! `traced` lets a grandchild trace it, which then does nothing (its process id follows `ready`);
//! `traceable` lets anybody trace it, and `trace PID` traces another process until it is killed;
//! `headless` ends its first thread and lives on in another.

#![expect(unsafe_code, reason = "these calls have no safe form")]

use std::env;
use std::fs;
use std::io::{self, Write};
use std::process::{self, Command};
use std::thread;
use std::time::Duration;

fn main() -> io::Result<()> {
    let mut args = env::args().skip(1);
    match args.next().as_deref() {
        Some("traced") => let_a_grandchild_trace_me()?,
        Some("traceable") => {
            allow_tracing();
            writeln!(io::stdout(), "ready")?;
        }
        Some("trace") => {
            let tracee = args.next().and_then(|pid| pid.parse().ok());
            trace(tracee.expect("a process id follows"))?;
        }
        Some("headless") => lose_the_first_thread(),
        _ => return Err(io::Error::from(io::ErrorKind::InvalidInput)),
    }
    thread::sleep(Duration::from_secs(1000));
    Ok(())
}

fn allow_tracing() {
    // SAFETY: the call sets a flag of this process and touches no memory of ours. It lets others than
    // our ancestors trace us, where Yama would refuse it.
    unsafe { libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY) };
}

fn let_a_grandchild_trace_me() -> io::Result<()> {
    allow_tracing();
    let me = process::id().to_string();
    // Nobody waits for it: it outlives us.
    Command::new(env::current_exe()?)
        .args(["trace", &me])
        .spawn()
        .map(drop)
}

fn trace(tracee: i32) -> io::Result<()> {
    let nothing = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: PTRACE_SEIZE takes no address and, without options, no data.
    if unsafe { libc::ptrace(libc::PTRACE_SEIZE, tracee, nothing, nothing) } == -1 {
        return Err(io::Error::last_os_error());
    }
    writeln!(io::stdout(), "ready {}", process::id())
}

fn lose_the_first_thread() {
    thread::spawn(|| {
        let first = format!("/proc/self/task/{}/stat", process::id());
        while !fs::read_to_string(&first).is_ok_and(|stat| stat.contains(") Z ")) {
            thread::yield_now();
        }
        writeln!(io::stdout(), "ready").expect("the test listens");
        thread::sleep(Duration::from_secs(1000));
    });
    // SAFETY: the call ends this thread alone; its stack stays, and nothing of it is used again.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
}
