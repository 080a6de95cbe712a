//! What a recording tells while it runs.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use serde::Serialize;

use crate::{
    counts::{Counts, DropReason, GapReason},
    pts::Pts,
    recording_id::RecordingId,
    stream::{StreamKind, StreamSpec},
};

/// How many events may wait for a listener that does not listen.
const MAX_WAITING: usize = 4096;

/// Something that happened in a recording. Serialises to the JSON line that `fieldrec --json`
/// prints.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// What happened.
    #[serde(flatten)]
    pub what: What,
    /// In which recording.
    pub recording_id: RecordingId,
    /// The recording's folder.
    pub path: PathBuf,
    /// When, in session time.
    pub pts_us: Pts,
    /// The stream it concerns, where it concerns one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum What {
    /// The first capture came in: session time 0.
    Started {
        /// The streams that are recorded.
        streams: Vec<StartedStream>,
    },
    /// A chunk was begun.
    ChunkOpened {
        /// Its name in the recording's folder, once it is finished.
        file: String,
    },
    /// A chunk is complete and safe on the disk.
    ChunkFinished {
        /// Its name in the recording's folder.
        file: String,
        /// Session time of its first packet.
        first_pts_us: Pts,
        /// Session time of its last packet.
        last_pts_us: Pts,
        /// Its size.
        bytes: u64,
        /// How many packets of each stream it holds.
        packets: BTreeMap<String, u64>,
    },
    /// A chunk could not be completed or renamed. What was written of it is there and plays;
    /// `recover` finishes it.
    ChunkUnfinished {
        /// The name that it should have.
        file: String,
        /// What was in the way.
        error: String,
    },
    /// A stream has given nothing for max(1 s, 3 frame intervals). Told once for each silence.
    Stalled {
        /// Session time of its last packet, if it ever gave one.
        last_pts_us: Option<Pts>,
    },
    /// Something was lost since the last event of this kind for this stream.
    Dropped {
        /// Why.
        reason: DropReason,
        /// How many frames, packets or samples.
        count: u64,
    },
    /// An encoder died or hung and was started again.
    EncoderRestarted {
        /// What was wrong with it.
        error: String,
    },
    /// A span without packets ended. After a silence in which only the delivery stalled, what was
    /// captured meanwhile comes late: then the span is no longer than a frame, and is no gap in the
    /// manifest.
    Gap {
        /// Session time of the last packet before it.
        from_pts_us: Pts,
        /// Session time of the first packet after it.
        to_pts_us: Pts,
        /// Why there was nothing.
        reason: GapReason,
    },
    /// A stream ended before the recording did.
    StreamEnded {
        /// What went wrong; absent when the source came to its end in order.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// The disk takes no more. Told once; what comes after is counted as dropped.
    WriteFailed {
        /// What the disk said, and what to do.
        error: String,
    },
    /// The recording is over and everything that could be written is safe on the disk. Parts may remain
    /// that could not be finished; that was told.
    Stopped {
        /// From session time 0 to the stop, in seconds.
        duration_s: f64,
        /// What became of everything that was captured, for each stream.
        counts: BTreeMap<String, Counts>,
    },
}

/// A stream as [`What::Started`] names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StartedStream {
    /// Its name.
    pub name: String,
    /// What it carries.
    pub kind: StreamKind,
}

impl From<&StreamSpec> for StartedStream {
    fn from(spec: &StreamSpec) -> Self {
        Self {
            name: spec.name.clone(),
            kind: spec.kind,
        }
    }
}

/// The listening side of a recording. A recording never waits for its listener: when 4096 events
/// are waiting, further ones are dropped and counted.
#[derive(Debug)]
pub struct Events {
    receiver: Receiver<Event>,
    missed: Arc<AtomicU64>,
}

/// What a listener found.
#[derive(Debug, Clone, PartialEq)]
pub enum NextEvent {
    /// An event.
    Event(Box<Event>),
    /// Nothing happened in the time given.
    TimedOut,
    /// The recording is over and everything was told.
    Over,
}

impl Events {
    /// Waits at most `patience` for the next event.
    pub fn next(&self, patience: Duration) -> NextEvent {
        match self.receiver.recv_timeout(patience) {
            Ok(event) => NextEvent::Event(Box::new(event)),
            Err(RecvTimeoutError::Timeout) => NextEvent::TimedOut,
            Err(RecvTimeoutError::Disconnected) => NextEvent::Over,
        }
    }

    /// How many events were dropped because nobody took them.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }
}

/// The telling side.
#[derive(Debug)]
pub(crate) struct EventSender {
    sender: Sender<Event>,
    missed: Arc<AtomicU64>,
}

impl EventSender {
    pub(crate) fn tell(&self, event: Event) {
        match self.sender.try_send(event) {
            // Nobody listens any more: that is the listener's choice.
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => {
                self.missed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

pub(crate) fn events() -> (EventSender, Events) {
    let (sender, receiver) = bounded(MAX_WAITING);
    let missed = Arc::new(AtomicU64::new(0));
    (
        EventSender {
            sender,
            missed: Arc::clone(&missed),
        },
        Events { receiver, missed },
    )
}
