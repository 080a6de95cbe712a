//! Whether a manifest says what the files hold.

use super::{InspectedChunk, InspectedStream};
use crate::{
    manifest::{Manifest, ManifestChunk, ManifestStream},
    pts::Pts,
};

/// Where `manifest` differs from what was found, in words; empty when it does not.
///
/// The streams are compared only in a recording that was stopped: before that the manifest is older
/// than the newest packets.
pub(crate) fn differences(
    manifest: &Manifest,
    streams: &[InspectedStream],
    chunks: &[InspectedChunk],
) -> Vec<String> {
    let mut differences = Vec::new();
    if manifest.stopped_at.is_none() {
        differences.push("the recording goes on, or was not stopped in order".to_owned());
    }
    compare_chunks(&manifest.chunks, chunks, &mut differences);
    if manifest.stopped_at.is_some() {
        for stream in &manifest.streams {
            let found = streams.iter().find(|found| found.name == stream.name);
            compare_stream(stream, found, &mut differences);
        }
        for found in streams {
            if manifest.stream(&found.name).is_none() {
                differences.push(format!("stream {} is not in the manifest", found.name));
            }
        }
    }
    differences
}

fn compare_chunks(
    listed: &[ManifestChunk],
    found: &[InspectedChunk],
    differences: &mut Vec<String>,
) {
    let mut found_by_name: Vec<_> = found.iter().collect();
    found_by_name.sort_by_key(|chunk| &chunk.file);
    let find = |file: &String| {
        let place = found_by_name.binary_search_by_key(&file, |chunk| &chunk.file);
        place.ok().map(|place| found_by_name[place])
    };
    let mut listed_names: Vec<_> = listed.iter().map(|chunk| &chunk.file).collect();
    listed_names.sort();

    for chunk in listed {
        match find(&chunk.file) {
            None => differences.push(format!("{} is missing", chunk.file)),
            Some(found) => compare_chunk(chunk, found, differences),
        }
    }
    for chunk in found {
        if let Some(damage) = &chunk.damage {
            differences.push(format!("{}: {damage}", chunk.file));
        } else if !chunk.complete {
            differences.push(format!("{} was not finished", chunk.file));
        } else if listed_names.binary_search(&&chunk.file).is_err() && !chunk.packets.is_empty() {
            differences.push(format!("{} is not in the manifest", chunk.file));
        }
    }
}

fn compare_chunk(listed: &ManifestChunk, found: &InspectedChunk, differences: &mut Vec<String>) {
    let file = &listed.file;
    let mut differ = |what: &str, listed: String, found: String| {
        if listed != found {
            differences.push(format!(
                "{file}: {what} {listed} in the manifest, {found} found"
            ));
        }
    };
    differ("bytes", listed.bytes.to_string(), found.bytes.to_string());
    differ(
        "first_pts_us",
        listed.first_pts_us.0.to_string(),
        micros(found.first_pts_us),
    );
    differ(
        "last_pts_us",
        listed.last_pts_us.0.to_string(),
        micros(found.last_pts_us),
    );
    differ(
        "packets",
        format!("{:?}", listed.packets),
        format!("{:?}", found.packets),
    );
}

fn compare_stream(
    listed: &ManifestStream,
    found: Option<&InspectedStream>,
    differences: &mut Vec<String>,
) {
    let name = &listed.name;
    let counts = &listed.counts;
    if counts.received != counts.written.saturating_add(counts.dropped_total()) {
        differences.push(format!(
            "stream {name}: received {} is not written {} and dropped {}",
            counts.received,
            counts.written,
            counts.dropped_total()
        ));
    }
    let mut differ = |what: &str, listed: String, found: String| {
        if listed != found {
            differences.push(format!(
                "stream {name}: {what} {listed} in the manifest, {found} found"
            ));
        }
    };
    differ(
        "written",
        counts.written.to_string(),
        found.map_or(0, |found| found.packets).to_string(),
    );
    differ(
        "first_pts_us",
        micros(listed.first_pts_us),
        micros(found.and_then(|found| found.first_pts_us)),
    );
    differ(
        "last_pts_us",
        micros(listed.last_pts_us),
        micros(found.and_then(|found| found.last_pts_us)),
    );
}

fn micros(pts: Option<Pts>) -> String {
    pts.map_or_else(|| "none".to_owned(), |pts| pts.0.to_string())
}
