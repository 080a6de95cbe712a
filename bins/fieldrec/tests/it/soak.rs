//! A long recording needs no more at its end than at its beginning.

use std::fs;

use nix::sys::signal::Signal;

use crate::support::{Recorder, alone, chunks, decode, inspect, only_recording, probe};

const CHUNKS: usize = 60;

/// After so many chunks everything has been done that is done again and again.
const WARM_UP: usize = 6;

/// What a process holds.
#[derive(Debug)]
struct Holding {
    rss_kib: u64,
    threads: u64,
    files: usize,
}

impl Holding {
    fn of(recorder: &Recorder) -> Self {
        let process = format!("/proc/{}", recorder.pid());
        let status = fs::read_to_string(format!("{process}/status")).unwrap();
        let number = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            let words = line.unwrap().split_whitespace();
            words.take(1).next().unwrap().parse().unwrap()
        };
        Self {
            rss_kib: number("VmRSS:"),
            threads: number("Threads:"),
            files: fs::read_dir(format!("{process}/fd")).unwrap().count(),
        }
    }
}

#[test]
#[ignore = "long: ten minutes"]
fn ten_minutes_of_two_cameras_and_a_sensor() {
    let _alone = alone();
    let output = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::start(
        output.path(),
        [
            "--video",
            "front=testsrc:640x400@30",
            "--video",
            "depth=testsrc:640x400@30,codec=ffv1,pixel-format=gray16le",
            "--sensor",
            "imu=fake-imu:100",
            "--chunk-length",
            "10s",
        ],
    );
    for _ in 0..WARM_UP {
        recorder.wait_for("chunk_finished");
    }
    let early = Holding::of(&recorder);
    for _ in WARM_UP..CHUNKS {
        recorder.wait_for("chunk_finished");
    }
    let late = Holding::of(&recorder);
    assert_eq!(late.threads, early.threads, "{early:?} {late:?}");
    assert!(late.files <= early.files + 2, "{early:?} {late:?}");
    assert!(
        late.rss_kib < early.rss_kib + (8 << 10),
        "{early:?} {late:?}"
    );
    recorder.signal(Signal::SIGTERM);
    let finished = recorder.finish();
    assert!(finished.status.success(), "{}", finished.stderr);

    let stopped = finished.events.last().unwrap();
    for stream in ["front", "depth", "imu"] {
        let counts = &stopped["counts"][stream];
        assert_eq!(counts["received"], counts["written"], "{stream}: {stopped}");
    }
    let recording = only_recording(output.path());
    let found = inspect(&recording);
    assert_eq!(found["manifest"]["consistent"], true, "{found}");
    for stream in found["streams"].as_array().unwrap() {
        assert!(stream["gaps"].as_array().unwrap().is_empty(), "{stream}");
    }
    for file in chunks(&recording) {
        probe(&file);
        decode(&file);
    }
}
