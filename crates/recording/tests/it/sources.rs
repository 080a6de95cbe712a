//! The sources that come with the crate, with the real ffmpeg.

use std::{error::Error, fs::File, io::Write as _, path::Path, time::Duration};

use longtake_ffmpeg::Ffmpeg;
use longtake_recording::{
    Camera, Capture, DEFAULT_READY_TIMEOUT, Delivery, Device, JsonLines, OpenError, StreamSpec,
    Tapped,
};

const PATIENCE: Duration = Duration::from_secs(30);

fn camera(source: &str, delivery: Delivery) -> Box<dyn Device> {
    let spec = StreamSpec::video("cam");
    Box::new(Camera::new(
        spec,
        source.parse().unwrap(),
        delivery,
        Ffmpeg::find().unwrap(),
    ))
}

fn raw(pixel_format: &str) -> Delivery {
    Delivery::Decoded {
        pixel_format: pixel_format.into(),
    }
}

/// Opens a source that cannot be opened, and wants these words in what it says.
#[track_caller]
fn check_fails(device: Box<dyn Device>, words: &[&str]) {
    let error = Capture::open(vec![device], PATIENCE).unwrap_err();
    assert!(!matches!(error, OpenError::NotReady { .. }), "{error}");
    let mut said = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        said.push_str(": ");
        said.push_str(&cause.to_string());
        source = cause.source();
    }
    for word in words {
        assert!(said.contains(word), "{said:?} does not say {word:?}");
    }
}

#[test]
fn a_test_picture_comes_at_its_rate() {
    let devices = vec![camera("testsrc:160x120@50", raw("gray16le"))];
    let capture = Capture::open(devices, DEFAULT_READY_TIMEOUT).unwrap();
    let tap = capture.tap("cam").unwrap();
    let (mut seen, mut last) = (0, None);
    for _ in 0..10 {
        let (number, tapped) = tap.newer_than(seen, PATIENCE).unwrap();
        let Tapped::Frame { at, format, data } = tapped else {
            panic!("{tapped:?}")
        };
        assert_eq!((format.width, format.height), (160, 120));
        assert_eq!(data.len(), 160 * 120 * 2);
        if let Some((last_number, last_at)) = last {
            let frames = i64::try_from(number - last_number).unwrap();
            let spacing: i64 = at.0 - last_at;
            assert_eq!(
                spacing,
                frames * 20_000,
                "the spacing of the source is exact"
            );
        }
        (seen, last) = (number, Some((number, at.0)));
    }
    assert!(!capture.ended(), "it goes on");
}

#[test]
fn sources_that_are_not_there_say_so() {
    check_fails(
        camera("v4l2:/dev/video99", raw("yuv420p")),
        &["/dev/video99", "No such file"],
    );
    check_fails(
        camera("file:/nonexistent.mp4", Delivery::Copied),
        &["No such file"],
    );
    // Nobody listens on the discard port of this machine.
    let nobody = camera("rtsp://me:secret@127.0.0.1:9/x", Delivery::Copied);
    check_fails(nobody, &["***@127.0.0.1", "refused"]);
    let lines = JsonLines::from_path(StreamSpec::data("gps"), "/nonexistent.jsonl");
    check_fails(Box::new(lines), &["/nonexistent.jsonl", "No such file"]);
}

#[test]
fn a_file_that_is_no_video_says_so() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&[7; 5000]).unwrap();
    let source = format!("file:{}", file.path().display());
    check_fails(camera(&source, Delivery::Copied), &["Invalid data"]);
}

#[test]
fn a_codec_that_chunks_cannot_hold_names_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old.avi");
    make_video(&path, &["-c:v", "msmpeg4v2"]);
    let source = format!("file:{}", path.display());
    check_fails(camera(&source, Delivery::Copied), &["codec=libx264"]);
}

#[test]
fn closing_a_source_that_waits_does_not_hang() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mp4");
    make_video(&path, &["-c:v", "libx264"]);
    let pipe = folder.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let devices: Vec<Box<dyn Device>> = vec![
        camera(&format!("file:{}", path.display()), Delivery::Copied),
        Box::new(JsonLines::from_path(StreamSpec::data("gps"), &pipe)),
    ];
    drop(Capture::open(devices, DEFAULT_READY_TIMEOUT).unwrap());
    // A reader that was left behind would still hold the pipe open for reading.
    let nonblocking = nix::fcntl::OFlag::O_WRONLY | nix::fcntl::OFlag::O_NONBLOCK;
    let writer = nix::fcntl::open(&pipe, nonblocking, nix::sys::stat::Mode::empty());
    assert_eq!(writer.map(File::from).err(), Some(nix::errno::Errno::ENXIO));
}

#[track_caller]
fn make_video(path: &Path, codec: &[&str]) {
    let status = std::process::Command::new("ffmpeg")
        .args([
            "-nostdin",
            "-v",
            "error",
            "-f",
            "lavfi",
            "-i",
            "testsrc2=size=160x120:rate=25",
        ])
        .args(["-t", "1"])
        .args(codec)
        .arg(path)
        .status()
        .unwrap();
    assert!(status.success());
}
