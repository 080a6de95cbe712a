//! What is printed: the output of the child, and what happens to it.

use std::io;
use std::time::Instant;

use longtake_supervisor::{Cause, Event, EventKind, Events, Heard, State, Stream, Tail};
use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt, Stderr, Stdout, stderr, stdout};

/// The one task that prints, so that nobody's line is torn by another's.
pub(crate) struct Printer {
    begin: Instant,
    json: bool,
    stdout: Stdout,
    stderr: Stderr,
    /// The last byte of the child on stdout ended a line.
    line_is_whole: bool,
}

impl Printer {
    pub(crate) fn new(json: bool) -> Self {
        Self {
            begin: Instant::now(),
            json,
            stdout: stdout(),
            stderr: stderr(),
            line_is_whole: true,
        }
    }

    pub(crate) async fn print(mut self, mut tail: Tail, mut events: Events) {
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
            gave_up,
            left,
            ..
        } => {
            let mut text = to.to_string();
            if let Some(delay) = next_start {
                text = format!("{text} in {delay:.1?}");
            }
            if let Some(why) = gave_up {
                text = format!("{text}: {why}");
            }
            if let (Some(pid), State::Running) = (pid, to) {
                text = format!("{text} (pid {pid})");
            }
            let delay_ms = next_start.map(|delay| delay.as_secs_f64() * 1000.0);
            let fields = json!({
                "event": to.as_str(), "pid": pid, "next_start_in_ms": delay_ms, "left": left,
                "gave_up": gave_up.map(|why| why.to_string()),
            });
            (fields, text)
        }
        EventKind::Ended(report) => {
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
