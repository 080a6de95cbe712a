//! How a recording is made.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use longtake_durable::{RealStorage, Storage};

use crate::{chunk::ChunkOptions, encoder::EncoderSettings, queue::WhenFull};

/// How much of each stream may wait in memory, by default.
pub const DEFAULT_QUEUE_BYTES: usize = 64 << 20;

/// How a recording is made. Everything has a default.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    pub(super) chunks: ChunkOptions,
    pub(super) max_duration: Option<Duration>,
    pub(super) queue_bytes: usize,
    pub(super) ffmpeg: PathBuf,
    pub(super) program: String,
    pub(super) storage: Arc<dyn Storage>,
    pub(super) streams: BTreeMap<String, StreamOptions>,
}

/// How one stream is recorded.
#[derive(Debug, Clone, Default)]
pub struct StreamOptions {
    pub(super) encoder: EncoderSettings,
    pub(super) when_full: WhenFull,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            chunks: ChunkOptions::default(),
            max_duration: None,
            queue_bytes: DEFAULT_QUEUE_BYTES,
            ffmpeg: "ffmpeg".into(),
            program: concat!("longtake-recording ", env!("CARGO_PKG_VERSION")).into(),
            storage: Arc::new(RealStorage),
            streams: BTreeMap::new(),
        }
    }
}

impl SessionOptions {
    /// Sets how chunks are cut, named and synced.
    #[must_use]
    pub fn chunks(mut self, chunks: ChunkOptions) -> Self {
        self.chunks = chunks;
        self
    }

    /// Sets how long the recording is: what is captured at this session time or later is not part of
    /// it. It still runs until it is stopped. Default: as long as it runs.
    #[must_use]
    pub const fn max_duration(mut self, duration: Duration) -> Self {
        self.max_duration = Some(duration);
        self
    }

    /// Sets how many bytes of each stream may wait in memory. Default: 64 MiB.
    #[must_use]
    pub const fn queue_bytes(mut self, bytes: usize) -> Self {
        self.queue_bytes = bytes;
        self
    }

    /// Sets the ffmpeg that encodes raw frames. Default: the one in `PATH`.
    #[must_use]
    pub fn ffmpeg(mut self, path: impl Into<PathBuf>) -> Self {
        self.ffmpeg = path.into();
        self
    }

    /// Sets the name and version of the program, for the manifest.
    #[must_use]
    pub fn program(mut self, program: impl Into<String>) -> Self {
        self.program = program.into();
        self
    }

    /// Sets where files are written. Default: the real file system.
    #[must_use]
    pub fn storage(mut self, storage: Arc<dyn Storage>) -> Self {
        self.storage = storage;
        self
    }

    /// Sets how the stream called `name` is recorded. A device must carry one of that name.
    #[must_use]
    pub fn stream(mut self, name: impl Into<String>, options: StreamOptions) -> Self {
        self.streams.insert(name.into(), options);
        self
    }
}

impl StreamOptions {
    /// Sets how raw frames are encoded. Default: libx264, superfast, zerolatency, no B-frames.
    #[must_use]
    pub fn encoder(mut self, encoder: EncoderSettings) -> Self {
        self.encoder = encoder;
        self
    }

    /// Sets what a full queue does. Default: drop the newest.
    #[must_use]
    pub const fn when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
    }
}
