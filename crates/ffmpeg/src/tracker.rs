//! What people want to know of a running job: made from ffmpeg's blocks, pure of clocks and pipes.

use std::time::{Duration, Instant};

use crate::progress::Block;

/// Shown until the output is verified, however far ffmpeg says it is.
const MOST_BEFORE_DONE: f32 = 99.9;

/// Beyond this multiple of the expected duration the expectation was wrong.
const OVERSHOOT: f64 = 1.02;

/// The time over which the pace of a job is averaged for its ETA.
const PACE_MEMORY_S: f64 = 10.0;

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// ffmpeg opens its inputs and has written nothing yet.
    Starting,
    /// Media is written.
    Running,
    /// ffmpeg rewrites the finished file with its index in front (`faststart`).
    Finalizing,
    /// ffmpeg has said its last and is ending. That alone is no success.
    Draining,
    /// The output is being checked and put in its place.
    Verifying,
    /// The job has succeeded.
    Done,
}

/// A snapshot of a running job.
///
/// Position, frame and percent never go back, although ffmpeg's values do.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// Where the job is.
    pub phase: Phase,
    /// How much media is written. ffmpeg tells less than the truth by the encoder's delay.
    pub position: Option<Duration>,
    /// How much of the expected duration is written, at most 99.9 before [`Phase::Done`] and 100
    /// only then. `None` when nothing is expected, or more came than that.
    pub percent: Option<f32>,
    /// How long it will take yet at the present pace.
    pub eta: Option<Duration>,
    /// Media time per wall time since the start, as ffmpeg says it.
    pub speed: Option<f32>,
    /// Video frames written; `None` without video.
    pub frame: Option<u64>,
    /// Bytes written to the first output, where it is one file.
    pub bytes: Option<u64>,
    /// Frames that ffmpeg wrote twice to keep the frame rate.
    pub dup_frames: u64,
    /// Frames that ffmpeg left out to keep the frame rate.
    pub drop_frames: u64,
    /// How long no value has advanced. It grows while an input stalls or an encoder flushes.
    pub since_advance: Duration,
}

/// Follows one job.
#[derive(Debug, Clone)]
pub(crate) struct Tracker {
    phase: Phase,
    /// `None` also once it has proved wrong.
    expected: Option<Duration>,
    newest: Block,
    out_time_us: Option<i64>,
    percent: Option<f32>,
    pace: Option<Pace>,
    advanced_at: Instant,
}

/// How fast the position moves, as a mean that forgets.
#[derive(Debug, Clone, Copy)]
struct Pace {
    at: Instant,
    position: Duration,
    media_per_second: Option<f64>,
}

impl Tracker {
    /// A job that starts `now` and is expected to write so much media.
    pub(crate) fn new(expected: Option<Duration>, now: Instant) -> Self {
        Self {
            phase: Phase::Starting,
            expected: expected.filter(|expected| !expected.is_zero()),
            newest: Block::default(),
            out_time_us: None,
            percent: None,
            pace: None,
            advanced_at: now,
        }
    }

    /// Takes note of a block; true when some value advanced.
    pub(crate) fn on_block(&mut self, block: &Block, now: Instant) -> bool {
        let advanced = self.advance(block);
        if advanced {
            self.advanced_at = now;
            if self.phase == Phase::Starting {
                self.phase = Phase::Running;
            }
            self.on_position(now);
        }
        if block.end
            && matches!(
                self.phase,
                Phase::Starting | Phase::Running | Phase::Finalizing
            )
        {
            self.phase = Phase::Draining;
        }
        advanced
    }

    /// Takes note that the job has come to `phase`.
    pub(crate) fn on_phase(&mut self, phase: Phase, now: Instant) {
        self.phase = phase;
        self.advanced_at = now;
        if phase == Phase::Done {
            self.percent = Some(100.0);
        }
    }

    /// How much media ffmpeg says it has written.
    pub(crate) fn position(&self) -> Option<Duration> {
        self.out_time_us
            .map(|us| Duration::from_micros(us.max(0).unsigned_abs()))
    }

    pub(crate) fn progress(&self, now: Instant) -> Progress {
        Progress {
            phase: self.phase,
            position: self.position(),
            percent: self.percent,
            eta: self.eta(now),
            #[expect(clippy::cast_possible_truncation, reason = "three digits matter")]
            speed: self.newest.speed.map(|speed| speed as f32),
            frame: self.newest.frame,
            bytes: self.newest.total_bytes,
            dup_frames: self.newest.dup_frames.unwrap_or(0),
            drop_frames: self.newest.drop_frames.unwrap_or(0),
            since_advance: now.saturating_duration_since(self.advanced_at),
        }
    }

