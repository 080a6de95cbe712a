//! What of a child's errors goes into our own log.

use std::time::{Duration, Instant};

use crate::rate::{LineRate, RateLimiter};
use crate::redaction::Redaction;

/// How many characters of a line are logged.
const MAX_CHARS: usize = 200;

/// After that time repeats are told although the line is still repeated.
const TELL_REPEATS_AFTER: Duration = Duration::from_secs(10);

/// One line to log at level `warn`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Warning {
    /// The line, redacted; `…` stands behind its first 200 characters if it has more.
    pub text: String,
    /// 0 when the line is told for the first time; else how many times it came again since.
    pub repeats: u64,
    /// How many lines were not told since the warning before, as there were too many.
    pub suppressed: u64,
}

/// From the lines of a child that name errors to what is logged of them.
///
/// A line is told at once, unless there are too many. While it is repeated it is counted, and the count
/// is told when another line comes, or 10 s after the first repeat that was not told. Only lines, not
/// these counts, are held to the rate. Every line is told, counted as a repeat or counted as suppressed.
#[derive(Debug)]
pub(crate) struct Warnings {
    redaction: Redaction,
    limiter: RateLimiter,
    last: Option<Told>,
}

/// The line that was told last, while no other came.
#[derive(Debug)]
struct Told {
    line: Vec<u8>,
    text: String,
    repeats: u64,
    /// When the first of these repeats came.
    repeated_since: Option<Instant>,
}

impl Warnings {
    /// Nothing told yet.
    pub(crate) fn new(redaction: Redaction, rate: LineRate) -> Self {
        Self {
            redaction,
            limiter: RateLimiter::new(rate),
            last: None,
        }
    }

    /// Takes a line, and gives what is to be logged: first the repeats of the line before.
    pub(crate) fn on_line(
        &mut self,
        line: &[u8],
        now: Instant,
    ) -> impl Iterator<Item = Warning> + use<> {
        let (repeats, first) = match self.last.as_mut().filter(|last| last.line == line) {
            Some(last) => {
                last.repeats += 1;
                last.repeated_since.get_or_insert(now);
                (self.check(now), None)
            }
            None => (self.finish(), self.tell(line, now)),
        };
        repeats.into_iter().chain(first)
    }

    /// Gives the repeats that have waited for 10 s.
    pub(crate) fn check(&mut self, now: Instant) -> Option<Warning> {
        self.next_check()
            .filter(|at| *at <= now)
            .and_then(|_| self.take_repeats())
    }

    /// When [`check`](Self::check) has something to give; `None` until a line is repeated.
    pub(crate) fn next_check(&self) -> Option<Instant> {
        let since = self.last.as_ref()?.repeated_since?;
        since.checked_add(TELL_REPEATS_AFTER)
    }

    /// Gives the repeats at once: the child is gone, or says something else.
    pub(crate) fn finish(&mut self) -> Option<Warning> {
        let repeats = self.take_repeats();
        self.last = None;
        repeats
    }

    /// How many lines were not told since the last warning.
    pub(crate) fn take_suppressed(&mut self) -> u64 {
        self.limiter.take_refused()
    }

    fn tell(&mut self, line: &[u8], now: Instant) -> Option<Warning> {
        if !self.limiter.allow(now) {
            return None;
        }
        let text = String::from_utf8_lossy(line);
        let text = cut(&self.redaction.apply(&text));
        self.last = Some(Told {
            line: line.to_vec(),
            text: text.clone(),
            repeats: 0,
            repeated_since: None,
        });
        Some(Warning {
            text,
            repeats: 0,
            suppressed: self.take_suppressed(),
        })
    }

    fn take_repeats(&mut self) -> Option<Warning> {
        let last = self.last.as_mut()?;
        last.repeated_since.take()?;
        Some(Warning {
            text: last.text.clone(),
            repeats: std::mem::take(&mut last.repeats),
            suppressed: self.take_suppressed(),
        })
    }
}

