//! Keeps the books of a recording: the manifest on the disk, the events for the listener.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use jiff::Timestamp;
use longtake_durable::{ReplaceError, Storage};
use tracing::error;

use super::StreamState;
use crate::{
    clock::Monotonic,
    counts::{Counts, DropReason, Gap, GapReason},
    event::{Event, EventSender, What},
    fault_text::with_sources,
    manifest::{Manifest, ManifestChunk},
    pts::Pts,
    recording_id::RecordingId,
    session_time::SessionTime,
    stream::{CodecParameters, StreamIndex},
};

/// How often losses are summed up for the listener.
const DROPS_PERIOD: Duration = Duration::from_secs(1);

/// How soon after the first capture the listener hears that the recording has started.
const START_POLL: Duration = Duration::from_millis(10);

/// The shortest span without packets that is a gap of its stream.
const SHORTEST_SILENCE: Duration = Duration::from_secs(1);

/// What the other threads of a recording tell the keeper.
#[derive(Debug)]
pub(super) enum Note {
    ChunkOpened {
        file: String,
    },
    ChunkFinished(ManifestChunk),
    ChunkUnfinished {
        file: String,
        error: String,
    },
    Parameters {
        stream: StreamIndex,
        parameters: Arc<CodecParameters>,
    },
    Stalled {
        stream: StreamIndex,
        last: Option<Pts>,
    },
    Gap {
        stream: StreamIndex,
        gap: Gap,
    },
    EncoderRestarted {
        stream: StreamIndex,
        error: String,
    },
    StreamEnded {
        stream: StreamIndex,
        error: Option<String>,
    },
    WriteFailed {
        error: String,
    },
}

/// Everything the keeper needs for its whole life.
pub(super) struct Keeper {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) folder: PathBuf,
    pub(super) manifest: Manifest,
    pub(super) time: Arc<SessionTime>,
    pub(super) streams: Vec<Arc<StreamState>>,
    pub(super) events: EventSender,
}

/// How a recording ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ended {
    pub(super) duration: Duration,
    pub(super) counts: BTreeMap<String, Counts>,
    pub(super) write_error: Option<String>,
}

impl Keeper {
    /// Keeps the books until every other thread of the recording is gone. `stopped_at` then says
    /// when the stop was asked for.
    pub(super) fn run(
        self,
        notes: &Receiver<Note>,
        stopped_at: impl FnOnce() -> Option<Monotonic>,
    ) -> Ended {
        let mut books = Books {
            told_drops: vec![BTreeMap::new(); self.streams.len()],
            started: false,
            write_error: None,
            keeper: self,
        };
        let mut next_drops = Instant::now() + DROPS_PERIOD;
        loop {
            let wake = if books.started {
                next_drops
            } else {
                Instant::now() + START_POLL
            };
            let note = notes.recv_deadline(wake);
            books.tell_start();
            match note {
                Ok(note) => books.enter(note),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if Instant::now() >= next_drops {
                books.tell_drops();
                next_drops = Instant::now() + DROPS_PERIOD;
            }
        }
        books.close(stopped_at())
    }
}

struct Books {
    keeper: Keeper,
    told_drops: Vec<BTreeMap<DropReason, u64>>,
    started: bool,
    write_error: Option<String>,
}

impl Books {
    fn tell_start(&mut self) {
        let started_at = self.keeper.time.started_at().filter(|_| !self.started);
        let Some(started_at) = started_at else {
            return;
        };
        self.started = true;
        self.keeper.manifest.started_at = started_at;
        let streams = self
            .keeper
            .streams
            .iter()
            .map(|stream| (&stream.spec).into())
            .collect();
        self.tell_at(Pts::ZERO, None, What::Started { streams });
        self.update_manifest();
    }

    fn enter(&mut self, note: Note) {
        match note {
            Note::ChunkOpened { file } => self.tell(None, What::ChunkOpened { file }),
            Note::ChunkFinished(chunk) => {
                let what = What::ChunkFinished {
                    file: chunk.file.clone(),
                    first_pts_us: chunk.first_pts_us,
                    last_pts_us: chunk.last_pts_us,
                    bytes: chunk.bytes,
                    packets: chunk.packets.clone(),
                };
                self.keeper.manifest.add_chunk(chunk);
                self.update_manifest();
                self.tell(None, what);
            }
            Note::ChunkUnfinished { file, error } => {
                let told = format!("{file} keeps its .part: {error}");
                self.write_error.get_or_insert(told);
                self.tell(None, What::ChunkUnfinished { file, error });
            }
            Note::Parameters { stream, parameters } => {
                self.keeper
                    .manifest
                    .stream_mut(stream)
                    .set_parameters(&parameters);
            }
            Note::Stalled { stream, last } => {
                self.tell(Some(stream), What::Stalled { last_pts_us: last });
            }
            Note::Gap { stream, gap } => self.enter_gap(stream, gap),
            Note::EncoderRestarted { stream, error } => {
                self.tell(Some(stream), What::EncoderRestarted { error });
            }
            Note::StreamEnded { stream, error } => {
                self.tell(Some(stream), What::StreamEnded { error });
            }
            Note::WriteFailed { error } => {
                self.write_error.get_or_insert_with(|| error.clone());
                self.tell(None, What::WriteFailed { error });
            }
        }
    }

