//! What a person sees while a recording runs.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal as _},
    time::Duration,
};

use longtake_recording::{Counts, DropReason, Event, GapReason, What};

/// Takes the live line away, if there is one.
const CLEAR: &str = "\r\x1b[2K";

/// Events for people: plain lines, and on a terminal one live line below them.
#[derive(Debug)]
pub(crate) struct Status {
    live: bool,
}

impl Status {
    /// For standard output, whatever it is.
    pub(crate) fn new() -> Self {
        Self {
            live: io::stdout().is_terminal(),
        }
    }

    /// An event in a line of its own; most are worth one.
    pub(crate) fn line(&self, event: &Event) -> Option<String> {
        let line = line_of(event)?;
        let at = clock(seconds(event));
        Some(format!("{}{at:>9}  {line}\n", self.clear()))
    }

    /// The live line anew, if there is one.
    pub(crate) fn renewed(&self, elapsed: Duration, counts: &[(String, Counts)]) -> Option<String> {
        // The cursor goes back to the start, so that a line of the log covers this one.
        self.live.then(|| {
            let line = cut(live_line(elapsed, counts), width_of_terminal());
            format!("{CLEAR}{line}\r")
        })
    }

    /// What takes the live line away, if there is one.
    pub(crate) const fn clear(&self) -> &'static str {
        if self.live { CLEAR } else { "" }
    }
}

/// How many characters fit into a line; it may change at any time.
fn width_of_terminal() -> usize {
    rustix::termios::tcgetwinsize(io::stdout())
        .ok()
        .filter(|size| size.ws_col > 0)
        .map_or(80, |size| size.ws_col.into())
}

/// A line that a terminal would break could not be taken away again.
fn cut(line: String, width: usize) -> String {
    if line.chars().count() < width {
        return line;
    }
    let kept: String = line.chars().take(width.saturating_sub(2)).collect();
    format!("{kept}…")
}

fn live_line(elapsed: Duration, counts: &[(String, Counts)]) -> String {
    let mut line = format!("REC {}", clock(elapsed));
    for (name, counts) in counts {
        let (written, dropped) = (counts.written, counts.dropped_total());
        // Writing to a String cannot fail.
        let _infallible = write!(line, "  {name} {written}");
        if dropped > 0 {
            let _infallible = write!(line, " ({dropped} dropped)");
        }
    }
    line
}

fn line_of(event: &Event) -> Option<String> {
    let stream = event.stream.as_deref().unwrap_or("recording");
    Some(match &event.what {
        What::Started { streams } => {
            let names: Vec<_> = streams.iter().map(|stream| stream.name.as_str()).collect();
            format!(
                "recording {} into {}",
                names.join(", "),
                event.path.display()
            )
        }
        What::ChunkFinished { file, bytes, .. } => {
            format!("{file} is finished, {}", bytesize::ByteSize(*bytes))
        }
        What::ChunkUnfinished { file, error } => format!("{file} is not finished: {error}"),
        What::Stalled { .. } => format!("{stream} has gone silent"),
        What::Dropped { reason, count } => {
            format!("{stream} lost {count} ({reason}: {})", in_words(*reason))
        }
        What::EncoderRestarted { error } => format!("{stream}: encoder restarted: {error}"),
        // What was captured during a silence may come late; then nothing is missing.
        What::Gap {
            from_pts_us,
            to_pts_us,
            reason: GapReason::Silent,
        } if to_pts_us.since(*from_pts_us) <= Duration::from_secs(1) => {
            format!("{stream} is back, nothing is missing")
        }
        What::Gap {
            from_pts_us,
            to_pts_us,
            reason,
        } => {
            format!("{stream} has a gap from {from_pts_us} s to {to_pts_us} s ({reason})")
        }
        What::StreamEnded { error: Some(error) } => format!("{stream} ended: {error}"),
        What::StreamEnded { error: None } => format!("{stream} came to its end"),
        What::WriteFailed { error } => format!("cannot write: {error}"),
        What::Stopped { duration_s, counts } => {
            let mut line = format!("stopped after {duration_s:.1} s");
            for (name, counts) in counts {
                let (written, received) = (counts.written, counts.received);
                let _infallible = write!(line, "; {name}: {written} of {received} written");
            }
            line
        }
        _ => return None,
    })
}

fn in_words(reason: DropReason) -> &'static str {
    match reason {
        DropReason::QueueFull => "its queue was full",
        DropReason::BrokenGop => "no keyframe before it",
        DropReason::Late => "came after its chunk was finished",
        DropReason::EncoderFailed => "its encoder failed",
        DropReason::WriteFailed => "the disk refused it",
        DropReason::Invalid => "malformed, or out of order",
        DropReason::Decimated => "more than fps asks for",
        _ => "see docs/formats.md",
    }
}

fn seconds(event: &Event) -> Duration {
    event.pts_us.since(longtake_recording::Pts::ZERO)
}

/// `1:02:03`.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    format!(
        "{}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_live_line_is_shorter_than_the_terminal() {
        assert_eq!(
            cut("REC 1:02:03  front 300".to_owned(), 23),
            "REC 1:02:03  front 300"
        );
        assert_eq!(
            cut("REC 1:02:03  front 300".to_owned(), 22),
            "REC 1:02:03  front 3…"
        );
        assert_eq!(cut("REC".to_owned(), 0), "…");
    }

    #[test]
    fn the_live_line_names_losses() {
        let mut lossy = Counts {
            written: 7,
            ..Counts::default()
        };
        lossy.lose(DropReason::QueueFull, 2);
        let counts = [
            (
                "front".to_owned(),
                Counts {
                    written: 300,
                    ..Counts::default()
                },
            ),
            ("imu".to_owned(), lossy),
        ];
        let line = live_line(Duration::from_secs(3723), &counts);
        assert_eq!(line, "REC 1:02:03  front 300  imu 7 (2 dropped)");
    }
}
