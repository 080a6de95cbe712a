//! Ending one run of a child: the waits of a [`Stopping`], in an event loop.

use std::io::PipeWriter;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use longtake_process::{Census, Child, StopError, StopLadder, Stopped, Stopping, Wait};
use tokio::io::Interest;
use tokio::sync::oneshot;
use tokio::time::sleep_until;

use crate::census::{self, Answer};
use crate::watched::Watched;

/// How soon to try again when even `SIGKILL` has left somebody alive; every time twice as long.
const TRY_AGAIN: Duration = Duration::from_secs(1);
const TRY_AGAIN_AT_MOST: Duration = Duration::from_secs(30);

/// A run that is being ended.
#[derive(Debug)]
pub(crate) struct Ending {
    stopping: Stopping,
    wait: Waiting,
    try_again: Duration,
}

/// How far the ending is.
#[derive(Debug)]
pub(crate) enum Progress {
    /// These are left, as far as is known.
    Left(Vec<u32>),
    /// Nothing is left of it.
    Gone(Option<Stopped>),
    /// These are left after `SIGKILL`; it will be tried again.
    Stuck(Vec<u32>),
}

#[derive(Debug)]
enum Waiting {
    /// Nothing to wait for: go on at once.
    Nothing,
    For {
        file: Watched<OwnedFd>,
        until: Option<Instant>,
    },
    Until(Instant),
    Census(oneshot::Receiver<Answer>),
}

impl Ending {
    /// Begins; nothing happens before the first [`go_on`](Self::go_on).
    pub(crate) fn begin(ladder: StopLadder, stdin: Option<PipeWriter>) -> Self {
        let mut stopping = Stopping::new(ladder);
        if let Some(stdin) = stdin {
            stopping = stopping.stdin(stdin);
        }
        Self {
            stopping,
            wait: Waiting::Nothing,
            try_again: TRY_AGAIN,
        }
    }

    /// Goes on by this ladder, which is harsher.
    pub(crate) fn hasten(&mut self, ladder: StopLadder) {
        self.stopping.hasten(ladder);
        self.wait = Waiting::Nothing;
    }

    /// Waits until there is something to do, and gives the census that was waited for.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what is waited for is kept.
    pub(crate) async fn wake(&mut self) -> Option<Arc<Census>> {
        match &mut self.wait {
            Waiting::Nothing => None,
            Waiting::For { file, until } => {
                let ready = async {
                    // An error is as good as ready: whoever goes on will meet it.
                    drop(file.ready(Interest::READABLE | Interest::WRITABLE).await);
                };
                match until {
                    Some(until) => {
                        tokio::select! {
                            () = ready => {}
                            () = sleep_until((*until).into()) => {}
                        }
                    }
                    None => ready.await,
                }
                None
            }
            Waiting::Until(until) => {
                sleep_until((*until).into()).await;
                None
            }
            Waiting::Census(answer) => {
                let answer = answer.await;
                self.wait = Waiting::Nothing;
                match answer {
                    Ok(Ok(census)) => Some(census),
                    Ok(Err(error)) => {
                        tracing::error!(%error, "cannot look through the processes");
                        self.wait = Waiting::Until(Instant::now() + TRY_AGAIN);
                        None
                    }
                    Err(_) => None,
                }
            }
        }
    }

    /// Does what is to be done now.
    pub(crate) fn go_on(&mut self, child: &mut Child, census: Option<&Census>) -> Progress {
        let wait = self.stopping.go_on(child, census);
        self.wait = match wait {
            Wait::Readable { fd, until } => wait_for(fd, Interest::READABLE, until),
            Wait::Writable { fd, until } => wait_for(fd, Interest::WRITABLE, until),
            Wait::Until(until) => Waiting::Until(until),
            Wait::Census { not_before } => match not_before {
                Some(moment) if moment > Instant::now() => Waiting::Until(moment),
                _ => Waiting::Census(census::look(child.kin())),
            },
            Wait::Over(Ok(stopped)) => return Progress::Gone(Some(stopped)),
            Wait::Over(Err(error)) => return self.failed(error),
            _ => Waiting::Until(Instant::now() + TRY_AGAIN),
        };
        Progress::Left(self.stopping.left().to_vec())
    }

    fn failed(&mut self, error: StopError) -> Progress {
        let left = match error {
            StopError::StatusLost { .. } => return Progress::Gone(None),
            StopError::StillAlive { pids } => pids,
            error => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "cannot end a child"
                );
                self.stopping.left().to_vec()
            }
        };
        self.stopping = Stopping::new(StopLadder::kill_only());
        self.wait = Waiting::Until(Instant::now() + self.try_again);
        self.try_again = (2 * self.try_again).min(TRY_AGAIN_AT_MOST);
        Progress::Stuck(left)
    }
}

fn wait_for(fd: OwnedFd, interest: Interest, until: Option<Instant>) -> Waiting {
    match Watched::new(fd, interest) {
        Ok(file) => Waiting::For { file, until },
        Err(error) => {
            tracing::warn!(%error, "cannot wait for a process");
            let soon = Instant::now() + Duration::from_millis(10);
            Waiting::Until(until.map_or(soon, |until| until.min(soon)))
        }
    }
}
