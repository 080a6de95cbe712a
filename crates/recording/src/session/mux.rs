//! The thread that brings the packets of all streams into chunks.

use std::{
    collections::BTreeMap,
    error::Error,
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::Sender;
use longtake_durable::Storage;
use tracing::{error, warn};

use super::{StreamState, keeper::Note};
use crate::{
    capture::DeviceSummary,
    chunk::{
        ChunkEvent, ChunkOptions, ChunkSummary, ChunkWriter, CreateWriterError, RecordingFacts,
    },
    clock::ClockPair,
    counts::DropReason,
    fault_text::with_sources,
    manifest::ManifestChunk,
    packet::Packet,
    queue::{QueueReceiver, Queued, Taken, weight},
    recording_id::RecordingId,
    session_time::SessionTime,
    stream::{CodecParameters, StreamIndex},
};

/// How long the writer may be left alone when it asks for nothing.
const IDLE: Duration = Duration::from_millis(100);

/// How often it is asked for news when packets never cease.
const REPORT_PERIOD: Duration = Duration::from_millis(100);

/// What the streams' threads hand over.
#[derive(Debug)]
pub(super) enum ToMux {
    Packet(Packet),
    /// Nothing more comes of this stream.
    Ended(StreamIndex),
}

impl Queued for ToMux {
    fn bytes(&self) -> usize {
        let payload = match self {
            Self::Packet(packet) => packet.data.len(),
            Self::Ended(_) => 0,
        };
        weight::<Self>(payload)
    }

    /// The streams' threads wait for room, so nothing is ever dropped here.
    fn starts_gop(&self) -> bool {
        true
    }
}

/// What the thread owns.
pub(super) struct Mux {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) folder: PathBuf,
    pub(super) recording_id: RecordingId,
    pub(super) chunks: ChunkOptions,
    pub(super) devices: Vec<DeviceSummary>,
    pub(super) host: String,
    pub(super) program: String,
    pub(super) time: Arc<SessionTime>,
    pub(super) streams: Vec<Arc<StreamState>>,
    pub(super) notes: Sender<Note>,
}

impl Mux {
    /// Writes what comes until the queue is closed, then finishes all chunks.
    pub(super) fn run(self, incoming: &QueueReceiver<ToMux>) {
        let _alarm = Alarm {
            notes: self.notes.clone(),
        };
        // Session time 0, which every chunk's header tells, is known with the first packet. Streams may
        // end before that.
        let mut ended = Vec::new();
        let mut next = loop {
            match incoming.take() {
                Taken::Item(ToMux::Ended(stream)) => ended.push(stream),
                Taken::Closed => return,
                packet => break packet,
            }
        };
        let mut writer = match self.create_writer() {
            Ok(writer) => writer,
            Err(error) => return self.refuse_everything(next, incoming, &error),
        };
        for stream in ended {
            writer.end_stream(stream, Instant::now());
        }
        let mut parameters = vec![None; self.streams.len()];
        let mut next_report = Instant::now();
        loop {
            let now = Instant::now();
            if now >= next_report {
                self.tell_events(&mut writer);
                next_report = now + REPORT_PERIOD;
            }
            match next {
                Taken::Item(ToMux::Packet(packet)) => {
                    self.note_parameters(&mut parameters, &packet);
                    writer.write(packet, now);
                }
                Taken::Item(ToMux::Ended(stream)) => writer.end_stream(stream, now),
                Taken::TimedOut => {}
                Taken::Closed => break,
            }
            next = match incoming.take_now() {
                // While packets wait, no stream may be taken for silent.
                Some(item) => Taken::Item(item),
                None => {
                    let due = writer.tick(now).unwrap_or(now + IDLE).min(now + IDLE);
                    self.tell_events(&mut writer);
                    incoming.take_until(due)
                }
            };
        }
        let summary = writer.finish(Instant::now());
        for (state, tally) in self.streams.iter().zip(summary.streams) {
            *state.tally.lock() = tally;
        }
        for event in summary.events {
            self.tell(event);
        }
    }

