//! The thread of a job: it reads everything that ffmpeg says, at once, and ends it when told.
//!
//! ffmpeg stands still for ever when nobody reads its progress, and does not even obey a signal
//! then. So this thread waits for nothing but its pipes: watchers take the newest value from
//! [`Shared`], and checking the output comes after ffmpeg's end.

use std::io::PipeReader;
use std::os::fd::AsFd;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use longtake_process::{Child, LineSplitter, Signal, Usage};

use super::error::RunError;
use super::shared::Shared;
use super::shutdown::{Blow, Shutdown};
use super::stall::{StallWatch, Work};
use super::{Cancel, Partial};
use crate::log_tail::LogTail;
use crate::pipes::{Source, Turn, wait_readable};
use crate::progress::ProgressParser;
use crate::tracker::{Phase, Tracker};

/// What `faststart` announces itself with.
const SECOND_PASS: &[u8] = b"Starting second pass";

/// How long a late job may take to finish the part that is to be kept; much lookahead takes
/// seconds.
const LATE_GRACE: Duration = Duration::from_secs(5);

/// The same for a stalled job. Its input blocks, so that the first signal seldom helps.
const STALLED_GRACE: Duration = Duration::from_secs(1);

/// What bounds a job.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) stall_after: Option<Duration>,
    pub(super) deadline: Option<Duration>,
    pub(super) partial: Partial,
}

/// Why ffmpeg was told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Cancelled(Cancel),
    Stalled,
    Late,
}

/// How ffmpeg ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) exit: ExitStatus,
    pub(super) told: Option<Told>,
    pub(super) log: LogTail,
    pub(super) usage: Usage,
}

/// A running ffmpeg and all that is read from it.
#[derive(Debug)]
pub(super) struct Driver {
    child: Child,
    progress: Source,
    stderr: Source,
    parser: ProgressParser,
    lines: LineSplitter,
    log: LogTail,
    bounds: Bounds,
    started: Instant,
    stall: Option<StallWatch>,
    told: Option<Told>,
    shutdown: Option<Shutdown>,
}

