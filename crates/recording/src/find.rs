//! Which folders are recordings.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use longtake_durable::RealStorage;

use crate::{manifest::MANIFEST_FILE, recording_id::RecordingId, survey::Survey};

/// The recordings at `path`: `path` itself if it is a recording's folder, and else the recordings in
/// it, by name.
///
/// A recording's folder has a recording's name, or a manifest in it; `path` itself may also hold
/// chunks and neither of the two. It is not searched deeper than that.
///
/// # Errors
///
/// When `path` is no folder or cannot be read.
pub fn find_recordings(path: &Path) -> io::Result<Vec<PathBuf>> {
    // `.` has no name, so it is followed to the folder that it means.
    let path = path.canonicalize()?;
    if !path.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    if is_recording(&path) {
        return Ok(vec![path]);
    }
    let mut recordings = Vec::new();
    for entry in fs::read_dir(&path)? {
        let path = entry?.path();
        if path.is_dir() && is_recording(&path) {
            recordings.push(path);
        }
    }
    recordings.sort();
    if recordings.is_empty() && holds_chunks(&path) {
        recordings.push(path);
    }
    Ok(recordings)
}

fn is_recording(folder: &Path) -> bool {
    let name = folder.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.parse::<RecordingId>().is_ok())
        || folder.join(MANIFEST_FILE).is_file()
}

/// Whether there are chunks in the folder, also such that cannot be read by this program.
fn holds_chunks(folder: &Path) -> bool {
    match Survey::read(&RealStorage, folder, None) {
        Ok(survey) => survey.header.is_some(),
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_found_by_name_or_by_manifest() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        for folder in [
            "20260904T120314.123Z",
            "20260101T000000.000Z",
            "garden",
            "other",
        ] {
            fs::create_dir(root.join(folder)).unwrap();
        }
        fs::write(root.join("garden").join(MANIFEST_FILE), "{}").unwrap();
        fs::write(root.join("20260904T120314.124Z"), "a file").unwrap();
        let named = |names: &[&str]| names.iter().map(|name| root.join(name)).collect::<Vec<_>>();

        let found = find_recordings(&root).unwrap();
        assert_eq!(
            found,
            named(&["20260101T000000.000Z", "20260904T120314.123Z", "garden"])
        );
        let found = find_recordings(&root.join("garden/../garden")).unwrap();
        assert_eq!(found, named(&["garden"]));
        assert_eq!(find_recordings(&root.join("other")).unwrap(), named(&[]));

        let error = find_recordings(&root.join("20260904T120314.124Z")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotADirectory);
        find_recordings(&root.join("missing")).unwrap_err();
    }
}
