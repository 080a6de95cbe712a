//! A supervisor of one child for the shell: keeps a command running, and leaves nothing behind.
//!
//! ```text
//! cargo run --release --example run -- --backoff 1s --hang-after 30s --json -- ffmpeg -i … out.mp4
//! ```

mod args;
mod printer;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use longtake_process::StopLadder;
use longtake_supervisor::{Cause, EventKind, Exit, Heard, Report, State, Supervisor, WhenFull};
use tokio::io::{AsyncWriteExt, stderr};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::Args;
use crate::printer::Printer;

/// How long to wait at the end for somebody who does not read our output.
const LAST_WORDS: Duration = Duration::from_secs(2);

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let args = Args::parse();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let fate = runtime.block_on(supervise(args));
    // Somebody who does not read our output may still hold a thread of it.
    runtime.shutdown_background();
    fate
}

async fn supervise(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;

    let supervisor = Supervisor::new(args.spec());
    let mut events = supervisor.events();
    let tail = supervisor.tail(WhenFull::Block).await;
    let printer = Printer::new(args.json).print(tail, supervisor.events());
    let printer = tokio::spawn(printer);

    let mut orders = vec![tokio::spawn(start(supervisor.clone()))];
    let mut stops = 0;
    loop {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
            heard = events.next() => match heard {
                Some(heard) if is_over(&heard, &supervisor) => break,
                Some(_) => continue,
                None => break,
            },
        }
        stops += 1;
        orders.push(tokio::spawn(stop(supervisor.clone(), stops > 1)));
    }
    let report = supervisor.last_report();
    for order in orders {
        order.await?;
    }
    // With the last handle the outputs end, and the printer with them.
    drop(supervisor);
    if let Ok(printed) = tokio::time::timeout(LAST_WORDS, printer).await {
        printed?;
    }
    Ok(ExitCode::from(report.map_or(1, |report| fate(&report))))
}

/// Whether the child will not be started again.
fn is_over(heard: &Heard, supervisor: &Supervisor) -> bool {
    let state = match heard {
        Heard::Event(event) => match event.kind {
            EventKind::State { to, .. } => to,
            _ => return false,
        },
        // What was missed is made up for by what is.
        _ => supervisor.state(),
    };
    matches!(state, State::Stopped | State::Failed)
}

/// The outcome is told by events.
async fn start(supervisor: Supervisor) {
    match supervisor.start().await {
        Ok(_) | Err(_) => {}
    }
}

async fn stop(supervisor: Supervisor, at_once: bool) {
    let stopped = if at_once {
        supervisor.stop_by(StopLadder::kill_only()).await
    } else {
        supervisor.stop().await
    };
    if let Err(error) = stopped {
        let text = format!("run: {error}\n");
        // If nobody reads our stderr, there is nobody to tell.
        match stderr().write_all(text.as_bytes()).await {
            Ok(()) | Err(_) => {}
        }
    }
}

/// What a shell would say of a command that ended so.
fn fate(report: &Report) -> u8 {
    const NOT_STARTED: u8 = 127;
    match (report.exit, &report.cause) {
        (Some(Exit::Code(code)), _) => code,
        (Some(Exit::Signal { number, .. }), _) => u8::try_from(128 + number).unwrap_or(u8::MAX),
        (None, Cause::Exec { .. }) => NOT_STARTED,
        (None, _) => 1,
    }
}