impl Driver {
    pub(super) fn new(
        mut child: Child,
        progress: PipeReader,
        bounds: Bounds,
    ) -> Result<Self, RunError> {
        let started = Instant::now();
        let stderr = child.take_stderr().expect("stderr is a pipe");
        Ok(Self {
            child,
            progress: Source::new(progress).map_err(RunError::Resources)?,
            stderr: Source::new(stderr).map_err(RunError::Resources)?,
            parser: ProgressParser::new(),
            lines: LineSplitter::default(),
            log: LogTail::new(),
            bounds,
            started,
            stall: bounds
                .stall_after
                .map(|limit| StallWatch::new(limit, started)),
            told: None,
            shutdown: None,
        })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Reads until ffmpeg has ended and nothing of it is left.
    pub(super) fn run(
        mut self,
        tracker: &mut Tracker,
        shared: &Arc<Shared>,
    ) -> Result<Ended, RunError> {
        let mut buffer = vec![0; 64 << 10];
        loop {
            // Asked before reading: what an exited child has written is in the pipes already.
            let has_ended = !matches!(self.child.try_wait(), Ok(None));
            let more = self.read(&mut buffer, tracker, shared);
            if has_ended && !more {
                break;
            }
            self.look_after(shared);
            if !more {
                self.wait(shared);
            }
        }
        self.lines.finish(|line| {
            self.log.push(line);
        });
        let usage = self.child.usage().unwrap_or_default();
        // The leader is gone; this ends what it may have left behind, and reaps it.
        let stopped = self.child.kill().map_err(RunError::Stop)?;
        Ok(Ended {
            exit: stopped.status,
            told: self.told,
            log: self.log,
            usage,
        })
    }

    /// Reads one turn of both pipes; true when more may be there.
    fn read(&mut self, buffer: &mut [u8], tracker: &mut Tracker, shared: &Shared) -> bool {
        let now = Instant::now();
        let (mut changed, mut advanced) = (false, false);
        let parser = &mut self.parser;
        let of_progress = self.progress.read_turn(buffer, |bytes| {
            parser.push(bytes, |block| {
                advanced |= tracker.on_block(block, now);
                changed = true;
            });
        });
        let (lines, log) = (&mut self.lines, &mut self.log);
        let of_stderr = self.stderr.read_turn(buffer, |bytes| {
            lines.push(bytes, |line| {
                if log.push(line).text.starts_with(SECOND_PASS) {
                    tracker.on_phase(Phase::Finalizing, now);
                    changed = true;
                }
            });
        });
        if let (true, Some(stall)) = (advanced, &mut self.stall) {
            stall.on_advance(now);
        }
        if changed {
            shared.publish(tracker);
        }
        of_progress == Turn::More || of_stderr == Turn::More
    }

    /// Ends ffmpeg when it was cancelled, stands still, or is late.
    fn look_after(&mut self, shared: &Shared) {
        let now = Instant::now();
        match (shared.cancelled(), self.told) {
            (Some(cancel), None) => self.tell(Told::Cancelled(cancel), now),
            (Some(Cancel::Discard), Some(told)) if told != Told::Cancelled(Cancel::Discard) => {
                self.tell(Told::Cancelled(Cancel::Discard), now);
            }
            _ => {}
        }
        if self.told.is_none() && self.late_at().is_some_and(|late| late <= now) {
            self.tell(Told::Late, now);
        }
        if self.told.is_none() && self.is_stalled(now) {
            self.tell(Told::Stalled, now);
        }
        match self
            .shutdown
            .as_mut()
            .and_then(|shutdown| shutdown.next(now))
        {
            None => {}
            Some(Blow::Terminate) => {
                // A stopped process obeys nothing before it goes on.
                self.signal(Signal::Term);
                self.signal(Signal::Cont);
            }
            Some(Blow::Kill) => self.signal(Signal::Kill),
        }
    }

    fn tell(&mut self, told: Told, now: Instant) {
        let grace = match told {
            Told::Cancelled(Cancel::Discard) => None,
            Told::Cancelled(Cancel::Finalize { grace }) => Some(grace),
            _ if self.bounds.partial == Partial::Discard => None,
            Told::Stalled => Some(STALLED_GRACE),
            Told::Late => Some(LATE_GRACE),
        };
        self.told = Some(told);
        self.shutdown = Some(match grace {
            None => Shutdown::kill(now),
            Some(grace) => Shutdown::finalize(grace, now),
        });
    }

    fn signal(&self, signal: Signal) {
        if let Err(error) = self.child.signal_group(signal) {
            tracing::debug!(%error, %signal, "a signal did not reach ffmpeg");
        }
    }

    fn is_stalled(&mut self, now: Instant) -> bool {
        let Some(stall) = &mut self.stall else {
            return false;
        };
        if now < stall.next_look() {
            return false;
        }
        let usage = self.child.usage().unwrap_or_default();
        let written_bytes = usage.io.map_or(0, |io| io.written_bytes);
        stall.is_stalled(
            Work {
                cpu_time: usage.cpu_time(),
                written_bytes,
            },
            now,
        )
    }

    fn late_at(&self) -> Option<Instant> {
        self.started.checked_add(self.bounds.deadline?)
    }

    /// Waits until something can be read, ffmpeg ends, somebody cancels, or it is time to act.
    fn wait(&self, shared: &Shared) {
        let next = match (&self.shutdown, self.told) {
            (Some(shutdown), _) => Some(shutdown.next_at()),
            (None, _) => {
                let look = self.stall.as_ref().map(StallWatch::next_look);
                [self.late_at(), look].into_iter().flatten().min()
            }
        };
        let files = [
            Some(self.child.as_fd()),
            Some(shared.wake_fd()),
            self.progress.fd(),
            self.stderr.fd(),
        ];
        let files: Vec<_> = files.into_iter().flatten().collect();
        wait_readable(&files, next);
    }
}