    /// Keeps the highest of each value; true when one has risen.
    fn advance(&mut self, block: &Block) -> bool {
        // 9.0 says 0 first of outputs that have no size.
        let total_bytes = block.total_bytes.filter(|bytes| *bytes > 0);
        let newest = &mut self.newest;
        newest.speed = block.speed.or(newest.speed);
        [
            raise(&mut newest.frame, block.frame),
            raise(&mut newest.total_bytes, total_bytes),
            raise(&mut newest.dup_frames, block.dup_frames),
            raise(&mut newest.drop_frames, block.drop_frames),
            raise(&mut self.out_time_us, block.out_time_us),
        ]
        .contains(&true)
    }

    fn on_position(&mut self, now: Instant) {
        let Some(position) = self.position() else {
            return;
        };
        match &mut self.pace {
            None => {
                let media_per_second = None;
                self.pace = Some(Pace {
                    at: now,
                    position,
                    media_per_second,
                });
            }
            Some(pace) => pace.on_position(position, now),
        }
        let Some(expected) = self.expected else {
            return;
        };
        let ratio = position.as_secs_f64() / expected.as_secs_f64();
        if ratio > OVERSHOOT {
            self.expected = None;
            self.percent = None;
            return;
        }
        #[expect(clippy::cast_possible_truncation, reason = "it is between 0 and 102")]
        let percent = ((ratio * 100.0) as f32).min(MOST_BEFORE_DONE);
        raise_float(&mut self.percent, percent);
    }

    fn eta(&self, now: Instant) -> Option<Duration> {
        if self.phase != Phase::Running {
            return None;
        }
        let (expected, pace) = (self.expected?, self.pace?);
        let left = expected.saturating_sub(pace.position).as_secs_f64();
        let wall = Duration::try_from_secs_f64(left / pace.media_per_second?).ok()?;
        Some(wall.saturating_sub(now.saturating_duration_since(pace.at)))
    }
}

impl Pace {
    fn on_position(&mut self, position: Duration, now: Instant) {
        let wall = now.saturating_duration_since(self.at).as_secs_f64();
        let media = position.saturating_sub(self.position).as_secs_f64();
        if wall <= 0.0 || media <= 0.0 {
            return;
        }
        let latest = media / wall;
        let weight = 1.0 - (-wall / PACE_MEMORY_S).exp();
        let mean = self
            .media_per_second
            .map_or(latest, |mean| mean + weight * (latest - mean));
        *self = Self {
            at: now,
            position,
            media_per_second: Some(mean),
        };
    }
}

/// Raises `highest` to `value`; true when that changed it. A first value above zero counts.
fn raise<T: Copy + PartialOrd + Default>(highest: &mut Option<T>, value: Option<T>) -> bool {
    let Some(value) = value else { return false };
    let rises = value > highest.unwrap_or_default();
    if highest.is_none_or(|highest| value > highest) {
        *highest = Some(value);
    }
    rises
}

