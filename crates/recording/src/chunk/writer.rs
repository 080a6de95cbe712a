//! Writes packets of all streams of a recording into chunks.

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use longtake_durable::{Entry, Storage};
use tracing::{error, warn};

use super::{
    cutter::{Cutter, NewChunk, Order},
    event::{ChunkEvent, CreateWriterError, WriteError},
    facts::RecordingFacts,
    file::UnfinishedChunk,
    naming::Names,
    options::{ChunkOptions, Syncing},
    sync::{DiskWork, Job, Report},
    tally::{StreamTally, Totals},
};
use crate::{
    counts::DropReason,
    packet::Packet,
    stream::{StreamIndex, StreamSpec},
};

/// Streams that a Matroska file can number with one byte.
const MAX_STREAMS: usize = 126;

/// Largest header of a chunk as JSON. With the decoder parameters of the most streams it stays
/// within what a reader takes.
const MAX_HEADER_BYTES: usize = 1 << 20;

/// How many events wait for somebody to take them; older ones are dropped.
const MAX_WAITING_EVENTS: usize = 4096;

/// How soon after it is safe a chunk is told to be finished.
const FINISH_POLL: Duration = Duration::from_millis(20);

/// Writes packets of all streams of a recording into chunks, each a Matroska file that plays alone.
///
/// Each stream goes on to the next chunk by itself, at its own first keyframe at or after a boundary
/// in session time. No stream waits for another; several chunks are open around a boundary. An open
/// chunk ends in `.part` and plays up to its last cluster at any time, also after a crash; it is
/// completed, synced and renamed when the last stream has left it.
///
/// Nothing here waits for a sync: a thread of its own does those. Call [`tick`](Self::tick) when it
/// asks for it, and take the [events](Self::next_event). When the disk takes no more, that is told
/// once, and every packet from then on is counted as [`WriteFailed`](DropReason::WriteFailed); a new
/// writer can be made when there is room again.
///
/// Dropping it finishes the chunks, too, but does not say what came of it.
#[derive(Debug)]
pub struct ChunkWriter {
    storage: Arc<dyn Storage>,
    folder: PathBuf,
    recording: RecordingFacts,
    streams: Vec<StreamSpec>,
    options: ChunkOptions,
    names: Names,
    cutter: Cutter,
    open: Vec<UnfinishedChunk>,
    totals: Totals,
    work: DiskWork,
    events: VecDeque<ChunkEvent>,
    missed_events: u64,
    failure: Option<Arc<WriteError>>,
    is_closed: bool,
}

/// What a recording's chunks came to.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ChunksSummary {
    /// What became of the packets of each stream, in the order in which streams were declared.
    pub streams: Vec<StreamTally>,
    /// Events that were not taken before.
    pub events: Vec<ChunkEvent>,
    /// Events that were dropped because 4096 were waiting to be taken.
    pub missed_events: u64,
    /// Why the disk took no more, if that happened.
    pub failure: Option<Arc<WriteError>>,
}

impl ChunkWriter {
    /// Makes a writer for chunks in `folder`, which must exist and belong to this recording alone.
    /// The first file is created when packets of all `streams` have come, or some time after the
    /// first ([`ChunkOptions::opening_wait`]).
    ///
    /// # Errors
    ///
    /// There are too few or too many streams, the folder is missing, or there are no more threads.
    pub fn create(
        storage: Arc<dyn Storage>,
        folder: impl Into<PathBuf>,
        recording: RecordingFacts,
        streams: Vec<StreamSpec>,
        options: ChunkOptions,
    ) -> Result<Self, CreateWriterError> {
        let mut writer = Self::create_without_thread(storage, folder, recording, streams, options)?;
        writer.work = DiskWork::on_thread(
            Arc::clone(&writer.storage),
            writer.folder.clone(),
            writer.options.sync != Syncing::Never,
        )
        .map_err(CreateWriterError::Thread)?;
        Ok(writer)
    }

    /// As [`create`](Self::create), but starts no thread: what may take the disk long waits for
    /// [`do_disk_work`](Self::do_disk_work). For programs that have a thread for such things, and
    /// for tests that need one order of events.
    ///
    /// # Errors
    ///
    /// As for [`create`](Self::create).
    pub fn create_without_thread(
        storage: Arc<dyn Storage>,
        folder: impl Into<PathBuf>,
        recording: RecordingFacts,
        streams: Vec<StreamSpec>,
        options: ChunkOptions,
    ) -> Result<Self, CreateWriterError> {
        let folder = folder.into();
        check_streams(&recording, &streams)?;
        check_folder(&*storage, &folder)?;
        let syncs = options.sync != Syncing::Never;
        Ok(Self {
            names: Names::new(options.name.clone()),
            cutter: Cutter::new(options.rules.clone(), streams.len()),
            open: Vec::new(),
            totals: Totals::new(streams.len()),
            work: DiskWork::on_caller(Arc::clone(&storage), folder.clone(), syncs),
            events: VecDeque::new(),
            missed_events: 0,
            failure: None,
            is_closed: false,
            storage,
            folder,
            recording,
            streams,
            options,
        })
    }

