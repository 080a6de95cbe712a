//! The newest picture of a stream, for a preview that must never hold up a recording.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use crate::{clock::Monotonic, frame::RawFormat, stream::CodecParameters};

/// A GOP that grows beyond this many bytes is forgotten up to its next keyframe.
const MAX_GOP_BYTES: usize = 16 << 20;

/// Looks at the newest picture of one stream. Cheap to clone; works while nothing is recorded.
///
/// The slot behind it is lossy: a device puts its newest picture in and never waits for anybody who
/// looks.
#[derive(Debug, Clone)]
pub struct Tap {
    slot: Arc<TapSlot>,
}

/// What a [`Tap`] shows.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Tapped {
    /// The newest raw frame.
    Frame {
        /// When it was captured.
        at: Monotonic,
        /// What its bytes mean.
        format: Arc<RawFormat>,
        /// The pixels.
        data: Bytes,
    },
    /// The newest keyframe and everything since, in decode order.
    Gop {
        /// What a decoder must know first.
        parameters: Arc<CodecParameters>,
        /// The packets: the first is a keyframe.
        packets: Vec<TappedPacket>,
    },
    /// The newest sensor sample.
    Sample {
        /// When it was captured.
        at: Monotonic,
        /// One JSON object.
        json: Bytes,
    },
}

/// One packet of a tapped GOP.
#[derive(Debug, Clone)]
pub struct TappedPacket {
    /// When it was captured.
    pub at: Monotonic,
    /// The encoded bytes, in Matroska's form for their codec.
    pub data: Bytes,
}

impl Tap {
    pub(crate) fn new(slot: &Arc<TapSlot>) -> Self {
        Self {
            slot: Arc::clone(slot),
        }
    }

    /// The newest picture, or `None` as long as there was none.
    pub fn latest(&self) -> Option<Tapped> {
        self.slot.state.lock().content.clone()
    }

    /// Waits at most `patience` for a picture that is newer than the `seen`-th, and gives it with
    /// its number. Begin with 0; `None` when none came.
    pub fn newer_than(&self, seen: u64, patience: Duration) -> Option<(u64, Tapped)> {
        let deadline = Instant::now() + patience;
        let mut state = self.slot.state.lock();
        while state.number <= seen {
            if self
                .slot
                .changed
                .wait_until(&mut state, deadline)
                .timed_out()
            {
                break;
            }
        }
        let number = state.number;
        state
            .content
            .clone()
            .filter(|_| number > seen)
            .map(|content| (number, content))
    }
}

/// Where a device puts its newest picture.
#[derive(Debug, Default)]
pub(crate) struct TapSlot {
    state: Mutex<TapState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct TapState {
    number: u64,
    content: Option<Tapped>,
    gop_bytes: usize,
}

impl TapSlot {
    pub(crate) fn put_frame(&self, at: Monotonic, format: &Arc<RawFormat>, data: &Bytes) {
        self.put(Tapped::Frame {
            at,
            format: Arc::clone(format),
            data: data.clone(),
        });
    }

    pub(crate) fn put_sample(&self, at: Monotonic, json: &Bytes) {
        self.put(Tapped::Sample {
            at,
            json: json.clone(),
        });
    }

    pub(crate) fn put_packet(
        &self,
        at: Monotonic,
        keyframe: bool,
        data: &Bytes,
        parameters: &Arc<CodecParameters>,
    ) {
        let packet = TappedPacket {
            at,
            data: data.clone(),
        };
        if keyframe {
            self.state.lock().gop_bytes = data.len();
            self.put(Tapped::Gop {
                parameters: Arc::clone(parameters),
                packets: vec![packet],
            });
            return;
        }
        let mut state = self.state.lock();
        state.gop_bytes = state.gop_bytes.saturating_add(data.len());
        let fits = state.gop_bytes <= MAX_GOP_BYTES;
        match &mut state.content {
            Some(Tapped::Gop { packets, .. }) if fits => packets.push(packet),
            _ => {
                state.content = None;
                return;
            }
        }
        state.number += 1;
        drop(state);
        self.changed.notify_all();
    }

    fn put(&self, content: Tapped) {
        let mut state = self.state.lock();
        state.number += 1;
        // What was shown before is freed outside the lock: it may be megabytes.
        let before = state.content.replace(content);
        drop(state);
        drop(before);
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn gop_times(tap: &Tap) -> Vec<i64> {
        match tap.latest() {
            Some(Tapped::Gop { packets, .. }) => packets.iter().map(|packet| packet.at.0).collect(),
            None => Vec::new(),
            other => panic!("not a GOP: {other:?}"),
        }
    }

    #[test]
    fn shows_the_newest_gop_from_its_keyframe_on() {
        let slot = Arc::new(TapSlot::default());
        let tap = Tap::new(&slot);
        let parameters = Arc::new(CodecParameters::json());
        let put = |at, keyframe, bytes| {
            slot.put_packet(
                Monotonic(at),
                keyframe,
                &Bytes::from(vec![0; bytes]),
                &parameters,
            );
        };
        put(1, false, 1);
        assert_eq!(gop_times(&tap), [0; 0]);
        put(2, true, 1);
        put(3, false, 1);
        assert_eq!(gop_times(&tap), [2, 3]);
        put(4, true, 1);
        assert_eq!(gop_times(&tap), [4]);
        put(5, false, MAX_GOP_BYTES);
        assert_eq!(gop_times(&tap), [0; 0], "a GOP without end is not kept");
        put(6, false, 1);
        assert_eq!(gop_times(&tap), [0; 0], "nor shown from its middle");
    }

    #[test]
    fn waits_for_a_newer_picture() {
        let slot = Arc::new(TapSlot::default());
        let tap = Tap::new(&slot);
        assert!(tap.newer_than(0, Duration::ZERO).is_none());
        slot.put_sample(Monotonic(1), &Bytes::from_static(b"{}"));
        let (seen, _) = tap.newer_than(0, Duration::ZERO).unwrap();
        let waiting = std::thread::spawn(move || tap.newer_than(seen, Duration::from_secs(60)));
        slot.put_sample(Monotonic(2), &Bytes::from_static(b"{}"));
        assert!(matches!(
            waiting.join().unwrap(),
            Some((
                2,
                Tapped::Sample {
                    at: Monotonic(2),
                    ..
                }
            ))
        ));
    }
}
