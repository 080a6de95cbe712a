//! The first sample description of a track (`stsd`): codec and what a decoder needs.

use std::io::{Read, Seek};

use super::boxes::{Boxes, Header, be_u16, be_u32};
use super::{FourCc, Mp4Damage, TrackKind};

/// Where the boxes inside a sample entry begin, from the start of its body.
const AFTER_VIDEO_FIELDS: u64 = 78;
const AFTER_AUDIO_FIELDS: u64 = 28;

/// Boxes that hold what a decoder must know beforehand.
const CONFIGURATIONS: [&[u8; 4]; 9] = [
    b"avcC", b"hvcC", b"av1C", b"vpcC", b"vvcC", b"esds", b"dOps", b"dfLa", b"alac",
];

/// What a sample description says.
#[derive(Debug)]
pub(super) struct Description {
    pub(super) codec: FourCc,
    pub(super) size: Option<(u16, u16)>,
    pub(super) sample_rate: Option<u32>,
    pub(super) parameters: Vec<u8>,
}

impl Description {
    pub(super) fn read<R: Read + Seek>(
        boxes: &mut Boxes<R>,
        stsd: &Header,
        kind: TrackKind,
    ) -> Result<Self, Mp4Damage> {
        // Version, flags and the count stand before the entries.
        let entries = boxes.children(stsd, 8)?;
        let entry = entries
            .first()
            .ok_or_else(|| stsd.invalid("has no entry"))?;
        let body = boxes.body(entry)?;
        let short = || entry.too_short();
        let mut description = Self {
            codec: entry.kind,
            size: None,
            sample_rate: None,
            parameters: Vec::new(),
        };
        let skip = match kind {
            TrackKind::Video => {
                let width = be_u16(&body, 24).ok_or_else(short)?;
                let height = be_u16(&body, 26).ok_or_else(short)?;
                description.size = Some((width, height));
                AFTER_VIDEO_FIELDS
            }
            TrackKind::Audio => {
                let version = be_u16(&body, 8).ok_or_else(short)?;
                // Fixed point, 16 bits behind the point.
                description.sample_rate = Some(be_u32(&body, 24).ok_or_else(short)? >> 16);
                // Versions 1 and 2 of QuickTime have more fields.
                AFTER_AUDIO_FIELDS
                    + match version {
                        1 => 16,
                        2 => 36,
                        _ => 0,
                    }
            }
            TrackKind::Other => return Ok(description),
        };
        for child in boxes.children(entry, skip)? {
            if CONFIGURATIONS.contains(&&child.kind.0) {
                let body = boxes.body(&child)?;
                description.parameters = if child.kind.0 == *b"esds" {
                    specific(&body).to_vec()
                } else {
                    body
                };
                break;
            }
        }
        Ok(description)
    }
}

/// The decoder specific info in `esds`; around it stand bit rates that differ from file to file.
///
/// Descriptors are tag, length in 7-bit groups, content (ISO/IEC 14496-1, 7.2.2 and 8.3.3).
fn specific(esds: &[u8]) -> &[u8] {
    const ES: u8 = 3;
    const DECODER_CONFIG: u8 = 4;
    const DECODER_SPECIFIC: u8 = 5;
    // Behind version and flags; then what stands before the descriptors inside.
    let mut rest = esds.get(4..).unwrap_or_default();
    for (tag, fields) in [(ES, 3), (DECODER_CONFIG, 13)] {
        match descriptor(rest) {
            Some((found, content)) if found == tag => {
                rest = content.get(fields..).unwrap_or_default();
            }
            _ => return esds,
        }
    }
    match descriptor(rest) {
        Some((DECODER_SPECIFIC, content)) => content,
        _ => esds,
    }
}

fn descriptor(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (&tag, mut rest) = bytes.split_first()?;
    let mut length = 0_usize;
    for _ in 0..4 {
        let (&byte, behind) = rest.split_first()?;
        rest = behind;
        length = length << 7 | usize::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            break;
        }
    }
    Some((tag, rest.get(..length)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specific_info_of_aac() {
        let esds = [
            0, 0, 0, 0, 3, 0x80, 0x80, 0x80, 31, 0, 2, 0, 4, 0x80, 0x80, 0x80, 20, 0x40, 0x15, 0,
            0, 0, 0, 1, 16, 62, 0, 1, 16, 62, 5, 0x80, 0x80, 0x80, 2, 0x14, 0x08, 6, 1, 2,
        ];
        assert_eq!(specific(&esds), [0x14, 0x08]);
        for end in 0..esds.len() {
            let _ = specific(&esds[..end]);
        }
        assert_eq!(
            specific(&esds[..20]),
            &esds[..20],
            "damaged: compared as a whole"
        );
    }
}