    /// Takes a packet that arrived at `now`, in decode order within its stream.
    ///
    /// Never fails: what becomes of the packet is in the [tallies](Self::streams), and a disk that
    /// takes no more is told as an [event](ChunkEvent::WriteFailed).
    ///
    /// # Panics
    ///
    /// Panics if the packet's stream was not declared.
    pub fn write(&mut self, packet: Packet, now: Instant) {
        self.totals.receive(packet.stream);
        if self.failure.is_some() {
            self.totals.lose(packet.stream, DropReason::WriteFailed, 1);
        } else {
            self.cutter.packet(packet, now);
            self.obey(now);
        }
        self.upkeep(now);
    }

    /// Takes note that a stream gives nothing more, so that no chunk is kept open for it.
    ///
    /// # Panics
    ///
    /// Panics if the stream was not declared.
    pub fn end_stream(&mut self, stream: StreamIndex, now: Instant) {
        self.cutter.end_stream(stream, now);
        self.obey(now);
        self.upkeep(now);
    }

    /// Does what is due at `now`, and says when it must be called again at the latest.
    ///
    /// Packets that wait somewhere must be [written](Self::write) first: a stream that gave nothing
    /// up to now may be told to be stalled.
    pub fn tick(&mut self, now: Instant) -> Option<Instant> {
        if self.failure.is_none() {
            self.cutter.tick(now);
            self.obey(now);
        }
        self.upkeep(now);
        self.deadline(now)
    }

    /// Does one thing that may take the disk long, if something waits; returns whether it did.
    ///
    /// Only for a writer [without a thread](Self::create_without_thread); others do it by themselves.
    pub fn do_disk_work(&mut self) -> bool {
        self.work.do_next()
    }

    /// What happened, oldest first. At most 4096 events wait; then the oldest are dropped.
    pub fn next_event(&mut self) -> Option<ChunkEvent> {
        self.events.pop_front()
    }

    /// What became so far of the packets of each stream, in the order in which they were declared.
    pub fn streams(&self) -> &[StreamTally] {
        self.totals.streams()
    }

    /// Finishes all chunks and waits until they are safe on the disk. How long that takes does not
    /// depend on how long the recording is.
    pub fn finish(mut self, now: Instant) -> ChunksSummary {
        self.close(now);
        for (stream, reason, count) in self.totals.untold_drops() {
            self.tell_drop(stream, reason, count);
        }
        ChunksSummary {
            streams: self.totals.streams().to_vec(),
            events: std::mem::take(&mut self.events).into(),
            missed_events: self.missed_events,
            failure: self.failure.clone(),
        }
    }

    /// Finishes all chunks. Nothing may be given after that.
    fn close(&mut self, now: Instant) {
        self.is_closed = true;
        self.cutter.finish(now);
        self.obey(now);
        self.work.finish();
        self.take_reports();
    }

    /// Does what the cutter says.
    fn obey(&mut self, now: Instant) {
        while let Some(order) = self.cutter.next_order() {
            match order {
                Order::Open(new) => self.open_chunk(&new, now),
                Order::Write { sequence, packet } => self.write_to(sequence, packet, now),
                Order::Finalise { sequence } => self.close_chunk(sequence),
                Order::Drop { stream, reason } => self.totals.lose(stream, reason, 1),
                Order::Stalled { stream, last_pts } => {
                    self.tell(ChunkEvent::Stalled { stream, last_pts });
                }
                Order::Gap { stream, gap } => self.tell(ChunkEvent::Gap { stream, gap }),
            }
        }
    }

    fn open_chunk(&mut self, new: &NewChunk, now: Instant) {
        if self.failure.is_some() {
            return;
        }
        let length = self.options.rules.chunk_length;
        let clock = self.recording.clock();
        let header = self
            .recording
            .header(new.sequence, new.begins, clock, length, &self.streams);
        let created = UnfinishedChunk::create(
            &*self.storage,
            &self.folder,
            &mut self.names,
            new,
            &header,
            now,
        );
        match created {
            Ok((chunk, refused)) => {
                self.work.submit(Job::SyncFolder);
                let file = chunk.name().to_owned();
                if let Some((name, fault)) = refused {
                    let file = file.clone();
                    self.tell(ChunkEvent::NameRefused { name, fault, file });
                }
                self.tell(ChunkEvent::Opened {
                    sequence: new.sequence,
                    file,
                    begins_pts: new.begins,
                });
                self.open.push(chunk);
            }
            Err(error) => self.fail(Arc::new(error)),
        }
    }

    fn write_to(&mut self, sequence: u64, packet: Packet, now: Instant) {
        let chunk = self
            .open
            .iter_mut()
            .position(|chunk| chunk.sequence() == sequence);
        let Some(place) = chunk else {
            // It could not be opened, or was given up when the disk failed.
            return self.totals.lose(packet.stream, DropReason::WriteFailed, 1);
        };
        if let Err(error) = self.open[place].push(packet, &mut self.totals, now) {
            self.give_up(place, error);
        }
    }

