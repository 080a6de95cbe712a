//! What a job's thread and its watchers share.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::sys::eventfd::{EfdFlags, EventFd};
use parking_lot::{Condvar, Mutex};

use super::Cancel;
use crate::tracker::{Progress, Tracker};

/// The newest progress, and the wish to cancel. Nobody here waits for anybody else: the job's
/// thread replaces the newest value, and a watcher that is slow misses those in between.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Wakes the job's thread out of its poll.
    wake: EventFd,
    #[cfg(feature = "tokio")]
    notify: tokio::sync::Notify,
}

#[derive(Debug)]
struct State {
    tracker: Tracker,
    /// Counts the changes of `tracker`.
    change: u64,
    cancel: Option<Cancel>,
    over: bool,
}

/// What a watcher finds when it looks.
#[derive(Debug, Clone, Copy)]
pub(super) enum News {
    /// Something newer than it had seen.
    Progress(Progress, u64),
    /// Nothing newer.
    None,
    /// Nothing newer, and there will not be.
    Over,
}

impl Shared {
    pub(super) fn new(tracker: Tracker) -> io::Result<Self> {
        Ok(Self {
            state: Mutex::new(State {
                tracker,
                change: 0,
                cancel: None,
                over: false,
            }),
            changed: Condvar::new(),
            wake: EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?,
            #[cfg(feature = "tokio")]
            notify: tokio::sync::Notify::new(),
        })
    }

    /// Hands over the newest state of the job.
    pub(super) fn publish(&self, tracker: &Tracker) {
        let mut state = self.state.lock();
        state.tracker.clone_from(tracker);
        state.change += 1;
        drop(state);
        self.tell();
    }

    /// Says that the job's thread is at its end.
    pub(super) fn end(&self) {
        self.state.lock().over = true;
        self.tell();
    }

    /// Asks the job's thread to cancel. To discard outdoes to finalize; else the first wish counts.
    pub(super) fn cancel(&self, cancel: Cancel) {
        let mut state = self.state.lock();
        if state.cancel.is_none() || cancel == Cancel::Discard {
            state.cancel = Some(cancel);
        }
        drop(state);
        if let Err(error) = self.wake.write(1) {
            tracing::warn!(%error, "waking the thread of a job failed");
        }
    }

    /// The wish to cancel, if somebody has it. Call it again when [`Shared::wake_fd`] is readable.
    pub(super) fn cancelled(&self) -> Option<Cancel> {
        // An empty counter is no error.
        let _count = self.wake.read();
        self.state.lock().cancel
    }

    pub(super) fn wake_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    pub(super) fn progress(&self) -> Progress {
        self.state.lock().tracker.progress(Instant::now())
    }

    pub(super) fn is_over(&self) -> bool {
        self.state.lock().over
    }

    /// Looks for something newer than `seen` and waits for it until `deadline`.
    pub(super) fn news(&self, seen: u64, deadline: Option<Instant>) -> News {
        let mut state = self.state.lock();
        loop {
            let news = state.news(seen);
            if !matches!(news, News::None) {
                return news;
            }
            match deadline {
                None => self.changed.wait(&mut state),
                Some(deadline) => {
                    if self.changed.wait_until(&mut state, deadline).timed_out() {
                        return state.news(seen);
                    }
                }
            }
        }
    }

    /// Waits until the job's thread is at its end; false when `limit` is over before.
    pub(super) fn wait_over(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut state = self.state.lock();
        while !state.over {
            if self.changed.wait_until(&mut state, deadline).timed_out() {
                return state.over;
            }
        }
        true
    }

    #[cfg(feature = "tokio")]
    pub(super) async fn news_async(&self, seen: u64) -> News {
        loop {
            let mut notified = std::pin::pin!(self.notify.notified());
            // From here on no notification is missed.
            notified.as_mut().enable();
            let news = self.state.lock().news(seen);
            if !matches!(news, News::None) {
                return news;
            }
            notified.await;
        }
    }

    fn tell(&self) {
        self.changed.notify_all();
        #[cfg(feature = "tokio")]
        self.notify.notify_waiters();
    }
}

impl State {
    fn news(&self, seen: u64) -> News {
        if self.change > seen {
            News::Progress(self.tracker.progress(Instant::now()), self.change)
        } else if self.over {
            News::Over
        } else {
            News::None
        }
    }
}
