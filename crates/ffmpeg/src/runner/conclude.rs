//! What becomes of a job when ffmpeg has ended: the verdict, and its outputs.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::drive::{Bounds, Ended, Told};
use super::error::{Failure, RunError};
use super::shared::Shared;
use super::staged::Staged;
use super::verify::{Measured, is_playable, measure};
use super::{Cancel, Outcome, Partial, Verify};
use crate::failure::{Ending, Kind, classify};
use crate::ffprobe::Ffprobe;
use crate::log_tail::Diagnostic;
use crate::tracker::{Phase, Tracker};
use crate::version::Version;

/// What a job has to be judged by.
#[derive(Debug)]
pub(super) struct Conclusion {
    pub(super) version: Version,
    pub(super) ffprobe: Ffprobe,
    pub(super) staged: Vec<Staged>,
    /// Outputs that are one file and are written in place, with their container.
    pub(super) in_place: Vec<(PathBuf, String)>,
    pub(super) expected: Option<Duration>,
    pub(super) verify: Verify,
    pub(super) bounds: Bounds,
    pub(super) started: Instant,
}

impl Conclusion {
    /// Judges how ffmpeg ended; keeps or discards what it wrote.
    pub(super) fn conclude(
        mut self,
        ended: Ended,
        tracker: &mut Tracker,
        shared: &Shared,
    ) -> Result<Outcome, RunError> {
        let ending = classify(ended.exit, &self.version, ended.told.is_some(), &ended.log);
        match (ended.told, ending) {
            (None, Ending::Finished) => self.succeed(ended, tracker, shared),
            // It was done when it was told to end; a discard is a discard all the same.
            (Some(told), Ending::Finished) if told != Told::Cancelled(Cancel::Discard) => {
                self.succeed(ended, tracker, shared)
            }
            (Some(Told::Cancelled(cancel)), _) => {
                let finalized = matches!(cancel, Cancel::Finalize { .. });
                let kept = if finalized { self.keep()? } else { Vec::new() };
                Err(RunError::Cancelled { kept })
            }
            (Some(Told::Stalled), ending) => {
                let limit = self.bounds.stall_after.unwrap_or_default();
                let failure = self.failure(ended, ending)?;
                Err(RunError::Stalled { limit, failure })
            }
            (Some(Told::Late), ending) => {
                let limit = self.bounds.deadline.unwrap_or_default();
                let failure = self.failure(ended, ending)?;
                Err(RunError::Deadline { limit, failure })
            }
            (None, Ending::Failed { kind, cause }) if ended.exit.success() => {
                self.ended_early(ended, kind, cause, tracker, shared)
            }
            (None, ending) => {
                let failure = self.failure(ended, ending)?;
                Err(RunError::Failed { failure })
            }
        }
    }

    /// ffmpeg says all is well; the output decides.
    fn succeed(
        self,
        ended: Ended,
        tracker: &mut Tracker,
        shared: &Shared,
    ) -> Result<Outcome, RunError> {
        match self.measure(tracker, shared) {
            Ok(duration) => self.commit(ended, duration, tracker, shared),
            Err(got) => self.incomplete(ended, got, Kind::Other, None),
        }
    }

    /// ffmpeg gave status 0, but its log tells of a failure: the output may be short, or there
    /// may be none. If it has the expected duration, nothing is missing.
    fn ended_early(
        mut self,
        ended: Ended,
        kind: Kind,
        cause: Option<Diagnostic>,
        tracker: &mut Tracker,
        shared: &Shared,
    ) -> Result<Outcome, RunError> {
        match self.measure(tracker, shared) {
            Ok(Some(duration)) if self.expected.is_some() && self.verify != Verify::Off => {
                self.commit(ended, Some(duration), tracker, shared)
            }
            Ok(Some(got)) => self.incomplete(ended, got, kind, cause),
            Err(got) if !got.is_zero() => self.incomplete(ended, got, kind, cause),
            Ok(None) | Err(_) => {
                let failure = self.failure(ended, Ending::Failed { kind, cause })?;
                Err(RunError::Failed { failure })
            }
        }
    }

