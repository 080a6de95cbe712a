//! A whole recording, from a device to chunks: what was captured is there, at its time.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bytes::Bytes;
use longtake_durable::RealStorage;
use longtake_ffmpeg::Ffmpeg;
use longtake_matroska::Reader;
use longtake_recording::{
    CHUNK_TAG, Camera, Capture, ChunkOptions, Codec, Delivery, Device, DeviceFault,
    EncoderSettings, Event, Events, FakeImu, FrameRate, Manifest, Monotonic, NextEvent, Outlet,
    RawFormat, Session, SessionOptions, StreamOptions, StreamSpec, VideoEncoder, What, WhenFull,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// The capture times of everything that a [`Rig`] handed over, by stream.
type Log = Arc<Mutex<BTreeMap<String, Vec<i64>>>>;

/// One unit with several cameras and a sensor on one clock, which logs what it captures. It runs as
/// fast as the recording takes it: media time is what counts here.
#[derive(Debug)]
struct Rig {
    cameras: Vec<RigCamera>,
    length: Duration,
    log: Log,
    running: Option<JoinHandle<()>>,
}

#[derive(Debug, Clone)]
struct RigCamera {
    name: &'static str,
    format: Arc<RawFormat>,
    starts_after_us: i64,
}

impl RigCamera {
    fn new(name: &'static str, pixel_format: &str, starts_after_us: i64) -> Self {
        let format = RawFormat {
            width: 640,
            height: 400,
            pixel_format: pixel_format.to_owned(),
            fps: FrameRate::parse("30"),
        };
        Self {
            name,
            format: Arc::new(format),
            starts_after_us,
        }
    }

    /// A picture that moves, so that no encoder finds it empty.
    fn picture(&self, number: i64) -> Bytes {
        let bytes_per_pixel_and_half = match self.format.pixel_format.as_str() {
            "gray16le" => 4,
            _ => 3,
        };
        let len = 640 * 400 * bytes_per_pixel_and_half / 2;
        let shift = usize::try_from(number).unwrap() * 3;
        (0..len)
            .map(|at| ((at / 7 + shift) % 251).to_le_bytes()[0])
            .collect::<Vec<_>>()
            .into()
    }
}

impl Rig {
    fn new(cameras: Vec<RigCamera>, length: Duration) -> (Self, Log) {
        let log = Log::default();
        (
            Self {
                cameras,
                length,
                log: Arc::clone(&log),
                running: None,
            },
            log,
        )
    }
}

impl Device for Rig {
    fn label(&self) -> String {
        "rig".into()
    }

    fn device_type(&self) -> String {
        "test-rig".into()
    }

    fn streams(&self) -> Vec<StreamSpec> {
        let cameras = self
            .cameras
            .iter()
            .map(|camera| StreamSpec::video(camera.name));
        cameras.chain([StreamSpec::data("imu")]).collect()
    }

    fn open(&mut self, outlets: Vec<Outlet>) -> Result<(), DeviceFault> {
        let cameras = self.cameras.clone();
        let length_us = i64::try_from(self.length.as_micros())?;
        let log = Arc::clone(&self.log);
        self.running = Some(thread::spawn(move || {
            if outlets
                .iter()
                .all(|outlet| outlet.wait_for_recording(PATIENCE))
            {
                run(&cameras, &outlets, length_us, &log);
            }
        }));
        Ok(())
    }

    fn ready(&self) -> bool {
        true
    }

    fn healthy(&self) -> Result<(), DeviceFault> {
        Ok(())
    }

    fn close(&mut self) {
        self.running.take().unwrap().join().unwrap();
    }
}

/// Hands everything over in the order of time: frames every 33.3 ms at odd microseconds, samples
/// every 10 ms.
fn run(cameras: &[RigCamera], outlets: &[Outlet], length_us: i64, log: &Log) {
    let began = Monotonic::now();
    let note = |name: &str, at: i64| {
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        log.entry(name.to_owned()).or_default().push(at);
    };
    let (imu, video) = outlets.split_last().unwrap();
    let mut next_frames: Vec<_> = cameras
        .iter()
        .map(|camera| camera.starts_after_us)
        .collect();
    let mut frame_number = 0;
    for at in (0..length_us).step_by(1_000) {
        for ((camera, outlet), next) in cameras.iter().zip(video).zip(&mut next_frames) {
            if *next < at + 1_000 {
                frame_number += 1;
                outlet.frame(
                    Monotonic(began.0 + *next),
                    &camera.format,
                    camera.picture(frame_number),
                );
                note(camera.name, *next);
                *next += 33_333 + frame_number % 3;
            }
        }
        if at % 10_000 == 7_000 {
            let json = format!("{{\"at\":{at}}}");
            imu.sample(Monotonic(began.0 + at), json.into());
            note("imu", at);
        }
    }
    outlets.iter().for_each(Outlet::end);
}

fn options(streams: &[(&str, EncoderSettings)]) -> SessionOptions {
    let mut options = SessionOptions::default()
        .queue_bytes(8 << 20)
        .chunks(ChunkOptions::default().length(Duration::from_secs(2)));
    let sensor = ("imu", EncoderSettings::default());
    for (name, encoder) in streams.iter().chain([&sensor]) {
        let stream = StreamOptions::default()
            .encoder(encoder.clone())
            .when_full(WhenFull::Block);
        options = options.stream(*name, stream);
    }
    options
}

/// Records a rig to its end and compares what the files hold with what it captured.
#[track_caller]
fn record(
    cameras: Vec<RigCamera>,
    length: Duration,
    streams: &[(&str, EncoderSettings)],
) -> (tempfile::TempDir, Manifest, Vec<Event>) {
    let output = tempfile::tempdir().unwrap();
    let (rig, log) = Rig::new(cameras, length);
    let capture = Capture::open(vec![Box::new(rig)], PATIENCE).unwrap();
    let (session, events) = Session::start(&capture, output.path(), options(streams)).unwrap();
    let events = follow(&session, &events);
    drop(capture);
    let manifest = Manifest::read(&RealStorage, session.folder()).unwrap();

    let captured = log.lock().unwrap().clone();
    let stored = stored(session.folder());
    for (name, captured) in &captured {
        // Session time 0 is the first capture of all.
        let zero = captured_zero(&log);
        let wanted: Vec<_> = captured.iter().map(|at| at - zero).collect();
        let mut found = stored[name].clone();
        found.sort_unstable();
        assert_eq!(found, wanted, "{name}");
        let counts = &manifest.stream(name).unwrap().counts;
        assert_eq!(counts.received, captured.len() as u64, "{name}: {counts:?}");
        assert_eq!(counts.written, counts.received, "{name}: {counts:?}");
        assert_eq!(counts.in_flight(), 0, "{name}: {counts:?}");
    }
    (output, manifest, events)
}

fn captured_zero(log: &Log) -> i64 {
    log.lock()
        .unwrap()
        .values()
        .filter_map(|times| times.first())
        .copied()
        .min()
        .unwrap()
}

#[track_caller]
fn follow(session: &Session, events: &Events) -> Vec<Event> {
    let mut told = Vec::new();
    while !session.ended() {
        if let NextEvent::Event(event) = events.next(Duration::from_millis(20)) {
            told.push(*event);
        }
    }
    session.stop();
    while let NextEvent::Event(event) = events.next(PATIENCE) {
        told.push(*event);
    }
    told
}

/// The session times of all packets in a recording's chunks by stream, in the order of the files;
/// checks on the way that each chunk begins with a keyframe in every stream.
#[track_caller]
pub(crate) fn stored(folder: &Path) -> BTreeMap<String, Vec<i64>> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "mkv"))
        .collect();
    files.sort();
    let mut found: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for file in files {
        let mut reader = Reader::new(File::open(&file).unwrap()).unwrap();
        let names: BTreeMap<_, _> = reader
            .header()
            .tracks
            .iter()
            .map(|track| (track.number, track.name.clone()))
            .collect();
        let mut seen = Vec::new();
        while let Some(cluster) = reader.next_cluster().unwrap() {
            for block in cluster.blocks() {
                if !seen.contains(&block.track) {
                    assert!(
                        block.keyframe,
                        "{} in {}",
                        names[&block.track],
                        file.display()
                    );
                    seen.push(block.track);
                }
                found
                    .entry(names[&block.track].clone())
                    .or_default()
                    .push(block.pts_us);
            }
        }
        assert!(reader.is_complete(), "{}", file.display());
    }
    found
}

