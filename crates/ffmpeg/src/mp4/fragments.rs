//! The fragments of a file (`moof`), as far as their media is there.

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use super::Mp4Damage;
use super::boxes::{Boxes, Header, be_u32, be_u64};
use super::index::Index;

/// Sample entries read at once.
const ENTRIES_BYTES: usize = 64 << 10;

/// `tfhd`: a base data offset of 8 bytes, a description index of 4, a default duration of 4.
const TFHD_BASE_OFFSET: u32 = 0x1;
const TFHD_DESCRIPTION: u32 = 0x2;
const TFHD_DURATION: u32 = 0x8;

/// `trun`: offset and first flags before the entries; then what each entry has of 4 bytes.
const TRUN_OFFSET: u32 = 0x1;
const TRUN_FIRST_FLAGS: u32 = 0x4;
const TRUN_DURATION: u32 = 0x100;
const TRUN_ENTRY_FIELDS: u32 = 0xf00;

/// How much media the fragments hold, by track.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    tracks: BTreeMap<u32, Span>,
    /// What the last `moof` says; it counts once its media is there.
    pending: Vec<(u32, Span)>,
}

/// From when to when a track has media, in its ticks.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: u64,
    end: u64,
}

impl Fragments {
    /// Reads one `moof`.
    pub(super) fn moof<R: Read + Seek>(
        &mut self,
        boxes: &mut Boxes<R>,
        moof: &Header,
        index: Option<&Index>,
    ) -> Result<(), Mp4Damage> {
        self.pending.clear();
        for child in boxes.children(moof, 0)? {
            if child.kind.0 == *b"traf" {
                let fragment = self.traf(boxes, &child, index)?;
                self.pending.extend(fragment);
            }
        }
        Ok(())
    }

    /// The media of the last `moof` is all there.
    pub(super) fn media_is_whole(&mut self) {
        for (id, new) in self.pending.drain(..) {
            let span = self.tracks.entry(id).or_insert(new);
            span.start = span.start.min(new.start);
            span.end = span.end.max(new.end);
        }
    }

    /// Ticks of media in the fragments of a track.
    pub(super) fn ticks(&self, track: u32) -> u64 {
        self.tracks
            .get(&track)
            .map_or(0, |span| span.end - span.start)
    }

    fn traf<R: Read + Seek>(
        &self,
        boxes: &mut Boxes<R>,
        traf: &Header,
        index: Option<&Index>,
    ) -> Result<Option<(u32, Span)>, Mp4Damage> {
        let mut track = None;
        let mut start = None;
        let mut ticks = 0_u64;
        for child in boxes.children(traf, 0)? {
            match &child.kind.0 {
                b"tfhd" => {
                    let body = boxes.body(&child)?;
                    track = Some(tfhd(&body, index).ok_or_else(|| child.too_short())?);
                }
                b"tfdt" => {
                    let body = boxes.body(&child)?;
                    let time = if body.first() == Some(&1) {
                        be_u64(&body, 4)
                    } else {
                        be_u32(&body, 4).map(u64::from)
                    };
                    start = Some(time.ok_or_else(|| child.too_short())?);
                }
                b"trun" => {
                    let default_ticks = track.map_or(0, |(_, ticks)| ticks);
                    ticks = ticks.saturating_add(trun(boxes, &child, default_ticks)?);
                }
                _ => {}
            }
        }
        let Some((id, _)) = track else {
            return Ok(None);
        };
        let goes_on = || self.tracks.get(&id).map_or(0, |span| span.end);
        let start = start.unwrap_or_else(goes_on);
        Ok(Some((
            id,
            Span {
                start,
                end: start.saturating_add(ticks),
            },
        )))
    }
}

/// Track and default duration of a sample.
fn tfhd(body: &[u8], index: Option<&Index>) -> Option<(u32, u32)> {
    let flags = be_u32(body, 0)? & 0x00ff_ffff;
    let id = be_u32(body, 4)?;
    let before = [(TFHD_BASE_OFFSET, 8), (TFHD_DESCRIPTION, 4)];
    let at = 8 + before
        .iter()
        .filter(|(flag, _)| flags & flag != 0)
        .map(|(_, bytes)| bytes)
        .sum::<usize>();
    let ticks = if flags & TFHD_DURATION != 0 {
        be_u32(body, at)?
    } else {
        index
            .and_then(|index| index.track(id))
            .map_or(0, |track| track.default_ticks)
    };
    Some((id, ticks))
}

/// The durations of all samples of a run.
fn trun<R: Read + Seek>(
    boxes: &mut Boxes<R>,
    header: &Header,
    default_ticks: u32,
) -> Result<u64, Mp4Damage> {
    let length = header.end - header.body;
    if length < 8 {
        return Err(header.too_short());
    }
    let head = boxes.bytes(header.body, 8)?;
    let flags = be_u32(&head, 0).unwrap_or_default() & 0x00ff_ffff;
    let samples = be_u32(&head, 4).unwrap_or_default();
    let optional = |flag| if flags & flag == 0 { 0_u64 } else { 4 };
    let entries = 8 + optional(TRUN_OFFSET) + optional(TRUN_FIRST_FLAGS);
    let entry = u64::from((flags & TRUN_ENTRY_FIELDS).count_ones()) * 4;
    if entries + entry * u64::from(samples) > length {
        return Err(header.invalid("has more samples than bytes"));
    }
    if flags & TRUN_DURATION == 0 {
        return Ok(u64::from(default_ticks) * u64::from(samples));
    }
    let entry = usize::try_from(entry).expect("an entry has at most 16 bytes");
    let mut ticks = 0_u64;
    let mut at = header.body + entries;
    let mut left = usize::try_from(samples)
        .unwrap_or(usize::MAX)
        .saturating_mul(entry);
    while left > 0 {
        let part = left.min(ENTRIES_BYTES / entry * entry);
        let bytes = boxes.bytes(at, part)?;
        // The duration is the first field of an entry.
        let durations = bytes.chunks(entry).filter_map(|entry| be_u32(entry, 0));
        ticks = durations.fold(ticks, |sum, ticks| sum.saturating_add(u64::from(ticks)));
        at += part as u64;
        left -= part;
    }
    Ok(ticks)
}
