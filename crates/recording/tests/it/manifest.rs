//! The manifest: its JSON, and what is read back from a torn, foreign or newer one.

use std::{collections::BTreeMap, fs, path::Path};

use longtake_durable::RealStorage;
use longtake_recording::{
    ClockPair, Codec, CodecParameters, DeviceSummary, DropReason, FrameRate, Gap, GapReason,
    MANIFEST_FILE, Manifest, ManifestChunk, Pts, ReadManifestError, StreamIndex, StreamSpec,
    VideoParameters,
};
use serde_json::{Value, json};

fn chunk(number: i64) -> ManifestChunk {
    ManifestChunk {
        file: format!("{number:05}.mkv"),
        first_pts_us: Pts((number - 1) * 2_000_000),
        last_pts_us: Pts(number * 2_000_000 - 33_333),
        bytes: 123_456,
        packets: BTreeMap::from([("front".to_owned(), 60)]),
        clock: ClockPair {
            pts_us: Pts((number - 1) * 2_000_000),
            realtime: "2026-09-04T12:03:14.123Z".parse().unwrap(),
        },
    }
}

fn manifest() -> Manifest {
    let mut front = StreamSpec::video("front");
    front.metadata.insert("lens".to_owned(), "8 mm".to_owned());
    let mut manifest = Manifest::new(
        "20260904T120314.123Z".parse().unwrap(),
        "2026-09-04T12:03:14.123Z".parse().unwrap(),
        &[front, StreamSpec::data("accelerometer")],
        vec![DeviceSummary {
            label: "camera".to_owned(),
            device_type: "testsrc".to_owned(),
        }],
    )
    .host("box")
    .program("fieldrec 0.1.0");
    let front = manifest.stream_mut(StreamIndex(0));
    front.set_parameters(&CodecParameters {
        codec: Codec::H264,
        codec_private: vec![1].into(),
        video: Some(VideoParameters {
            width: 640,
            height: 400,
            fps: FrameRate::parse("30000/1001"),
        }),
    });
    front.note_packet(Pts(1_300_001));
    front.note_packet(Pts(0));
    front.counts.received = 61;
    front.counts.encoded = 60;
    front.counts.written = 60;
    front.counts.lose(DropReason::QueueFull, 1);
    front.gaps.push(Gap {
        from_pts_us: Pts(33_333),
        to_pts_us: Pts(1_300_001),
        reason: GapReason::Silent,
    });
    for number in [1, 3, 2] {
        manifest.add_chunk(chunk(number));
    }
    manifest.stop(Pts(6_000_001), "2026-09-04T12:03:20Z".parse().unwrap());
    manifest
}

fn written_json(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join(MANIFEST_FILE)).unwrap()).unwrap()
}

#[test]
fn the_json_is_as_documented() {
    let folder = tempfile::tempdir().unwrap();
    manifest().write(&RealStorage, folder.path()).unwrap();
    let chunk = |number: i64| {
        json!({
            "file": format!("{number:05}.mkv"),
            "first_pts_us": (number - 1) * 2_000_000,
            "last_pts_us": number * 2_000_000 - 33_333,
            "bytes": 123_456,
            "packets": {"front": 60},
            "clock": {
                "pts_us": (number - 1) * 2_000_000,
                "realtime": "2026-09-04T12:03:14.123Z",
            },
        })
    };
    assert_eq!(
        written_json(folder.path()),
        json!({
            "version": 1,
            "recording_id": "20260904T120314.123Z",
            "started_at": "2026-09-04T12:03:14.123Z",
            "stopped_at": "2026-09-04T12:03:20Z",
            "duration_s": 6.000001,
            "host": "box",
            "program": "fieldrec 0.1.0",
            "devices": [{"label": "camera", "type": "testsrc"}],
            "streams": {
                "front": {
                    "kind": "video",
                    "codec": "h264",
                    "width": 640,
                    "height": 400,
                    "fps": 30_000.0 / 1001.0,
                    "metadata": {"lens": "8 mm"},
                    "first_pts_us": 0,
                    "last_pts_us": 1_300_001,
                    "counts": {
                        "received": 61,
                        "encoded": 60,
                        "written": 60,
                        "dropped": {"queue_full": 1},
                    },
                    "gaps": [{
                        "from_pts_us": 33_333,
                        "to_pts_us": 1_300_001,
                        "reason": "silent",
                    }],
                },
                "accelerometer": {
                    "kind": "data",
                    "codec": null,
                    "width": null,
                    "height": null,
                    "fps": null,
                    "metadata": {},
                    "first_pts_us": null,
                    "last_pts_us": null,
                    "counts": {"received": 0, "encoded": 0, "written": 0, "dropped": {}},
                    "gaps": [],
                },
            },
            "chunks": [chunk(1), chunk(2), chunk(3)],
            "recovered": false,
        })
    );
}

