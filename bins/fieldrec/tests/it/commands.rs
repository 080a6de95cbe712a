//! The commands as a program calls them: where settings come from, what is printed, how it is stopped.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{Recorder, chunks, fieldrec, inspect, only_recording, probe, run, run_well};

/// Records for so long, and gives the recording's folder.
#[track_caller]
fn record(output: &Path, more: &[&str]) -> PathBuf {
    let fixed = ["record", "--output", output.to_str().unwrap()];
    run_well(fixed.into_iter().chain(more.iter().copied()));
    only_recording(output)
}

#[track_caller]
fn json(args: &[&str]) -> Value {
    serde_json::from_str(&run_well(args.iter().copied())).unwrap()
}

#[track_caller]
fn said(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("fieldrec.toml");
    fs::write(
        &config,
        "duration = \"2s\"\nchunk_length = \"1s\"\n\
         [[sensor]]\nname = \"imu\"\nsource = \"fake-imu:50\"\n",
    )
    .unwrap();
    let chunks_of = |name: &str, environment: &[(&str, &str)], flags: &[&str]| {
        let output = folder.path().join(name);
        let mut command = fieldrec(["record", "--config"]);
        command.arg(&config).arg("--output").arg(&output);
        command.args(flags).envs(environment.iter().copied());
        said(&command.output().unwrap());
        chunks(&only_recording(&output)).len()
    };
    assert_eq!(chunks_of("file", &[], &[]), 2);
    let environment = [("FIELDREC_CHUNK_LENGTH", "500ms")];
    assert_eq!(chunks_of("environment", &environment, &[]), 4);
    let flag = ["--chunk-length", "4s"];
    assert_eq!(chunks_of("flag", &environment, &flag), 1);
}

#[test]
fn the_log_names_the_ffmpeg_that_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let args = [
        "record",
        "--video",
        "a=testsrc:64x64@10",
        "--duration",
        "500ms",
    ];
    let mut command = fieldrec(args);
    command.arg("--output").arg(folder.path());
    let said = said(&command.output().unwrap());
    let version = std::process::Command::new("ffmpeg")
        .arg("-version")
        .output();
    let version = String::from_utf8(version.unwrap().stdout).unwrap();
    let version = version.split_whitespace().nth(2).unwrap();
    for word in ["ffmpeg found", "ffprobe found", version, "/ffmpeg"] {
        assert!(said.contains(word), "{said}\ndoes not say {word:?}");
    }
}

#[test]
fn a_machine_without_ffmpeg_is_told_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = fieldrec(["record", "--video", "a=testsrc:64x64@10"]);
    command
        .arg("--output")
        .arg(folder.path())
        .env("PATH", folder.path());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for word in ["ffmpeg", "--ffmpeg PATH"] {
        assert!(said.contains(word), "{said}");
    }
    // A sensor alone needs none.
    let mut command = fieldrec([
        "record",
        "--sensor",
        "imu=fake-imu:50",
        "--duration",
        "200ms",
    ]);
    command
        .arg("--output")
        .arg(folder.path())
        .env("PATH", folder.path());
    self::said(&command.output().unwrap());
}

#[test]
fn a_file_needs_an_ffprobe() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().to_str().unwrap();
    let args = [
        "--video",
        "a=file:x.mp4",
        "--ffprobe",
        "/nonexistent/ffprobe",
    ];
    let refused = run(["record", "--output", output].into_iter().chain(args));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("/nonexistent/ffprobe"), "{said}");
    assert!(said.contains("--ffprobe PATH"), "{said}");
}

#[test]
fn a_video_file_is_copied_into_chunks() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("recordings");
    let camera = ["--video", "a=testsrc:160x120@25", "--duration", "2s"];
    let recorded = record(&output, &camera);
    let file = folder.path().join("a,b.mkv");
    run_well([
        "export",
        recorded.to_str().unwrap(),
        "-o",
        file.to_str().unwrap(),
    ]);
    let source = format!("copy=file:{}", file.display());
    let copies = folder.path().join("copies");
    let copied = record(&copies, &["--video", &source]);
    let (there, here) = (inspect(&recorded), inspect(&copied));
    assert_eq!(
        there["streams"][0]["packets"],
        here["streams"][0]["packets"]
    );
    assert_eq!(here["streams"][0]["codec"], "h264");
    assert_eq!(here["manifest"]["consistent"], true, "{here}");
}

#[test]
fn a_range_is_exported_and_reports_are_json() {
    let folder = tempfile::tempdir().unwrap();
    let args = [
        "--video",
        "a=testsrc:64x64@10",
        "--sensor",
        "imu=fake-imu:50",
    ];
    let length = ["--duration", "3s", "--chunk-length", "1s"];
    let recording = record(&folder.path().join("r"), &[args, length].concat());
    let recording = recording.to_str().unwrap();
    let file = folder.path().join("part.mkv");
    let to = file.to_str().unwrap();
    let exported = json(&[
        "export", recording, "-o", to, "--from", "1", "--to", "2", "--json",
    ]);
    assert_eq!(exported["path"], to);
    let packets = probe(&file);
    for (stream, times) in &packets {
        let count = exported["tracks"]
            .as_array()
            .unwrap()
            .iter()
            .find(|track| track["name"] == **stream)
            .unwrap()["packets"]
            .as_u64();
        assert_eq!(count, Some(times.len() as u64), "{exported}");
        assert!(
            times.iter().all(|packet| packet.pts_us < 2_000_000),
            "{stream}"
        );
    }
    let imu = &packets["imu"];
    assert!(
        imu[0].pts_us >= 980_000 && (49..=51).contains(&imu.len()),
        "{}",
        imu.len()
    );

    let report = json(&["recover", recording, "--json"]);
    assert_eq!(report["changed"], false, "{report}");
    assert_eq!(
        report["path"],
        fs::canonicalize(recording).unwrap().to_str().unwrap()
    );
}

#[test]
fn a_second_signal_stops_at_once_and_recover_makes_it_whole() {
    let folder = tempfile::tempdir().unwrap();
    let args = [
        "--video",
        "a=testsrc:320x240@30",
        "--sensor",
        "imu=fake-imu:100",
    ];
    let mut recorder = Recorder::start(folder.path(), args);
    recorder.wait_for("chunk_opened");
    recorder.signal(Signal::SIGINT);
    recorder.signal(Signal::SIGTERM);
    let code = recorder.finish().status.code();
    // The first may have been done with before the second came.
    assert!(matches!(code, Some(0 | 1)), "{code:?}");
    let recording = only_recording(folder.path());
    run_well(["recover", recording.to_str().unwrap()]);
    let whole = inspect(&recording);
    assert_eq!(whole["manifest"]["consistent"], true, "{whole}");
    assert_eq!(whole["streams"].as_array().unwrap().len(), 2, "{whole}");
}
