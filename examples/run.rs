//! A supervisor of one child for the shell: keeps a command running, and leaves nothing behind.
//!
//! ```text
//! cargo run --release --example run -- --backoff 1s --hang-after 30s --json -- ffmpeg -i … out.mp4
//! ```

use std::error::Error;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use jiff::SignedDuration;
use longtake_process::{Command, Signal, StopLadder};
use longtake_supervisor::{
    Backoff, Cause, ChildSpec, Event, EventKind, Exit, Heard, HangPolicy, Reaction, Report, Restart,
    RestartPolicy, State, StdinMode, Stream, Supervisor, WhenFull,
};
use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt, stderr, stdout};
use tokio::signal::unix::{SignalKind, signal};

/// How long to wait at the end for somebody who does not read our output.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Keeps one command running, and ends with its fate.
///
/// Forwards what it prints. State changes go to stderr, or with --json to stdout, one JSON object a line:
/// {"event": STATE, "pid", "t_ms"} with STATE starting, running, restarting, stopping, stopped, failed or
/// zombie; {"event": "exited", …, "report"} with the crash report; {"event": "hang", …}. t_ms counts from
/// the start of this program. The exit code is the command's, or 128 and the number of the signal that
/// ended it, or 127 if it could not be started. SIGTERM and SIGINT stop it in order, a second one at once.
#[derive(Parser)]
struct Args {
    /// What the child is called in messages; the command by default
    #[arg(long)]
    name: Option<String>,
    /// After which ends the command is started again
    #[arg(long, value_enum, default_value = "always")]
    restart: When,
    /// The first delay before a restart, doubled every time; 0s restarts at once
    #[arg(long, default_value = "2s", value_parser = duration)]
    backoff: Duration,
    /// The longest delay before a restart
    #[arg(long, default_value = "60s", value_parser = duration)]
    backoff_max: Duration,
    /// How many failures in a row are answered by a restart
    #[arg(long, default_value_t = 10)]
    max_restarts: u32,
    /// After what time without a failure they are counted from the beginning
    #[arg(long, default_value = "10m", value_parser = duration)]
    healthy_after: Duration,
    /// Restart it when it has printed nothing for this long; never, if not given
    #[arg(long, value_parser = duration)]
    hang_after: Option<Duration>,
    /// How it is asked to end: q is written to its stdin, for ffmpeg
    #[arg(long, value_enum, default_value = "TERM")]
    stop_signal: StopBy,
    /// How long a stop may take in all; what is left after half of it gets SIGKILL
    #[arg(long, default_value = "10s", value_parser = duration)]
    stop_timeout: Duration,
    /// Print state changes as JSON on stdout
    #[arg(long)]
    json: bool,
    /// The command and its arguments
    #[arg(required = true, last = true)]
    command: Vec<OsString>,
}

#[derive(Clone, Copy, ValueEnum)]
enum When {
    Never,
    OnFailure,
    Always,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum StopBy {
    #[value(name = "q")]
    Q,
    #[value(name = "TERM")]
    Term,
    #[value(name = "INT")]
    Int,
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed: SignedDuration = text
        .parse()
        .map_err(|error| format!("{error}; write it like 500ms, 2s or 10m"))?;
    Duration::try_from(parsed).map_err(|_| "it is negative".to_owned())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let args = Args::parse();
    let (begin, json) = (Instant::now(), args.json);
    let (mut term, mut int) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let supervisor = Supervisor::new(spec(args));
    let mut events = supervisor.events();
    let mut tail = supervisor.tail(WhenFull::Block).await;
    let (done, mut is_done) = tokio::sync::watch::channel(false);
    // One task prints everything, so that nobody's line is torn by another's.
    let printer = tokio::spawn(async move {
        let mut printer = Printer::new(begin, json);
        loop {
            let printed = tokio::select! {
                biased;
                Some(piece) = tail.next() => printer.output(piece.stream, &piece.bytes).await,
                Some(heard) = events.next() => match heard {
                    Heard::Event(event) => printer.event(&event).await,
                    _ => Ok(()),
                },
                _ = is_done.changed() => break,
            };
            // Nobody reads our output any more: the child is supervised all the same.
            if printed.is_err() {
                break;
            }
        }
    });

    let mut rest = supervisor.events();
    let mut stops = 0_u32;
    let _first = begin_start(&supervisor);
    loop {
        tokio::select! {
            _ = term.recv() => stops += 1,
            _ = int.recv() => stops += 1,
            heard = rest.next() => match heard {
                Some(Heard::Event(Event { kind: EventKind::State { to, .. }, .. }))
                    if matches!(to, State::Stopped | State::Failed) => break,
                Some(_) => continue,
                None => break,
            },
        }
        let ladder = (stops > 1).then(StopLadder::kill_only);
        let supervisor = supervisor.clone();
        tokio::spawn(async move {
            let stopped = match ladder {
                Some(ladder) => supervisor.stop_by(ladder).await,
                None => supervisor.stop().await,
            };
            if let Err(error) = stopped {
                eprintln!("run: {error}");
            }
        });
    }
    let fate = supervisor.last_report();
    done.send_replace(true);
    drop(tokio::time::timeout(LAST_WORDS, printer).await);
    Ok(ExitCode::from(fate.map_or(1, |report| exit_code(&report))))
}
