//! Chunks: the files of a recording, each of which plays alone.

mod event;
mod facts;
mod header;
mod options;
mod writer;

mod cutter;
mod file;
mod naming;
mod sync;
mod tally;
mod unused_tracks;

pub use event::{ChunkEvent, ChunkSummary, CreateWriterError, WriteError};
pub use facts::RecordingFacts;
pub use header::{CHUNK_HEADER_VERSION, CHUNK_TAG, ChunkHeader, ChunkHeaderError, DeclaredStream};
pub use naming::NameFault;
pub use options::ChunkOptions;
pub use tally::StreamTally;
pub(crate) use unused_tracks::hide_unused_tracks;
pub use writer::{ChunkWriter, ChunksSummary};
