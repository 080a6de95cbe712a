//! Where a stream enters a recording: counted, placed on session time, and queued.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::{
    clock::Monotonic,
    counts::{Counts, DropReason},
    device::SourcePacket,
    frame::RawFormat,
    pts::Pts,
    queue::{QueueSender, Queued, weight},
    session_time::{Placed, SessionTime},
};

/// Nothing is captured after it arrives. A device that makes up its pictures may run ahead of the clock
/// by this much; further ahead is a mistake that would take the stream along.
const FURTHEST_AHEAD: Duration = Duration::from_secs(60);

/// What a device handed over.
#[derive(Debug)]
pub(crate) enum Captured {
    Frame { format: Arc<RawFormat>, data: Bytes },
    Packet(SourcePacket),
    Sample(Bytes),
}

/// What waits in a stream's queue.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) pts: Pts,
    pub(crate) captured: Captured,
    /// The source's clock jumped just before this.
    pub(crate) after_clock_jump: bool,
}

impl Queued for Arrival {
    fn bytes(&self) -> usize {
        let payload = match &self.captured {
            Captured::Frame { data, .. } | Captured::Sample(data) => data.len(),
            Captured::Packet(packet) => packet.data.len(),
        };
        weight::<Self>(payload)
    }

    fn starts_gop(&self) -> bool {
        match &self.captured {
            Captured::Frame { .. } | Captured::Sample(_) => true,
            Captured::Packet(packet) => packet.keyframe || packet.parameters.codec.is_intra_only(),
        }
    }
}

/// The entrance of one stream.
#[derive(Debug)]
pub(crate) struct Intake {
    time: Arc<SessionTime>,
    counts: Arc<Mutex<Counts>>,
    queue: QueueSender<Arrival>,
    /// Something was captured that is part of the recording.
    begun: AtomicBool,
    clock_jumped: AtomicBool,
    /// Nothing is expected any more.
    ended: AtomicBool,
    failure: Arc<Mutex<Option<String>>>,
}

impl Intake {
    pub(crate) const fn new(
        time: Arc<SessionTime>,
        counts: Arc<Mutex<Counts>>,
        queue: QueueSender<Arrival>,
        failure: Arc<Mutex<Option<String>>>,
    ) -> Self {
        Self {
            time,
            counts,
            queue,
            begun: AtomicBool::new(false),
            clock_jumped: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            failure,
        }
    }

    /// Takes one capture. What was captured before the stream began, or after the end of the
    /// recording, is not part of it and not counted.
    pub(crate) fn take(&self, at: Monotonic, captured: Captured) {
        if let Captured::Sample(json) = &captured
            && !is_json_object(json)
        {
            return self.refuse(at);
        }
        if at.since(Monotonic::now()) > FURTHEST_AHEAD {
            return self.count_invalid();
        }
        let pts = match self.time.place(at) {
            Placed::In(pts) => pts,
            Placed::Before => return self.refuse_early(),
            Placed::After => return,
        };
        self.begun.store(true, Ordering::Relaxed);
        let after_clock_jump = self.clock_jumped.swap(false, Ordering::Relaxed);
        self.counts.lock().received += 1;
        match self.queue.offer(Arrival {
            pts,
            captured,
            after_clock_jump,
        }) {
            Ok(offered) => {
                let mut counts = self.counts.lock();
                for (lost, reason) in &offered.dropped {
                    counts.lose(*reason, 1);
                    // What comes next is the first after the jump then.
                    if lost.after_clock_jump {
                        self.note_clock_jump();
                    }
                }
            }
            // The recording stopped while this was on its way in.
            Err(_) if self.ended.load(Ordering::Acquire) => self.counts.lock().received -= 1,
            // The stream's thread gave up, and the device goes on.
            Err(_) => self.counts.lock().lose(DropReason::EncoderFailed, 1),
        }
    }

    /// Counts something that cannot be recorded.
    pub(crate) fn refuse(&self, at: Monotonic) {
        match self.time.place(at) {
            Placed::In(_) => self.count_invalid(),
            Placed::Before => self.refuse_early(),
            Placed::After => {}
        }
    }

    /// A stream that has begun does not go back to before the recording.
    fn refuse_early(&self) {
        if self.begun.load(Ordering::Relaxed) {
            self.count_invalid();
        }
    }

    fn count_invalid(&self) {
        let mut counts = self.counts.lock();
        counts.received += 1;
        counts.lose(DropReason::Invalid, 1);
    }

    pub(crate) fn note_clock_jump(&self) {
        self.clock_jumped.store(true, Ordering::Relaxed);
    }

    /// Nothing comes any more; `why` when the source did not come to its end in order.
    pub(crate) fn end(&self, why: Option<&str>) {
        if let Some(why) = why {
            self.failure.lock().get_or_insert_with(|| why.to_owned());
        }
        self.ended.store(true, Ordering::Release);
        self.queue.close();
    }
}