fn h264() -> EncoderSettings {
    EncoderSettings::new(VideoEncoder::X264)
}

fn ffv1() -> EncoderSettings {
    EncoderSettings::new(VideoEncoder::Ffv1)
        .pixel_format("gray16le")
        .unwrap()
}

#[test]
fn every_frame_is_stored_at_its_microsecond() {
    let cameras = vec![
        RigCamera::new("front", "yuv420p", 0),
        RigCamera::new("depth", "gray16le", 0),
    ];
    let streams = [("front", h264()), ("depth", ffv1())];
    let (_output, manifest, events) = record(cameras, Duration::from_secs(20), &streams);
    assert_eq!(
        manifest
            .stream("front")
            .unwrap()
            .first_pts_us
            .unwrap()
            .micros(),
        0
    );
    assert_eq!(manifest.chunks.len(), 10, "{:?}", manifest.chunks);
    let odd: Vec<_> = events
        .iter()
        .filter(|event| {
            !matches!(
                event.what,
                What::Started { .. }
                    | What::ChunkOpened { .. }
                    | What::ChunkFinished { .. }
                    | What::StreamEnded { error: None }
                    | What::Stopped { .. }
            )
        })
        .collect();
    assert!(odd.is_empty(), "{odd:?}");
}

#[test]
fn b_frames_change_no_timestamp() {
    let cameras = vec![RigCamera::new("front", "yuv420p", 0)];
    record(
        cameras,
        Duration::from_secs(5),
        &[("front", h264().b_frames(2))],
    );
}

