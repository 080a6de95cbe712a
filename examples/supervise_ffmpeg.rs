//! An ffmpeg that is killed and stopped on purpose, and comes back each time: its death is seen at once, its
//! hang by the progress that it no longer makes.
//!
//! ```text
//! cargo run -p longtake-examples --example supervise_ffmpeg
//! ```

use std::error::Error;
use std::io::{self, Write};
use std::time::Duration;

use longtake_ffmpeg::ProgressParser;
use longtake_process::{Command, Signal, StopLadder};
use longtake_supervisor::{
    Backoff, ChildSpec, EventKind, HangPolicy, Heard, Reaction, RestartPolicy, State, StdinMode,
    Supervisor,
};

/// A generated camera in real time, encoded and thrown away, with its progress on stdout.
const ARGS: &str = "-hide_banner -loglevel level+warning -re -f lavfi -i testsrc2=size=320x240:rate=30 \
                    -c:v libx264 -preset ultrafast -stats_period 0.1 -progress pipe:1 -f null -";

fn spec() -> ChildSpec {
    let policy = RestartPolicy::default().backoff(Backoff::new(Duration::from_millis(100)));
    let stop = StopLadder::kill_only()
        .stdin("q", Duration::from_secs(3))
        .signal(Signal::Term, Duration::from_secs(3));
    ChildSpec::new("ffmpeg", || {
        let mut command = Command::new("ffmpeg");
        command.args(ARGS.split_whitespace());
        command
    })
    .policy(policy)
    .stdin(StdinMode::Control)
    .stop_ladder(stop)
    .hang(HangPolicy::default().progress(Duration::from_secs(2), Reaction::Restart))
    .progress(|| {
        let mut parser = ProgressParser::new();
        move |line: &[u8], report: &mut dyn FnMut(u32, i64)| {
            if let Some(position) = parser.push_line(line).and_then(|block| block.out_time_us) {
                report(0, position);
            }
        }
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let supervisor = Supervisor::new(spec());
    let mut events = supervisor.events();
    let first = supervisor.start().await?;
    writeln!(io::stdout(), "ffmpeg runs as process {first}")?;

    let faults = [Signal::Kill, Signal::Stop];
    let mut faults = faults.into_iter();
    while let Some(Heard::Event(event)) = events.next().await {
        match event.kind {
            EventKind::State {
                to: State::Running,
                pid,
                ..
            } => {
                writeln!(io::stdout(), "running as {pid:?}")?;
                let Some(fault) = faults.next() else { break };
                writeln!(io::stdout(), "sending it {fault}")?;
                supervisor.signal(fault).await;
            }
            EventKind::Hangs { kind, lasted, .. } => {
                writeln!(io::stdout(), "it hangs: {kind} for {lasted:.1?}")?;
            }
            EventKind::Ended(report) => writeln!(io::stdout(), "{report}")?,
            _ => {}
        }
    }
    supervisor.stop().await?;
    let report = supervisor.last_report().ok_or("a run was reported")?;
    writeln!(io::stdout(), "{report}")?;
    Ok(())
}
