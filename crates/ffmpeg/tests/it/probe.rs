//! Finding programs and asking them.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use longtake_ffmpeg::{Feature, Ffmpeg, Ffprobe, Input, Kind, StreamKind, ToolError};

use crate::{LONG, both, ffmpeg9, media};

/// A program that runs `script`.
fn program(dir: &tempfile::TempDir, name: &str, script: &str) -> PathBuf {
    let path = dir.path().join(name);
    let staged = dir.path().join(format!("{name}.staged"));
    fs::write(&staged, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&staged, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(&staged, &path).unwrap();
    path
}

#[test]
fn versions_and_features() {
    for ffmpeg in both() {
        assert!(ffmpeg.version().has_stats_period(), "{ffmpeg:?}");
        for (feature, has) in [
            (Feature::Encoder("libx264"), true),
            (Feature::Encoder("nosuch"), false),
            (Feature::Decoder("hevc"), true),
            (Feature::Muxer("mp4"), true),
            (Feature::Muxer("webm"), true),
            (Feature::Demuxer("concat"), true),
            (Feature::Demuxer("webm"), true),
            (Feature::Filter("overlay"), true),
            (Feature::Filter("nosuch"), false),
        ] {
            assert_eq!(
                ffmpeg.supports(feature).unwrap(),
                has,
                "{feature:?} {ffmpeg:?}"
            );
        }
    }
    assert_eq!(
        Ffmpeg::at(ffmpeg9()).unwrap().version().release(),
        Some((9, 0))
    );
}

#[test]
fn a_missing_ffmpeg_says_what_to_do() {
    let error = Ffmpeg::at("/nonexistent/ffmpeg").unwrap_err();
    assert!(matches!(error, ToolError::NotFound { .. }), "{error:?}");
    let message = error.to_string();
    assert!(
        message.contains("/nonexistent/ffmpeg") && message.contains("apt install ffmpeg"),
        "{message}"
    );
    assert!(matches!(
        Ffprobe::at("no-such-ffprobe").probe(&Input::file("x")),
        Err(ToolError::NotFound { .. })
    ));
}

#[test]
fn programs_that_are_no_ffmpeg() {
    assert!(matches!(
        Ffmpeg::at("/bin/echo"),
        Err(ToolError::Unexpected { .. })
    ));
    assert!(matches!(
        Ffmpeg::at("/bin/false"),
        Err(ToolError::Failed { .. })
    ));
    assert!(matches!(
        Ffmpeg::at("/etc/hostname"),
        Err(ToolError::Start { .. })
    ));
    let dir = tempfile::tempdir().unwrap();
    let endless = program(&dir, "endless", "while :; do echo ffmpeg version; done");
    assert!(matches!(
        Ffmpeg::at(endless),
        Err(ToolError::TooLong { .. })
    ));
}

#[test]
fn an_answer_is_remembered_until_the_program_changes() {
    let dir = tempfile::tempdir().unwrap();
    let answer = |version: &str| {
        format!(
            "echo run >> {}/runs; echo 'ffmpeg version {version} Copyright'",
            dir.path().display()
        )
    };
    let runs = || {
        fs::read_to_string(dir.path().join("runs"))
            .unwrap()
            .lines()
            .count()
    };
    let path = program(&dir, "ffmpeg", &answer("4.1"));
    for _ in 0..3 {
        let ffmpeg = Ffmpeg::at(&path).unwrap();
        assert!(!ffmpeg.version().has_stats_period());
    }
    assert_eq!(runs(), 1);
    program(&dir, "ffmpeg", &answer("99.10"));
    assert_eq!(
        Ffmpeg::at(&path).unwrap().version().release(),
        Some((99, 10))
    );
    assert_eq!(runs(), 2);
}

#[test]
fn ffprobe_tells_what_a_file_holds() {
    let ffprobe = Ffprobe::find();
    let media = ffprobe
        .probe(&Input::file(media::file("audio.mp4")))
        .unwrap();
    let kinds: Vec<_> = media.streams.iter().map(|stream| stream.kind).collect();
    assert_eq!(kinds, [StreamKind::Video, StreamKind::Audio]);
    assert_eq!(media.audio().unwrap().sample_rate, Some(16_000));
    assert_eq!(media.video().unwrap().codec, "h264");
    let rate = media.video().unwrap().frame_rate.unwrap().as_f64();
    assert!((rate - 15.0).abs() < 0.01, "{rate}");
    for (name, _) in media::HOSTILE {
        let path = media::file(OsStr::from_bytes(name));
        assert!(ffprobe.probe(&Input::file(&path)).is_ok(), "{path:?}");
    }
}

#[test]
fn ffprobe_tells_why_it_cannot_read() {
    let failed = |name: &str| match Ffprobe::find().probe(&Input::file(media::folder().join(name)))
    {
        Err(ToolError::Failed { kind, cause, .. }) => (kind, cause.unwrap().to_string()),
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(failed("nosuch.mp4").0, Kind::InputMissing);
    let (kind, cause) = failed("nomoov.mp4");
    assert!(
        kind == Kind::InputInvalid && cause.contains("moov atom not found"),
        "{cause}"
    );
}

#[test]
fn an_ffprobe_that_hangs_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let hangs = program(&dir, "ffprobe", "echo '{'; exec sleep 1000");
    let start = Instant::now();
    let error = Ffprobe::at(hangs)
        .timeout(Duration::from_millis(200))
        .probe(&Input::file("x"));
    assert!(matches!(error, Err(ToolError::Timeout { .. })), "{error:?}");
    assert!(start.elapsed() < LONG);
}