#[test]
fn a_late_stream_keeps_its_offset_and_the_common_boundaries() {
    let cameras = vec![
        RigCamera::new("front", "yuv420p", 0),
        RigCamera::new("late", "yuv420p", 1_300_001),
    ];
    let streams = [("front", h264()), ("late", h264())];
    let (_output, manifest, _) = record(cameras, Duration::from_secs(7), &streams);
    assert_eq!(
        manifest
            .stream("late")
            .unwrap()
            .first_pts_us
            .unwrap()
            .micros(),
        1_300_001
    );
    let begins: Vec<_> = manifest
        .chunks
        .iter()
        .map(|chunk| chunk.first_pts_us.micros())
        .collect();
    assert_eq!(begins.len(), 4, "{begins:?}");
    for (number, begin) in begins.iter().enumerate() {
        let boundary = i64::try_from(number).unwrap() * 2_000_000;
        assert!((boundary..boundary + 40_000).contains(begin), "{begins:?}");
    }
    let in_chunks: Vec<_> = manifest
        .chunks
        .iter()
        .map(|chunk| chunk.packets["late"])
        .collect();
    let frames_in_two_seconds = 59..=61;
    assert!(
        in_chunks[1..3]
            .iter()
            .all(|count| frames_in_two_seconds.contains(count)),
        "{in_chunks:?}"
    );
}

/// A sensor that says `{}` as often as it is told to, as soon as it is recorded, and then nothing.
#[derive(Debug)]
struct Talker {
    samples: u64,
    /// What it answers when it is asked for its health.
    illness: Option<&'static str>,
    running: Option<JoinHandle<()>>,
}

impl Talker {
    fn capture(samples: u64, illness: Option<&'static str>) -> Capture {
        let talker = Self {
            samples,
            illness,
            running: None,
        };
        let imu = FakeImu::new(StreamSpec::data("imu"), 100.0);
        Capture::open(vec![Box::new(talker), Box::new(imu)], PATIENCE).unwrap()
    }
}

impl Device for Talker {
    fn label(&self) -> String {
        "talker".into()
    }

    fn device_type(&self) -> String {
        "test-talker".into()
    }

    fn streams(&self) -> Vec<StreamSpec> {
        vec![StreamSpec::data("words")]
    }

    fn open(&mut self, outlets: Vec<Outlet>) -> Result<(), DeviceFault> {
        let samples = self.samples;
        self.running = Some(thread::spawn(move || {
            if outlets[0].wait_for_recording(PATIENCE) {
                for _ in 0..samples {
                    outlets[0].sample(Monotonic::now(), Bytes::from_static(b"{}"));
                }
            }
        }));
        Ok(())
    }

