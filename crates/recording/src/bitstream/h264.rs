//! H.264: kinds of NAL units, the sequence parameter set (ITU-T H.264, 7.3.2.1.1), and `avcC`
//! (ISO/IEC 14496-15, 5.3.3.1).

use super::{
    bits::Bits,
    parameter_sets::{ParameterSet, PictureSize, StoredSets, Unit, take_sets},
};

const IDR: u8 = 5;
pub(super) const SPS: u8 = 7;
pub(super) const PPS: u8 = 8;

/// The profiles without fields for chroma and bit depth: Baseline, Main, Extended.
const PLAIN_PROFILES: [u8; 3] = [66, 77, 88];

/// The profiles whose sequence parameter sets have fields for chroma and bit depth.
const HIGH_PROFILES: [u8; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

/// What is used of a sequence parameter set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sps {
    chroma_format: u32,
    luma_bits: u32,
    chroma_bits: u32,
    size: PictureSize,
}

pub(super) fn classify(unit: &[u8]) -> Unit {
    let kind = unit.first().map_or(0, |byte| byte & 0x1F);
    match kind {
        IDR => Unit::RandomAccess,
        SPS => unit
            .get(4..)
            .and_then(|rest| Bits::new(rest).golomb())
            .map_or(Unit::Other, |id| Unit::ParameterSet { kind, id }),
        PPS => Bits::new(&unit[1..])
            .golomb()
            .map_or(Unit::Other, |id| Unit::ParameterSet { kind, id }),
        _ => Unit::Other,
    }
}

pub(super) fn picture_size(sps: &[u8]) -> Option<PictureSize> {
    Some(Sps::parse(sps)?.size)
}

/// Builds `avcC`; `None` when the sets do not fit it.
pub(super) fn configuration(sets: &[ParameterSet], length_bytes: usize) -> Option<Vec<u8>> {
    let of_kind = |kind| sets.iter().filter(move |set| set.kind == kind);
    let first = of_kind(SPS).next()?;
    let [_, profile, compatibility, level, ..] = first.unit[..] else {
        return None;
    };
    let length_minus_1 = u8::try_from(length_bytes - 1).ok()?;
    let mut record = vec![1, profile, compatibility, level, 0xFC | length_minus_1];
    for (kind, reserved, most) in [(SPS, 0xE0, 31), (PPS, 0, 255)] {
        let count = u8::try_from(of_kind(kind).count()).ok()?;
        if count > most {
            return None;
        }
        record.push(reserved | count);
        for set in of_kind(kind) {
            set.put_with_length(&mut record)?;
        }
    }
    if !PLAIN_PROFILES.contains(&profile) {
        let sps = Sps::parse(&first.unit)?;
        let low = |value: u32| value.to_be_bytes()[3];
        record.extend([
            0xFC | low(sps.chroma_format),
            0xF8 | low(sps.luma_bits - 8),
            0xF8 | low(sps.chroma_bits - 8),
            // No extensions of sequence parameter sets: they are for alpha planes.
            0,
        ]);
    }
    Some(record)
}

/// Takes `avcC` apart.
pub(super) fn stored_sets(record: &[u8]) -> Option<StoredSets<'_>> {
    let &[1, _, _, _, lengths, sps_count, ref rest @ ..] = record else {
        return None;
    };
    let mut units = Vec::new();
    let rest = take_sets(rest, usize::from(sps_count & 0x1F), &mut units)?;
    let (&pps_count, rest) = rest.split_first()?;
    take_sets(rest, usize::from(pps_count), &mut units)?;
    Some(StoredSets {
        length_bytes: usize::from(lengths & 3) + 1,
        units,
    })
}

impl Sps {
    fn parse(unit: &[u8]) -> Option<Self> {
        let mut bits = Bits::new(unit);
        bits.skip(8)?;
        let profile = bits.byte()?;
        bits.skip(16)?;
        let _id = bits.golomb()?;
        let (mut chroma_format, mut separate_planes) = (1, false);
        let (mut luma_bits, mut chroma_bits) = (8, 8);
        if HIGH_PROFILES.contains(&profile) {
            chroma_format = bits.golomb().filter(|&format| format <= 3)?;
            separate_planes = chroma_format == 3 && bits.bit()?;
            luma_bits = bits.golomb().filter(|&more| more <= 6)? + 8;
            chroma_bits = bits.golomb().filter(|&more| more <= 6)? + 8;
            let _transform_bypass = bits.bit()?;
            skip_scaling_lists(&mut bits, chroma_format)?;
        }
        let _log2_max_frame_num = bits.golomb()?;
        skip_picture_order_count(&mut bits)?;
        let _max_reference_frames = bits.golomb()?;
        let _frame_num_gaps = bits.bit()?;
        let width_in_blocks = bits.golomb()?.checked_add(1)?;
        let height_in_units = bits.golomb()?.checked_add(1)?;
        let frames_only = bits.bit()?;
        if !frames_only {
            let _fields_may_be_blended = bits.bit()?;
        }
        let _direct_8x8 = bits.bit()?;
        // A unit of height is a block of a frame, or of each of two fields.
        let fields = if frames_only { 1 } else { 2 };
        let mut size = PictureSize {
            width: width_in_blocks.checked_mul(16)?,
            height: height_in_units.checked_mul(16 * fields)?,
        };
        if bits.bit()? {
            let (x, y) = match (chroma_format, separate_planes) {
                (1, _) => (2, 2),
                (2, _) => (2, 1),
                _ => (1, 1),
            };
            size = size.cropped(&mut bits, x, y * fields)?;
        }
        Some(Self {
            chroma_format,
            luma_bits,
            chroma_bits,
            size,
        })
    }
}

fn skip_scaling_lists(bits: &mut Bits<'_>, chroma_format: u32) -> Option<()> {
    if !bits.bit()? {
        return Some(());
    }
    let lists = if chroma_format == 3 { 12 } else { 8 };
    for list in 0..lists {
        if !bits.bit()? {
            continue;
        }
        let entries = if list < 6 { 16 } else { 64 };
        let (mut last, mut next) = (8_i64, 8_i64);
        for _ in 0..entries {
            if next != 0 {
                next = (last + bits.signed_golomb()?).rem_euclid(256);
            }
            if next != 0 {
                last = next;
            }
        }
    }
    Some(())
}

fn skip_picture_order_count(bits: &mut Bits<'_>) -> Option<()> {
    match bits.golomb()? {
        0 => bits.golomb().map(drop),
        1 => {
            bits.skip(1)?;
            bits.signed_golomb()?;
            bits.signed_golomb()?;
            let cycle = bits.golomb().filter(|&frames| frames <= 255)?;
            (0..cycle).try_for_each(|_| bits.signed_golomb().map(drop))
        }
        2 => Some(()),
        _ => None,
    }
}
