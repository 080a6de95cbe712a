//! The reader: cluster by cluster, up to the end or the first one that is not good.

pub(crate) mod cluster;
pub(crate) mod cues;
pub(crate) mod damage;
mod element;
pub(crate) mod header;
mod info;
mod input;
mod lacing;
mod times;
mod tracks;

use std::io::{self, Read};

use bytes::Bytes;

use crate::{block::MAX_BLOCK_BYTES, ids};
use cluster::StoredCluster;
use cues::{Cue, read_cues};
use damage::{Damage, DamageKind, Fault};
use element::Elements;
use header::Header;
use input::{ElementHead, Input};
use times::Times;

/// Reads a Matroska file from its start, cluster by cluster, in bounded memory.
///
/// Files of this crate are held to what it writes: each cluster has a CRC-32 that fits, and nothing
/// unknown lies between. Files of others are read as far as they make sense: clusters without CRC or
/// of unknown size, blocks that hold several frames, any length of a tick.
///
/// Reading ends at the first damage. [`good_until`](Self::good_until) says where to cut then.
#[derive(Debug)]
pub struct Reader<R> {
    input: Input<R>,
    header: Header,
    times: Times,
    max_cluster_bytes: u64,
    good_until: u64,
    cues: Vec<Cue>,
    state: State,
}

/// Why a file cannot be opened for reading.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The source failed.
    #[error("cannot read the header")]
    Io {
        /// What the source said.
        source: io::Error,
    },
    /// The bytes do not begin as Matroska or WebM does.
    #[error("not a Matroska file")]
    NotMatroska,
    /// The file was written for a newer reader.
    #[error("the file needs {what} {found}, and only {supported} and older can be read")]
    Newer {
        /// What has the version.
        what: &'static str,
        /// The version that the file needs.
        found: u64,
        /// The newest version that can be read.
        supported: u64,
    },
    /// A track is compressed or encrypted in the container's own way.
    #[error("track {track} is compressed or encrypted by the container, which is not supported")]
    Encoded {
        /// The track's number.
        track: u64,
    },
    /// The header is not whole; nothing behind it can be understood.
    #[error("header {0}")]
    Damaged(Damage),
}

/// Why reading ended before the end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The source failed; it says nothing about the file.
    #[error("cannot read on after byte {offset}")]
    Io {
        /// Where the element begins that was to be read.
        offset: u64,
        /// What the source said.
        source: io::Error,
    },
    /// The file is damaged. All clusters before were given; asked again, the reader says the same.
    #[error(transparent)]
    Damaged(#[from] Damage),
}

/// The largest cluster that is taken unless [`Reader::max_cluster_bytes`] says otherwise: a block of
/// [`MAX_BLOCK_BYTES`] and room for its heads.
pub const MAX_CLUSTER_BYTES: usize = MAX_BLOCK_BYTES + (1 << 20);

/// How large Cues may be to be taken; larger ones are passed over.
const MAX_CUES_BYTES: u64 = 16 << 20;

#[derive(Clone, Copy, Debug)]
enum State {
    Reading,
    Ended { is_complete: bool },
    Damaged(Damage),
    Failed { offset: u64, kind: io::ErrorKind },
}

/// What the next element turned out to be.
enum Found {
    Cluster(StoredCluster),
    Other,
    End,
}

impl<R: Read> Reader<R> {
    /// Reads the header from `source`, which needs no buffer of its own.
    ///
    /// # Errors
    ///
    /// If the source fails, is no Matroska, is newer than this crate, or has a damaged header.
    pub fn new(source: R) -> Result<Self, OpenError> {
        let mut input = Input::new(source);
        let header = Header::read(&mut input)?;
        Ok(Self {
            input,
            times: Times::new(header.tick, &header.tracks),
            max_cluster_bytes: MAX_CLUSTER_BYTES as u64,
            good_until: header.len,
            header,
            cues: Vec::new(),
            state: State::Reading,
        })
    }

    /// Sets from which size on a cluster counts as damage; at first [`MAX_CLUSTER_BYTES`].
    ///
    /// A reader holds about one cluster in memory, and never more than twice what it has read of it.
    #[must_use]
    pub fn max_cluster_bytes(mut self, bytes: usize) -> Self {
        self.max_cluster_bytes = bytes as u64;
        self
    }

    /// What the file says before its first cluster.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The next cluster; none at the end.
    ///
    /// # Errors
    ///
    /// If the source fails, or at the first element that is not good: no cluster is given after it.
    pub fn next_cluster(&mut self) -> Result<Option<StoredCluster>, ReadError> {
        match self.state {
            State::Reading => {}
            State::Ended { .. } => return Ok(None),
            State::Damaged(damage) => return Err(damage.into()),
            State::Failed { offset, kind } => {
                let source = kind.into();
                return Err(ReadError::Io { offset, source });
            }
        }
        loop {
            let offset = self.input.offset();
            match self.read_element(offset) {
                Ok(Found::Cluster(cluster)) => {
                    self.good_until = self.input.offset();
                    return Ok(Some(cluster));
                }
                Ok(Found::Other) => {}
                Ok(Found::End) => return self.end(offset),
                Err(Fault::Damage(kind)) => return self.stop(Damage { offset, kind }),
                Err(Fault::Io(source)) => {
                    let kind = source.kind();
                    self.state = State::Failed { offset, kind };
                    return Err(ReadError::Io { offset, source });
                }
            }
        }
    }

