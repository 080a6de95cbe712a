//! A recording whose encoder, queue, folder or manifest fails: it is told, counted, and the rest goes on.

use std::{fs, path::Path, time::Duration};

use longtake_durable::RealStorage;
use longtake_recording::{
    Camera, Capture, ChunkOptions, DEFAULT_READY_TIMEOUT, Delivery, Device, DropReason,
    EncoderSettings, Events, FakeImu, Ffmpeg, GapReason, Manifest, Session, SessionOptions,
    StreamOptions, StreamSpec, What,
};
use nix::sys::signal::Signal;

use crate::{
    encoder_bench::{child_with, signal},
    session::{stored, wait_for, wait_until, written},
};

/// The bytes of a picture, and a little more.
const PICTURE_BYTES: usize = 160 * 120 * 2;

/// Records a test picture, encoded at a bitrate by which its encoder is found, beside a sensor.
fn record(output: &Path, bitrate: &str) -> (Capture, Session, Events) {
    let camera = Camera::new(
        StreamSpec::video("cam"),
        "testsrc:160x120@25".parse().unwrap(),
        Delivery::Decoded {
            pixel_format: "yuv420p".into(),
        },
        Ffmpeg::find().unwrap(),
    );
    let imu = FakeImu::new(StreamSpec::data("imu"), 100.0);
    let devices: Vec<Box<dyn Device>> = vec![Box::new(camera), Box::new(imu)];
    let capture = Capture::open(devices, DEFAULT_READY_TIMEOUT).unwrap();
    let encoder = EncoderSettings::default().bitrate(bitrate.parse().unwrap());
    let options = SessionOptions::default()
        .chunks(ChunkOptions::default().length(Duration::from_secs(60)))
        .queue_bytes(3 * PICTURE_BYTES)
        .stream("cam", StreamOptions::default().encoder(encoder));
    let (session, events) = Session::start(&capture, output, options).unwrap();
    wait_until(|| written(&session, "cam") > 0 && written(&session, "imu") > 0);
    (capture, session, events)
}

#[test]
fn an_encoder_that_dies_leaves_a_gap_and_is_started_again() {
    let output = tempfile::tempdir().unwrap();
    let (_capture, session, events) = record(output.path(), "1000019");
    signal(child_with("1000019"), Signal::SIGKILL);
    let restarted = wait_for(&events, |event| {
        matches!(event.what, What::EncoderRestarted { .. })
    });
    assert_eq!(restarted.stream.as_deref(), Some("cam"));
    let before = written(&session, "cam");
    wait_until(|| written(&session, "cam") > before + 10);
    let summary = session.stop();
    assert_eq!(summary.write_error, None);
    for (name, counts) in &summary.counts {
        assert_eq!(counts.in_flight(), 0, "{name}: {counts:?}");
    }
    assert_eq!(summary.counts["imu"].dropped_total(), 0);
    let lost = summary.counts["cam"].dropped_total();
    let manifest = Manifest::read(&RealStorage, session.folder()).unwrap();
    let gaps = &manifest.stream("cam").unwrap().gaps;
    let of_encoder = gaps.iter().filter(|gap| gap.reason == GapReason::Encoder);
    assert_eq!(of_encoder.count() > 0, lost > 0, "{gaps:?} {lost}");
    let packets = stored(session.folder());
    assert_eq!(packets["cam"].len() as u64, summary.counts["cam"].written);
}

#[test]
fn a_queue_that_is_full_drops_and_tells_and_counts() {
    let output = tempfile::tempdir().unwrap();
    let (_capture, session, events) = record(output.path(), "1000021");
    let encoder = child_with("1000021");
    signal(encoder, Signal::SIGSTOP);
    let dropped = wait_for(&events, |event| matches!(event.what, What::Dropped { .. }));
    signal(encoder, Signal::SIGCONT);
    assert_eq!(dropped.stream.as_deref(), Some("cam"));
    let What::Dropped { reason, count } = dropped.what else {
        unreachable!("it was waited for")
    };
    assert_eq!(reason, DropReason::QueueFull);
    assert!(count > 0);
    let before = written(&session, "cam");
    wait_until(|| written(&session, "cam") > before + 10);
    let summary = session.stop();
    let counts = &summary.counts["cam"];
    assert!(
        counts.dropped[&DropReason::QueueFull] >= count,
        "{counts:?}"
    );
    assert_eq!(counts.received, counts.written + counts.dropped_total());
    assert_eq!(
        summary.counts["imu"].dropped_total(),
        0,
        "a queue of its own"
    );
    let manifest = Manifest::read(&RealStorage, session.folder()).unwrap();
    assert_eq!(&manifest.stream("cam").unwrap().counts, counts);
}

#[test]
fn a_chunk_that_cannot_have_its_name_is_told_and_kept() {
    let output = tempfile::tempdir().unwrap();
    let (_capture, session, events) = record(output.path(), "1000023");
    let in_the_way = session.folder().join("00001.mkv");
    fs::write(&in_the_way, "strange").unwrap();
    let summary = session.stop();
    let told = wait_for(&events, |event| {
        matches!(event.what, What::ChunkUnfinished { .. })
    });
    let What::ChunkUnfinished { file, .. } = told.what else {
        unreachable!("it was waited for")
    };
    assert_eq!(file, "00001.mkv");
    let error = summary.write_error.unwrap();
    assert!(error.contains("00001.mkv"), "{error}");
    assert_eq!(fs::read(in_the_way).unwrap(), b"strange");
    assert!(session.folder().join("00001.mkv.part").exists());
}

#[test]
fn a_manifest_that_cannot_be_written_is_told() {
    let output = tempfile::tempdir().unwrap();
    let (_capture, session, events) = record(output.path(), "1000033");
    wait_for(&events, |event| matches!(event.what, What::Started { .. }));
    let manifest = session.folder().join("manifest.json");
    wait_until(|| manifest.exists());
    fs::remove_file(&manifest).unwrap();
    fs::create_dir(&manifest).unwrap();
    let error = session.stop().write_error.unwrap();
    assert!(error.contains("manifest"), "{error}");
    assert!(
        session.folder().join("00001.mkv").exists(),
        "chunks are whole"
    );
}
