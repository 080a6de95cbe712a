//! A cluster as it lies in a file, and the blocks in it.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;

use crate::{
    block::Block,
    ids,
    muxer::header::TICK_NS,
    reader::{
        damage::DamageKind,
        element::{Element, Elements},
        lacing::{self, take_number},
        times::Times,
    },
};

/// A cluster as it lies in a file: its bytes, of which the checksum fits, and the blocks in them.
#[derive(Clone, Debug)]
pub struct StoredCluster {
    raw: Bytes,
    offset: u64,
    blocks: Blocks,
    first_pts_us: i64,
    last_pts_us: i64,
    has_crc: bool,
    can_be_copied: bool,
}

/// The blocks of a [`StoredCluster`] in the order of the file; payloads are slices of its bytes.
///
/// Frames that another writer packed into one block come one by one, a duration apart if the block or
/// its track says one, and all at the time of the block otherwise.
#[derive(Clone, Debug)]
pub struct Blocks {
    children: Elements,
    times: Times,
    /// The cluster's own time in ticks, once its element was read.
    timestamp: Option<u64>,
    /// Frames of a block that holds several.
    laced: VecDeque<Block>,
}

/// The bit of a SimpleBlock's flags that marks a keyframe.
const KEYFRAME_FLAG: u8 = 0x80;

impl StoredCluster {
    /// Reads the cluster in `raw`, whose data begin at `data_at`.
    pub(crate) fn parse(
        raw: Bytes,
        data_at: usize,
        offset: u64,
        times: &Times,
    ) -> Result<Self, DamageKind> {
        let (children, has_crc) = Elements::checked(raw.slice(data_at..))?;
        let mut is_plain = true;
        for child in children.clone() {
            let plain = [ids::TIMESTAMP, ids::SIMPLE_BLOCK, ids::BLOCK_GROUP];
            is_plain &= plain.contains(&child?.id);
        }
        let blocks = Blocks {
            children,
            times: times.clone(),
            timestamp: None,
            laced: VecDeque::new(),
        };
        let mut ahead = blocks.clone();
        let mut extent = None;
        while let Some(block) = ahead.next_block() {
            let pts_us = block?.pts_us;
            let (first, last) = extent.unwrap_or((pts_us, pts_us));
            extent = Some((pts_us.min(first), pts_us.max(last)));
        }
        let timestamp = ahead.timestamp.ok_or(DamageKind::Malformed)?;
        let own_pts_us = times.pts_us(timestamp, 0)?;
        let (first_pts_us, last_pts_us) = extent.unwrap_or((own_pts_us, own_pts_us));
        Ok(Self {
            raw,
            offset,
            blocks,
            first_pts_us,
            last_pts_us,
            has_crc,
            can_be_copied: is_plain && times.tick_ns() == TICK_NS,
        })
    }

    /// Whether a checksum says that the bytes are those that were written.
    pub(crate) fn has_crc(&self) -> bool {
        self.has_crc
    }

    /// A cluster that did not say its size cannot be copied: it would end where the next begins.
    pub(crate) fn without_size(mut self) -> Self {
        self.can_be_copied = false;
        self
    }

    /// The whole element, from its ID to its last byte, as it lies in the file.
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// Where the cluster begins, in bytes from the start of the file.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The length of the whole element in bytes.
    #[expect(
        clippy::len_without_is_empty,
        reason = "an element has at least a head"
    )]
    pub fn len(&self) -> u64 {
        self.raw.len() as u64
    }

    /// The blocks in the order of the file.
    pub fn blocks(&self) -> Blocks {
        self.blocks.clone()
    }

    /// The earliest time of its blocks in µs, or the cluster's own if it holds none.
    pub fn first_pts_us(&self) -> i64 {
        self.first_pts_us
    }

    /// The latest time of its blocks in µs, or the cluster's own if it holds none.
    pub fn last_pts_us(&self) -> i64 {
        self.last_pts_us
    }

    /// Whether [`Muxer::copy`](crate::Muxer::copy) takes the cluster as it is, if the tracks are there:
    /// it counts ticks of 1 µs, says its size, and holds nothing that depends on its place.
    pub fn can_be_copied(&self) -> bool {
        self.can_be_copied
    }
}

