//! Threads that are started before they have something to do.

use std::{
    io,
    thread::{self, JoinHandle},
};

use crossbeam_channel::{Sender, bounded};
use tracing::error;

type Work<T> = Box<dyn FnOnce() -> T + Send>;

/// A thread that waits for its work, so that a system that is out of threads says so before anything
/// was begun. It ends when it is dropped.
pub(super) struct WaitingThread<T> {
    work: Sender<Work<T>>,
    handle: JoinHandle<Option<T>>,
}

/// A thread that works.
#[derive(Debug)]
pub(super) struct WorkingThread<T> {
    handle: JoinHandle<Option<T>>,
}

impl<T: Send + 'static> WaitingThread<T> {
    pub(super) fn spawn(name: &str) -> io::Result<Self> {
        let (work, given) = bounded::<Work<T>>(1);
        let handle = thread::Builder::new()
            .name(name.into())
            .spawn(move || given.recv().ok().map(|work| work()))?;
        Ok(Self { work, handle })
    }

    pub(super) fn start(self, work: impl FnOnce() -> T + Send + 'static) -> WorkingThread<T> {
        self.work
            .send(Box::new(work))
            .expect("the thread waits for its work");
        WorkingThread {
            handle: self.handle,
        }
    }
}

impl<T> WorkingThread<T> {
    /// Waits until the work is done; `None` when it panicked, which is a defect of ours. The rest of
    /// the recording is saved.
    pub(super) fn join(self) -> Option<T> {
        let name = self.handle.thread().name().unwrap_or_default().to_owned();
        let joined = self.handle.join();
        if joined.is_err() {
            error!(thread = name, "a thread of the recording panicked");
        }
        joined.ok().flatten()
    }
}
