//! Log lines on their way to standard error.

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

/// Lines that wait to be written, so that nobody who logs waits for whoever reads.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    state: Mutex<State>,
    changed: Condvar,
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
    /// Starts the thread that writes to `out`.
    pub(super) fn start(out: impl Write + Send + 'static) -> io::Result<Arc<Self>> {
        let backlog = Arc::new(Self::default());
        let shared = Arc::clone(&backlog);
        // Not joined: it may hang for ever in a write to a terminal that is held.
        thread::Builder::new()
            .name("logs".to_owned())
            .spawn(move || shared.write_to(out))?;
        Ok(backlog)
    }

    /// Where one line is written to, by one call of `write`.
    pub(super) fn writer(backlog: &Arc<Self>) -> impl Write + use<> {
        Line {
            backlog: Arc::clone(backlog),
        }
    }

    /// Waits until all lines are written, one second at most.
    pub(super) fn finish(&self) {
        let mut state = self.state.lock();
        state.stage = Stage::Closed;
        self.changed.notify_all();
        self.changed.wait_while_for(
            &mut state,
            |state| state.stage != Stage::Finished,
            LAST_LINES,
        );
    }

    fn push(&self, line: &[u8]) {
        self.state.lock().push(line);
        self.changed.notify_all();
    }

    fn write_to(&self, mut out: impl Write) {
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
            // Should it fail, there is no place left to say so; the next lines may fare better.
            out.write_all(&lines).unwrap_or(());
            if dropped_lines > 0 {
                warn!(
                    dropped_lines,
                    "standard error took no more; log lines dropped"
                );
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
        let backlog = Backlog::start(writer).unwrap();
        for line in [b"one\n", b"two\n"] {
            assert_eq!(Backlog::writer(&backlog).write(line).unwrap(), line.len());
        }
        backlog.finish();
        // The thread has closed its end; or this read would not return.
        let mut written = String::new();
        io::Read::read_to_string(&mut reader, &mut written).unwrap();
        assert_eq!(written, "one\ntwo\n");
    }
}
