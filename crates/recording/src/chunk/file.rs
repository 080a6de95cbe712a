//! One chunk that is being written.

use std::{
    io::IoSlice,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use longtake_durable::{Storage, StoredFile};
use longtake_matroska::{Block, Cluster, Muxer, SegmentInfo, Track};
use tracing::warn;

use super::{
    cutter::NewChunk,
    event::{ChunkSummary, WriteError},
    header::{CHUNK_TAG, ChunkHeader},
    naming::{Created, NameFault, Names},
    tally::{Tally, Totals},
    unused_tracks::{HeaderPatch, hide_unused_tracks},
};
use crate::{
    clock::ClockPair,
    counts::DropReason,
    packet::Packet,
    stream::{Codec, CodecParameters, StreamIndex},
};

/// One chunk that is being written. What it holds back are the packets of one cluster.
#[derive(Debug)]
pub(super) struct UnfinishedChunk {
    sequence: u64,
    name: String,
    part: PathBuf,
    file: Arc<dyn StoredFile>,
    muxer: Muxer,
    clock: ClockPair,
    /// By stream; what a packet of it lasts unless it says otherwise.
    usual_durations: Vec<Option<Duration>>,
    written_bytes: u64,
    written: Tally,
    pending: Tally,
    pending_since: Option<Instant>,
    is_synced: bool,
    last_sync: Instant,
    sync_waits: Arc<AtomicBool>,
}

/// What a sync of a chunk needs.
#[derive(Debug)]
pub(super) struct Unsynced {
    pub(super) part: PathBuf,
    pub(super) file: Arc<dyn StoredFile>,
    /// Set as long as the sync has not begun.
    pub(super) waits: Arc<AtomicBool>,
}

/// A chunk that nothing more is written to but what completes it.
#[derive(Debug)]
pub(super) struct ClosedChunk {
    pub(super) part: PathBuf,
    pub(super) file: Arc<dyn StoredFile>,
    pub(super) summary: ChunkSummary,
}

/// What completes a chunk.
#[derive(Debug)]
pub(super) struct Ending {
    /// Where its last cluster ends.
    pub(super) offset: u64,
    /// To be written there.
    pub(super) append: Bytes,
    /// To be written over its header when everything else is safe.
    pub(super) patches: Vec<HeaderPatch>,
}

impl UnfinishedChunk {
    /// Creates the file and writes its header. Beside the chunk comes the name that it should have
    /// had, if it has another one.
    pub(super) fn create(
        storage: &dyn Storage,
        folder: &Path,
        names: &mut Names,
        new: &NewChunk,
        header: &ChunkHeader,
        now: Instant,
    ) -> Result<(Self, Option<(String, NameFault)>), WriteError> {
        let Created {
            name,
            part,
            file,
            refused,
        } = names.create(storage, folder, header)?;
        match Self::begin(name, part.clone(), file, new, header, now) {
            Ok(chunk) => Ok((chunk, refused)),
            Err(error) => {
                remove_empty(storage, &part);
                Err(error)
            }
        }
    }

    fn begin(
        name: String,
        part: PathBuf,
        file: Arc<dyn StoredFile>,
        new: &NewChunk,
        header: &ChunkHeader,
        now: Instant,
    ) -> Result<Self, WriteError> {
        let muxer = Muxer::new(segment_info(header), tracks(new, header)).map_err(|source| {
            WriteError::Layout {
                path: part.clone(),
                source,
            }
        })?;
        let streams = header.streams.len();
        let mut usual_durations = vec![None; streams];
        for (index, parameters) in &new.tracks {
            usual_durations[index.0] = default_duration(parameters);
        }
        let mut chunk = Self {
            sequence: new.sequence,
            name,
            part,
            file,
            muxer,
            clock: header.clock,
            usual_durations,
            written_bytes: 0,
            written: Tally::new(streams),
            pending: Tally::new(streams),
            pending_since: None,
            is_synced: true,
            last_sync: now,
            sync_waits: Arc::new(AtomicBool::new(false)),
        };
        let bytes = chunk.muxer.header();
        chunk.write_at_end(&mut [IoSlice::new(&bytes)], bytes.len() as u64)?;
        Ok(chunk)
    }

    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Takes a packet, and writes those before it if that makes a cluster.
    ///
    /// After an error the chunk takes nothing more: it is to be [abandoned](Self::abandon).
    pub(super) fn push(
        &mut self,
        packet: Packet,
        totals: &mut Totals,
        now: Instant,
    ) -> Result<(), WriteError> {
        let (stream, pts) = (packet.stream, packet.pts);
        let block = self.block(packet);
        let cluster = self
            .muxer
            .push(block)
            .expect("the cutter lets only through what a file can hold");
        if let Some(cluster) = cluster {
            let written = self.write_cluster(&cluster, totals);
            self.pending.note(stream, pts);
            self.pending_since = Some(now);
            written
        } else {
            self.pending.note(stream, pts);
            self.pending_since.get_or_insert(now);
            Ok(())
        }
    }

    /// Writes what is held back. After an error the chunk takes nothing more.
    pub(super) fn flush(&mut self, totals: &mut Totals) -> Result<(), WriteError> {
        self.pending_since = None;
        match self.muxer.flush() {
            Some(cluster) => self.write_cluster(&cluster, totals),
            None => Ok(()),
        }
    }

    /// When what is held back has waited for `wait`.
    pub(super) fn flush_due_at(&self, wait: Duration) -> Option<Instant> {
        self.pending_since.map(|since| since + wait)
    }

    /// When a sync is due, if one is due each `interval` that something was written in.
    pub(super) fn sync_due_at(&self, interval: Duration) -> Option<Instant> {
        let is_due = !self.is_synced && !self.sync_waits.load(Ordering::Relaxed);
        is_due.then(|| self.last_sync + interval)
    }

    /// What must be synced for everything written so far to be safe; notes that it is.
    pub(super) fn begin_sync(&mut self, now: Instant) -> Unsynced {
        self.is_synced = true;
        self.last_sync = now;
        self.sync_waits.store(true, Ordering::Relaxed);
        Unsynced {
            part: self.part.clone(),
            file: Arc::clone(&self.file),
            waits: Arc::clone(&self.sync_waits),
        }
    }

    /// Ends a chunk that was flushed. Beside it comes what completes it.
    pub(super) fn finish(self) -> (ClosedChunk, Ending) {
        let closed = self.closed();
        let packets = &closed.summary.packets;
        let is_used = |number| {
            (0..)
                .zip(packets)
                .any(|(index, packets)| track_number(StreamIndex(index)) == number && *packets > 0)
        };
        let hidden = hide_unused_tracks(&self.muxer.header(), is_used);
        let trailer = self.muxer.finish();
        let completed = trailer.patches.into_iter().map(|patch| HeaderPatch {
            offset: patch.offset,
            bytes: patch.bytes,
        });
        let ending = Ending {
            offset: trailer.offset,
            append: trailer.bytes,
            patches: completed.chain(hidden).collect(),
        };
        (closed, ending)
    }

    /// Ends a chunk that cannot be written to any more. What it held back is lost.
    pub(super) fn abandon(mut self, totals: &mut Totals) -> ClosedChunk {
        totals.lose_all(&self.pending, DropReason::WriteFailed);
        self.pending.clear();
        self.closed()
    }

    fn closed(&self) -> ClosedChunk {
        let (first_pts, last_pts) = self.written.pts().unwrap_or_default();
        ClosedChunk {
            part: self.part.clone(),
            file: Arc::clone(&self.file),
            summary: ChunkSummary {
                sequence: self.sequence,
                file: self.name.clone(),
                first_pts,
                last_pts,
                bytes: self.written_bytes,
                packets: self.written.packets(),
                clock: self.clock,
            },
        }
    }

    /// Writes a cluster of what is pending.
    fn write_cluster(&mut self, cluster: &Cluster, totals: &mut Totals) -> Result<(), WriteError> {
        debug_assert_eq!(cluster.offset(), self.written_bytes);
        let written = self.write_at_end(&mut cluster.io_slices(), cluster.len());
        if written.is_ok() {
            totals.write(&self.pending);
            self.written.add(&self.pending);
        } else {
            totals.lose_all(&self.pending, DropReason::WriteFailed);
        }
        self.pending.clear();
        written
    }

    /// Writes `parts` of `len` bytes behind what is written, whole or not at all.
    fn write_at_end(&mut self, parts: &mut [IoSlice<'_>], len: u64) -> Result<(), WriteError> {
        let result = self.file.write_all_at(self.written_bytes, parts);
        match result {
            Ok(()) => {
                self.written_bytes += len;
                self.is_synced = false;
                Ok(())
            }
            Err(error) => {
                cut(&*self.file, &self.part, self.written_bytes);
                let path = self.part.clone();
                Err(WriteError::write(path, self.written_bytes, error.source))
            }
        }
    }

    fn block(&self, packet: Packet) -> Block {
        let usual = self.usual_durations[packet.stream.0];
        Block {
            track: track_number(packet.stream),
            pts_us: packet.pts.micros(),
            duration: packet.duration.filter(|duration| Some(*duration) != usual),
            keyframe: packet.keyframe || packet.parameters.codec.is_intra_only(),
            data: packet.data,
        }
    }
}

/// Cuts off what was written behind `len`. It is torn, and readers stop there in any case.
pub(super) fn cut(file: &dyn StoredFile, path: &Path, len: u64) {
    if let Err(error) = file.set_len(len) {
        let path = path.display();
        warn!(error = &error as &dyn std::error::Error, %path, "torn end of a chunk not cut off");
    }
}

/// Removes a file that nothing could be written to, so that nobody takes it for a lost chunk.
fn remove_empty(storage: &dyn Storage, path: &Path) {
    if let Err(error) = storage.remove_file(path) {
        let path = path.display();
        warn!(error = &error as &dyn std::error::Error, %path, "empty chunk not removed");
    }
}

fn segment_info(header: &ChunkHeader) -> SegmentInfo {
    let begins = header.clock.realtime_at(header.begins_pts_us);
    SegmentInfo::default()
        .title(header.recording_id.to_string())
        .date(SystemTime::from(begins.unwrap_or(header.clock.realtime)))
        .writing_app(&header.program)
        .tag(CHUNK_TAG, header.to_json())
}

fn tracks(new: &NewChunk, header: &ChunkHeader) -> Vec<Track> {
    let track = |(index, parameters): &(StreamIndex, Arc<CodecParameters>)| {
        let number = track_number(*index);
        let track = match (parameters.codec, parameters.video) {
            (Codec::Json, _) | (_, None) => Track::data(number),
            (codec, Some(video)) => {
                Track::video(number, codec.matroska_id(), video.width, video.height)
            }
        };
        let track = track
            .name(&header.streams[index.0].name)
            .codec_private(parameters.codec_private.clone());
        match default_duration(parameters) {
            Some(duration) => track.default_duration(duration),
            None => track,
        }
    };
    new.tracks.iter().map(track).collect()
}

fn track_number(index: StreamIndex) -> u64 {
    index.0 as u64 + 1
}

/// What a packet lasts unless it says otherwise, where the nominal rate is known.
fn default_duration(parameters: &CodecParameters) -> Option<Duration> {
    let rate = parameters.video?.fps?;
    Some(rate.frame_interval()).filter(|interval| !interval.is_zero())
}