    fn create_writer(&self) -> Result<ChunkWriter, CreateWriterError> {
        let (zero, started_at) = self
            .time
            .zero()
            .zip(self.time.started_at())
            .expect("a packet came, so there was a capture");
        let facts =
            RecordingFacts::new(self.recording_id, started_at, move || ClockPair::now(zero))
                .devices(self.devices.clone())
                .host(&self.host)
                .program(&self.program);
        let specs = self
            .streams
            .iter()
            .map(|state| state.spec.clone())
            .collect();
        let storage = Arc::clone(&self.storage);
        ChunkWriter::create(storage, &self.folder, facts, specs, self.chunks.clone())
    }

    /// Counts everything as lost, since no chunk can be written.
    fn refuse_everything(
        &self,
        first: Taken<ToMux>,
        incoming: &QueueReceiver<ToMux>,
        error: &CreateWriterError,
    ) {
        self.note(Note::WriteFailed {
            error: with_sources(error),
        });
        let mut next = first;
        while let Taken::Item(item) = next {
            if let ToMux::Packet(packet) = item {
                self.streams[packet.stream.0].lose(DropReason::WriteFailed, 1);
            }
            next = incoming.take();
        }
    }

    fn note_parameters(&self, known: &mut [Option<Arc<CodecParameters>>], packet: &Packet) {
        let known = &mut known[packet.stream.0];
        // Equal ones that are not shared are no news.
        let same = known.as_ref().is_some_and(|known| {
            Arc::ptr_eq(known, &packet.parameters) || *known == packet.parameters
        });
        if !same {
            let parameters = Arc::clone(&packet.parameters);
            *known = Some(Arc::clone(&parameters));
            self.note(Note::Parameters {
                stream: packet.stream,
                parameters,
            });
        }
    }

    fn tell_events(&self, writer: &mut ChunkWriter) {
        for (state, tally) in self.streams.iter().zip(writer.streams()) {
            let mut shared = state.tally.lock();
            if *shared != *tally {
                shared.clone_from(tally);
            }
        }
        while let Some(event) = writer.next_event() {
            self.tell(event);
        }
    }

    fn tell(&self, event: ChunkEvent) {
        let note = match event {
            ChunkEvent::Opened { file, .. } => Note::ChunkOpened { file },
            ChunkEvent::Finished(chunk) => Note::ChunkFinished(self.manifest_chunk(chunk)),
            ChunkEvent::Unfinished { chunk, error } => {
                error!(
                    error = &*error as &dyn Error,
                    chunk = chunk.file,
                    "chunk keeps its .part; `fieldrec recover` finishes it"
                );
                Note::ChunkUnfinished {
                    file: chunk.file,
                    error: with_sources(&*error),
                }
            }
            ChunkEvent::NameRefused { name, fault, file } => {
                warn!(
                    name,
                    error = &fault as &dyn Error,
                    file,
                    "chunk is called otherwise"
                );
                return;
            }
            ChunkEvent::Stalled { stream, last_pts } => Note::Stalled {
                stream,
                last: last_pts,
            },
            ChunkEvent::Gap { stream, gap } => Note::Gap { stream, gap },
            ChunkEvent::WriteFailed { error } => Note::WriteFailed {
                error: with_sources(&*error),
            },
            // The keeper sums up all losses of a stream, wherever they happened.
            ChunkEvent::Dropped { .. } => return,
        };
        self.note(note);
    }

    fn manifest_chunk(&self, chunk: ChunkSummary) -> ManifestChunk {
        let names = self.streams.iter().map(|state| state.spec.name.clone());
        let packets: BTreeMap<_, _> = names
            .zip(chunk.packets)
            .filter(|(_, packets)| *packets > 0)
            .collect();
        ManifestChunk {
            file: chunk.file,
            first_pts_us: chunk.first_pts,
            last_pts_us: chunk.last_pts,
            bytes: chunk.bytes,
            packets,
            clock: chunk.clock,
        }
    }

    fn note(&self, note: Note) {
        // The keeper ends last; without it nobody is left to tell.
        if self.notes.send(note).is_err() {
            error!("the keeper of the recording is gone");
        }
    }
}

/// Tells that the thread panicked, as soon as it does.
struct Alarm {
    notes: Sender<Note>,
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if thread::panicking() {
            let error = "the thread that writes chunks panicked; recover the recording".to_owned();
            // Without the keeper nobody is left to tell.
            drop(self.notes.send(Note::WriteFailed { error }));
        }
    }
}