impl Iterator for Blocks {
    type Item = Block;

    fn next(&mut self) -> Option<Block> {
        // All blocks were read once, when the cluster was.
        self.next_block()?.ok()
    }
}

impl Blocks {
    fn next_block(&mut self) -> Option<Result<Block, DamageKind>> {
        loop {
            if let Some(block) = self.laced.pop_front() {
                return Some(Ok(block));
            }
            let found = self.children.next()?.and_then(|child| self.read(&child));
            match found {
                Ok(Some(block)) => return Some(Ok(block)),
                Ok(None) => {}
                Err(kind) => return Some(Err(kind)),
            }
        }
    }

    /// Reads one child of the cluster: a block, or something else that matters or not.
    fn read(&mut self, child: &Element) -> Result<Option<Block>, DamageKind> {
        match child.id {
            ids::TIMESTAMP => {
                self.timestamp = Some(child.uint()?);
                Ok(None)
            }
            ids::SIMPLE_BLOCK => self.read_block(&child.data, None, None).map(Some),
            ids::BLOCK_GROUP => self.read_group(child).map(Some),
            _ => Ok(None),
        }
    }

    fn read_group(&mut self, group: &Element) -> Result<Block, DamageKind> {
        let mut block = None;
        let mut duration = None;
        let mut keyframe = true;
        for child in group.children() {
            let child = child?;
            match child.id {
                ids::BLOCK => block = Some(child.data),
                ids::BLOCK_DURATION => duration = Some(self.times.duration(child.uint()?)?),
                ids::REFERENCE_BLOCK => keyframe = false,
                _ => {}
            }
        }
        let block = block.ok_or(DamageKind::Malformed)?;
        self.read_block(&block, duration, Some(keyframe))
    }

    /// Reads the inside of a SimpleBlock or Block, whose flags say whether it is a `keyframe` if
    /// nothing else does; frames after the first are queued.
    fn read_block(
        &mut self,
        data: &Bytes,
        duration: Option<Duration>,
        keyframe: Option<bool>,
    ) -> Result<Block, DamageKind> {
        let mut rest = data.clone();
        let (track, _) = take_number(&mut rest).ok_or(DamageKind::Malformed)?;
        let (&[high, low, flags], _) = rest.split_first_chunk().ok_or(DamageKind::Malformed)?;
        let offset = i16::from_be_bytes([high, low]);
        let timestamp = self.timestamp.ok_or(DamageKind::Malformed)?;
        let block = Block {
            track,
            pts_us: self.times.pts_us(timestamp, offset)?,
            duration,
            keyframe: keyframe.unwrap_or(flags & KEYFRAME_FLAG != 0),
            data: rest.slice(3..),
        };
        if lacing::is_laced(flags) {
            self.unlace(flags, block)
        } else {
            Ok(block)
        }
    }

    /// Queues the frames of a block that holds several, and gives the first.
    fn unlace(&mut self, flags: u8, block: Block) -> Result<Block, DamageKind> {
        let frames = lacing::frames(flags, block.data)?;
        let count = u32::try_from(frames.len()).map_err(|_| DamageKind::Malformed)?;
        let each = block.duration.map(|all| all / count);
        let each = each.or_else(|| self.times.default_duration(block.track));
        for (n, data) in (0..count).zip(frames) {
            let after_first = (each.unwrap_or_default() * n).as_micros();
            let pts_us = i64::try_from(after_first)
                .ok()
                .and_then(|us| block.pts_us.checked_add(us));
            self.laced.push_back(Block {
                pts_us: pts_us.ok_or(DamageKind::Malformed)?,
                duration: each,
                data,
                ..block
            });
        }
        self.laced.pop_front().ok_or(DamageKind::Malformed)
    }
}
