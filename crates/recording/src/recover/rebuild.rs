//! A manifest from what the files hold, and from what an older manifest says.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::{
    chunk::ChunkHeader,
    clock::ClockPair,
    content::{Content, Silence, StreamContent},
    counts::{DropReason, Gap, GapReason},
    inspect::InspectedChunk,
    manifest::{MANIFEST_VERSION, Manifest, ManifestChunk, ManifestStream, SetAside, seconds},
    pts::Pts,
    recording_id::RecordingId,
    stream::{Codec, StreamSpec},
    wall_clock::WallClock,
};

/// What is known from the files.
pub(super) struct Facts<'a> {
    pub recording_id: RecordingId,
    /// Of any chunk; none if there is no chunk.
    pub header: Option<ChunkHeader>,
    pub content: &'a Content,
    /// The chunks, all whole, with the clocks at the moment each was opened.
    pub chunks: Vec<(InspectedChunk, ClockPair)>,
    pub set_aside: Vec<SetAside>,
    pub wall_clock: WallClock,
}

/// The manifest of a recording that was recovered.
///
/// What the files hold is counted; what they cannot tell is taken from the `old` manifest, if there
/// is one: what was received and dropped until it was written, and why there are gaps. Whatever it
/// says was received, and is nowhere, was lost in the crash.
pub(super) fn rebuild(old: Option<Manifest>, facts: Facts<'_>) -> Manifest {
    let mut manifest = old.unwrap_or_else(|| begin(&facts));
    manifest.version = MANIFEST_VERSION;
    let found: Vec<_> = facts
        .chunks
        .into_iter()
        .filter_map(manifest_chunk)
        .collect();
    let names: BTreeSet<_> = found.iter().map(|chunk| &chunk.file).collect();
    let is_gone = |old: &ManifestChunk| !names.contains(&old.file);
    let chunk_is_gone = !facts.set_aside.is_empty() || manifest.chunks.iter().any(is_gone);
    let declared = facts.header.into_iter().flat_map(|header| header.streams);
    let found_streams = facts.content.streams.iter().map(StreamContent::spec);
    for spec in declared.map(StreamSpec::from).chain(found_streams) {
        if manifest.stream(&spec.name).is_none() {
            manifest.streams.push(ManifestStream::new(&spec));
        }
    }
    for stream in &mut manifest.streams {
        let content = facts.content.stream(&stream.name);
        recount(stream, content);
        for silence in content.map_or(&[][..], |content| &content.silences) {
            note_silence(&mut stream.gaps, silence, chunk_is_gone);
        }
    }
    manifest.chunks = found;
    manifest.set_aside = facts.set_aside;
    manifest.recovered = true;
    if manifest.stopped_at.is_none() {
        let ends = manifest.chunks.iter().map(|chunk| chunk.last_pts_us);
        let end = ends.max().unwrap_or_default();
        manifest.duration_s = seconds(end);
        let realtime = facts.wall_clock.realtime_at(end);
        manifest.stopped_at = Some(realtime.unwrap_or(manifest.started_at));
    }
    manifest
}

/// How many packets of each stream were lost in a crash.
pub(super) fn lost(manifest: &Manifest) -> BTreeMap<String, u64> {
    let lost = |stream: &ManifestStream| {
        let lost = stream.counts.dropped.get(&DropReason::Crash);
        (stream.name.clone(), lost.copied().unwrap_or(0))
    };
    manifest.streams.iter().map(lost).collect()
}

/// The manifest of which a crash has left nothing.
fn begin(facts: &Facts<'_>) -> Manifest {
    match &facts.header {
        Some(header) => {
            let streams: Vec<_> = header
                .streams
                .iter()
                .cloned()
                .map(StreamSpec::from)
                .collect();
            let devices = header.devices.clone();
            let started_at = facts.wall_clock.realtime_at(Pts::ZERO);
            let started_at = started_at.unwrap_or(header.started_at);
            Manifest::new(facts.recording_id, started_at, &streams, devices)
                .host(header.host.clone())
                .program(header.program.clone())
        }
        None => {
            let started_at: Timestamp = facts.recording_id.time();
            Manifest::new(facts.recording_id, started_at, &[], Vec::new())
        }
    }
}

fn manifest_chunk((found, clock): (InspectedChunk, ClockPair)) -> Option<ManifestChunk> {
    Some(ManifestChunk {
        first_pts_us: found.first_pts_us?,
        last_pts_us: found.last_pts_us?,
        file: found.file,
        bytes: found.bytes,
        packets: found.packets,
        clock,
    })
}

fn recount(stream: &mut ManifestStream, content: Option<&StreamContent>) {
    let packets = content.map_or(0, |content| content.packets);
    let counts = &mut stream.counts;
    counts.written = packets;
    counts.encoded = counts.encoded.max(packets);
    let accounted = packets.saturating_add(counts.dropped_total());
    counts.received = counts.received.max(accounted);
    counts.lose(DropReason::Crash, counts.received - accounted);

    let extent = content.and_then(|content| content.extent);
    stream.first_pts_us = extent.map(|extent| extent.first);
    stream.last_pts_us = extent.map(|extent| extent.last);
    let content = content.filter(|content| content.packets > 0);
    if let (None, Some(content)) = (stream.codec, content) {
        stream.codec = Codec::ALL
            .into_iter()
            .find(|codec| codec.name() == content.codec);
        stream.width = content.width;
        stream.height = content.height;
        stream.fps = content.frame_interval.map(|interval| {
            // To the thousandth: files tell the interval in whole nanoseconds.
            (1000.0 / interval.as_secs_f64()).round() / 1000.0
        });
    }
}

/// Adds a gap for a silence of which no gap tells yet.
fn note_silence(gaps: &mut Vec<Gap>, silence: &Silence, chunk_is_gone: bool) {
    let known = |gap: &Gap| gap.from_pts_us < silence.to && silence.from < gap.to_pts_us;
    if gaps.iter().any(known) {
        return;
    }
    let reason = if silence.after_cut || chunk_is_gone {
        GapReason::Crash
    } else {
        GapReason::Silent
    };
    gaps.push(Gap {
        from_pts_us: silence.from,
        to_pts_us: silence.to,
        reason,
    });
    gaps.sort_by_key(|gap| gap.from_pts_us);
}