    fn ready(&self) -> bool {
        true
    }

    fn healthy(&self) -> Result<(), DeviceFault> {
        self.illness.map_or(Ok(()), |illness| Err(illness.into()))
    }

    fn close(&mut self) {
        self.running.take().unwrap().join().unwrap();
    }
}

#[test]
fn a_device_that_falls_ill_ends_with_its_reason_and_the_others_go_on() {
    let output = tempfile::tempdir().unwrap();
    let capture = Talker::capture(3, Some("its fan has stopped"));
    let (session, events) =
        Session::start(&capture, output.path(), SessionOptions::default()).unwrap();
    let ended = wait_for(&events, |event| {
        matches!(event.what, What::StreamEnded { .. })
    });
    assert_eq!(ended.stream.as_deref(), Some("words"));
    let What::StreamEnded { error } = ended.what else {
        unreachable!("it was waited for")
    };
    assert_eq!(error.as_deref(), Some("its fan has stopped"));
    assert!(!session.ended(), "the other device is well");
    let before = written(&session, "imu");
    wait_until(|| written(&session, "imu") > before);
    let summary = session.stop();
    assert_eq!(summary.counts["words"].written, 3);
}

#[test]
fn a_recording_without_a_capture_has_a_length() {
    let output = tempfile::tempdir().unwrap();
    let silent = Talker {
        samples: 0,
        illness: None,
        running: None,
    };
    let capture = Capture::open(vec![Box::new(silent)], PATIENCE).unwrap();
    let (session, _events) =
        Session::start(&capture, output.path(), SessionOptions::default()).unwrap();
    wait_until(|| session.elapsed() > Duration::from_millis(50));
    assert_eq!(
        session.stop().duration,
        Duration::ZERO,
        "nothing was captured"
    );
}

#[test]
fn a_recording_of_a_given_length_holds_what_was_captured_before_its_end() {
    let output = tempfile::tempdir().unwrap();
    let (rig, log) = Rig::new(Vec::new(), Duration::from_secs(5));
    let capture = Capture::open(vec![Box::new(rig)], PATIENCE).unwrap();
    let options = options(&[]).max_duration(Duration::from_secs(2));
    let (session, events) = Session::start(&capture, output.path(), options).unwrap();
    follow(&session, &events);
    let zero = captured_zero(&log);
    let captured = log.lock().unwrap()["imu"].clone();
    let wanted: Vec<_> = captured
        .iter()
        .map(|at| at - zero)
        .filter(|pts| *pts < 2_000_000)
        .collect();
    assert_eq!(stored(session.folder())["imu"], wanted);
    let manifest = Manifest::read(&RealStorage, session.folder()).unwrap();
    assert_eq!(manifest.chunks.len(), 1, "none begins at the end");
    let counts = &manifest.stream("imu").unwrap().counts;
    assert_eq!(counts.received, wanted.len() as u64, "{counts:?}");
    assert!(manifest.duration_s <= 2.0);
}

#[test]
fn the_chunks_and_the_manifest_tell_one_start() {
    let output = tempfile::tempdir().unwrap();
    let capture = Talker::capture(10, None);
    let (session, _events) =
        Session::start(&capture, output.path(), SessionOptions::default()).unwrap();
    wait_until(|| written(&session, "imu") > 0);
    session.stop();
    let manifest = Manifest::read(&RealStorage, session.folder()).unwrap();
    let chunk = File::open(session.folder().join("00001.mkv")).unwrap();
    let reader = Reader::new(chunk).unwrap();
    let tag = reader
        .header()
        .info
        .tags
        .iter()
        .find(|tag| tag.name == CHUNK_TAG);
    let header: serde_json::Value = serde_json::from_str(&tag.unwrap().value).unwrap();
    assert_eq!(header["started_at"], manifest.started_at.to_string());
}

#[test]
fn options_for_a_stream_that_is_not_there_are_refused() {
    let output = tempfile::tempdir().unwrap();
    let imu = FakeImu::new(StreamSpec::data("imu"), 100.0);
    let capture = Capture::open(vec![Box::new(imu)], PATIENCE).unwrap();
    let options = SessionOptions::default().stream("inu", StreamOptions::default());
    let error = Session::start(&capture, output.path(), options).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no device carries a stream called \"inu\""
    );
    assert!(fs::read_dir(output.path()).unwrap().next().is_none());
}

