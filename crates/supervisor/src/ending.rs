//! Ending one run of a child: the waits of a [`Stopping`], in an event loop.

use std::io::{self, PipeWriter};
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
    wait: Wake,
    try_again: Duration,
}

/// How far the ending is.
#[derive(Debug)]
pub(crate) enum Remains {
    /// These are left, as far as is known.
    Left(Vec<u32>),
    /// Nothing is left of it.
    Gone(Option<Stopped>),
    /// These are left after `SIGKILL`; it will be tried again.
    Stuck(Vec<u32>),
}

#[derive(Debug)]
enum Wake {
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
            wait: Wake::Nothing,
            try_again: TRY_AGAIN,
        }
    }

    /// Goes on by this ladder, which is harsher.
    pub(crate) fn hasten(&mut self, ladder: StopLadder) {
        self.stopping.hasten(ladder);
        self.wait = Wake::Nothing;
    }

    /// Waits until there is something to do, and gives the census that was waited for.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what is waited for is kept.
    pub(crate) async fn wake(&mut self) -> Option<Arc<Census>> {
        match &mut self.wait {
            Wake::Nothing => None,
            Wake::For { file, until } => {
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
            Wake::Until(until) => {
                sleep_until((*until).into()).await;
                None
            }
            Wake::Census(answer) => {
                let answer = answer.await;
                self.wait = Wake::Nothing;
                let died = |_| Err(io::Error::other("the thread that looks has died"));
                match answer.unwrap_or_else(died) {
                    Ok(census) => Some(census),
                    Err(error) => {
                        self.stopping.census_failed(error);
                        None
                    }
                }
            }
        }
    }

    /// Does what is to be done now.
    pub(crate) fn go_on(&mut self, child: &mut Child, census: Option<&Census>) -> Remains {
        let wait = self.stopping.go_on(child, census);
        self.wait = match wait {
            Wait::Readable { fd, until } => wait_for(fd, Interest::READABLE, until),
            Wait::Writable { fd, until } => wait_for(fd, Interest::WRITABLE, until),
            Wait::Until(until) => Wake::Until(until),
            Wait::Census { not_before } => match not_before {
                Some(moment) if moment > Instant::now() => Wake::Until(moment),
                _ => Wake::Census(census::look(child.kin())),
            },
            Wait::Over(Ok(stopped)) => return Remains::Gone(Some(stopped)),
            Wait::Over(Err(error)) => return self.failed(error),
            _ => Wake::Until(Instant::now() + TRY_AGAIN),
        };
        Remains::Left(self.stopping.left().to_vec())
    }

    fn failed(&mut self, error: StopError) -> Remains {
        let left = match error {
            StopError::StatusLost { .. } => return Remains::Gone(None),
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
        self.wait = Wake::Until(Instant::now() + self.try_again);
        self.try_again = (2 * self.try_again).min(TRY_AGAIN_AT_MOST);
        Remains::Stuck(left)
    }
}

fn wait_for(fd: OwnedFd, interest: Interest, until: Option<Instant>) -> Wake {
    match Watched::new(fd, interest) {
        Ok(file) => Wake::For { file, until },
        Err(error) => {
            tracing::warn!(%error, "cannot wait for a process");
            let soon = Instant::now() + Duration::from_millis(10);
            Wake::Until(until.map_or(soon, |until| until.min(soon)))
        }
    }
}
