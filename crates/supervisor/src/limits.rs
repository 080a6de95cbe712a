//! How much a child and its tree may use, and how long it may use more.

use std::fmt;
use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};

use crate::reaction::Reaction;

/// A look at all processes of the system takes about a millisecond.
const SHORTEST: Duration = Duration::from_millis(100);

/// What a child and all its descendants together may use; nothing is limited by default.
///
/// A tree may be over a limit for some time, 10 s by default, before anything is done about it. These
/// limits are watched by sampling, while those of [`longtake_process::Command::limit`] are the kernel's
/// and hold for each process.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    cpu_percent: Option<f64>,
    cpu_over_for: Duration,
    resident_bytes: Option<u64>,
    resident_over_for: Duration,
    sample_every: Duration,
    pub(crate) reaction: Reaction,
}

/// A limit that was exceeded for too long.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Exceeded {
    /// The CPU time of the tree, in percent of one core.
    CpuPercent {
        /// What the tree used last.
        value: f64,
        /// What it may use.
        limit: f64,
        /// How long it has used more.
        over_for: Duration,
    },
    /// The resident memory of the tree.
    ResidentBytes {
        /// What the tree used last.
        value: u64,
        /// What it may use.
        limit: u64,
        /// How long it has used more.
        over_for: Duration,
    },
}

/// Judges by samples whether a tree is over its [`Limits`] for too long.
#[derive(Clone, Debug)]
pub(crate) struct LimitWatch {
    limits: Limits,
    cpu: Excess,
    resident: Excess,
}

/// From CPU time used so far to percent of one core.
#[derive(Clone, Debug, Default)]
pub(crate) struct CpuMeter {
    last: Option<(Duration, Instant)>,
}

/// Since when a value is over its limit.
#[derive(Clone, Copy, Debug, Default)]
struct Excess {
    since: Option<Instant>,
    told: bool,
}

impl Default for Limits {
    /// No limits; once one is set: sampled every 5 s, over it for 10 s, reported only.
    fn default() -> Self {
        Self {
            cpu_percent: None,
            cpu_over_for: Duration::from_secs(10),
            resident_bytes: None,
            resident_over_for: Duration::from_secs(10),
            sample_every: Duration::from_secs(5),
            reaction: Reaction::Report,
        }
    }
}

impl Limits {
    /// Limits the CPU time, in percent of one core: 200 is two cores.
    #[must_use]
    pub fn cpu_percent(mut self, percent: f64) -> Self {
        self.cpu_percent = Some(percent);
        self
    }

    /// Sets how long the tree may use more CPU time; zero acts on the first sample over the limit.
    #[must_use]
    pub fn cpu_over_for(mut self, time: Duration) -> Self {
        self.cpu_over_for = time;
        self
    }

    /// Limits the resident memory. Pages that several processes share count for each of them.
    #[must_use]
    pub fn resident_bytes(mut self, bytes: u64) -> Self {
        self.resident_bytes = Some(bytes);
        self
    }

    /// Sets how long the tree may hold more memory; zero acts on the first sample over the limit.
    #[must_use]
    pub fn resident_over_for(mut self, time: Duration) -> Self {
        self.resident_over_for = time;
        self
    }

    /// Sets how far apart the samples are.
    #[must_use]
    pub fn sample_every(mut self, interval: Duration) -> Self {
        self.sample_every = interval;
        self
    }

    /// Sets what is done about a limit exceeded.
    #[must_use]
    pub fn reaction(mut self, reaction: Reaction) -> Self {
        self.reaction = reaction;
        self
    }

    /// How often to sample; `None` when nothing is limited.
    pub(crate) fn interval(&self) -> Option<Duration> {
        let limited = self.cpu_percent.is_some() || self.resident_bytes.is_some();
        limited.then_some(self.sample_every.max(SHORTEST))
    }
}

/// As its text.
impl Serialize for Exceeded {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// A fragment such as `210 % CPU for 12 s, limit 200 %`.
impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::CpuPercent { over_for, .. } | Self::ResidentBytes { over_for, .. }) = self;
        let seconds = over_for.as_secs();
        match self {
            Self::CpuPercent { value, limit, .. } => {
                write!(f, "{value:.0} % CPU for {seconds} s, limit {limit:.0} %")
            }
            Self::ResidentBytes { value, limit, .. } => {
                write!(f, "{value} bytes of memory for {seconds} s, limit {limit}")
            }
        }
    }
}

impl LimitWatch {
    /// A watch for a tree that has just started.
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            cpu: Excess::default(),
            resident: Excess::default(),
        }
    }

    /// Takes what the tree uses at `now`, and says once when it is over a limit for too long; again
    /// only after it was below. Of two limits the second is told by the next sample.
    pub(crate) fn on_sample(
        &mut self,
        cpu_percent: f64,
        resident_bytes: u64,
        now: Instant,
    ) -> Option<Exceeded> {
        let cpu_limit = self.limits.cpu_percent;
        let resident_limit = self.limits.resident_bytes;
        self.cpu
            .note(cpu_limit.is_some_and(|limit| cpu_percent > limit), now);
        self.resident.note(
            resident_limit.is_some_and(|limit| resident_bytes > limit),
            now,
        );
        if let Some(limit) = resident_limit
            && let Some(over_for) = self.resident.tell(self.limits.resident_over_for, now)
        {
            return Some(Exceeded::ResidentBytes {
                value: resident_bytes,
                limit,
                over_for,
            });
        }
        let limit = cpu_limit?;
        let over_for = self.cpu.tell(self.limits.cpu_over_for, now)?;
        Some(Exceeded::CpuPercent {
            value: cpu_percent,
            limit,
            over_for,
        })
    }
}

