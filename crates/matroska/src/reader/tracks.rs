//! The element Tracks.

use std::time::Duration;

use crate::{
    ids,
    reader::{
        OpenError,
        damage::DamageKind,
        element::{Element, Elements},
        header::damaged,
    },
    track::{Track, TrackKind},
};

/// More than any file has; keeps a damaged or hostile header from growing in memory.
const MAX_TRACKS: usize = 1024;

/// Reads all tracks of the element Tracks at `offset`.
pub(crate) fn read_tracks(children: Elements, offset: u64) -> Result<Vec<Track>, OpenError> {
    let mut tracks = Vec::new();
    for entry in children {
        let entry = entry.map_err(|kind| damaged(offset, kind))?;
        if entry.id != ids::TRACK_ENTRY {
            continue;
        }
        if tracks.len() == MAX_TRACKS {
            return Err(damaged(offset, DamageKind::Size));
        }
        let read = read_track(&entry).map_err(|kind| damaged(offset, kind))?;
        if read.is_encoded {
            let number = read.track.number;
            return Err(OpenError::Encoded { track: number });
        }
        tracks.push(read.track);
    }
    Ok(tracks)
}

struct ReadTrack {
    track: Track,
    is_encoded: bool,
}

fn read_track(entry: &Element) -> Result<ReadTrack, DamageKind> {
    // The number 0 is not allowed, nor the type 0; Matroska's default language is English.
    let mut track = Track::new(0, "", TrackKind::Other { track_type: 0 }).language("eng");
    let mut is_encoded = false;
    let mut track_type = 0;
    let mut video = None;
    let mut audio = None;
    for child in entry.children() {
        let child = child?;
        match child.id {
            ids::TRACK_NUMBER => track.number = child.uint()?,
            ids::TRACK_TYPE => track_type = child.uint()?,
            ids::DEFAULT_DURATION => {
                track.default_duration = Some(child.uint()?)
                    .filter(|ns| *ns > 0)
                    .map(Duration::from_nanos);
            }
            ids::NAME => track.name = child.text(),
            ids::LANGUAGE => track.language = child.text(),
            ids::CODEC_ID => track.codec_id = child.text(),
            ids::CODEC_PRIVATE => track.codec_private = child.data,
            ids::CODEC_DELAY => track.codec_delay = Duration::from_nanos(child.uint()?),
            ids::SEEK_PRE_ROLL => track.seek_pre_roll = Duration::from_nanos(child.uint()?),
            ids::CONTENT_ENCODINGS => is_encoded = true,
            ids::VIDEO => video = Some(read_video(&child)?),
            ids::AUDIO => audio = Some(read_audio(&child)?),
            _ => {}
        }
    }
    track.kind = match track_type {
        1 => video.ok_or(DamageKind::Malformed)?,
        2 => audio.ok_or(DamageKind::Malformed)?,
        17 => TrackKind::Data,
        track_type => TrackKind::Other { track_type },
    };
    if track.number == 0 || track_type == 0 || track.codec_id.is_empty() {
        return Err(DamageKind::Malformed);
    }
    Ok(ReadTrack { track, is_encoded })
}

fn read_video(video: &Element) -> Result<TrackKind, DamageKind> {
    let (mut width, mut height, mut fourcc) = (0, 0, None);
    for child in video.children() {
        let child = child?;
        match child.id {
            ids::PIXEL_WIDTH => width = small(&child)?,
            ids::PIXEL_HEIGHT => height = small(&child)?,
            ids::UNCOMPRESSED_FOURCC => fourcc = <[u8; 4]>::try_from(&child.data[..]).ok(),
            _ => {}
        }
    }
    Ok(TrackKind::Video {
        width,
        height,
        fourcc,
    })
}

fn read_audio(audio: &Element) -> Result<TrackKind, DamageKind> {
    let (mut sampling_hz, mut channels, mut bit_depth) = (8000.0, 1, None);
    for child in audio.children() {
        let child = child?;
        match child.id {
            ids::SAMPLING_FREQUENCY => sampling_hz = child.float()?,
            ids::CHANNELS => channels = small(&child)?,
            ids::BIT_DEPTH => bit_depth = Some(small(&child)?),
            _ => {}
        }
    }
    Ok(TrackKind::Audio {
        sampling_hz,
        channels,
        bit_depth,
    })
}

fn small<T: TryFrom<u64>>(element: &Element) -> Result<T, DamageKind> {
    T::try_from(element.uint()?).map_err(|_| DamageKind::Malformed)
}
