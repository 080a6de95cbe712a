//! The element Cues.

use crate::{
    ids,
    reader::{
        damage::DamageKind,
        element::{Element, Elements},
        times::Times,
    },
};

/// Where a player finds a keyframe without searching.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cue {
    /// The number of the track.
    pub track: u64,
    /// The time of the keyframe in µs.
    pub pts_us: i64,
    /// Where its cluster begins, in bytes from the start of the file.
    pub cluster_offset: u64,
}

/// Reads all cues; positions count from `segment_data`.
pub(crate) fn read_cues(
    children: Elements,
    segment_data: u64,
    times: &Times,
) -> Result<Vec<Cue>, DamageKind> {
    let mut cues = Vec::new();
    for point in children {
        let point = point?;
        if point.id == ids::CUE_POINT {
            read_point(&point, segment_data, times, &mut cues)?;
        }
    }
    Ok(cues)
}

fn read_point(
    point: &Element,
    segment_data: u64,
    times: &Times,
    cues: &mut Vec<Cue>,
) -> Result<(), DamageKind> {
    let mut time = None;
    let first = cues.len();
    for child in point.children() {
        let child = child?;
        match child.id {
            ids::CUE_TIME => time = Some(child.uint()?),
            ids::CUE_TRACK_POSITIONS => cues.push(read_position(&child, segment_data)?),
            _ => {}
        }
    }
    let pts_us = times.pts_us(time.ok_or(DamageKind::Malformed)?, 0)?;
    for cue in &mut cues[first..] {
        cue.pts_us = pts_us;
    }
    Ok(())
}

/// Reads all of a cue but its time.
fn read_position(position: &Element, segment_data: u64) -> Result<Cue, DamageKind> {
    let mut track = None;
    let mut cluster = None;
    for child in position.children() {
        let child = child?;
        match child.id {
            ids::CUE_TRACK => track = Some(child.uint()?),
            ids::CUE_CLUSTER_POSITION => cluster = child.uint()?.checked_add(segment_data),
            _ => {}
        }
    }
    Ok(Cue {
        track: track.ok_or(DamageKind::Malformed)?,
        pts_us: 0,
        cluster_offset: cluster.ok_or(DamageKind::Malformed)?,
    })
}