/// The beginning of `text`, with `…` behind it if there is more.
fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn warning(text: &str, repeats: u64, suppressed: u64) -> Warning {
        Warning {
            text: text.to_owned(),
            repeats,
            suppressed,
        }
    }

    #[track_caller]
    fn check(warnings: &mut Warnings, line: &str, now: Instant, want: &[Warning]) {
        let told: Vec<_> = warnings.on_line(line.as_bytes(), now).collect();
        assert_eq!(told, want, "{line:?}");
    }

    #[test]
    fn repeats_are_told_with_the_next_line() {
        let now = Instant::now();
        let mut warnings = Warnings::new(Redaction::default(), LineRate::default());
        check(&mut warnings, "a", now, &[warning("a", 0, 0)]);
        check(&mut warnings, "b", now, &[warning("b", 0, 0)]);
        for _ in 0..41 {
            check(&mut warnings, "b", now, &[]);
        }
        let want = [warning("b", 41, 0), warning("a", 0, 0)];
        check(&mut warnings, "a", now, &want);
        assert_eq!(warnings.finish(), None);
    }

    #[test]
    fn repeats_are_told_after_ten_seconds() {
        let start = Instant::now();
        let mut warnings = Warnings::new(Redaction::default(), LineRate::default());
        check(&mut warnings, "a", start, &[warning("a", 0, 0)]);
        assert_eq!(warnings.next_check(), None, "no timer without a repeat");
        check(&mut warnings, "a", start + ms(500), &[]);
        check(&mut warnings, "a", start + ms(900), &[]);
        let due = start + ms(10_500);
        assert_eq!(warnings.next_check(), Some(due));
        assert_eq!(warnings.check(start + ms(10_499)), None);
        assert_eq!(warnings.check(due), Some(warning("a", 2, 0)));
        assert_eq!(warnings.check(due), None);
        // The flood goes on: it is told every 10 s, even if nobody calls `check`.
        check(&mut warnings, "a", start + ms(20_000), &[]);
        check(
            &mut warnings,
            "a",
            start + ms(30_000),
            &[warning("a", 2, 0)],
        );
        check(&mut warnings, "a", start + ms(30_001), &[]);
        assert_eq!(warnings.finish(), Some(warning("a", 1, 0)));
    }

    #[test]
    fn too_many_are_suppressed_and_counted() {
        let start = Instant::now();
        let mut warnings = Warnings::new(Redaction::default(), LineRate::default());
        let told = (0..100)
            .flat_map(|number| warnings.on_line(format!("line {number}").as_bytes(), start))
            .count();
        assert_eq!(told, 20);
        let want = warning("line 100", 0, 80);
        check(&mut warnings, "line 100", start + ms(200), &[want]);
    }

    #[test]
    fn secrets_go_before_the_line_is_cut() {
        let now = Instant::now();
        let redaction = Redaction::default().secret("hunter2");
        let mut warnings = Warnings::new(redaction, LineRate::default());
        let line = format!("{}hunter2 and more", "ü".repeat(196));
        let want = format!("{}*** …", "ü".repeat(196));
        check(&mut warnings, &line, now, &[warning(&want, 0, 0)]);
        let line = "é".repeat(200);
        check(&mut warnings, &line, now, &[warning(&line, 0, 0)]);
        let told: Vec<_> = warnings.on_line(b"caf\xe9 \0", now).collect();
        assert_eq!(told, [warning("caf\u{fffd} \0", 0, 0)]);
    }

    proptest! {
        #[test]
        fn every_line_is_accounted_for(
            lines in prop::collection::vec(("[abc]", 0_u64..400, any::<bool>()), 0..100),
            per_second in 0_u32..10, burst in 0_u32..10,
        ) {
            let rate = LineRate::default().per_second(per_second).burst(burst);
            let mut warnings = Warnings::new(Redaction::default(), rate);
            let mut now = Instant::now();
            let mut told = Vec::new();
            let mut lasted = 0;
            for (line, step, is_checked) in &lines {
                now += ms(*step);
                lasted += step;
                told.extend(warnings.on_line(line.as_bytes(), now));
                if *is_checked {
                    told.extend(warnings.check(now));
                }
            }
            told.extend(warnings.finish());
            let first = told.iter().filter(|warning| warning.repeats == 0).count() as u64;
            let again: u64 = told.iter().map(|warning| warning.repeats).sum();
            let suppressed: u64 = told.iter().map(|warning| warning.suppressed).sum();
            let left = warnings.take_suppressed();
            prop_assert_eq!(first + again + suppressed + left, lines.len() as u64);
            prop_assert!(first <= u64::from(burst) + lasted * u64::from(per_second) / 1000);
        }
    }
}