    /// Enters a gap, unless one that ends at the same packet is known: the thread that knows why it
    /// is there speaks before the one that only sees the hole.
    fn enter_gap(&mut self, stream: StreamIndex, gap: Gap) {
        let gaps = &mut self.keeper.manifest.stream_mut(stream).gaps;
        let known = gaps
            .last()
            .is_some_and(|last| last.to_pts_us == gap.to_pts_us);
        if known && gap.reason == GapReason::Silent {
            return;
        }
        // After a silence everything may come that was captured meanwhile: then nothing is missing.
        let nothing_is_missing = gap.reason == GapReason::Silent
            && gap.to_pts_us.since(gap.from_pts_us) <= SHORTEST_SILENCE;
        if !nothing_is_missing {
            gaps.push(gap.clone());
        }
        let what = What::Gap {
            from_pts_us: gap.from_pts_us,
            to_pts_us: gap.to_pts_us,
            reason: gap.reason,
        };
        self.tell(Some(stream), what);
    }

    /// Tells what was lost since the last time.
    fn tell_drops(&mut self) {
        for index in 0..self.keeper.streams.len() {
            let now = self.keeper.streams[index].counts().dropped;
            let before = std::mem::replace(&mut self.told_drops[index], now.clone());
            for (reason, count) in now {
                let count = count - before.get(&reason).copied().unwrap_or(0);
                if count > 0 {
                    self.tell(Some(StreamIndex(index)), What::Dropped { reason, count });
                }
            }
        }
    }

    fn close(mut self, stopped_at: Option<Monotonic>) -> Ended {
        self.tell_start();
        self.tell_drops();
        let stop = stopped_at
            .and_then(|at| self.keeper.time.at(at))
            .unwrap_or(Pts::ZERO);
        self.keeper.manifest.stop(stop, Timestamp::now());
        if let Err(error) = self.write_manifest() {
            let told = format!("the manifest is not written: {}", with_sources(&error));
            self.write_error.get_or_insert(told);
        }
        let counts: BTreeMap<_, _> = self
            .keeper
            .streams
            .iter()
            .map(|stream| (stream.spec.name.clone(), stream.counts()))
            .collect();
        let duration = stop.since(Pts::ZERO);
        let duration_s = duration.as_secs_f64();
        self.tell(
            None,
            What::Stopped {
                duration_s,
                counts: counts.clone(),
            },
        );
        Ended {
            duration,
            counts,
            write_error: self.write_error,
        }
    }

    /// Writes the manifest as it is now. A manifest that cannot be written is no reason to stop
    /// recording: recovery builds it anew from the chunks.
    fn write_manifest(&mut self) -> Result<(), ReplaceError> {
        for (index, stream) in self.keeper.streams.iter().enumerate() {
            let entry = self.keeper.manifest.stream_mut(StreamIndex(index));
            entry.counts = stream.counts();
            (entry.first_pts_us, entry.last_pts_us) = stream.written_span();
        }
        let Keeper {
            storage,
            folder,
            manifest,
            ..
        } = &self.keeper;
        manifest.write(&**storage, folder).inspect_err(|error| {
            let folder = folder.display();
            error!(error = error as &dyn std::error::Error, %folder, "manifest not written");
        })
    }

    /// The same, while there will be another chance.
    fn update_manifest(&mut self) {
        drop(self.write_manifest());
    }

    fn tell(&self, stream: Option<StreamIndex>, what: What) {
        let now = self.keeper.time.at(Monotonic::now()).unwrap_or(Pts::ZERO);
        self.tell_at(now, stream, what);
    }

    fn tell_at(&self, pts_us: Pts, stream: Option<StreamIndex>, what: What) {
        let stream = stream.map(|index| self.keeper.streams[index.0].spec.name.clone());
        self.keeper.events.tell(Event {
            what,
            recording_id: self.recording_id(),
            path: self.keeper.folder.clone(),
            pts_us,
            stream,
        });
    }

    fn recording_id(&self) -> RecordingId {
        self.keeper.manifest.recording_id
    }
}
