//! What an export says about itself and the recording that it comes from.

use std::time::SystemTime;

use jiff::Timestamp;
use longtake_matroska::SegmentInfo;
use serde::Serialize;

use super::plan::Range;
use crate::{
    capture::DeviceSummary,
    chunk::{ChunkHeader, DeclaredStream},
    clock::ClockPair,
    pts::Pts,
    recording_id::RecordingId,
    wall_clock::WallClock,
};

/// The Matroska tag that holds what an export says about itself, as JSON.
pub const EXPORT_TAG: &str = "LONGTAKE_EXPORT";

/// The version of that JSON.
pub const EXPORT_HEADER_VERSION: u32 = 1;

#[derive(Debug, Serialize)]
struct ExportHeader<'a> {
    version: u32,
    recording_id: RecordingId,
    started_at: Timestamp,
    /// What was asked for, in session time; `null` where nothing was.
    from_pts_us: Option<Pts>,
    to_pts_us: Option<Pts>,
    /// Pairs of both clocks: the first, and one for each time that the wall clock was set.
    clock: Vec<ClockPair>,
    devices: &'a [DeviceSummary],
    streams: &'a [DeclaredStream],
    host: &'a str,
    program: &'a str,
}

/// What the file says about itself as a whole.
pub(super) fn segment_info(header: &ChunkHeader, clock: &WallClock, range: Range) -> SegmentInfo {
    let export = ExportHeader {
        version: EXPORT_HEADER_VERSION,
        recording_id: header.recording_id,
        started_at: header.started_at,
        from_pts_us: range.from,
        to_pts_us: range.to,
        clock: clock.steps(),
        devices: &header.devices,
        streams: &header.streams,
        host: &header.host,
        program: &header.program,
    };
    let json = serde_json::to_string(&export).expect("all keys are text");
    SegmentInfo::default()
        .title(header.recording_id.to_string())
        .date(SystemTime::from(header.started_at))
        .writing_app(header.program.clone())
        .tag(EXPORT_TAG, json)
}
