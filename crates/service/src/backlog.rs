//! Lines on their way to standard error or standard output.

use std::{
    io::{self, Write},
    mem,
    sync::Arc,
    thread,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use tracing::warn;

/// How many bytes of lines may wait. As many again may be in the writing thread's hands.
const MAX_BYTES: usize = 1 << 20;

/// How long the end of the program waits for the last lines.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Lines that wait to be written, so that nobody who logs or prints waits for whoever reads.
#[derive(Debug)]
pub(crate) struct Backlog {
    target: Target,
    state: Mutex<State>,
    changed: Condvar,
}

/// Where lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    StandardError,
    StandardOutput,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<u8>,
    dropped_lines: u64,
    stage: Stage,
}

#[derive(Debug, Default, PartialEq)]
enum Stage {
    #[default]
    Open,
    /// No line comes after those that wait.
    Closed,
    /// All that waited is written.
    Finished,
}

impl Backlog {
    /// Starts the thread that writes to `out`, which is `target`.
    pub(crate) fn start(target: Target, out: impl Write + Send + 'static) -> io::Result<Arc<Self>> {
        let backlog = Arc::new(Self {
            target,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let shared = Arc::clone(&backlog);
        // Not joined: it may hang for ever in a write to a terminal that is held.
        thread::Builder::new()
            .name(target.thread_name().to_owned())
            .spawn(move || shared.write_to(out))?;
        Ok(backlog)
    }

    /// Where one line is written to, by one call of `write`.
    pub(crate) fn writer(backlog: &Arc<Self>) -> impl Write + use<> {
        Line {
            backlog: Arc::clone(backlog),
        }
    }

    /// Waits until all lines are written, one second at most, and says whether they were.
    pub(crate) fn finish(&self) -> bool {
        let mut state = self.state.lock();
        state.stage = Stage::Closed;
        self.changed.notify_all();
        let waited = self.changed.wait_while_for(
            &mut state,
            |state| state.stage != Stage::Finished,
            LAST_LINES,
        );
        !waited.timed_out()
    }

    pub(crate) fn push(&self, line: &[u8]) {
        self.state.lock().push(line);
        self.changed.notify_all();
    }

    fn write_to(&self, mut out: impl Write) {
        let mut told = false;
        loop {
            let mut state = self.state.lock();
            self.changed.wait_while(&mut state, |state| state.is_idle());
            let lines = mem::take(&mut state.lines);
            let dropped_lines = mem::take(&mut state.dropped_lines);
            if lines.is_empty() && dropped_lines == 0 {
                state.stage = Stage::Finished;
                self.changed.notify_all();
                return;
            }
            drop(state);
            let written = out.write_all(&lines).and_then(|()| out.flush());
            if let Err(error) = written {
                self.target.tell_fault(&error, &mut told);
            }
            if dropped_lines > 0 {
                self.target.tell_dropped(dropped_lines);
            }
        }
    }
}

impl Target {
    const fn thread_name(self) -> &'static str {
        match self {
            Self::StandardError => "logs",
            Self::StandardOutput => "printer",
        }
    }

    /// Says once that lines are lost. What standard error does not take has no place where it could be
    /// said; the next lines may fare better.
    fn tell_fault(self, error: &io::Error, told: &mut bool) {
        if self == Self::StandardOutput && !mem::replace(told, true) {
            warn!(
                error = error as &dyn std::error::Error,
                "standard output takes no more, and is done without"
            );
        }
    }

    fn tell_dropped(self, dropped_lines: u64) {
        match self {
            Self::StandardError => {
                warn!(
                    dropped_lines,
                    "standard error took no more; log lines dropped"
                );
            }
            Self::StandardOutput => {
                warn!(dropped_lines, "standard output took no more; lines dropped");
            }
        }
    }
}

impl State {
    /// Takes in a line, or counts it when there is no room.
    fn push(&mut self, line: &[u8]) {
        if self.lines.len() + line.len() <= MAX_BYTES {
            self.lines.extend_from_slice(line);
        } else {
            self.dropped_lines += 1;
        }
    }

    /// Whether there is nothing to do yet.
    fn is_idle(&self) -> bool {
        self.lines.is_empty() && self.dropped_lines == 0 && self.stage == Stage::Open
    }
}

struct Line {
    backlog: Arc<Backlog>,
}

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.backlog.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_backlog_counts_what_it_drops() {
        let mut state = State::default();
        let line = vec![b'x'; MAX_BYTES / 2];
        for _ in 0..5 {
            state.push(&line);
        }
        assert_eq!((state.lines.len(), state.dropped_lines), (MAX_BYTES, 3));
    }

    #[test]
    fn a_finished_backlog_has_written_all() {
        let (mut reader, writer) = io::pipe().unwrap();
        let backlog = Backlog::start(Target::StandardError, writer).unwrap();
        for line in [b"one\n", b"two\n"] {
            assert_eq!(Backlog::writer(&backlog).write(line).unwrap(), line.len());
        }
        assert!(backlog.finish());
        // The thread has closed its end; or this read would not return.
        let mut written = String::new();
        io::Read::read_to_string(&mut reader, &mut written).unwrap();
        assert_eq!(written, "one\ntwo\n");
    }
}
