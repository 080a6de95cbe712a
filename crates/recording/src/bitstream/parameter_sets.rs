//! The parameter sets of a stream: which are in force, and the record that a decoder gets of them.

use bytes::Bytes;

use super::{NalCodec, bits::Bits, nal::Framing};

/// What a NAL unit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// A parameter set, which replaces the one of the same kind and id.
    ParameterSet { kind: u8, id: u32 },
    /// Part of a picture from which decoding can begin.
    RandomAccess,
    /// Anything else.
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ParameterSet {
    pub(super) kind: u8,
    pub(super) id: u32,
    pub(super) unit: Bytes,
}

impl ParameterSet {
    /// Writes the set with its length in 2 bytes; `None` if it is longer.
    pub(super) fn put_with_length(&self, record: &mut Vec<u8>) -> Option<()> {
        let len = u16::try_from(self.unit.len()).ok()?;
        record.extend(len.to_be_bytes());
        record.extend_from_slice(&self.unit);
        Some(())
    }
}

/// What a configuration record holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct StoredSets<'a> {
    pub(super) length_bytes: usize,
    pub(super) units: Vec<&'a [u8]>,
}

/// Takes `count` sets from the front, each with its length in 2 bytes before it.
pub(super) fn take_sets<'a>(
    mut rest: &'a [u8],
    count: usize,
    units: &mut Vec<&'a [u8]>,
) -> Option<&'a [u8]> {
    for _ in 0..count {
        let (&len, after) = rest.split_first_chunk()?;
        let (unit, after) = after.split_at_checked(u16::from_be_bytes(len).into())?;
        if !unit.is_empty() {
            units.push(unit);
        }
        rest = after;
    }
    Some(rest)
}

/// In pixels, what a player shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PictureSize {
    pub(super) width: u32,
    pub(super) height: u32,
}

impl PictureSize {
    /// Reads how much is cut off at each side, in units of `x` by `y` pixels.
    pub(super) fn cropped(self, bits: &mut Bits<'_>, x: u32, y: u32) -> Option<Self> {
        let mut cut = |unit: u32| {
            let both = bits.golomb()?.checked_add(bits.golomb()?)?;
            both.checked_mul(unit)
        };
        let (in_width, in_height) = (cut(x)?, cut(y)?);
        Some(Self {
            width: self
                .width
                .checked_sub(in_width)
                .filter(|&width| width > 0)?,
            height: self
                .height
                .checked_sub(in_height)
                .filter(|&height| height > 0)?,
        })
    }
}

/// The sets that packets refer to, each kind in the order in which its sets first came.
#[derive(Debug, Clone)]
pub(super) struct ParameterSets {
    codec: NalCodec,
    sets: Vec<ParameterSet>,
}

impl ParameterSets {
    pub(super) const fn new(codec: NalCodec) -> Self {
        Self {
            codec,
            sets: Vec::new(),
        }
    }

    /// Takes note of sets that came together, and says whether anything changed.
    ///
    /// Where the sequence changes, sets of before that were not sent again are forgotten: they may
    /// make no sense beside it.
    pub(super) fn absorb(&mut self, found: Vec<ParameterSet>) -> bool {
        let before = self.sets.clone();
        let changes_sequence = found.iter().any(|new| {
            new.kind == self.codec.sps() && self.same(new).is_some_and(|old| old.unit != new.unit)
        });
        if changes_sequence {
            self.sets
                .retain(|old| found.iter().all(|new| new.kind != old.kind));
        }
        for new in found {
            match self
                .sets
                .iter_mut()
                .find(|old| (old.kind, old.id) == (new.kind, new.id))
            {
                Some(old) => *old = new,
                None => self.sets.push(new),
            }
        }
        self.sets != before
    }

    /// The record for a decoder; `None` as long as a kind of set is missing, or one cannot be read.
    pub(super) fn configuration(&self, framing: Framing) -> Option<Bytes> {
        let kinds = self.codec.needed_sets();
        if !kinds
            .iter()
            .all(|&kind| self.sets.iter().any(|set| set.kind == kind))
        {
            return None;
        }
        let length_bytes = match framing {
            Framing::AnnexB => super::nal::LENGTH_BYTES,
            Framing::Lengths(bytes) => bytes,
        };
        self.codec
            .configuration(&self.sets, length_bytes)
            .map(Bytes::from)
    }

    pub(super) fn picture_size(&self) -> Option<PictureSize> {
        let sps = self.sets.iter().find(|set| set.kind == self.codec.sps())?;
        self.codec.picture_size(&sps.unit)
    }

    fn same(&self, set: &ParameterSet) -> Option<&ParameterSet> {
        self.sets
            .iter()
            .find(|old| (old.kind, old.id) == (set.kind, set.id))
    }
}
