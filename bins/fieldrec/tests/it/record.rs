//! What a recording that nobody disturbs must hold.

use std::{collections::BTreeMap, path::Path};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{Recorder, alone, chunks, decode, inspect, only_recording, probe, run_well};

/// The streams of the project's yardstick: H.264, lossless depth, a sensor.
const YARDSTICK: [&str; 6] = [
    "--video",
    "front=testsrc:640x400@30",
    "--video",
    "depth=testsrc:640x400@30,codec=ffv1,pixel-format=gray16le",
    "--sensor",
    "imu=fake-imu:100",
];

#[test]
fn twenty_seconds_of_two_cameras_and_a_sensor() {
    let _alone = alone();
    let output = tempfile::tempdir().unwrap();
    let length = ["--chunk-length", "2s", "--duration", "20s"];
    let recorder = Recorder::start(output.path(), YARDSTICK.into_iter().chain(length));
    let finished = recorder.finish();
    assert!(finished.status.success(), "{}", finished.stderr);

    let recording = only_recording(output.path());
    let stopped = finished.of_kind("stopped").next().unwrap();
    for stream in ["front", "depth", "imu"] {
        let counts = &stopped["counts"][stream];
        assert_eq!(counts["received"], counts["written"], "{stream}: {stopped}");
        assert_eq!(counts["encoded"], counts["written"], "{stream}: {stopped}");
        assert!(
            counts["dropped"].as_object().unwrap().is_empty(),
            "{stream}: {stopped}"
        );
    }
    let frames = stopped["counts"]["front"]["written"].as_u64().unwrap();
    assert!(
        (599..=601).contains(&frames),
        "{frames} frames in 20 s at 30 Hz"
    );

    let files = chunks(&recording);
    assert_eq!(files.len(), 10, "{files:?}");
    assert_eq!(finished.of_kind("chunk_finished").count(), files.len());
    assert_eq!(finished.of_kind("stalled").count(), 0);
    for file in &files {
        assert_eq!(check_chunk(file), 3, "{}", file.display());
    }
    check_inspection(&recording, stopped);
    check_export(&recording, stopped, &output.path().join("whole.mkv"));
}

/// A chunk begins with a keyframe in every stream, and both programs read it in silence. Gives the
/// number of its streams.
#[track_caller]
fn check_chunk(file: &Path) -> usize {
    assert!(
        file.extension().is_some_and(|extension| extension == "mkv"),
        "{}",
        file.display()
    );
    let streams = probe(file);
    for (stream, packets) in &streams {
        assert!(packets[0].keyframe, "{stream} of {}", file.display());
    }
    if streams.keys().any(|stream| stream != "imu") {
        decode(file);
    }
    streams.len()
}

#[track_caller]
fn check_inspection(recording: &Path, stopped: &Value) {
    let found = inspect(recording);
    assert_eq!(found["manifest"]["consistent"], true, "{found}");
    for stream in found["streams"].as_array().unwrap() {
        let name = stream["name"].as_str().unwrap();
        assert_eq!(
            stream["packets"], stopped["counts"][name]["written"],
            "{name}"
        );
        assert!(
            stream["gaps"].as_array().unwrap().is_empty(),
            "{name}: {stream}"
        );
    }
}

/// The export has all frames, in the places where the chunks have them.
#[track_caller]
fn check_export(recording: &Path, stopped: &Value, export: &Path) {
    run_well([
        "export",
        recording.to_str().unwrap(),
        "-o",
        export.to_str().unwrap(),
    ]);
    let exported = probe(export);
    let mut from_chunks: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for file in chunks(recording) {
        for (stream, packets) in probe(&file) {
            from_chunks.entry(stream).or_default().extend(packets);
        }
    }
    assert_eq!(exported, from_chunks);
    for name in ["front", "depth", "imu"] {
        let written = stopped["counts"][name]["written"].as_u64().unwrap();
        assert_eq!(exported[name].len() as u64, written, "{name}");
    }
    decode(export);
}

