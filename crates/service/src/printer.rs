//! What a daemon prints on standard output.

use std::{io, sync::Arc};

use tracing::warn;

use crate::backlog::{Backlog, Target};

/// Prints on standard output without ever waiting for whoever reads it.
///
/// Text is written by a thread of its own. Up to 1 MiB of it may wait; what finds no room is dropped
/// and counted in the log. A standard output that is closed is told once in the log, and done without:
/// a consumer that dies must not end the daemon.
///
/// Dropping it waits one second at most for what was printed last.
#[derive(Debug)]
pub struct Printer {
    backlog: Arc<Backlog>,
}

impl Printer {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// The system gives no more threads.
    pub fn start() -> io::Result<Self> {
        let backlog = Backlog::start(Target::StandardOutput, io::stdout())?;
        Ok(Self { backlog })
    }

    /// Prints `text` as it is, soon. Text that is printed at once stays together.
    pub fn print(&self, text: &str) {
        self.backlog.push(text.as_bytes());
    }
}

impl Drop for Printer {
    fn drop(&mut self) {
        if !self.backlog.finish() {
            warn!("standard output took no more; the last lines are lost");
        }
    }
}