#[test]
fn a_panic_of_the_writer_is_told_and_everything_is_counted() {
    let output = tempfile::tempdir().unwrap();
    let capture = Talker::capture(1000, None);
    let chunks = ChunkOptions::default().name(|_| panic!("the name function of an embedder"));
    let options = SessionOptions::default().chunks(chunks);
    let (session, events) = Session::start(&capture, output.path(), options).unwrap();
    let failed = wait_for(&events, |event| {
        matches!(event.what, What::WriteFailed { .. })
    });
    let What::WriteFailed { error } = failed.what else {
        unreachable!("it was waited for")
    };
    assert!(error.contains("panicked"), "{error}");
    let summary = session.stop();
    assert_eq!(summary.write_error, Some(error));
    for (name, counts) in &summary.counts {
        assert!(
            counts.received > 0 && counts.written == 0,
            "{name}: {counts:?}"
        );
        assert_eq!(counts.in_flight(), 0, "{name}: {counts:?}");
    }
}

/// Waits for an event that is wanted.
#[track_caller]
pub(crate) fn wait_for(events: &Events, wanted: impl Fn(&Event) -> bool) -> Event {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        match events.next(PATIENCE) {
            NextEvent::Event(event) if wanted(&event) => return *event,
            NextEvent::Event(_) => {}
            other => panic!("{other:?}"),
        }
    }
    panic!("it did not come");
}

#[track_caller]
pub(crate) fn wait_until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain");
        thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn written(session: &Session, stream: &str) -> u64 {
    let counts: BTreeMap<_, _> = session.counts().into_iter().collect();
    counts[stream].written
}

/// The PTS that ffprobe finds in a video file, in decode order, as microseconds from the first.
#[track_caller]
fn probed(path: &Path) -> Vec<i64> {
    let output = std::process::Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v:0", "-of", "csv=p=0"])
        .args(["-show_entries", "packet=pts_time"])
        .arg(path)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let micros = |line: &str| {
        line.trim_end_matches(',')
            .replace('.', "")
            .parse::<i64>()
            .unwrap()
    };
    let found: Vec<_> = text.lines().map(micros).collect();
    let first = found[0];
    found.into_iter().map(|pts| pts - first).collect()
}

#[test]
fn a_copied_file_keeps_every_packet_and_its_spacing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bframes.mp4");
    let status = std::process::Command::new("ffmpeg")
        .args([
            "-nostdin",
            "-v",
            "error",
            "-f",
            "lavfi",
            "-i",
            "testsrc2=size=320x240:rate=25",
        ])
        .args(["-t", "3", "-c:v", "libx264", "-bf", "2", "-g", "25"])
        .arg(&path)
        .status()
        .unwrap();
    assert!(status.success());
    let source = format!("file:{}", path.display()).parse().unwrap();
    let camera = Camera::new(
        StreamSpec::video("cam"),
        source,
        Delivery::Copied,
        Ffmpeg::find().unwrap(),
    );
    let output = tempfile::tempdir().unwrap();
    let capture = Capture::open(vec![Box::new(camera)], PATIENCE).unwrap();
    let options = SessionOptions::default()
        .chunks(ChunkOptions::default().length(Duration::from_secs(1)))
        .stream("cam", StreamOptions::default().when_full(WhenFull::Block));
    let (session, events) = Session::start(&capture, output.path(), options).unwrap();
    follow(&session, &events);
    drop(capture);

    let found = stored(session.folder()).remove("cam").unwrap();
    let first = found[0];
    let spacing: Vec<_> = found.iter().map(|pts| pts - first).collect();
    assert_eq!(spacing, probed(&path));
    let manifest = Manifest::read(&RealStorage, session.folder()).unwrap();
    let stream = manifest.stream("cam").unwrap();
    assert_eq!((stream.counts.received, stream.counts.written), (75, 75));
    assert_eq!(manifest.chunks.len(), 3, "{:?}", manifest.chunks);
    assert_eq!((stream.codec, stream.width), (Some(Codec::H264), Some(320)));
}
