//! What the tree of a child takes, looked at from time to time where somebody asks.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use longtake_process::{Census, Kin};
use tokio::sync::oneshot;
use tokio::time::sleep_until;

use crate::census::{self, Answer};
use crate::health::UsageNow;
use crate::limits::{CpuMeter, LimitWatch};
use crate::spec::ChildSpec;

/// Takes the samples of one run.
#[derive(Debug)]
pub(crate) struct Sampler {
    kin: Kin,
    every: Duration,
    next: Instant,
    looking: Option<oneshot::Receiver<Answer>>,
    pub(crate) cpu: CpuMeter,
    pub(crate) limits: Option<LimitWatch>,
    pub(crate) now: Option<UsageNow>,
    pub(crate) peak_cpu_percent: Option<f64>,
    pub(crate) peak_resident_bytes: u64,
}

impl Sampler {
    /// A sampler for this run, if anything that the spec asks for needs one.
    pub(crate) fn needed_by(spec: &ChildSpec, kin: Kin, started: Instant) -> Option<Self> {
        let for_limits = spec.limits.as_ref().map(|limits| limits.sample_interval());
        let for_hang = spec.hang.cpu_interval();
        let every = [spec.usage_every, for_limits, for_hang]
            .into_iter()
            .flatten()
            .min()?;
        let limits = spec.limits.clone();
        Some(Self {
            kin,
            every,
            next: next_moment(started, every),
            looking: None,
            cpu: CpuMeter::default(),
            limits: limits.map(|limits| LimitWatch::new(limits, started, spec.grace)),
            now: None,
            peak_cpu_percent: None,
            peak_resident_bytes: 0,
        })
    }

    pub(crate) fn kin(&self) -> &Kin {
        &self.kin
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
        let looking = self.looking.get_or_insert_with(|| census::look(kin.clone()));
        let answer = looking.await;
        self.looking = None;
        self.next = next_moment(Instant::now(), self.every);
        answer.ok()?.ok()
    }

    /// Takes note of a sample.
    pub(crate) fn note(&mut self, usage: UsageNow) {
        self.now = Some(usage);
        self.peak_cpu_percent = self.peak_cpu_percent.max(usage.cpu_percent);
        self.peak_resident_bytes = self.peak_resident_bytes.max(usage.resident_bytes);
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