fn raise_float(highest: &mut Option<f32>, value: f32) {
    *highest = Some(highest.map_or(value, |highest| highest.max(value)));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(position_ms: i64) -> Block {
        Block {
            out_time_us: Some(position_ms * 1000),
            ..Block::default()
        }
    }

    /// A tracker of 10 s of media, and blocks a second apart.
    fn after(blocks: &[Block]) -> (Tracker, Instant) {
        let mut now = Instant::now();
        let mut tracker = Tracker::new(Some(10 * SECOND), now);
        for block in blocks {
            now += SECOND;
            tracker.on_block(block, now);
        }
        (tracker, now)
    }

    #[track_caller]
    fn check_percent(positions_ms: &[i64], want: Option<f32>) {
        let blocks: Vec<_> = positions_ms.iter().map(|ms| at(*ms)).collect();
        let (tracker, now) = after(&blocks);
        assert_eq!(tracker.progress(now).percent, want, "{positions_ms:?}");
    }

    #[test]
    fn percent_holds_its_highest_and_stays_below_100() {
        check_percent(&[], None);
        check_percent(&[2500], Some(25.0));
        check_percent(&[9845, 5933], Some(98.45));
        check_percent(&[10_000], Some(99.9));
        check_percent(&[10_199], Some(99.9));
        check_percent(&[2500, 10_201], None);
        check_percent(&[10_201, 5000], None);
        check_percent(&[-66, 5000], Some(50.0));
        let (mut tracker, now) = after(&[at(9800)]);
        tracker.on_phase(Phase::Verifying, now);
        assert_eq!(tracker.progress(now).percent, Some(98.0));
        tracker.on_phase(Phase::Done, now);
        assert_eq!(tracker.progress(now).percent, Some(100.0));
    }

    #[test]
    fn nothing_expected_gives_no_percent() {
        let now = Instant::now();
        for expected in [None, Some(Duration::ZERO)] {
            let mut tracker = Tracker::new(expected, now);
            tracker.on_block(&at(1000), now + SECOND);
            tracker.on_block(&at(2000), now + 2 * SECOND);
            let progress = tracker.progress(now + 2 * SECOND);
            assert_eq!((progress.percent, progress.eta), (None, None));
            assert_eq!(progress.position, Some(2 * SECOND));
        }
    }

    #[test]
    fn the_position_never_goes_back_nor_below_zero() {
        let positions = |blocks: &[Block]| after(blocks).0.position();
        assert_eq!(positions(&[at(-66)]), Some(Duration::ZERO));
        assert_eq!(positions(&[at(5000), at(-399)]), Some(5 * SECOND));
        assert_eq!(positions(&[at(5000), Block::default()]), Some(5 * SECOND));
        assert_eq!(positions(&[Block::default()]), None);
    }

    #[test]
    fn phases() {
        let (mut tracker, now) = after(&[Block::default()]);
        assert_eq!(
            tracker.progress(now).phase,
            Phase::Starting,
            "9.0 talks before it writes"
        );
        tracker.on_block(&at(1000), now);
        assert_eq!(tracker.progress(now).phase, Phase::Running);
        tracker.on_phase(Phase::Finalizing, now);
        tracker.on_block(
            &Block {
                end: true,
                ..at(1000)
            },
            now,
        );
        assert_eq!(tracker.progress(now).phase, Phase::Draining);
        tracker.on_phase(Phase::Verifying, now);
        tracker.on_block(
            &Block {
                end: true,
                ..at(1000)
            },
            now,
        );
        assert_eq!(tracker.progress(now).phase, Phase::Verifying);
    }

    #[test]
    fn any_value_that_rises_is_an_advance() {
        let block = |frame, total_bytes, drop_frames| Block {
            frame: Some(frame),
            total_bytes: Some(total_bytes),
            drop_frames: Some(drop_frames),
            ..at(1000)
        };
        let (mut tracker, now) = after(&[block(10, 100, 0)]);
        assert!(!tracker.on_block(&block(10, 100, 0), now + SECOND));
        assert!(!tracker.on_block(&block(9, 99, 0), now + 2 * SECOND));
        assert_eq!(tracker.progress(now + 3 * SECOND).since_advance, 3 * SECOND);
        assert!(tracker.on_block(&block(11, 100, 0), now + 3 * SECOND));
        assert!(tracker.on_block(&block(11, 101, 0), now + 3 * SECOND));
        assert!(tracker.on_block(&block(11, 101, 1), now + 3 * SECOND));
        assert!(tracker.on_block(&at(1001), now + 3 * SECOND));
        assert_eq!(
            tracker.progress(now + 3 * SECOND).since_advance,
            Duration::ZERO
        );
    }

    #[test]
    fn the_eta_follows_the_pace() {
        let (tracker, now) = after(&[at(0), at(1000), at(2000)]);
        assert_eq!(tracker.progress(now).eta, Some(8 * SECOND));
        assert_eq!(tracker.progress(now + 3 * SECOND).eta, Some(5 * SECOND));
        let (slower, now) = after(&[at(0), at(2000), at(2100), at(2200)]);
        assert!(
            slower.progress(now).eta > Some(4 * SECOND),
            "{:?}",
            slower.progress(now)
        );
        let (standing, now) = after(&[at(1000)]);
        assert_eq!(standing.progress(now).eta, None);
    }

    proptest! {
        #[test]
        fn whatever_ffmpeg_says_nothing_goes_back(
            positions in prop::collection::vec(prop::option::of(any::<i64>()), 1..30),
        ) {
            let mut now = Instant::now();
            let mut tracker = Tracker::new(Some(10 * SECOND), now);
            let mut last = tracker.progress(now);
            for out_time_us in positions {
                now += SECOND;
                tracker.on_block(&Block { out_time_us, ..Block::default() }, now);
                let next = tracker.progress(now);
                prop_assert!(next.position >= last.position);
                prop_assert!(next.percent >= last.percent || next.percent.is_none());
                prop_assert!(next.percent <= Some(MOST_BEFORE_DONE));
                last = next;
            }
        }
    }
}