impl LimitWatch {
    /// Whether a limit that was told is still exceeded.
    pub(crate) fn is_over(&self) -> bool {
        self.cpu.told || self.resident.told
    }
}

impl Excess {
    fn note(&mut self, is_over: bool, now: Instant) {
        if is_over {
            self.since.get_or_insert(now);
        } else {
            *self = Self::default();
        }
    }

    fn tell(&mut self, after: Duration, now: Instant) -> Option<Duration> {
        let over_for = now.saturating_duration_since(self.since?);
        if self.told || over_for < after {
            return None;
        }
        self.told = true;
        Some(over_for)
    }
}

impl CpuMeter {
    /// Takes the CPU time that the tree has used so far; gives what it used since the sample before,
    /// in percent of one core.
    ///
    /// `None` for the first sample, and when no time has passed since the last one. 0 when the sum
    /// fell, as it does when a process leaves the tree.
    pub(crate) fn on_sample(&mut self, cpu_time: Duration, now: Instant) -> Option<f64> {
        let Some((last_cpu_time, last)) = self.last else {
            self.last = Some((cpu_time, now));
            return None;
        };
        let elapsed = now
            .checked_duration_since(last)
            .filter(|elapsed| !elapsed.is_zero())?;
        self.last = Some((cpu_time, now));
        let used = cpu_time.saturating_sub(last_cpu_time);
        Some(100.0 * used.as_secs_f64() / elapsed.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn over_for_ten_seconds_is_told_once() {
        let start = Instant::now();
        let mut watch = LimitWatch::new(Limits::default().cpu_percent(200.0));
        let mut sample = |at, percent| watch.on_sample(percent, u64::MAX, start + s(at));
        assert_eq!(sample(0, 200.0), None, "the limit itself is allowed");
        assert_eq!(sample(5, 250.0), None);
        assert_eq!(sample(10, 250.0), None);
        let want = Exceeded::CpuPercent {
            value: 210.4,
            limit: 200.0,
            over_for: s(10),
        };
        assert_eq!(sample(15, 210.4), Some(want));
        assert_eq!(want.to_string(), "210 % CPU for 10 s, limit 200 %");
        assert_eq!(sample(20, 250.0), None, "told once");
        assert_eq!(sample(25, 100.0), None);
        assert_eq!(sample(30, 250.0), None);
        assert!(sample(40, 250.0).is_some(), "told again after it was below");
    }

    #[test]
    fn memory_has_a_time_of_its_own() {
        let start = Instant::now();
        let limits = Limits::default()
            .cpu_percent(50.0)
            .resident_bytes(100 * MIB)
            .cpu_over_for(s(0))
            .resident_over_for(s(0));
        let mut watch = LimitWatch::new(limits);
        let told = watch.on_sample(60.0, 101 * MIB, start).unwrap();
        assert_eq!(
            told.to_string(),
            "105906176 bytes of memory for 0 s, limit 104857600"
        );
        let next = watch.on_sample(60.0, 101 * MIB, start + s(5));
        assert!(
            matches!(next, Some(Exceeded::CpuPercent { .. })),
            "{next:?}"
        );
        assert_eq!(watch.on_sample(60.0, 101 * MIB, start + s(10)), None);
    }

    #[test]
    fn sampled_only_where_something_is_limited() {
        assert_eq!(Limits::default().interval(), None);
        let limits = Limits::default().resident_bytes(1).sample_every(s(2));
        assert_eq!(limits.interval(), Some(s(2)));
        assert_eq!(limits.reaction, Reaction::Report);
        let limits = limits.reaction(Reaction::Restart);
        assert_eq!(limits.reaction, Reaction::Restart);
    }

    #[test]
    fn percent_of_one_core() {
        let start = Instant::now();
        let mut meter = CpuMeter::default();
        let mut sample = |cpu, at| {
            meter
                .on_sample(s(cpu), start + s(at))
                .map(|percent| percent.to_string())
        };
        assert_eq!(sample(100, 10), None);
        assert_eq!(sample(110, 15).as_deref(), Some("200"));
        assert_eq!(sample(111, 15), None, "no time has passed");
        assert_eq!(sample(111, 5), None, "time went backwards");
        assert_eq!(sample(115, 20).as_deref(), Some("100"));
        assert_eq!(sample(3, 25).as_deref(), Some("0"), "a process has left");
        assert_eq!(sample(4, 30).as_deref(), Some("20"));
    }

    proptest! {
        #[test]
        fn told_exactly_when_over_for_long_enough(
            samples in prop::collection::vec((any::<bool>(), 0_u64..8), 0..60), over_for in 0_u64..20,
        ) {
            let limits = Limits::default().resident_bytes(10).resident_over_for(s(over_for));
            let mut watch = LimitWatch::new(limits);
            let mut now = Instant::now();
            let mut over_since = None;
            let mut told = false;
            for (is_over, step) in samples {
                now += s(step);
                if is_over {
                    over_since.get_or_insert(now);
                } else {
                    over_since = None;
                    told = false;
                }
                let due = over_since.is_some_and(|since| now >= since + s(over_for));
                let verdict = watch.on_sample(f64::NAN, if is_over { 11 } else { 10 }, now);
                prop_assert_eq!(verdict.is_some(), due && !told);
                told |= due;
            }
        }

        #[test]
        fn percent_is_a_number_and_never_negative(
            samples in prop::collection::vec((any::<u64>(), 0_u64..1 << 30), 0..30),
        ) {
            let start = Instant::now();
            let mut meter = CpuMeter::default();
            for (cpu_ms, at_ms) in samples {
                let now = start + Duration::from_millis(at_ms);
                if let Some(percent) = meter.on_sample(Duration::from_millis(cpu_ms), now) {
                    prop_assert!(percent.is_finite() && percent >= 0.0, "{percent}");
                }
            }
        }
    }
}
