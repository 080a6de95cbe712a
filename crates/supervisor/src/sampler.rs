//! What the tree of a child takes, looked at from time to time where somebody asks.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use longtake_process::{Census, Kin};
use tokio::sync::oneshot;
use tokio::time::sleep_until;

use crate::census::{self, Answer};
use crate::health::UsageNow;
use crate::limits::{CpuMeter, Exceeded, LimitWatch};
use crate::reaction::Reaction;
use crate::spec::ChildSpec;

/// Takes the samples of one run, and judges them by its limits.
#[derive(Debug)]
pub(crate) struct Sampler {
    kin: Kin,
    every: Duration,
    next: Instant,
    looking: Option<oneshot::Receiver<Answer>>,
    cpu: CpuMeter,
    limits: Option<LimitWatch>,
    reaction: Reaction,
    /// Until then it is not judged.
    grace_end: Option<Instant>,
    peak_cpu_percent: Option<f64>,
    peak_resident_bytes: u64,
}

impl Sampler {
    /// A sampler for this run, if anything that the spec asks for needs one.
    pub(crate) fn needed_by(spec: &ChildSpec, kin: Kin, started: Instant) -> Option<Self> {
        let limits = spec.limits.as_ref();
        let for_limits = limits.and_then(|limits| limits.interval());
        let every = [spec.usage_every, for_limits, spec.hang.cpu_interval()]
            .into_iter()
            .flatten()
            .min()?;
        Some(Self {
            kin,
            every,
            next: next_moment(started, every),
            looking: None,
            cpu: CpuMeter::default(),
            limits: limits.cloned().map(LimitWatch::new),
            reaction: limits.map_or(Reaction::Report, |limits| limits.reaction),
            grace_end: started.checked_add(spec.grace),
            peak_cpu_percent: None,
            peak_resident_bytes: 0,
        })
    }

    pub(crate) fn kin(&self) -> &Kin {
        &self.kin
    }

    /// CPU use since the sample before, in percent of one core.
    pub(crate) fn cpu_percent(&mut self, cpu_time: Duration, now: Instant) -> Option<f64> {
        self.cpu.on_sample(cpu_time, now)
    }

    /// Takes note of a sample; the answer is a limit that was exceeded for too long, once.
    pub(crate) fn note(&mut self, usage: UsageNow, now: Instant) -> Option<Exceeded> {
        if usage.cpu_percent > self.peak_cpu_percent {
            self.peak_cpu_percent = usage.cpu_percent;
        }
        self.peak_resident_bytes = self.peak_resident_bytes.max(usage.resident_bytes);
        if self.grace_end.is_none_or(|end| now < end) {
            return None;
        }
        let cpu_percent = usage.cpu_percent.unwrap_or(0.0);
        let limits = self.limits.as_mut()?;
        limits.on_sample(cpu_percent, usage.resident_bytes, now)
    }

    /// A limit has been exceeded for too long, and still is.
    pub(crate) fn is_over_limit(&self) -> bool {
        self.limits.as_ref().is_some_and(LimitWatch::is_over)
    }

    /// What is done about an exceeded limit.
    pub(crate) fn reaction(&self) -> Reaction {
        self.reaction
    }

    pub(crate) fn peak_cpu_percent(&self) -> Option<f64> {
        self.peak_cpu_percent
    }

    pub(crate) fn peak_resident_bytes(&self) -> u64 {
        self.peak_resident_bytes
    }

    /// Waits for the next sample; `None` when it failed.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a look that was begun is kept.
    pub(crate) async fn census(&mut self) -> Option<Arc<Census>> {
        if self.looking.is_none() {
            sleep_until(self.next.into()).await;
        }
        let kin = &self.kin;
        let looking = self
            .looking
            .get_or_insert_with(|| census::look(kin.clone()));
        let answer = looking.await;
        self.looking = None;
        self.next = next_moment(Instant::now(), self.every);
        answer.ok()?.ok()
    }
}

/// The next multiple of the interval, counted from one moment for all children: those who sample equally
/// often do so together, with one look.
fn next_moment(now: Instant, every: Duration) -> Instant {
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    let begin = *BEGIN.get_or_init(|| now);
    let passed = now.saturating_duration_since(begin).as_nanos();
    let every_ns = every.as_nanos().max(1);
    let until_next = every_ns - passed % every_ns;
    now + Duration::from_nanos(u64::try_from(until_next).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_sample_equally_often_do_so_together() {
        let second = Duration::from_secs(1);
        let begin = next_moment(Instant::now(), second);
        for later_ms in [0, 1, 250, 999] {
            let next = next_moment(begin + Duration::from_millis(later_ms), second);
            assert_eq!(next, begin + second, "{later_ms}");
        }
        let next = next_moment(begin + second, 5 * second);
        assert!(next > begin + second && next <= begin + 6 * second);
    }
}