#[test]
fn what_was_written_is_read_back_in_order() {
    let folder = tempfile::tempdir().unwrap();
    manifest().write(&RealStorage, folder.path()).unwrap();
    let read = Manifest::read(&RealStorage, folder.path()).unwrap();
    assert_eq!(read, manifest());
    let names: Vec<_> = read.streams.iter().map(|stream| &stream.name).collect();
    assert_eq!(names, ["front", "accelerometer"], "not by the alphabet");
}

/// Changes the JSON of a good manifest and reads it back.
fn read_changed(change: impl FnOnce(&mut Value)) -> Result<Manifest, ReadManifestError> {
    let folder = tempfile::tempdir().unwrap();
    manifest().write(&RealStorage, folder.path()).unwrap();
    let mut json = written_json(folder.path());
    change(&mut json);
    fs::write(folder.path().join(MANIFEST_FILE), json.to_string()).unwrap();
    Manifest::read(&RealStorage, folder.path())
}

#[test]
fn unknown_fields_are_passed_over() {
    let mut read = read_changed(|json| {
        json["weather"] = json!("rain");
        json["streams"]["front"]["exposure"] = json!({"auto": true});
        json["chunks"][0]["sha256"] = json!("abc");
        json["streams"]["front"]["counts"]["retried"] = json!(3);
    })
    .unwrap();
    // `Value` has sorted the members of its objects.
    read.streams.reverse();
    assert_eq!(read, manifest());
}

#[test]
fn a_newer_version_is_refused_whatever_else_it_holds() {
    let read = read_changed(|json| *json = json!({"version": 2, "streams": "elsewhere"}));
    let error = read.unwrap_err();
    assert!(
        matches!(error, ReadManifestError::Newer { version: 2, .. }),
        "{error:?}"
    );
    let message = error.to_string();
    assert!(
        message.contains("version 2") && message.contains("up to 1"),
        "{message}"
    );
}

#[test]
fn names_in_it_never_lead_out_of_the_folder() {
    for name in ["../../etc/passwd", "/etc/passwd", "..", ".", "", "a\0b"] {
        for field in ["chunks", "set_aside"] {
            let read = read_changed(|json| {
                json["set_aside"] = json!([{"file": "t", "chunk": "c", "offset": 0, "bytes": 1}]);
                json[field][0]["file"] = json!(name);
            });
            assert!(
                matches!(read, Err(ReadManifestError::Damaged { .. })),
                "{name:?} in {field}: {read:?}"
            );
        }
    }
}

#[test]
fn two_streams_of_one_name_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    manifest().write(&RealStorage, folder.path()).unwrap();
    let path = folder.path().join(MANIFEST_FILE);
    let json = fs::read_to_string(&path).unwrap();
    fs::write(&path, json.replace("\"accelerometer\"", "\"front\"")).unwrap();
    let error = Manifest::read(&RealStorage, folder.path()).unwrap_err();
    assert!(error.to_string().contains("two streams"), "{error}");
}

#[test]
fn a_manifest_cut_at_any_byte_is_damaged_and_nothing_worse() {
    let folder = tempfile::tempdir().unwrap();
    manifest().write(&RealStorage, folder.path()).unwrap();
    let path = folder.path().join(MANIFEST_FILE);
    let whole = fs::read(&path).unwrap();
    let closing_brace = whole.len() - 2;
    for len in 0..=closing_brace {
        fs::write(&path, &whole[..len]).unwrap();
        let read = Manifest::read(&RealStorage, folder.path());
        assert!(
            matches!(read, Err(ReadManifestError::Damaged { .. })),
            "{len}: {read:?}"
        );
    }
    fs::remove_file(&path).unwrap();
    let read = Manifest::read(&RealStorage, folder.path());
    assert!(
        matches!(&read, Err(ReadManifestError::Io { source, .. })
            if source.kind() == std::io::ErrorKind::NotFound),
        "{read:?}"
    );
}