    /// The duration of the shortest output, where it can be told; the error is a wrong one.
    fn measure(
        &self,
        tracker: &mut Tracker,
        shared: &Shared,
    ) -> Result<Option<Duration>, Duration> {
        let staged = self
            .staged
            .iter()
            .map(|staged| (staged.part(), staged.muxer.as_str()));
        let in_place = self
            .in_place
            .iter()
            .map(|(path, muxer)| (path.as_path(), muxer.as_str()));
        let outputs: Vec<_> = staged.chain(in_place).collect();
        if self.verify == Verify::Off || outputs.is_empty() {
            return Ok(None);
        }
        tracker.on_phase(Phase::Verifying, Instant::now());
        shared.publish(tracker);
        let mut shortest: Option<Duration> = None;
        for (path, muxer) in outputs {
            let plays = match measure(path, muxer, &self.ffprobe) {
                Measured::Plays(plays) => plays,
                Measured::Nothing => return Err(Duration::ZERO),
                Measured::Picture => continue,
                // What ffmpeg said is less than what it wrote, by the encoder's delay.
                Measured::Unknown => match (tracker.position(), self.expected) {
                    (Some(position), _) => position,
                    (None, Some(_)) => return Err(Duration::ZERO),
                    (None, None) => continue,
                },
            };
            if !self.is_as_expected(plays) {
                return Err(plays);
            }
            shortest = Some(shortest.map_or(plays, |shortest| shortest.min(plays)));
        }
        Ok(shortest)
    }

    fn is_as_expected(&self, plays: Duration) -> bool {
        match (self.expected, self.verify) {
            (Some(expected), Verify::Duration { tolerance }) => {
                plays.abs_diff(expected) <= tolerance
            }
            _ => true,
        }
    }

    fn commit(
        mut self,
        ended: Ended,
        duration: Option<Duration>,
        tracker: &mut Tracker,
        shared: &Shared,
    ) -> Result<Outcome, RunError> {
        let mut outputs = Vec::new();
        for staged in &mut self.staged {
            staged.commit()?;
            outputs.push(staged.path.clone());
        }
        outputs.extend(self.in_place.into_iter().map(|(path, _)| path));
        tracker.on_phase(Phase::Done, Instant::now());
        shared.publish(tracker);
        let warnings = ended
            .log
            .errors()
            .chain(ended.log.warnings().iter().cloned())
            .collect();
        Ok(Outcome {
            outputs,
            duration,
            warnings,
            usage: ended.usage,
            elapsed: self.started.elapsed(),
        })
    }

    fn incomplete(
        mut self,
        ended: Ended,
        got: Duration,
        kind: Kind,
        cause: Option<Diagnostic>,
    ) -> Result<Outcome, RunError> {
        let expected = self.expected;
        let failure = self.failure(ended, Ending::Failed { kind, cause })?;
        Err(RunError::Incomplete {
            expected,
            got,
            failure,
        })
    }

    fn failure(&mut self, ended: Ended, ending: Ending) -> Result<Box<Failure>, RunError> {
        let (kind, cause) = match ending {
            Ending::Failed { kind, cause } => (kind, cause),
            Ending::Finished | Ending::Stopped => (Kind::Killed, None),
        };
        let kept = if self.bounds.partial == Partial::Keep {
            self.keep()?
        } else {
            Vec::new()
        };
        Ok(Box::new(Failure {
            kind,
            exit: ended.exit,
            cause,
            log: ended.log,
            kept,
        }))
    }

    /// Puts what can be played in its place, and names it.
    fn keep(&mut self) -> Result<Vec<PathBuf>, RunError> {
        let mut kept = Vec::new();
        for staged in &mut self.staged {
            if is_playable(staged.part(), &staged.muxer) {
                staged.commit()?;
                kept.push(staged.path.clone());
            }
        }
        for (path, muxer) in &self.in_place {
            if is_playable(path, muxer) {
                kept.push(path.clone());
            }
        }
        Ok(kept)
    }
}
