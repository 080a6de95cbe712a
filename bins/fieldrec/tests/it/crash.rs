//! kill -9 at any time: little is lost, what is there plays, nothing is left running.

use std::{fs, path::Path, time::Duration};

use jiff::Timestamp;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{
    Recorder, alone, chunks, decode, inspect, only_recording, play, processes_of, random_spans,
    realtime_pair, run, run_well, wait_until,
};

/// The most that a kill may cost each stream.
const MAX_LOSS_US: i64 = 200_000;

const STREAMS: [&str; 8] = [
    "--video",
    "front=testsrc:640x400@30",
    "--video",
    "depth=testsrc:640x400@30,codec=ffv1,pixel-format=gray16le",
    "--sensor",
    "imu=fake-imu:100",
    "--chunk-length",
    "1s",
];

#[test]
fn kill_nine_at_twenty_instants() {
    kill_at(20);
}

#[test]
#[ignore = "long: four minutes"]
fn kill_nine_at_a_hundred_instants() {
    kill_at(100);
}

/// Kills a recorder so often, each time at a random instant of the chunks of 1 s.
fn kill_at(kills: usize) {
    let _alone = alone();
    for delay in random_spans(kills, Duration::from_millis(2500)) {
        kill_after(delay);
    }
}

/// Before the first chunk is opened, encoders start up: what they hold is lost, and nothing else.
#[test]
fn killed_before_the_first_chunk() {
    let _alone = alone();
    for delay in random_spans(5, Duration::from_millis(1500)) {
        let output = tempfile::tempdir().unwrap();
        let recorder = Recorder::start(output.path(), STREAMS);
        // The instant of the kill is what is under test, so this is a time and no condition.
        std::thread::sleep(delay);
        kill(recorder, output.path());
        if fs::read_dir(output.path()).unwrap().next().is_some() {
            check_recovered(&only_recording(output.path()));
        }
    }
}

/// As a service does before it records: what another one records now is left alone.
#[test]
fn recovering_all_leaves_alone_what_is_being_recorded() {
    let output = tempfile::tempdir().unwrap();
    let sensor = ["--sensor", "imu=fake-imu:100"];
    let mut killed = Recorder::start(output.path(), sensor);
    killed.wait_for("chunk_opened");
    kill(killed, output.path());
    let crashed = only_recording(output.path());
    let mut running = Recorder::start(output.path(), sensor);
    let path = running.wait_for("chunk_opened")["path"].clone();
    let path = path.as_str().unwrap();

    let all = run(["recover", output.path().to_str().unwrap()]);
    let said = String::from_utf8_lossy(&all.stderr).into_owned();
    assert_eq!(all.status.code(), Some(0), "{said}");
    assert!(said.contains(path) && said.contains("left alone"), "{said}");
    check_recovered(&crashed);
    assert_eq!(
        run(["recover", path]).status.code(),
        Some(1),
        "named itself"
    );
    running.signal(Signal::SIGTERM);
    assert!(running.finish().status.success());
}

/// Kills it, says when that had happened, and sees that nothing of it stays.
fn kill(recorder: Recorder, output: &Path) -> Timestamp {
    recorder.signal(Signal::SIGKILL);
    let killed_at = Timestamp::now();
    drop(recorder.finish());
    wait_until("the end of all children", Duration::from_secs(1), || {
        processes_of(output).is_empty()
    });
    killed_at
}

fn kill_after(delay: Duration) {
    let output = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::start(output.path(), STREAMS);
    recorder.wait_for("chunk_opened");
    // As above.
    std::thread::sleep(delay);
    let running = processes_of(output.path());
    assert!(
        running.len() > 2,
        "the encoders should be running: {running:?}"
    );
    let killed_at = kill(recorder, output.path());

    let recording = only_recording(output.path());
    let found = inspect(&recording);
    for chunk in found["chunks"].as_array().unwrap() {
        play_unfinished(&recording, chunk);
    }
    let (pts_us, realtime) = realtime_pair(&chunks(&recording)[0]);
    let killed_pts =
        pts_us + i64::try_from(killed_at.duration_since(realtime).as_micros()).unwrap();
    let streams = found["streams"].as_array().unwrap();
    assert_eq!(streams.len(), 3, "{found}");
    for stream in streams {
        let lost = killed_pts - stream["last_pts_us"].as_i64().unwrap();
        assert!(
            lost <= MAX_LOSS_US,
            "{} lost {lost} us, killed after {delay:?}",
            stream["name"]
        );
    }
    assert_eq!(
        packets(&found),
        packets(&check_recovered(&recording)),
        "what was there before is there after"
    );
}

/// Recovers a recording, checks that all of it plays, and gives what it holds.
#[track_caller]
fn check_recovered(recording: &Path) -> Value {
    run_well(["recover", recording.to_str().unwrap()]);
    let whole = inspect(recording);
    assert_eq!(whole["manifest"]["consistent"], true, "{whole}");
    for file in chunks(recording) {
        assert!(
            file.extension().is_some_and(|extension| extension == "mkv"),
            "{}",
            file.display()
        );
        decode(&file);
    }
    whole
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
