//! What completes a file.

use bytes::Bytes;

/// What completes a file: bytes to append, then, once those are on disk, bytes to write over the
/// header.
///
/// Without it the file plays all the same, but players must search through it to seek.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trailer {
    /// Where in the file [`bytes`](Self::bytes) belong, in bytes from its start: behind the last cluster.
    pub offset: u64,
    /// To append: the last cluster if it was not flushed before, then Cues.
    pub bytes: Bytes,
    /// To write over the header, in this order, after `bytes` are on disk.
    ///
    /// There is one, which lies in the first 512 bytes of the file, so that no disk writes one half of it
    /// only: the Segment's size, the SeekHead, and Info's CRC with Duration.
    pub patches: Vec<Patch>,
}

/// Bytes to write over what is already in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Patch {
    /// Where, in bytes from the start of the file.
    pub offset: u64,
    /// What.
    pub bytes: Bytes,
}
