//! Hides tracks that got no packet from players.
//!
//! A chunk declares its tracks before it knows which streams will give something; a recording may be
//! stopped, or a camera fall silent, before each has. Players complain about a video track without a
//! single packet, so its entry is made a Void element when the chunk is completed.
//!
//! The header must be whole at any moment, also after a power cut, and the element Tracks has a
//! checksum. An entry becomes a Void by one byte, its ID. What was in it means nothing any more, so
//! four of its bytes are free to be chosen such that the checksum stays right. All these bytes lie
//! side by side in one sector of the disk, which is written whole or not at all.

use std::ops::Range;

use bytes::Bytes;

/// Bytes to write over a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeaderPatch {
    /// Where, in bytes from the start of the file.
    pub(crate) offset: u64,
    /// What.
    pub(crate) bytes: Bytes,
}

/// The smallest unit that a disk writes whole.
const SECTOR: usize = 512;

/// Element IDs of RFC 9559 and RFC 8794.
const SEGMENT: u32 = 0x1853_8067;
const TRACKS: u32 = 0x1654_AE6B;
const TRACK_ENTRY: u32 = 0xAE;
const TRACK_NUMBER: u32 = 0xD7;
const CRC_32: u32 = 0xBF;
const VOID: u8 = 0xEC;

/// How many bytes of an entry make the checksum right.
const FREE: usize = 4;

/// What makes all entries of `header` Voids whose track number is not one of `used`.
///
/// An entry whose first bytes lie in two sectors stays, and so does everything when the header is
/// not laid out as expected: a track too many does no harm.
pub(crate) fn hide_unused_tracks(header: &[u8], used: impl Fn(u64) -> bool) -> Vec<HeaderPatch> {
    let Some(tracks) = find_tracks(header) else {
        return Vec::new();
    };
    let mut bytes = header.to_vec();
    let mut patches = Vec::new();
    for entry in elements(header, tracks.clone()).filter(|it| it.id == TRACK_ENTRY) {
        let is_used = track_number(header, &entry).is_none_or(&used);
        let change = entry.start..entry.data.start + FREE;
        let fits = entry.data.len() >= FREE && change.start / SECTOR == (change.end - 1) / SECTOR;
        if !is_used && fits {
            hide(&mut bytes, &tracks, &entry);
            patches.push(HeaderPatch {
                offset: change.start as u64,
                bytes: Bytes::copy_from_slice(&bytes[change]),
            });
        }
    }
    patches
}

/// An element and where it lies in the header.
struct Element {
    id: u32,
    start: usize,
    data: Range<usize>,
}

/// The data of the element Tracks, behind its checksum.
fn find_tracks(header: &[u8]) -> Option<Range<usize>> {
    let segment = elements(header, 0..header.len()).find(|it| it.id == SEGMENT)?;
    let tracks = elements(header, segment.data).find(|it| it.id == TRACKS)?;
    let checksum = elements(header, tracks.data.clone()).next()?;
    (checksum.id == CRC_32).then_some(checksum.data.end..tracks.data.end)
}

fn track_number(header: &[u8], entry: &Element) -> Option<u64> {
    let number = elements(header, entry.data.clone()).find(|it| it.id == TRACK_NUMBER)?;
    let bytes = &header[number.data];
    Some(
        bytes
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte)),
    )
}

/// Makes `entry` a Void without changing the CRC-32 of `tracks`.
fn hide(bytes: &mut [u8], tracks: &Range<usize>, entry: &Element) {
    let wanted = crc32fast::hash(&bytes[tracks.clone()]);
    bytes[entry.start] = VOID;
    let free = entry.data.start..entry.data.start + FREE;
    bytes[free.clone()].fill(0);

    // A CRC is linear: each free bit that is set changes it in a way of its own.
    let mut only_free = vec![0; tracks.len()];
    let zero = crc32fast::hash(&only_free);
    let at = free.start - tracks.start;
    let effects = std::array::from_fn(|bit| {
        let set = (1_u32 << bit).to_le_bytes();
        only_free[at..at + FREE].copy_from_slice(&set);
        crc32fast::hash(&only_free) ^ zero
    });
    let missing = wanted ^ crc32fast::hash(&bytes[tracks.clone()]);
    bytes[free].copy_from_slice(&bits_with_effect(effects, missing).to_le_bytes());
}

/// The bits whose `effects` make `wanted` together. There is always one such set: 32 bits side by
/// side can give a CRC-32 any value.
fn bits_with_effect(effects: [u32; 32], wanted: u32) -> u32 {
    // Each row is an effect with a leading bit that no other has, and the bits that have it.
    let mut rows: [(u32, u32); 32] = [(0, 0); 32];
    let reduce = |rows: &[(u32, u32); 32], mut effect: u32, mut bits: u32| {
        for (leading, row) in rows.iter().enumerate() {
            if effect >> leading & 1 == 1 && row.0 != 0 {
                effect ^= row.0;
                bits ^= row.1;
            }
        }
        (effect, bits)
    };
    for (bit, effect) in effects.into_iter().enumerate() {
        let (effect, bits) = reduce(&rows, effect, 1 << bit);
        if effect != 0 {
            rows[effect.trailing_zeros() as usize] = (effect, bits);
        }
    }
    reduce(&rows, wanted, 0).1
}