#[test]
fn a_signal_stops_in_order() {
    let output = tempfile::tempdir().unwrap();
    let args = [
        "--video",
        "front=testsrc:320x240@30",
        "--sensor",
        "imu=fake-imu:100",
    ];
    let mut recorder = Recorder::start(
        output.path(),
        args.into_iter().chain(["--chunk-length", "1s"]),
    );
    recorder.wait_for("chunk_finished");
    recorder.signal(Signal::SIGTERM);
    let finished = recorder.finish();
    assert!(finished.status.success(), "{}", finished.stderr);
    let stopped = finished.events.last().unwrap();
    assert_eq!(stopped["event"], "stopped");
    for stream in ["front", "imu"] {
        assert_eq!(
            stopped["counts"][stream]["received"],
            stopped["counts"][stream]["written"]
        );
    }
    for event in &finished.events {
        assert_eq!(event["recording_id"], stopped["recording_id"], "{event}");
        assert_eq!(event["path"], stopped["path"], "{event}");
        assert!(event["pts_us"].is_i64(), "{event}");
    }
    assert_eq!(finished.events[0]["event"], "started");
    assert_eq!(finished.events[0]["pts_us"], 0);
    assert!(
        chunks(&only_recording(output.path()))
            .iter()
            .all(|file| { file.extension().is_some_and(|extension| extension == "mkv") })
    );
}

#[test]
fn samples_from_standard_input_are_recorded() {
    use std::{io::Write as _, process::Stdio};
    let output = tempfile::tempdir().unwrap();
    let target = output.path().to_str().unwrap();
    let args = [
        "record",
        "--json",
        "--output",
        target,
        "--sensor",
        "gps=jsonl:-",
    ];
    let mut child = crate::support::fieldrec(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for number in 0..50 {
        writeln!(stdin, "{{\"n\":{number}}}").unwrap();
    }
    writeln!(stdin, "this is no JSON").unwrap();
    drop(stdin);
    let result = child.wait_with_output().unwrap();
    assert!(
        result.status.success(),
        "{}",
        String::from_utf8_lossy(&result.stderr)
    );
    let last = String::from_utf8(result.stdout)
        .unwrap()
        .lines()
        .last()
        .unwrap()
        .to_owned();
    let stopped: Value = serde_json::from_str(&last).unwrap();
    assert_eq!(stopped["counts"]["gps"]["received"], 51, "{stopped}");
    assert_eq!(stopped["counts"]["gps"]["written"], 50, "{stopped}");
    assert_eq!(
        stopped["counts"]["gps"]["dropped"]["invalid"], 1,
        "{stopped}"
    );
    let found = inspect(&only_recording(output.path()));
    assert_eq!(found["streams"][0]["packets"], 50, "{found}");
}

#[test]
fn a_silent_sensor_alone_ends_when_its_time_is_over() {
    let output = tempfile::tempdir().unwrap();
    let pipe = output.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let sensor = format!("gps=jsonl:{}", pipe.display());
    let args = ["--sensor", &sensor, "--duration", "500ms"];
    let finished = Recorder::start(&output.path().join("recordings"), args).finish();
    assert!(finished.status.success(), "{}", finished.stderr);
    let stopped = finished.events.last().unwrap();
    assert_eq!(stopped["counts"]["gps"]["received"], 0, "{stopped}");
}

#[test]
fn a_sensor_that_ends_before_the_first_frame_costs_nothing() {
    let output = tempfile::tempdir().unwrap();
    let empty = tempfile::NamedTempFile::new().unwrap();
    let sensor = format!("b=jsonl:{}", empty.path().display());
    let args = [
        "--video",
        "a=testsrc:320x240@30",
        "--sensor",
        &sensor,
        "--duration",
        "2s",
    ];
    let finished = Recorder::start(output.path(), args).finish();
    assert!(finished.status.success(), "{}", finished.stderr);
    let counts = &finished.events.last().unwrap()["counts"]["a"];
    assert_eq!(counts["written"], counts["received"], "{counts}");
    assert!(counts["written"].as_u64().unwrap() > 30, "{counts}");
}
