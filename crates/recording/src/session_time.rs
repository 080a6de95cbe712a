//! The time of one recording: from its first capture on, in microseconds.

use std::{sync::OnceLock, time::Duration};

use jiff::Timestamp;

use crate::{
    clock::{ClockPair, Monotonic},
    pts::Pts,
};

/// The time of one recording. Its time 0 is the capture time of the first thing that any stream hands
/// over after the start.
#[derive(Debug)]
pub(crate) struct SessionTime {
    started: Monotonic,
    /// Captures from here on are not part of the recording.
    end: Option<Pts>,
    zero: OnceLock<Zero>,
}

#[derive(Debug)]
struct Zero {
    at: Monotonic,
    realtime: Timestamp,
}

impl SessionTime {
    pub(crate) fn new(started: Monotonic, max_duration: Option<Duration>) -> Self {
        Self {
            started,
            end: max_duration.map(|duration| Pts::ZERO + duration),
            zero: OnceLock::new(),
        }
    }

    /// When the recording was started: nothing from before is part of it.
    pub(crate) const fn started(&self) -> Monotonic {
        self.started
    }

    /// Session time 0, once there was a capture.
    pub(crate) fn zero(&self) -> Option<Monotonic> {
        self.zero.get().map(|zero| zero.at)
    }

    /// What the wall clock said at session time 0.
    pub(crate) fn started_at(&self) -> Option<Timestamp> {
        self.zero.get().map(|zero| zero.realtime)
    }

    /// Which session time it is; not past the end.
    pub(crate) fn at(&self, now: Monotonic) -> Option<Pts> {
        let pts = now.pts(self.zero()?).max(Pts::ZERO);
        Some(self.end.map_or(pts, |end| pts.min(end)))
    }

    pub(crate) fn place(&self, at: Monotonic) -> Placed {
        if at < self.started {
            return Placed::Before;
        }
        let zero = self.zero.get_or_init(|| {
            let pair = ClockPair::now(at);
            let realtime = pair.realtime_at(Pts::ZERO).unwrap_or(pair.realtime);
            Zero { at, realtime }
        });
        let pts = at.pts(zero.at);
        if pts < Pts::ZERO {
            Placed::Before
        } else if self.end.is_some_and(|end| pts >= end) {
            Placed::After
        } else {
            Placed::In(pts)
        }
    }
}

/// Where a capture lies in a recording.
pub(crate) enum Placed {
    Before,
    In(Pts),
    After,
}
