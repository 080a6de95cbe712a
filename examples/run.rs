//! A supervisor of one child for the shell: keeps a command running, and leaves nothing behind.
//!
//! ```text
//! cargo run --release --example run -- --backoff 1s --hang-after 30s --json -- ffmpeg -i … out.mp4
//! ```

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use jiff::SignedDuration;
use longtake_process::{Command, Signal, StopLadder};
use longtake_supervisor::{
    Backoff, Cause, ChildSpec, Event, EventKind, Events, Exit, HangPolicy, Heard, Reaction, Report,
    Restart, RestartPolicy, State, StdinMode, Stream, Supervisor, Tail, WhenFull,
};
use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt, Stderr, Stdout, stderr, stdout};
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
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;

    let supervisor = Supervisor::new(spec(&args));
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
                Some(Heard::Event(Event {
                    kind:
                        EventKind::State {
                            to: State::Stopped | State::Failed,
                            ..
                        },
                    ..
                })) => break,
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

fn spec(args: &Args) -> ChildSpec {
    let argv = args.command.clone();
    let program = argv[0].to_string_lossy().into_owned();
    let policy = RestartPolicy::default()
        .restart(match args.restart {
            When::Never => Restart::Never,
            When::OnFailure => Restart::OnFailure,
            When::Always => Restart::Always,
        })
        // A child alone has nobody to keep a distance from.
        .backoff(Backoff::new(args.backoff).maximum(args.backoff_max).jitter(0.0))
        .max_restarts(args.max_restarts)
        .healthy_after(args.healthy_after);
    let hang_after = args.hang_after.unwrap_or(Duration::ZERO);
    // A child in a process group of its own is stopped by the kernel when it reads from the terminal.
    let stdin = match (args.stop_signal, io::stdin().is_terminal()) {
        (StopBy::Q, _) => StdinMode::Control,
        (_, true) => StdinMode::Null,
        (_, false) => StdinMode::Inherit,
    };
    ChildSpec::new(args.name.clone().unwrap_or(program), move || {
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]);
        command
    })
    .policy(policy)
    .hang(HangPolicy::default().silence(hang_after, Reaction::Restart))
    .stdin(stdin)
    .stop_ladder(ladder(args.stop_signal, args.stop_timeout))
    .restart_ladder(ladder(args.stop_signal, args.stop_timeout / 2))
}

fn ladder(by: StopBy, within: Duration) -> StopLadder {
    let kill = StopLadder::kill_only();
    match by {
        StopBy::Q => kill
            .stdin("q", within / 2)
            .signal(Signal::Term, within / 4)
            .kill_within(within / 4),
        StopBy::Term => kill
            .signal(Signal::Term, within / 2)
            .kill_within(within / 2),
        StopBy::Int => kill.signal(Signal::Int, within / 2).kill_within(within / 2),
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

/// The one task that prints, so that nobody's line is torn by another's.
struct Printer {
    begin: Instant,
    json: bool,
    stdout: Stdout,
    stderr: Stderr,
    /// The last byte of the child on stdout ended a line.
    line_is_whole: bool,
}

impl Printer {
    fn new(json: bool) -> Self {
        Self {
            begin: Instant::now(),
            json,
            stdout: stdout(),
            stderr: stderr(),
            line_is_whole: true,
        }
    }

    async fn print(mut self, mut tail: Tail, mut events: Events) {
        loop {
            let printed = tokio::select! {
                Some(piece) = tail.next() => self.output(piece.stream, &piece.bytes).await,
                Some(heard) = events.next() => match heard {
                    Heard::Event(event) => self.event(&event).await,
                    _ => Ok(()),
                },
                else => return,
            };
            if printed.is_err() {
                // Nobody reads what we print. The child is supervised all the same.
                while tail.next().await.is_some() {}
                return;
            }
        }
    }

    async fn output(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        match stream {
            Stream::Stdout => {
                self.line_is_whole = bytes.ends_with(b"\n");
                self.stdout.write_all(bytes).await?;
                self.stdout.flush().await
            }
            Stream::Stderr => {
                self.stderr.write_all(bytes).await?;
                self.stderr.flush().await
            }
        }
    }

    async fn event(&mut self, event: &Event) -> io::Result<()> {
        let Some((mut fields, text)) = described(&event.kind) else {
            return Ok(());
        };
        if !self.json {
            let line = format!("run: {} {text}\n", event.child);
            return self.output(Stream::Stderr, line.as_bytes()).await;
        }
        let passed = event.at.saturating_duration_since(self.begin);
        fields["name"] = json!(&*event.child);
        fields["t_ms"] = json!(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX));
        let begin = if self.line_is_whole { "" } else { "\n" };
        let line = format!("{begin}{fields}\n");
        self.output(Stream::Stdout, line.as_bytes()).await
    }
}

/// An event as JSON and as text.
fn described(kind: &EventKind) -> Option<(Value, String)> {
    Some(match kind {
        EventKind::State {
            to,
            pid,
            next_start,
            left,
            ..
        } => {
            let mut text = to.to_string();
            if let Some(delay) = next_start {
                text = format!("{text} in {delay:.1?}");
            }
            if let (Some(pid), State::Running) = (pid, to) {
                text = format!("{text} (pid {pid})");
            }
            let delay_ms = next_start.map(|delay| delay.as_secs_f64() * 1000.0);
            let fields = json!({
                "event": to.as_str(), "pid": pid, "next_start_in_ms": delay_ms, "left": left,
            });
            (fields, text)
        }
        EventKind::Ended(report) => {
            let report: &Arc<Report> = report;
            let fields = json!({ "event": "exited", "pid": report.pid, "report": **report });
            let text = match (&report.cause, report.exit) {
                (Cause::Exit, Some(exit)) => format!("ended: {exit}"),
                (cause, Some(exit)) => format!("ended: {cause}, {exit}"),
                (cause, None) => format!("ended: {cause}"),
            };
            (fields, text)
        }
        EventKind::Hangs { kind, lasted, .. } => {
            let fields =
                json!({ "event": "hang", "hang": kind, "for_ms": lasted.as_secs_f64() * 1000.0 });
            (fields, format!("hangs: {kind} for {lasted:.1?}"))
        }
        EventKind::Recovered { kind, .. } => (
            json!({ "event": "recovered", "hang": kind }),
            "hangs no more".to_owned(),
        ),
        _ => return None,
    })
}
