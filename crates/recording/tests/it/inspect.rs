//! What is inspected is what the files hold, up to the first damage.

use std::{fs, process::Command};

use longtake_recording::{InspectError, ReadChunkError, inspect};
use serde_json::{Value, json};

use crate::footage::{Footage, Recorded, frame_pts, sensor, video};

fn inspect_json(path: &std::path::Path) -> Value {
    serde_json::to_value(inspect(path).unwrap()).unwrap()
}

#[test]
fn a_finished_chunk() {
    let folder = tempfile::tempdir().unwrap();
    let recorded = Recorded::new(vec![video("front", Footage::h264().clone()), sensor("imu")]);
    recorded.write_finished(folder.path());
    let path = folder.path().join("00002.mkv");
    assert_eq!(
        inspect_json(&path),
        json!({
            "streams": [
                {
                    "name": "front",
                    "kind": "video",
                    "codec": "h264",
                    "packets": 60,
                    "keyframes": 2,
                    "first_pts_us": 2_000_000,
                    "last_pts_us": frame_pts(119),
                    "gaps": [],
                },
                {
                    "name": "imu",
                    "kind": "data",
                    "codec": "json",
                    "packets": 200,
                    "keyframes": 200,
                    "first_pts_us": 2_000_007,
                    "last_pts_us": 3_990_007,
                    "gaps": [],
                },
            ],
            "chunks": [{
                "file": "00002.mkv",
                "complete": true,
                "bytes": fs::metadata(&path).unwrap().len(),
                "first_pts_us": 2_000_000,
                "last_pts_us": 3_990_007,
                "packets": {"front": 60, "imu": 200},
            }],
        })
    );
}

#[test]
fn a_folder_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    Recorded::usual().write_crashed(folder.path());
    fs::write(folder.path().join("notes.txt"), "not a chunk").unwrap();
    let found = inspect(folder.path()).unwrap();
    let names: Vec<_> = found.streams.iter().map(|stream| &stream.name).collect();
    assert_eq!(
        names,
        ["front", "side", "imu"],
        "in the order of the tracks"
    );
    let packets: Vec<_> = found.streams.iter().map(|stream| stream.packets).collect();
    assert_eq!(packets, [240, 240, 800]);
    assert_eq!(found.streams[1].first_pts_us.unwrap().0, 500_000);
    let chunks: Vec<_> = found
        .chunks
        .iter()
        .map(|chunk| (chunk.file.as_str(), chunk.complete, &chunk.damage))
        .collect();
    assert_eq!(
        chunks,
        [
            ("00001.mkv", true, &None),
            ("00002.mkv", true, &None),
            ("00003.mkv", true, &None),
            ("00004.mkv.part", false, &None),
        ]
    );
    let manifest = found.manifest.unwrap();
    assert!(!manifest.consistent);
    assert_eq!(manifest.differences, ["there is no manifest"]);
}

#[test]
fn a_hole_of_more_than_a_second_is_a_gap_and_a_smaller_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    // Frames 89 and 120 are 1.033 s apart, 59 and 89 exactly 1 s.
    let holes = Footage::h264()
        .without(frame_pts(60), frame_pts(89))
        .without(frame_pts(90), frame_pts(120));
    let mut side = Footage::h264().without(frame_pts(60), frame_pts(150));
    side.track = side
        .track
        .default_duration(std::time::Duration::from_secs(1));
    Recorded::new(vec![video("front", holes), video("slow", side)]).write_finished(folder.path());
    let found = inspect_json(folder.path());
    assert_eq!(
        found["streams"][0]["gaps"],
        json!([{"from_pts_us": frame_pts(89), "to_pts_us": frame_pts(120)}])
    );
    assert_eq!(
        found["streams"][1]["gaps"],
        json!([{"from_pts_us": frame_pts(59), "to_pts_us": frame_pts(150)}]),
        "3.033 s are more than three frame intervals of 1 s"
    );
}

#[test]
fn a_chunk_cut_at_any_byte_is_read_up_to_its_last_whole_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let recorded = Recorded::tiny();
    let (_, parts) = recorded.open_chunk(1);
    let whole = recorded.finished_chunk(1);
    let ends = recorded.cluster_ends(1);
    let path = folder.path().join("00001.mkv.part");
    fs::write(&path, &whole).unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();

    let header_len = parts[0].len();
    for len in (0..=whole.len()).rev() {
        file.set_len(len as u64).unwrap();
        let found = inspect(&path);
        if len < header_len {
            assert!(
                matches!(found, Err(InspectError::NotMatroska { .. })),
                "{len}: {found:?}"
            );
            continue;
        }
        let found = found.unwrap();
        let packets: u64 = found.streams.iter().map(|stream| stream.packets).sum();
        assert_eq!(packets, ends.packets_within(len), "cut at {len}");
        assert_eq!(found.chunks[0].complete, len == whole.len());
        // The finished chunk's header says how long it was.
        assert_eq!(found.chunks[0].damage.is_some(), len != whole.len());
    }
}

#[test]
fn a_newer_chunk_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let recorded = Recorded::usual();
    recorded.write_finished(folder.path());
    let mut header = recorded.chunk_header(5);
    header["version"] = json!(2);
    let (_, parts) = recorded.open_chunk_with(4, &header);
    fs::write(folder.path().join("00005.mkv.part"), parts.concat()).unwrap();
    let error = inspect(folder.path()).unwrap_err();
    assert!(
        matches!(&error, InspectError::Chunk(ReadChunkError::Newer { .. })),
        "{error:?}"
    );
}

#[test]
fn other_folders_and_files_hold_no_recording() {
    let folder = tempfile::tempdir().unwrap();
    let error = inspect(folder.path()).unwrap_err();
    assert!(
        matches!(error, InspectError::NoRecording { .. }),
        "{error:?}"
    );
    let error = inspect(&folder.path().join("missing")).unwrap_err();
    assert!(matches!(error, InspectError::Io { .. }), "{error:?}");
    let path = folder.path().join("notes.txt");
    fs::write(&path, "no Matroska").unwrap();
    let error = inspect(&path).unwrap_err();
    assert!(
        matches!(error, InspectError::NotMatroska { .. }),
        "{error:?}"
    );
}

#[test]
fn a_file_of_another_program() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("foreign.mkv");
    let made = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-f", "lavfi", "-i"])
        .args([
            "testsrc2=size=64x48:rate=10",
            "-frames:v",
            "20",
            "-c:v",
            "mjpeg",
        ])
        .arg(&path)
        .status()
        .unwrap();
    assert!(made.success());
    let found = inspect(&path).unwrap();
    assert_eq!(found.streams[0].name, "track 1");
    assert_eq!(found.streams[0].codec.as_deref(), Some("mjpeg"));
    assert_eq!(found.streams[0].packets, 20);
    assert!(found.chunks[0].complete);
}