/// The elements that lie in `range`, up to one that is not whole; a Segment goes to its end.
fn elements(bytes: &[u8], range: Range<usize>) -> impl Iterator<Item = Element> {
    let mut next = range.start;
    std::iter::from_fn(move || {
        let element = element(bytes, next, range.end)?;
        next = element.data.end;
        Some(element)
    })
}

/// The element at `start`; one of unknown size reaches up to `end`.
fn element(bytes: &[u8], start: usize, end: usize) -> Option<Element> {
    let id_len = vint_len(*bytes[..end].get(start)?);
    let size_at = start + id_len;
    let size_len = vint_len(*bytes[..end].get(size_at)?);
    let data = size_at + size_len;
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    };
    let id = u32::try_from(number(bytes[..end].get(start..size_at)?)).ok()?;
    let value_bits = 7 * size_len;
    let size = number(bytes[..end].get(size_at..data)?) & ((1 << value_bits) - 1);
    // A Segment reaches beyond the header, also where it says how far.
    let data_end = if id == SEGMENT || size == (1 << value_bits) - 1 {
        end
    } else {
        data.checked_add(usize::try_from(size).ok()?)?
    };
    (data_end <= end).then_some(Element {
        id,
        start,
        data: data..data_end,
    })
}

/// How many bytes a number takes that begins with `first`: 9 for none that is valid.
fn vint_len(first: u8) -> usize {
    first.leading_zeros() as usize + 1
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use longtake_matroska::{Block, Muxer, Reader, SegmentInfo, Track};
    use proptest::prelude::*;

    use super::*;

    /// A file with a packet in each of `used` of `tracks` tracks, and its header.
    fn file(title: &str, tracks: u64, used: &[u64]) -> (Vec<u8>, Vec<u8>) {
        let track = |number| {
            Track::video(number, "V_MPEG4/ISO/AVC", 640, 400)
                .name(format!("camera {number}"))
                .codec_private(vec![7; 30 + usize::try_from(number).unwrap() * 17])
        };
        let info = SegmentInfo::default().title(title).tag("LONGTAKE", "{}");
        let mut muxer = Muxer::new(info, (1..=tracks).map(track).collect()).unwrap();
        let header = muxer.header().to_vec();
        let mut bytes = header.clone();
        for number in used {
            assert!(
                muxer
                    .push(Block::new(*number, 0, "packet"))
                    .unwrap()
                    .is_none()
            );
        }
        let trailer = muxer.finish();
        bytes.extend_from_slice(&trailer.bytes);
        for patch in trailer.patches {
            let at = usize::try_from(patch.offset).unwrap();
            bytes[at..at + patch.bytes.len()].copy_from_slice(&patch.bytes);
        }
        (bytes, header)
    }

    /// The tracks of a file that must be whole.
    #[track_caller]
    fn tracks(bytes: &[u8]) -> Vec<u64> {
        let mut reader = Reader::new(Cursor::new(bytes)).unwrap();
        while reader.next_cluster().unwrap().is_some() {}
        assert!(reader.is_complete());
        let tracks = &reader.header().tracks;
        tracks.iter().map(|track| track.number).collect()
    }

    proptest! {
        /// The reader refuses a header whose checksum does not fit.
        #[test]
        fn hidden_tracks_are_gone_and_the_checksum_fits(
            title_len in 0..600_usize,
            used in prop::collection::btree_set(1..=6_u64, 1..6),
        ) {
            let used: Vec<_> = used.into_iter().collect();
            let (mut bytes, header) = file(&"t".repeat(title_len), 6, &used);
            prop_assert_eq!(tracks(&bytes), [1, 2, 3, 4, 5, 6]);
            let patches = hide_unused_tracks(&header, |number| used.contains(&number));
            let (mut hidden, mut there) = (patches.len(), 6);
            // Each patch by itself leaves a whole file: a crash may come between two of them.
            for patch in patches {
                let at = usize::try_from(patch.offset).unwrap();
                let end = at + patch.bytes.len();
                prop_assert_eq!(at / SECTOR, (end - 1) / SECTOR);
                bytes[at..end].copy_from_slice(&patch.bytes);
                there -= 1;
                prop_assert_eq!(tracks(&bytes).len(), there);
                hidden -= 1;
            }
            prop_assert_eq!(hidden, 0);
            for number in &used {
                prop_assert!(tracks(&bytes).contains(number));
            }
        }

        #[test]
        fn bytes_that_are_no_header_are_left_alone(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            cut in 0..800_usize,
        ) {
            hide_unused_tracks(&bytes, |_| false);
            let (_, mut header) = file("", 2, &[1]);
            header.truncate(cut);
            hide_unused_tracks(&header, |_| false);
            for (at, byte) in bytes.iter().enumerate() {
                if let Some(there) = header.get_mut(at * 3) {
                    *there ^= *byte;
                }
            }
            hide_unused_tracks(&header, |_| false);
        }
    }

    #[test]
    fn a_chunk_may_be_completed_before() {
        let (whole, header) = file("", 3, &[1]);
        let patches = hide_unused_tracks(&whole[..header.len()], |number| number == 1);
        assert_eq!(patches.len(), 2);
        assert_eq!(patches, hide_unused_tracks(&header, |number| number == 1));
    }

    #[test]
    fn tracks_that_are_used_stay() {
        let (_, header) = file("", 3, &[1]);
        assert_eq!(hide_unused_tracks(&header, |_| true), []);
        assert_eq!(hide_unused_tracks(&header, |number| number != 2).len(), 1);
    }
}