    fn close_chunk(&mut self, sequence: u64) {
        let place = self
            .open
            .iter()
            .position(|chunk| chunk.sequence() == sequence);
        // Without one, it was given up when the disk failed.
        if let Some(place) = place {
            match self.open[place].flush(&mut self.totals) {
                Ok(()) => {
                    let (closed, ending) = self.open.remove(place).finish();
                    self.work.submit(Job::Finish(closed, ending));
                }
                Err(error) => self.give_up(place, error),
            }
        }
    }

    /// Keeps what there is of a chunk that cannot be written further, and writes nothing more.
    fn give_up(&mut self, place: usize, error: WriteError) {
        let error = Arc::new(error);
        let closed = self.open.remove(place).abandon(&mut self.totals);
        self.work.submit(Job::Keep(closed, Arc::clone(&error)));
        self.fail(error);
    }

    /// Ends writing: the disk takes no more. What is open is closed as well as it can be.
    fn fail(&mut self, error: Arc<WriteError>) {
        if self.failure.is_some() {
            return;
        }
        error!(
            error = &*error as &dyn std::error::Error,
            "chunks cannot be written any more"
        );
        self.failure = Some(Arc::clone(&error));
        self.tell(ChunkEvent::WriteFailed { error });
        while let Some(chunk) = self.open.first() {
            self.close_chunk(chunk.sequence());
        }
    }

    /// Flushes and syncs what has waited long enough, and hears what became of earlier syncs.
    fn upkeep(&mut self, now: Instant) {
        let mut place = 0;
        while let Some(chunk) = self.open.get_mut(place) {
            let flush_at = chunk.flush_due_at(self.options.flush_after);
            if flush_at.is_some_and(|at| at <= now)
                && let Err(error) = chunk.flush(&mut self.totals)
            {
                self.give_up(place, error);
                continue;
            }
            if let Syncing::Every(interval) = self.options.sync
                && chunk.sync_due_at(interval).is_some_and(|at| at <= now)
            {
                let unsynced = chunk.begin_sync(now);
                self.work.submit(Job::Sync(unsynced));
            }
            place += 1;
        }
        self.take_reports();
        for (stream, reason, count) in self.totals.due_drops(now) {
            self.tell_drop(stream, reason, count);
        }
    }

    fn deadline(&self, now: Instant) -> Option<Instant> {
        let flushes = self
            .open
            .iter()
            .filter_map(|chunk| chunk.flush_due_at(self.options.flush_after));
        let syncs = self
            .open
            .iter()
            .filter_map(|chunk| match self.options.sync {
                Syncing::Every(interval) => chunk.sync_due_at(interval),
                Syncing::Never => None,
            });
        let cutter = self.cutter.deadline(now).filter(|_| self.failure.is_none());
        let report = self.work.is_closing().then(|| now + FINISH_POLL);
        flushes
            .chain(syncs)
            .chain(cutter)
            .chain(report)
            .chain(self.totals.drops_due_at())
            .min()
    }

    fn take_reports(&mut self) {
        while let Some(report) = self.work.next_report() {
            match report {
                Report::Finished(chunk) => self.tell(ChunkEvent::Finished(chunk)),
                Report::Unfinished(chunk, error) => {
                    if !matches!(*error, WriteError::Rename { .. }) {
                        self.fail(Arc::clone(&error));
                    }
                    self.tell(ChunkEvent::Unfinished { chunk, error });
                }
                Report::SyncFailed(error) => self.fail(Arc::new(error)),
            }
        }
    }

    fn tell_drop(&mut self, stream: StreamIndex, reason: DropReason, count: u64) {
        self.tell(ChunkEvent::Dropped {
            stream,
            reason,
            count,
        });
    }

    fn tell(&mut self, event: ChunkEvent) {
        if self.events.len() >= MAX_WAITING_EVENTS {
            self.events.pop_front();
            self.missed_events += 1;
        }
        self.events.push_back(event);
    }
}

impl Drop for ChunkWriter {
    fn drop(&mut self) {
        // What panicked may panic again, and that would end the process. The `.part` files play, and
        // can be recovered.
        if !self.is_closed && !thread::panicking() {
            warn!(folder = %self.folder.display(), "chunk writer dropped before it was finished");
            self.close(Instant::now());
        }
    }
}

fn check_streams(
    recording: &RecordingFacts,
    streams: &[StreamSpec],
) -> Result<(), CreateWriterError> {
    let count = streams.len();
    if !(1..=MAX_STREAMS).contains(&count) {
        return Err(CreateWriterError::Streams { count });
    }
    let bytes = recording.largest_header(streams).to_json().len();
    if bytes > MAX_HEADER_BYTES {
        return Err(CreateWriterError::HeaderTooLarge {
            bytes,
            max_bytes: MAX_HEADER_BYTES,
        });
    }
    Ok(())
}

fn check_folder(storage: &dyn Storage, folder: &Path) -> Result<(), CreateWriterError> {
    let source = match storage.entry(folder) {
        Ok(Entry::Folder) => return Ok(()),
        Ok(_) => io::ErrorKind::NotADirectory.into(),
        Err(source) => source,
    };
    Err(CreateWriterError::Folder {
        path: folder.to_owned(),
        source,
    })
}