/// Whether these bytes are one JSON object, without keeping any of it.
fn is_json_object(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else {
        return false;
    };
    text.trim_ascii_start().starts_with('{')
        && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::{QueueReceiver, WhenFull, queue};

    fn object(text: &'static str) -> Captured {
        Captured::Sample(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn only_json_objects_are_samples() {
        for (text, want) in [
            ("{}", true),
            (" {\"a\":[1,{\"b\":null}]}\r", true),
            ("", false),
            ("[1]", false),
            ("{\"a\":1", false),
            ("{} {}", false),
            ("{\"a\":NaN}", false),
        ] {
            assert_eq!(is_json_object(text.as_bytes()), want, "{text:?}");
        }
        assert!(!is_json_object(b"{\"a\":\"\xff\"}"));
        assert!(
            !is_json_object("{\"a\":".repeat(100_000).as_bytes()),
            "depth is bounded"
        );
    }

    fn intake(max_bytes: usize) -> (Intake, Arc<Mutex<Counts>>, QueueReceiver<Arrival>) {
        let time = Arc::new(SessionTime::new(
            Monotonic(1_000),
            Some(Duration::from_secs(1)),
        ));
        let counts = Arc::default();
        let (sender, receiver) = queue(max_bytes, WhenFull::DropNewest);
        let intake = Intake::new(time, Arc::clone(&counts), sender, Arc::default());
        (intake, counts, receiver)
    }

    #[test]
    fn tiny_samples_weigh_what_they_take() {
        let (intake, counts, _receiver) = intake(1 << 20);
        for at in 0..100_000 {
            intake.take(Monotonic(1_000 + at), object("{}"));
        }
        let counts = counts.lock();
        let fitting = counts.in_flight();
        assert!(
            fitting * size_of::<Arrival>() as u64 <= 1 << 20,
            "{fitting} fit in"
        );
        assert_eq!(counts.dropped[&DropReason::QueueFull], 100_000 - fitting);
    }

    #[test]
    fn a_stream_that_goes_back_to_before_the_recording_is_counted() {
        let (intake, counts, _receiver) = intake(1 << 20);
        intake.take(Monotonic(999), object("{}"));
        assert_eq!(counts.lock().received, 0, "it had not begun");
        intake.take(Monotonic(1_000), object("{}"));
        intake.take(Monotonic(-3_000), object("{}"));
        intake.take(Monotonic(1_001_000), object("{}"));
        let counts = counts.lock();
        assert_eq!(
            (counts.received, counts.dropped[&DropReason::Invalid]),
            (2, 1)
        );
    }

    #[test]
    fn a_time_far_ahead_of_the_clock_is_refused() {
        let (intake, counts, receiver) = intake(1 << 20);
        intake.take(Monotonic(Monotonic::now().0 + 3_600_000_000), object("{}"));
        assert_eq!(intake.time.zero(), None, "it is not the beginning either");
        intake.take(Monotonic(1_000), object("{}"));
        assert_eq!(receiver.close_and_drain().len(), 1);
        let counts = counts.lock();
        assert_eq!(
            (counts.received, counts.dropped[&DropReason::Invalid]),
            (2, 1)
        );
    }

    #[test]
    fn a_clock_jump_is_told_with_the_next_that_is_not_dropped() {
        let (intake, _counts, receiver) = intake(weight::<Arrival>(2));
        intake.take(Monotonic(1_000), object("{}"));
        intake.note_clock_jump();
        intake.take(Monotonic(1_001), object("{}"));
        let jumps = |taken| {
            matches!(
                taken,
                Some(Arrival {
                    after_clock_jump: true,
                    ..
                })
            )
        };
        assert!(!jumps(receiver.take_now()));
        intake.take(Monotonic(1_002), object("{}"));
        assert!(jumps(receiver.take_now()));
    }

    #[test]
    fn what_comes_after_the_thread_gave_up_is_counted_and_after_the_end_is_not() {
        let (intake, counts, receiver) = intake(1 << 20);
        intake.take(Monotonic(1_000), object("{}"));
        assert_eq!(receiver.close_and_drain().len(), 1);
        intake.take(Monotonic(1_001), object("{}"));
        intake.end(None);
        intake.take(Monotonic(1_002), object("{}"));
        let counts = counts.lock();
        assert_eq!(
            (counts.received, counts.dropped[&DropReason::EncoderFailed]),
            (2, 1)
        );
    }

    #[test]
    fn session_time_begins_with_the_first_capture_after_the_start() {
        let (intake, counts, receiver) = intake(1 << 20);
        let time = &intake.time;
        intake.take(Monotonic(999), object("{}"));
        assert_eq!(time.zero(), None);
        intake.take(Monotonic(1_500), object("{}"));
        intake.take(Monotonic(1_499), object("{}"));
        intake.take(Monotonic(1_700), object("oops"));
        intake.note_clock_jump();
        intake.take(Monotonic(2_500), object("{}"));
        intake.end(None);
        intake.take(Monotonic(3_500), object("{}"));
        assert_eq!(time.zero(), Some(Monotonic(1_500)));
        let queued: Vec<_> = receiver
            .close_and_drain()
            .into_iter()
            .map(|arrival| (arrival.pts.0, arrival.after_clock_jump))
            .collect();
        assert_eq!(queued, [(0, false), (1_000, true)]);
        let counts = counts.lock();
        assert_eq!(
            (counts.received, counts.dropped_total(), counts.in_flight()),
            (4, 2, 2)
        );
    }
}
