//! A process with children of its own, where it is short of something or large.
//!
//! - `files` has no more open files than it needs itself, then one more, and so on, until a child can be
//!   started: tells what each try failed with.
//! - `memory` runs a child of 150 MiB, grows by 200 MiB, and runs a small child and one of 300 MiB: tells the
//!   most memory that each had.
//! - `user` is not root, and starts a child that is to be: tells what that failed with.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a test listens")]

use std::error::Error;
use std::fs;
use std::process::ExitCode;
use std::time::Duration;

use longtake_process::Command;
use longtake_supervisor::{
    Backoff, Cause, ChildSpec, EventKind, Events, Heard, Report, RestartPolicy, State, Supervisor,
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Uid, setuid};

/// More than a start takes.
const ENOUGH_FILES: u64 = 40;

fn main() -> ExitCode {
    let order = std::env::args().nth(1).unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be built here");
    let done = runtime.block_on(async {
        match order.as_str() {
            "files" => files().await,
            "memory" => memory().await,
            "user" => user().await,
            other => Err(format!("no such order: {other:?}").into()),
        }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn files() -> Result<(), Box<dyn Error>> {
    // The guardian has files of its own; it is there after the first start.
    let first = Supervisor::new(sleeper());
    first.start().await?;
    first.stop().await?;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let policy = RestartPolicy::default()
        .backoff(Backoff::new(Duration::ZERO))
        .max_restarts(0);
    for more in 0..ENOUGH_FILES {
        let supervisor = Supervisor::new(sleeper().policy(policy.clone()));
        let open = fs::read_dir("/proc/self/fd")?.count() as u64 - 1;
        setrlimit(Resource::RLIMIT_NOFILE, open + more, hard)?;
        let mut events = supervisor.events();
        let started = supervisor.start().await;
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        match started {
            Ok(_) => {
                println!("started with {more}");
                supervisor.stop().await?;
                return Ok(());
            }
            Err(_) => {
                tell(&*ended(&mut events).await?);
                supervisor.wait_for(State::Failed).await?;
                // The next try counts files, and must not find one that is being closed.
                supervisor.stop().await?;
            }
        }
    }
    Err("never started".into())
}

async fn memory() -> Result<(), Box<dyn Error>> {
    println!("{}", peak_of("bs=150M").await?);
    let balloon = vec![1_u8; 200 << 20];
    println!("{}", peak_of("bs=1").await?);
    println!("{}", peak_of("bs=300M").await?);
    drop(std::hint::black_box(balloon));
    Ok(())
}

/// The most memory that a child had which reads a block of this size.
async fn peak_of(block: &'static str) -> Result<u64, Box<dyn Error>> {
    let spec = ChildSpec::new("dd", move || {
        let mut command = Command::new("dd");
        command.args(["if=/dev/zero", "of=/dev/null", "count=1", block]);
        command
    });
    let supervisor = Supervisor::new(spec);
    let mut events = supervisor.events();
    supervisor.start().await?;
    let report = ended(&mut events).await?;
    supervisor.stop().await?;
    Ok(report.peak_resident_bytes)
}

async fn user() -> Result<(), Box<dyn Error>> {
    if Uid::effective().is_root() {
        setuid(Uid::from_raw(65534))?;
    }
    let spec = ChildSpec::new("root", || {
        let mut command = Command::new("sleep");
        command.arg("1000").uid(0);
        command
    });
    let supervisor = Supervisor::new(spec.policy(RestartPolicy::default().max_restarts(0)));
    let mut events = supervisor.events();
    drop(supervisor.start().await);
    tell(&*ended(&mut events).await?);
    Ok(())
}

fn sleeper() -> ChildSpec {
    ChildSpec::new("sleeper", || {
        let mut command = Command::new("sleep");
        command.arg("1000");
        command
    })
}

async fn ended(events: &mut Events) -> Result<std::sync::Arc<Report>, Box<dyn Error>> {
    loop {
        match events.next().await {
            Some(Heard::Event(event)) => {
                if let EventKind::Ended(report) = event.kind {
                    return Ok(report);
                }
            }
            other => return Err(format!("{other:?}").into()),
        }
    }
}

fn tell(report: &Report) {
    match &report.cause {
        Cause::Exec {
            errno: Some(errno), ..
        } => println!("errno {errno}: {report}"),
        _ => println!("{report}"),
    }
}
