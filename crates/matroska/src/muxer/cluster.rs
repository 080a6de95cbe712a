//! Clusters: blocks gather until one is complete, then it is laid out to be written at once.

use std::io::{self, IoSlice, Write};

use bytes::Bytes;

use crate::{block::Block, ebml, ids, reader::cluster::StoredCluster};

/// A complete cluster, to be written at [`offset`](Self::offset) in one go.
///
/// It holds the payloads of its blocks without having copied them.
#[derive(Clone, Debug)]
pub struct Cluster {
    parts: Vec<Bytes>,
    offset: u64,
    len: u64,
    first_pts_us: i64,
    last_pts_us: i64,
}

/// The blocks of the cluster that is not complete yet.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    blocks: Vec<Block>,
    payload_bytes: usize,
    first_pts_us: i64,
    last_pts_us: i64,
}

/// The most time between the first and the last block of a cluster. A block's timestamp counts ticks
/// of 1 µs from its cluster in 16 bits with a sign, so 32.767 ms would be the limit.
const MAX_SPAN_US: u64 = 32_000;

/// The most payload that is gathered; a larger block makes a cluster of its own.
const MAX_PAYLOAD_BYTES: usize = 4 << 20;

/// Two parts a block and one more stay below the 1024 that one `writev` takes on Linux.
const MAX_BLOCKS: usize = 500;

/// A payload up to this size is copied beside its head, which costs less than a part of its own.
const INLINE_BYTES: usize = 512;

/// ID, size in eight bytes, CRC-32: what comes before the bytes that the CRC covers.
const CRC_COVERS_FROM: usize = 4 + 8 + ebml::CRC_ELEMENT_LEN;

/// No block's own bytes around its payload take more: BlockGroup and its size 9, Block and its size
/// 9, track, time and flags 4, BlockDuration 10, ReferenceBlock 3.
const MAX_BLOCK_OVERHEAD: usize = 35;

impl Cluster {
    /// The bytes in order, about two parts a block; never more than 1024, so that one `writev` takes
    /// them all.
    pub fn parts(&self) -> &[Bytes] {
        &self.parts
    }

