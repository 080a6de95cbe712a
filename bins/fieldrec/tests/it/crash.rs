//! kill -9 at any time: little is lost, what is there plays, nothing is left running.

use std::{path::Path, time::Duration};

use jiff::Timestamp;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{
    Recorder, alone, chunks, decode, inspect, only_recording, play, processes_of, realtime_pair,
    run_well, wait_until,
};

/// The most that a kill may cost each stream.
const MAX_LOSS_US: i64 = 200_000;

/// How often the recorder is killed.
const KILLS: u64 = 20;

#[test]
fn kill_nine_at_twenty_instants() {
    let _alone = alone();
    for kill in 0..KILLS {
        // Spread over one and a half chunks of 1 s, at no round number.
        kill_after(Duration::from_millis(700 + kill * 83));
    }
}

fn kill_after(delay: Duration) {
    let output = tempfile::tempdir().unwrap();
    let streams = [
        "--video",
        "front=testsrc:640x400@30",
        "--video",
        "depth=testsrc:640x400@30,codec=ffv1,pixel-format=gray16le",
        "--sensor",
        "imu=fake-imu:100",
        "--chunk-length",
        "1s",
    ];
    let mut recorder = Recorder::start(output.path(), streams);
    recorder.wait_for("chunk_opened");
    // The instant of the kill is what is under test, so this is a time and no condition.
    std::thread::sleep(delay);
    let killed_at = Timestamp::now();
    let running = processes_of(output.path());
    assert!(
        running.len() > 2,
        "the encoders should be running: {running:?}"
    );
    recorder.signal(Signal::SIGKILL);
    drop(recorder.finish());
    wait_until("the end of all children", Duration::from_secs(1), || {
        processes_of(output.path()).is_empty()
    });

    let recording = only_recording(output.path());
    let found = inspect(&recording);
    for chunk in found["chunks"].as_array().unwrap() {
        play_unfinished(&recording, chunk);
    }
    let (pts_us, realtime) = realtime_pair(&chunks(&recording)[0]);
    let killed_pts =
        pts_us + i64::try_from(killed_at.duration_since(realtime).as_micros()).unwrap();
    for stream in found["streams"].as_array().unwrap() {
        let lost = killed_pts - stream["last_pts_us"].as_i64().unwrap();
        assert!(
            lost <= MAX_LOSS_US,
            "{} lost {lost} us, killed after {delay:?}",
            stream["name"]
        );
    }
    run_well(["recover", recording.to_str().unwrap()]);
    let whole = inspect(&recording);
    assert_eq!(whole["manifest"]["consistent"], true, "{whole}");
    assert_eq!(
        packets(&found),
        packets(&whole),
        "what was there before is there after"
    );
    for file in chunks(&recording) {
        assert!(
            file.extension().is_some_and(|extension| extension == "mkv"),
            "{}",
            file.display()
        );
        decode(&file);
    }
}

/// Plays what a chunk holds that was being written, before anything is recovered.
#[track_caller]
fn play_unfinished(recording: &Path, chunk: &Value) {
    let file = chunk["file"].as_str().unwrap();
    let cameras: Vec<_> = ["front", "depth"]
        .into_iter()
        .enumerate()
        .filter(|(_, name)| chunk["packets"][name].is_u64())
        .map(|(stream, _)| stream)
        .collect();
    if file.ends_with(".part") && !cameras.is_empty() {
        play(&recording.join(file), &cameras);
    }
}

fn packets(inspection: &Value) -> Vec<(String, u64)> {
    let streams = inspection["streams"].as_array().unwrap().iter();
    streams
        .map(|stream| {
            (
                stream["name"].as_str().unwrap().to_owned(),
                stream["packets"].as_u64().unwrap(),
            )
        })
        .collect()
}
