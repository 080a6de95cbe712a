//! The index of a file (`moov`): its tracks and their durations.

use std::io::{Read, Seek};
use std::time::Duration;

use super::boxes::{Boxes, Header, be_u32, be_u64};
use super::description::Description;
use super::fragments::Fragments;
use super::{Mp4, Mp4Damage, Mp4Track, TrackKind, time};

/// More tracks than any sensible file has.
const MAX_TRACKS: usize = 64;

/// What `moov` says.
#[derive(Debug)]
pub(super) struct Index {
    duration: Duration,
    tracks: Vec<Track>,
    fragmented: bool,
    /// The duration of all fragments, where `mehd` tells.
    fragments: Option<Duration>,
}

/// One `trak`, and the defaults of its fragments from `trex`.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) id: u32,
    pub(super) default_ticks: u32,
    kind: TrackKind,
    timescale: u32,
    ticks: u64,
    description: Description,
}

/// `mvhd` and `mdhd`, which are alike in what matters.
struct Clock {
    timescale: u32,
    ticks: u64,
}

impl Index {
    pub(super) fn read<R: Read + Seek>(
        boxes: &mut Boxes<R>,
        moov: &Header,
    ) -> Result<Self, Mp4Damage> {
        let mut clock = None;
        let mut tracks: Vec<Track> = Vec::new();
        let mut extends = None;
        for child in boxes.children(moov, 0)? {
            match &child.kind.0 {
                b"mvhd" => clock = Some(Clock::read(boxes, &child)?),
                b"trak" if tracks.len() < MAX_TRACKS => tracks.push(Track::read(boxes, &child)?),
                b"mvex" => extends = Some(child),
                _ => {}
            }
        }
        let clock = clock.ok_or_else(|| moov.invalid("has no mvhd"))?;
        let mut index = Self {
            duration: time(clock.ticks, clock.timescale),
            tracks,
            fragmented: extends.is_some(),
            fragments: None,
        };
        if let Some(mvex) = extends {
            index.read_extends(boxes, &mvex, clock.timescale)?;
        }
        Ok(index)
    }

    pub(super) fn track(&self, id: u32) -> Option<&Track> {
        self.tracks.iter().find(|track| track.id == id)
    }

    pub(super) fn into_mp4(self, fragments: &Fragments, index_first: bool, truncated: bool) -> Mp4 {
        let in_fragments = |track: &Track| time(fragments.ticks(track.id), track.timescale);
        let walked = self
            .tracks
            .iter()
            .map(in_fragments)
            .max()
            .unwrap_or_default();
        // What `mehd` promised may not have been written.
        let of_fragments = self
            .fragments
            .map_or(walked, |promised| promised.min(walked));
        Mp4 {
            duration: self.duration.max(of_fragments),
            fragmented: self.fragmented,
            index_first,
            truncated,
            tracks: self
                .tracks
                .into_iter()
                .map(|track| {
                    let duration = time(track.ticks, track.timescale) + in_fragments(&track);
                    track.into_mp4_track(duration)
                })
                .collect(),
        }
    }

    /// Reads `mehd` and `trex` out of `mvex`.
    fn read_extends<R: Read + Seek>(
        &mut self,
        boxes: &mut Boxes<R>,
        mvex: &Header,
        timescale: u32,
    ) -> Result<(), Mp4Damage> {
        for child in boxes.children(mvex, 0)? {
            match &child.kind.0 {
                b"mehd" => {
                    let body = boxes.body(&child)?;
                    let ticks = versioned(&body, 4).ok_or_else(|| child.too_short())?;
                    self.fragments = (ticks > 0).then(|| time(ticks, timescale));
                }
                b"trex" => {
                    let body = boxes.body(&child)?;
                    let id = be_u32(&body, 4).ok_or_else(|| child.too_short())?;
                    let ticks = be_u32(&body, 12).ok_or_else(|| child.too_short())?;
                    if let Some(track) = self.tracks.iter_mut().find(|track| track.id == id) {
                        track.default_ticks = ticks;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl Track {
    fn read<R: Read + Seek>(boxes: &mut Boxes<R>, trak: &Header) -> Result<Self, Mp4Damage> {
        let mut id = None;
        let mut clock = None;
        let mut kind = TrackKind::Other;
        let mut table = None;
        // `trak` holds `mdia` holds `minf` holds `stbl` holds `stsd`.
        let mut parents = vec![*trak];
        while let Some(parent) = parents.pop() {
            for child in boxes.children(&parent, 0)? {
                match &child.kind.0 {
                    b"tkhd" => {
                        let body = boxes.body(&child)?;
                        let at = if body.first() == Some(&1) { 20 } else { 12 };
                        id = Some(be_u32(&body, at).ok_or_else(|| child.too_short())?);
                    }
                    b"mdhd" => clock = Some(Clock::read(boxes, &child)?),
                    b"hdlr" if parent.kind.0 == *b"mdia" => {
                        let body = boxes.body(&child)?;
                        kind = match body.get(8..12) {
                            Some(b"vide") => TrackKind::Video,
                            Some(b"soun") => TrackKind::Audio,
                            Some(_) => TrackKind::Other,
                            None => return Err(child.too_short()),
                        };
                    }
                    b"mdia" | b"minf" | b"stbl" => parents.push(child),
                    b"stsd" => table = Some(child),
                    _ => {}
                }
            }
        }
        let id = id.ok_or_else(|| trak.invalid("has no tkhd"))?;
        let clock = clock.ok_or_else(|| trak.invalid("has no mdhd"))?;
        let table = table.ok_or_else(|| trak.invalid("has no stsd"))?;
        let description = Description::read(boxes, &table, kind)?;
        let Clock { timescale, ticks } = clock;
        Ok(Self {
            id,
            default_ticks: 0,
            kind,
            timescale,
            ticks,
            description,
        })
    }

    fn into_mp4_track(self, duration: Duration) -> Mp4Track {
        let Description {
            codec,
            size,
            sample_rate,
            parameters,
        } = self.description;
        Mp4Track {
            id: self.id,
            kind: self.kind,
            codec,
            size,
            sample_rate,
            timescale: self.timescale,
            duration,
            parameters,
        }
    }
}

impl Clock {
    fn read<R: Read + Seek>(boxes: &mut Boxes<R>, header: &Header) -> Result<Self, Mp4Damage> {
        let body = boxes.body(header)?;
        let at = if body.first() == Some(&1) { 20 } else { 12 };
        let timescale = be_u32(&body, at).ok_or_else(|| header.too_short())?;
        if timescale == 0 {
            return Err(header.invalid("has a timescale of 0"));
        }
        let ticks = versioned(&body, at + 4).ok_or_else(|| header.too_short())?;
        Ok(Self { timescale, ticks })
    }
}

/// A duration of 32 bits in version 0 and 64 in version 1; all ones mean unknown, read as 0.
fn versioned(body: &[u8], at: usize) -> Option<u64> {
    if body.first() == Some(&1) {
        be_u64(body, at).map(|ticks| if ticks == u64::MAX { 0 } else { ticks })
    } else {
        be_u32(body, at).map(|ticks| {
            if ticks == u32::MAX {
                0
            } else {
                u64::from(ticks)
            }
        })
    }
}
