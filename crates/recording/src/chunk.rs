//! Chunks: the files of a recording, each of which plays alone.

mod cutter;
mod header;

pub use header::{CHUNK_HEADER_VERSION, CHUNK_TAG, ChunkHeader, ChunkHeaderError, DeclaredStream};
