//! A network camera: GStreamer's RTSP server, which plays a file at its own pace.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use longtake_durable::RealStorage;
use longtake_ffmpeg::Ffmpeg;
use longtake_recording::{
    Camera, Capture, Codec, DEFAULT_READY_TIMEOUT, Delivery, Device, Events, FakeImu, Manifest,
    Session, SessionOptions, StreamSpec, What,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::session::{stored, wait_for, wait_until, written};

/// A frame at 25 frames a second, which RTP's clock of 90 kHz can say exactly.
const FRAME_US: i64 = 40_000;

struct NetworkCamera {
    server: Child,
    url: String,
    _footage: tempfile::TempDir,
}

impl NetworkCamera {
    /// Serves `seconds` of pictures, with a keyframe a second.
    fn start(seconds: u32) -> Self {
        let footage = tempfile::tempdir().unwrap();
        let file = footage.path().join("footage.mp4");
        let status = Command::new("ffmpeg")
            .args(["-nostdin", "-v", "error", "-f", "lavfi"])
            .args(["-i", "testsrc2=size=160x120:rate=25"])
            .args(["-t", &seconds.to_string()])
            .args(["-c:v", "libx264", "-bf", "0", "-g", "25"])
            .arg(&file)
            .status()
            .unwrap();
        assert!(status.success());
        // Debian's own Python is the one that knows GStreamer.
        let mut server = Command::new("/usr/bin/python3")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rtsp_server.py"))
            .arg(&file)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut port = String::new();
        BufReader::new(server.stdout.take().unwrap())
            .read_line(&mut port)
            .unwrap();
        assert!(
            !port.is_empty(),
            "no RTSP server: run scripts/setup --tests"
        );
        Self {
            server,
            url: format!("rtsp://127.0.0.1:{}/stream", port.trim()),
            _footage: footage,
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.server.id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    /// Records it beside a sensor.
    fn record(&self, output: &Path) -> (Capture, Session, Events) {
        let camera = Camera::new(
            StreamSpec::video("cam"),
            self.url.parse().unwrap(),
            Delivery::Copied,
            Ffmpeg::find().unwrap(),
        );
        let imu = FakeImu::new(StreamSpec::data("imu"), 100.0);
        let devices: Vec<Box<dyn Device>> = vec![Box::new(camera), Box::new(imu)];
        let capture = Capture::open(devices, DEFAULT_READY_TIMEOUT).unwrap();
        let (session, events) =
            Session::start(&capture, output, SessionOptions::default()).unwrap();
        (capture, session, events)
    }
}

impl Drop for NetworkCamera {
    fn drop(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }
}

#[track_caller]
fn check_spacing(found: &[i64]) {
    for pair in found.windows(2) {
        assert_eq!(pair[1] - pair[0], FRAME_US, "{found:?}");
    }
}

#[test]
fn its_packets_are_copied_with_their_own_spacing() {
    let camera = NetworkCamera::start(6);
    let output = tempfile::tempdir().unwrap();
    let (_capture, session, events) = camera.record(output.path());
    let ended = wait_for(&events, |event| {
        matches!(event.what, What::StreamEnded { .. })
    });
    assert_eq!(ended.stream.as_deref(), Some("cam"), "{ended:?}");
    session.stop();

    let found = stored(session.folder()).remove("cam").unwrap();
    assert!(found.len() >= 25, "{} packets", found.len());
    check_spacing(&found);
    let manifest = Manifest::read(&RealStorage, session.folder()).unwrap();
    let stream = manifest.stream("cam").unwrap();
    let format = (stream.codec, stream.width, stream.height);
    assert_eq!(format, (Some(Codec::H264), Some(160), Some(120)));
    assert_eq!(stream.counts.written, found.len() as u64);
    assert_eq!(stream.counts.in_flight(), 0, "{:?}", stream.counts);
    // Only what came before the first keyframe, which no decoder could use.
    let lost: BTreeMap<_, _> = stream.counts.dropped.clone();
    assert!(
        lost.keys().all(|reason| reason.name() == "broken_gop"),
        "{lost:?}"
    );
    assert!(lost.values().all(|count| *count < 25), "{lost:?}");
}

#[test]
fn a_silence_is_told_with_its_gap_and_recording_goes_on() {
    let camera = NetworkCamera::start(60);
    let output = tempfile::tempdir().unwrap();
    let (capture, session, events) = camera.record(output.path());
    wait_until(|| written(&session, "cam") > 0);
    camera.signal(Signal::SIGSTOP);
    let stalled = wait_for(&events, |event| matches!(event.what, What::Stalled { .. }));
    assert_eq!(stalled.stream.as_deref(), Some("cam"));
    let before = written(&session, "cam");
    camera.signal(Signal::SIGCONT);
    let gap = wait_for(&events, |event| matches!(event.what, What::Gap { .. }));
    assert_eq!(gap.stream.as_deref(), Some("cam"));
    wait_until(|| written(&session, "cam") > before + 25);
    let summary = session.stop();
    drop(capture);
    assert_eq!(summary.write_error, None);
    for (name, counts) in &summary.counts {
        assert_eq!(counts.in_flight(), 0, "{name}: {counts:?}");
    }
    // Only the delivery stalled: everything came late, and lies where it was captured.
    let found = stored(session.folder()).remove("cam").unwrap();
    check_spacing(&found);
    let manifest = Manifest::read(&RealStorage, session.folder()).unwrap();
    assert_eq!(manifest.stream("cam").unwrap().gaps, []);
}

#[test]
fn a_camera_that_dies_ends_alone() {
    let camera = NetworkCamera::start(60);
    let output = tempfile::tempdir().unwrap();
    let (_capture, session, events) = camera.record(output.path());
    wait_until(|| written(&session, "cam") > 0);
    camera.signal(Signal::SIGKILL);
    let ended = wait_for(&events, |event| {
        matches!(event.what, What::StreamEnded { .. })
    });
    assert_eq!(ended.stream.as_deref(), Some("cam"));
    let What::StreamEnded { error: Some(error) } = ended.what else {
        panic!("{ended:?}")
    };
    assert!(!error.is_empty());
    let before = written(&session, "imu");
    wait_until(|| written(&session, "imu") > before);
    let summary = session.stop();
    assert!(summary.counts["cam"].written > 0);
    assert!(fs::exists(session.folder().join("00001.mkv")).unwrap());
}
