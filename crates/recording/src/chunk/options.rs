//! How chunks are cut, named and synced.

use std::{fmt, sync::Arc, time::Duration};

use super::{cutter::Rules, header::ChunkHeader, naming::NameChunk};

/// How chunks are cut, named and synced. Everything has a default.
#[derive(Clone)]
pub struct ChunkOptions {
    pub(super) rules: Rules,
    pub(super) sync: Syncing,
    pub(super) flush_after: Duration,
    pub(super) name: Option<Arc<NameChunk>>,
}

/// When bytes are brought to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syncing {
    Every(Duration),
    Never,
}

/// A shorter chunk would hold nothing but its own header.
const MIN_LENGTH: Duration = Duration::from_millis(10);

/// Half of the range of PTS, so that no sum leaves it.
const MAX_LENGTH: Duration = Duration::from_micros(1 << 62);

/// More than a day is as good as for ever, and may be added to any instant.
const MAX_WAIT: Duration = Duration::from_secs(86_400);

impl Default for ChunkOptions {
    fn default() -> Self {
        Self {
            rules: Rules {
                chunk_length: Duration::from_secs(60),
                opening_wait: Duration::from_secs(2),
                max_held_bytes: 64 << 20,
                grace: Duration::from_secs(10),
                max_overrun: Duration::from_secs(600),
                max_open_chunks: 16,
            },
            sync: Syncing::Every(Duration::from_secs(1)),
            flush_after: Duration::from_millis(50),
            name: None,
        }
    }
}

impl ChunkOptions {
    /// Sets the length of a chunk. Its multiples in session time are the boundaries, common to all
    /// streams: each goes on to the next chunk at its own first keyframe at or after one. Default:
    /// 60 s; less than 10 ms counts as 10 ms.
    #[must_use]
    pub fn length(mut self, length: Duration) -> Self {
        self.rules.chunk_length = length.clamp(MIN_LENGTH, MAX_LENGTH);
        self
    }

    /// Sets how long the first chunk waits, from the first packet on, until packets of all streams
    /// have come. One that comes later begins another chunk. Default: 2 s; one day at most.
    #[must_use]
    pub fn opening_wait(mut self, wait: Duration) -> Self {
        self.rules.opening_wait = wait.min(MAX_WAIT);
        self
    }

    /// Sets how much may be held in memory meanwhile; with more, the chunk is opened at once.
    /// Default: 64 MiB.
    #[must_use]
    pub fn max_held_bytes(mut self, bytes: usize) -> Self {
        self.rules.max_held_bytes = bytes;
        self
    }

    /// Sets how long after its last packet a silent stream keeps a chunk open that others have left.
    /// What comes after that for this chunk is counted as late. Default: 10 s; one day at most.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.rules.grace = grace.min(MAX_WAIT);
        self
    }

    /// Sets how far a stream may go on in its chunk behind the boundary because no keyframe comes.
    /// What comes after that is dropped up to the next keyframe. Default: 10 min.
    ///
    /// A camera that gives a keyframe only when it is asked for, or spreads it over many pictures
    /// (periodic intra refresh), needs more than the whole recording takes.
    #[must_use]
    pub fn max_overrun(mut self, overrun: Duration) -> Self {
        self.rules.max_overrun = overrun.min(MAX_LENGTH);
        self
    }

    /// Sets how many chunks may be open; the oldest is finished when there are more. Default: 16; at
    /// least 1.
    #[must_use]
    pub fn max_open_chunks(mut self, chunks: usize) -> Self {
        self.rules.max_open_chunks = chunks.max(1);
        self
    }

    /// Sets how often what was written is brought to the disk, on a thread of its own. A power cut
    /// loses at most that much and what comes while a sync runs. Default: 1 s; one day at most.
    #[must_use]
    pub fn sync_every(mut self, interval: Duration) -> Self {
        self.sync = Syncing::Every(interval.min(MAX_WAIT));
        self
    }

    /// Leaves it to the system when bytes reach the disk, also those of finished chunks.
    ///
    /// A recorder that is killed loses no more than with syncs; a power cut may lose anything.
    #[must_use]
    pub fn never_sync(mut self) -> Self {
        self.sync = Syncing::Never;
        self
    }

    /// Sets how long a packet may wait for others to be written with it, as long as
    /// [`ChunkWriter::tick`](crate::ChunkWriter::tick) is called when it asks for it. A recorder
    /// that is killed loses at most that much. Default: 50 ms; one day at most.
    #[must_use]
    pub fn flush_after(mut self, wait: Duration) -> Self {
        self.flush_after = wait.min(MAX_WAIT);
        self
    }

    /// Sets how chunks are called. Default: the sequence number in five digits, as in `00001.mkv`.
    ///
    /// A name that repeats, or is no plain file name, is refused: the chunk then has the default
    /// name, and a [`NameRefused`](crate::ChunkEvent::NameRefused) says so.
    #[must_use]
    pub fn name(mut self, name: impl Fn(&ChunkHeader) -> String + Send + Sync + 'static) -> Self {
        self.name = Some(Arc::new(name));
        self
    }

    /// The length of a chunk.
    pub fn length_of_chunk(&self) -> Duration {
        self.rules.chunk_length
    }
}

impl fmt::Debug for ChunkOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkOptions")
            .field("rules", &self.rules)
            .field("sync", &self.sync)
            .field("flush_after", &self.flush_after)
            .finish_non_exhaustive()
    }
}
