//! What one run of a child has said, in bounded memory, as it came: whoever shows it redacts it.

use std::time::Instant;

use longtake_process::{BoundedLog, LineSplitter, LogLimits};

use crate::output::Stream;
use crate::rate::LineRate;
use crate::redaction::Redaction;
use crate::severity;
use crate::warnings::{Warning, Warnings};

/// The logged outputs of one run.
#[derive(Debug)]
pub(crate) struct Journal {
    logs: [Log; 2],
    warnings: Warnings,
    limits: LogLimits,
}

#[derive(Debug)]
struct Log {
    splitter: LineSplitter,
    kept: BoundedLog,
}

impl Log {
    fn new(limits: &LogLimits) -> Self {
        Self {
            splitter: LineSplitter::default(),
            kept: BoundedLog::new(limits.clone()),
        }
    }
}

impl Journal {
    pub(crate) fn new(limits: &LogLimits, rate: LineRate, redaction: &Redaction) -> Self {
        Self {
            logs: [Log::new(limits), Log::new(limits)],
            warnings: Warnings::new(redaction.clone(), rate),
            limits: limits.clone(),
        }
    }

    /// Takes the next bytes of an output; gives what of them is to be logged.
    pub(crate) fn push(&mut self, stream: Stream, bytes: &[u8], now: Instant) -> Vec<Warning> {
        let Self { logs, warnings, .. } = self;
        let log = &mut logs[stream as usize];
        let mut found = Vec::new();
        // Few pieces hold errors, and most of them can be told as a whole. Of a line that began in the
        // piece before only its end is in this one, so that it is looked at by itself.
        let hint = severity::may_hold_errors(bytes);
        let Log { splitter, kept } = log;
        let mut began_before = !splitter.begun().is_empty();
        splitter.push(bytes, |line| {
            let look = hint || std::mem::take(&mut began_before);
            if look && severity::names_error(line.bytes()) {
                kept.push_error(line);
                found.extend(warnings.on_line(line.bytes(), now));
            } else {
                kept.push(line);
            }
        });
        found
    }

    /// The output has ended: a line that had no end is one now.
    pub(crate) fn finish(&mut self, stream: Stream, now: Instant) -> Vec<Warning> {
        let Self { logs, warnings, .. } = self;
        let Log { splitter, kept } = &mut logs[stream as usize];
        let mut found = Vec::new();
        splitter.finish(|line| {
            if severity::names_error(line.bytes()) {
                kept.push_error(line);
                found.extend(warnings.on_line(line.bytes(), now));
            } else {
                kept.push(line);
            }
        });
        found
    }

    /// A new run says what comes from now on. How much may be logged goes on from the one before.
    pub(crate) fn begin_run(&mut self) {
        self.logs = [Log::new(&self.limits), Log::new(&self.limits)];
    }

    /// What is to be logged because time has passed.
    pub(crate) fn check(&mut self, now: Instant) -> Option<Warning> {
        self.warnings.check(now)
    }

    /// When to [`check`](Self::check).
    pub(crate) fn next_check(&self) -> Option<Instant> {
        self.warnings.next_check()
    }

    /// What is to be logged because the run is over, and how many errors will not be.
    pub(crate) fn conclude(&mut self) -> (Option<Warning>, u64) {
        let last = self.warnings.finish();
        (last, self.warnings.take_suppressed())
    }

    /// The last lines of one output as they came, with one that has begun and not ended.
    pub(crate) fn last_lines(&self, stream: Stream, most: usize) -> Vec<String> {
        let Log { splitter, kept } = &self.logs[stream as usize];
        let begun = splitter.begun();
        let begun = (!begun.is_empty()).then(|| String::from_utf8_lossy(begun).into_owned());
        let mut lines: Vec<String> = kept.lines().map(ToString::to_string).chain(begun).collect();
        lines.split_off(lines.len().saturating_sub(most))
    }

    /// What is kept of one output as it came, with a note where lines are left out.
    pub(crate) fn text(&self, stream: Stream) -> String {
        self.logs[stream as usize].kept.to_string()
    }

    /// How many lines of one output came, and how many of them are not kept.
    pub(crate) fn counts(&self, stream: Stream) -> (u64, u64) {
        let kept = &self.logs[stream as usize].kept;
        (kept.total_lines(), kept.dropped_lines())
    }
}
