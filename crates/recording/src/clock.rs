//! The two clocks of a recording: the monotonic one that gives every PTS, and the wall clock that
//! is only written beside it.

use std::time::Duration;

use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::pts::Pts;

/// A reading of `CLOCK_MONOTONIC` in microseconds: when a frame or a sample was captured.
///
/// It is the kernel's own clock for V4L2 buffers, so that a capture time which the driver stamped
/// and one that was taken in this process can be compared. [`std::time::Instant`] hides its value
/// and so cannot carry a time that came from elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Monotonic(pub i64);

impl Monotonic {
    /// The time now.
    ///
    /// # Panics
    ///
    /// Panics if the kernel has no monotonic clock, which no Linux lacks.
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("Linux has CLOCK_MONOTONIC");
        Self(now.tv_sec() * 1_000_000 + now.tv_nsec() / 1_000)
    }

    /// The session time of this reading in a session whose time 0 is `zero`.
    pub const fn pts(self, zero: Self) -> Pts {
        Pts(self.0.saturating_sub(zero.0))
    }

    /// How long after `earlier` this is; zero when it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Pts(self.0).since(Pts(earlier.0))
    }
}

/// What the wall clock said at one session time.
///
/// One pair is stored with each chunk. A wall clock that is set while a recording runs shows as
/// pairs whose differences disagree; PTS and chunk boundaries never move with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockPair {
    /// Session time of the reading.
    pub pts_us: Pts,
    /// The wall clock then.
    pub realtime: Timestamp,
}

impl ClockPair {
    /// Reads both clocks, one right after the other, in a session whose time 0 is `zero`.
    pub fn now(zero: Monotonic) -> Self {
        Self {
            pts_us: Monotonic::now().pts(zero),
            realtime: Timestamp::now(),
        }
    }

    /// What the wall clock said at session time `pts`, if it was not set in between.
    ///
    /// `None` when that time cannot be expressed.
    pub fn realtime_at(&self, pts: Pts) -> Option<Timestamp> {
        let micros = pts.0.checked_sub(self.pts_us.0)?;
        self.realtime
            .checked_add(jiff::SignedDuration::from_micros(micros))
            .ok()
    }
}