    /// The bytes in order, as `writev` wants them.
    pub fn io_slices(&self) -> Vec<IoSlice<'_>> {
        self.parts.iter().map(|part| IoSlice::new(part)).collect()
    }

    /// Writes all bytes: with one `writev` if `out` takes them at once.
    ///
    /// # Errors
    ///
    /// The first error of `out`; how much was written before is then not known from here.
    pub fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        let mut slices = self.io_slices();
        let mut left = &mut slices[..];
        while !left.is_empty() {
            match out.write_vectored(left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut left, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Where in the file the cluster belongs, in bytes from its start.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The length in bytes; the next cluster begins right after them.
    #[expect(clippy::len_without_is_empty, reason = "no cluster is empty")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// The earliest time of its blocks, in µs.
    pub fn first_pts_us(&self) -> i64 {
        self.first_pts_us
    }

    /// The latest time of its blocks, in µs.
    pub fn last_pts_us(&self) -> i64 {
        self.last_pts_us
    }

    /// The bytes of `stored`, to be written at `offset`.
    pub(crate) fn copied(stored: &StoredCluster, offset: u64) -> Self {
        Self {
            parts: vec![stored.raw().clone()],
            offset,
            len: stored.len(),
            first_pts_us: stored.first_pts_us(),
            last_pts_us: stored.last_pts_us(),
        }
    }
}

impl Pending {
    pub(crate) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Whether `block` may join the blocks that are here.
    pub(crate) fn has_room_for(&self, block: &Block) -> bool {
        if self.blocks.is_empty() {
            return true;
        }
        let first = self.first_pts_us.min(block.pts_us);
        let last = self.last_pts_us.max(block.pts_us);
        last.abs_diff(first) <= MAX_SPAN_US
            && self.payload_bytes.saturating_add(block.data.len()) <= MAX_PAYLOAD_BYTES
            && self.blocks.len() < MAX_BLOCKS
    }

    pub(crate) fn push(&mut self, block: Block) {
        if self.blocks.is_empty() {
            self.first_pts_us = block.pts_us;
            self.last_pts_us = block.pts_us;
        } else {
            self.first_pts_us = self.first_pts_us.min(block.pts_us);
            self.last_pts_us = self.last_pts_us.max(block.pts_us);
        }
        self.payload_bytes += block.data.len();
        self.blocks.push(block);
    }

    /// The cluster of all blocks that are here, to be written at `offset`; none if there are none.
    pub(crate) fn take(&mut self, offset: u64) -> Option<Cluster> {
        if self.blocks.is_empty() {
            return None;
        }
        let mut layout = ClusterLayout::new(self);
        for block in self.blocks.drain(..) {
            layout.put(block, self.first_pts_us);
        }
        let len = (layout.heads.len() + layout.apart_bytes) as u64;
        self.payload_bytes = 0;
        Some(Cluster {
            parts: layout.into_parts(),
            offset,
            len,
            first_pts_us: self.first_pts_us,
            last_pts_us: self.last_pts_us,
        })
    }
}

/// All of a cluster but its larger payloads, and where those go.
struct ClusterLayout {
    heads: Vec<u8>,
    /// Payloads with the position in `heads` that they stand before.
    apart: Vec<(usize, Bytes)>,
    apart_bytes: usize,
}

impl ClusterLayout {
    fn new(pending: &Pending) -> Self {
        let is_apart = |block: &&Block| block.data.len() > INLINE_BYTES;
        let apart = pending.blocks.iter().filter(is_apart).count();
        let inline: usize = pending
            .blocks
            .iter()
            .map(|block| block.data.len())
            .filter(|len| *len <= INLINE_BYTES)
            .sum();
        let room = CRC_COVERS_FROM + 10 + pending.blocks.len() * MAX_BLOCK_OVERHEAD + inline;
        let mut heads = Vec::with_capacity(room);
        ebml::put_id(&mut heads, ids::CLUSTER);
        heads.extend_from_slice(&ebml::wide_size(0));
        ebml::put_crc(&mut heads, 0);
        ebml::put_uint(
            &mut heads,
            ids::TIMESTAMP,
            pending.first_pts_us.unsigned_abs(),
        );
        Self {
            heads,
            apart: Vec::with_capacity(apart),
            apart_bytes: 0,
        }
    }

    fn put(&mut self, block: Block, cluster_pts_us: i64) {
        let block_len = 4 + block.data.len();
        let offset_us = i16::try_from(block.pts_us - cluster_pts_us)
            .expect("a cluster spans less than 16 bits of µs");
        let (duration_us, keyframe) = (block.duration_us(), block.keyframe);
        if let Some(us) = duration_us {
            let reference_len = if keyframe { 0 } else { 3 };
            let group_len = ebml::element_len(ids::BLOCK, block_len)
                + ebml::element_len(ids::BLOCK_DURATION, ebml::uint_len(us))
                + reference_len;
            ebml::put_id(&mut self.heads, ids::BLOCK_GROUP);
            ebml::put_size(&mut self.heads, group_len as u64);
            ebml::put_id(&mut self.heads, ids::BLOCK);
        } else {
            ebml::put_id(&mut self.heads, ids::SIMPLE_BLOCK);
        }
        ebml::put_size(&mut self.heads, block_len as u64);
        ebml::put_size(&mut self.heads, block.track);
        self.heads.extend_from_slice(&offset_us.to_be_bytes());
        // Only a SimpleBlock says in its flags that it is a keyframe.
        let flags = if keyframe && duration_us.is_none() {
            0x80
        } else {
            0
        };
        self.heads.push(flags);

        self.put_payload(block.data);

        if let Some(us) = duration_us {
            ebml::put_uint(&mut self.heads, ids::BLOCK_DURATION, us);
            if !keyframe {
                // 0 says that the block needs another one, but not which (RFC 9559, 5.1.3.5.5).
                ebml::put_uint(&mut self.heads, ids::REFERENCE_BLOCK, 0);
            }
        }
    }

    fn put_payload(&mut self, data: Bytes) {
        if data.len() <= INLINE_BYTES {
            self.heads.extend_from_slice(&data);
        } else {
            self.apart_bytes += data.len();
            self.apart.push((self.heads.len(), data));
        }
    }

    fn into_parts(mut self) -> Vec<Bytes> {
        let data_len = self.heads.len() - 12 + self.apart_bytes;
        self.heads[4..12].copy_from_slice(&ebml::wide_size(data_len as u64));
        let crc = self.crc();
        self.heads[CRC_COVERS_FROM - 4..CRC_COVERS_FROM].copy_from_slice(&crc.to_le_bytes());

        let heads = Bytes::from(self.heads);
        let mut parts = Vec::with_capacity(2 * self.apart.len() + 1);
        let mut done = 0;
        for (position, payload) in self.apart {
            parts.push(heads.slice(done..position));
            parts.push(payload);
            done = position;
        }
        if done < heads.len() {
            parts.push(heads.slice(done..));
        }
        parts
    }

    fn crc(&self) -> u32 {
        let mut crc = crc32fast::Hasher::new();
        let mut done = CRC_COVERS_FROM;
        for (position, payload) in &self.apart {
            crc.update(&self.heads[done..*position]);
            crc.update(payload);
            done = *position;
        }
        crc.update(&self.heads[done..]);
        crc.finalize()
    }
}
