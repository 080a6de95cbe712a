//! H.265: kinds of NAL units, the sequence parameter set (ITU-T H.265, 7.3.2.2.1), and `hvcC`
//! (ISO/IEC 14496-15, 8.3.3.1).

use super::{
    bits::Bits,
    parameter_sets::{ParameterSet, PictureSize, StoredSets, Unit, take_sets},
};

/// Pictures from which decoding can begin: BLA, IDR, CRA.
const RANDOM_ACCESS: std::ops::RangeInclusive<u8> = 16..=21;
pub(super) const VPS: u8 = 32;
pub(super) const SPS: u8 = 33;
pub(super) const PPS: u8 = 34;

/// The bytes of every unit before its payload.
const UNIT_HEAD: usize = 2;

/// Profile, tier, compatibility flags, constraint flags and level, as they stand in the sequence
/// parameter set and in `hvcC`.
const GENERAL_PROFILE_BYTES: usize = 12;

/// What is used of a sequence parameter set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sps {
    id: u32,
    temporal_layers: u8,
    temporal_nesting: bool,
    general_profile: [u8; GENERAL_PROFILE_BYTES],
    chroma_format: u32,
    luma_bits: u32,
    chroma_bits: u32,
    size: PictureSize,
}

pub(super) fn classify(unit: &[u8]) -> Unit {
    let kind = unit.first().map_or(0, |byte| byte >> 1 & 0x3F);
    let payload = unit.get(UNIT_HEAD..).unwrap_or_default();
    let id = match kind {
        VPS => payload.first().map(|byte| u32::from(byte >> 4)),
        SPS => Sps::parse(unit).map(|sps| sps.id),
        PPS => Bits::new(payload).golomb(),
        _ if RANDOM_ACCESS.contains(&kind) => return Unit::RandomAccess,
        _ => None,
    };
    id.map_or(Unit::Other, |id| Unit::ParameterSet { kind, id })
}

pub(super) fn picture_size(sps: &[u8]) -> Option<PictureSize> {
    Some(Sps::parse(sps)?.size)
}

/// Builds `hvcC`; `None` when the sets do not fit it.
pub(super) fn configuration(sets: &[ParameterSet], length_bytes: usize) -> Option<Vec<u8>> {
    let of_kind = |kind| sets.iter().filter(move |set| set.kind == kind);
    let sps = Sps::parse(&of_kind(SPS).next()?.unit)?;
    let length_minus_1 = u8::try_from(length_bytes - 1).ok()?;
    let low = |value: u32| value.to_be_bytes()[3];
    let mut record = vec![1];
    record.extend(sps.general_profile);
    record.extend([
        // Nothing is said of how pictures are cut into parts, and of how they could be decoded
        // side by side.
        0xF0,
        0,
        0xFC,
        0xFC | low(sps.chroma_format),
        0xF8 | low(sps.luma_bits - 8),
        0xF8 | low(sps.chroma_bits - 8),
        // Nor of the frame rate: timestamps tell it.
        0,
        0,
        sps.temporal_layers << 3 | u8::from(sps.temporal_nesting) << 2 | length_minus_1,
        3,
    ]);
    for kind in [VPS, SPS, PPS] {
        // The highest bit would promise that packets have no sets; they may repeat them.
        record.push(kind);
        let count = u16::try_from(of_kind(kind).count()).ok()?;
        record.extend(count.to_be_bytes());
        for set in of_kind(kind) {
            set.put_with_length(&mut record)?;
        }
    }
    Some(record)
}

/// Takes `hvcC` apart.
pub(super) fn stored_sets(record: &[u8]) -> Option<StoredSets<'_>> {
    let (head, mut rest) = record.split_first_chunk::<23>()?;
    if head[0] != 1 {
        return None;
    }
    let mut units = Vec::new();
    for _ in 0..head[22] {
        let (&[_, count_high, count_low], sets) = rest.split_first_chunk()?;
        let count = u16::from_be_bytes([count_high, count_low]);
        rest = take_sets(sets, usize::from(count), &mut units)?;
    }
    Some(StoredSets {
        length_bytes: usize::from(head[21] & 3) + 1,
        units,
    })
}

impl Sps {
    fn parse(unit: &[u8]) -> Option<Self> {
        let mut bits = Bits::new(unit.get(UNIT_HEAD..)?);
        let _vps = bits.number(4)?;
        let sub_layers = bits.number(3)?;
        let temporal_nesting = bits.bit()?;
        let mut general_profile = [0; GENERAL_PROFILE_BYTES];
        for byte in &mut general_profile {
            *byte = bits.byte()?;
        }
        skip_sub_layers(&mut bits, sub_layers)?;
        let id = bits.golomb()?;
        let chroma_format = bits.golomb().filter(|&format| format <= 3)?;
        let separate_planes = chroma_format == 3 && bits.bit()?;
        let mut size = PictureSize {
            width: bits.golomb()?,
            height: bits.golomb()?,
        };
        if bits.bit()? {
            let (x, y) = match (chroma_format, separate_planes) {
                (1, _) => (2, 2),
                (2, _) => (2, 1),
                _ => (1, 1),
            };
            size = size.cropped(&mut bits, x, y)?;
        }
        Some(Self {
            id,
            temporal_layers: u8::try_from(sub_layers + 1).ok()?,
            temporal_nesting,
            general_profile,
            chroma_format,
            luma_bits: bits.golomb().filter(|&more| more <= 8)? + 8,
            chroma_bits: bits.golomb().filter(|&more| more <= 8)? + 8,
            size,
        })
    }
}

/// Skips what `profile_tier_level` says of the temporal layers below the highest one.
fn skip_sub_layers(bits: &mut Bits<'_>, count: u32) -> Option<()> {
    if count == 0 {
        return Some(());
    }
    let mut present = Vec::new();
    for layer in 0..8 {
        let flags = (bits.bit()?, bits.bit()?);
        if layer < count {
            present.push(flags);
        }
    }
    for (profile, level) in present {
        bits.skip(if profile { 88 } else { 0 })?;
        bits.skip(if level { 8 } else { 0 })?;
    }
    Some(())
}