    /// Where the last good cluster ends, or the header before the first, in bytes from the start.
    ///
    /// A file of this crate that is cut here and given a new [`Trailer`](crate::Trailer) is whole; see
    /// [`Muxer::resume`](crate::Muxer::resume).
    pub fn good_until(&self) -> u64 {
        self.good_until
    }

    /// Whether the file was completed: its end was reached without damage, its header has a SeekHead,
    /// and it is as long as its header says.
    pub fn is_complete(&self) -> bool {
        matches!(self.state, State::Ended { is_complete: true })
    }

    /// The cues of the file, once reading has come to them: they lie behind the clusters.
    pub fn cues(&self) -> &[Cue] {
        &self.cues
    }

    fn read_element(&mut self, offset: u64) -> Result<Found, Fault> {
        let strict = self.is_strict();
        if !strict && self.header.segment_end.is_some_and(|end| offset >= end) {
            return Ok(Found::End);
        }
        let Some(head) = self.input.peek()? else {
            return Ok(Found::End);
        };
        match head.id {
            ids::CLUSTER if self.cues.is_empty() || !strict => self.read_cluster(head, offset),
            ids::CUES => self.read_cues(head),
            ids::VOID => self.skip(head),
            ids::SEEK_HEAD
            | ids::INFO
            | ids::TRACKS
            | ids::TAGS
            | ids::ATTACHMENTS
            | ids::CHAPTERS
                if !strict =>
            {
                self.skip(head)
            }
            // Another file that was appended to a stream without a known end.
            ids::EBML | ids::SEGMENT if !strict => Ok(Found::End),
            id => Err(DamageKind::Unexpected { id }.into()),
        }
    }

    /// Whether the file is one of this crate and held to what it writes.
    fn is_strict(&self) -> bool {
        self.header.layout_version.is_some()
    }

    fn read_cluster(&mut self, head: ElementHead, offset: u64) -> Result<Found, Fault> {
        let strict = self.is_strict();
        let mut raw = Vec::new();
        match head.size {
            Some(size) => {
                if size.saturating_add(head.len() as u64) > self.max_cluster_bytes {
                    return Err(DamageKind::Size.into());
                }
                self.input.read(&mut raw, size)?;
            }
            None if strict => return Err(DamageKind::Size.into()),
            None => self.read_children(&mut raw)?,
        }
        let raw = Bytes::from(raw);
        let cluster = StoredCluster::parse(raw, head.len(), offset, &self.times)?;
        if strict && !cluster.has_crc() {
            return Err(DamageKind::NoChecksum.into());
        }
        Ok(Found::Cluster(if head.size.is_some() {
            cluster
        } else {
            cluster.without_size()
        }))
    }

    /// Reads a cluster of unknown size: all up to the next element that cannot be inside.
    fn read_children(&mut self, raw: &mut Vec<u8>) -> Result<(), Fault> {
        self.input.enter(raw);
        while let Some(child) = self.input.peek()? {
            // Matroska gives four bytes to the IDs of the Segment's own children, and to no other.
            if child.id > 0x0FFF_FFFF {
                break;
            }
            let size = child.size.ok_or(DamageKind::Size)?;
            let left = self.max_cluster_bytes.saturating_sub(raw.len() as u64);
            if size.saturating_add(child.len() as u64) > left {
                return Err(DamageKind::Size.into());
            }
            self.input.read(raw, size)?;
        }
        Ok(())
    }

    fn read_cues(&mut self, head: ElementHead) -> Result<Found, Fault> {
        if head.size.is_none_or(|size| size > MAX_CUES_BYTES) {
            return self.skip(head);
        }
        let mut raw = Vec::new();
        self.input.read(&mut raw, head.size.unwrap_or(0))?;
        let data = Bytes::from(raw).slice(head.len()..);
        let (children, has_crc) = Elements::checked(data)?;
        if self.is_strict() && !has_crc {
            return Err(DamageKind::NoChecksum.into());
        }
        self.cues = read_cues(children, self.header.segment_data, &self.times)?;
        Ok(Found::Other)
    }

    fn skip(&mut self, head: ElementHead) -> Result<Found, Fault> {
        self.input.skip(head.size.ok_or(DamageKind::Size)?)?;
        Ok(Found::Other)
    }

    fn end(&mut self, offset: u64) -> Result<Option<StoredCluster>, ReadError> {
        if self.header.segment_end.is_some_and(|end| offset < end) {
            let kind = DamageKind::Torn;
            return self.stop(Damage { offset, kind });
        }
        let is_complete = self.header.has_seek_head && self.header.segment_end == Some(offset);
        self.state = State::Ended { is_complete };
        Ok(None)
    }

    fn stop(&mut self, damage: Damage) -> Result<Option<StoredCluster>, ReadError> {
        self.state = State::Damaged(damage);
        Err(damage.into())
    }
}
