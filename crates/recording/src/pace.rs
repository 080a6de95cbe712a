//! How far the packets of a stream usually lie apart, and so how long it may be silent in order.

use std::time::Duration;

use crate::pts::Pts;

/// No stream counts as silent before that.
const MIN_SILENCE: Duration = Duration::from_secs(1);

/// A stream counts as silent at the latest after that, however slow it is.
const MAX_SILENCE: Duration = Duration::from_secs(3600);

/// A stream counts as silent after that many intervals.
const INTERVALS: u32 = 3;

/// How far the packets of one stream usually lie apart.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pace {
    last: Option<Pts>,
    /// From the packet before to the last one.
    distance: Duration,
    interval: Duration,
}

impl Pace {
    /// Takes note of a packet of a stream that has a frame each `nominal`, where that is known.
    pub(crate) fn note(&mut self, pts: Pts, nominal: Option<Duration>) {
        let distance = self.last.map(|last| pts.distance(last));
        // Of the last two distances the smaller one: a single long pause does not make a stream slow.
        let measured = distance.map(|distance| distance.min(self.distance));
        self.interval = nominal.or(measured).unwrap_or_default();
        self.distance = distance.unwrap_or_default();
        self.last = Some(pts);
    }

    /// The nominal interval, or where there is none, the one of the last three packets.
    pub(crate) fn interval(&self) -> Duration {
        self.interval
    }

    /// How long the stream may give nothing: longer is a gap, and is told as `stalled`.
    pub(crate) fn longest_silence(&self) -> Duration {
        let frames = self.interval.saturating_mul(INTERVALS);
        frames.clamp(MIN_SILENCE, MAX_SILENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(times_ms: &[i64], nominal_ms: Option<u64>, want_ms: u64) {
        let mut pace = Pace::default();
        for time in times_ms {
            pace.note(Pts(time * 1000), nominal_ms.map(Duration::from_millis));
        }
        let want = Duration::from_millis(want_ms);
        assert_eq!(pace.longest_silence(), want, "{times_ms:?}");
    }

    #[test]
    fn three_intervals_or_a_second() {
        check(&[], None, 1000);
        check(&[0], Some(33), 1000);
        check(&[0], Some(400), 1200);
        check(&[0, 33, 66], None, 1000);
        check(&[0, 5000], None, 1000);
        check(&[0, 5000, 10_000], None, 15_000);
        check(&[0, 5000, 10_000, 10_010], None, 1000);
        check(&[0, 10, 20_000], None, 1000);
        check(&[0, 4_000_000, 8_000_000], None, 3_600_000);
    }
}
