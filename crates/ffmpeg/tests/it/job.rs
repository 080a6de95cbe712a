//! Jobs that succeed or fail, and what is then on the disk.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::slice;
use std::time::Duration;

use longtake_ffmpeg::{
    Codec, ConcatList, Ffmpeg, FfmpegCommand, Ffprobe, Input, Kind, Mp4, Output, Overwrite,
    Partial, Priority, RunError, Runner, ToolError, Verify,
};

use crate::media::{self, file, segment};
use crate::{Server, both, ending, endless, is_old, names_in, pictures, wait_until};

pub(crate) const NO_ONE: fn(&longtake_ffmpeg::Progress) = |_| {};

/// Copies `input` into `path`.
pub(crate) fn copy(ffmpeg: &Ffmpeg, input: Input, path: &Path) -> FfmpegCommand {
    ffmpeg
        .command()
        .input(input)
        .output(Output::file(path).codec(Codec::Copy))
}

/// A list of these files, each of ten seconds.
fn list(dir: &Path, files: &[PathBuf]) -> Input {
    let mut list = ConcatList::new();
    for file in files {
        list.push(file, Some(Duration::from_secs(10))).unwrap();
    }
    list.write(dir.join("list.txt")).unwrap()
}

/// The job ends as incomplete after `got` seconds, and leaves nothing.
#[track_caller]
fn check_incomplete(runner: Runner, dir: &Path, got: f64, kind: Kind, cause: Option<&str>) {
    let before = names_in(dir);
    match runner.run(NO_ONE) {
        Err(RunError::Incomplete {
            got: plays,
            failure,
            ..
        }) => {
            assert!((plays.as_secs_f64() - got).abs() < 0.2, "{plays:?}");
            assert_eq!(failure.kind, kind, "{failure:?}");
            let told = failure.cause.as_ref().map(ToString::to_string);
            assert!(
                cause.is_none_or(|cause| told.as_deref().is_some_and(|told| told.contains(cause))),
                "{failure:?}"
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(names_in(dir), before, "nothing is left");
}

#[test]
fn an_output_appears_whole() {
    let dir = tempfile::tempdir().unwrap();
    for ffmpeg in both() {
        let path = dir
            .path()
            .join(format!("{} it's 12:00.mp4", is_old(&ffmpeg)));
        let files = [segment(0), segment(1), segment(2)];
        let command = copy(&ffmpeg, list(dir.path(), &files), &path);
        let outcome = Runner::new(command)
            .expect(Duration::from_secs(30))
            .run(|_| {
                assert!(
                    !path.exists() || Mp4::open(&path).is_ok(),
                    "never seen half written"
                );
            });
        let outcome = outcome.unwrap();
        assert_eq!(outcome.outputs, slice::from_ref(&path));
        assert_eq!(outcome.duration, Some(Duration::from_secs(30)));
        assert_eq!(outcome.warnings, []);
        assert_eq!(media::numbers(&path), (0..450).collect::<Vec<_>>());
    }
    assert_eq!(names_in(dir.path()).len(), 3);
}

#[test]
fn a_member_that_is_missing_makes_it_incomplete() {
    let dir = tempfile::tempdir().unwrap();
    for ffmpeg in both() {
        let path = dir.path().join("x.mp4");
        let missing = [segment(0), media::folder().join("nosuch.mp4"), segment(2)];
        let command = copy(&ffmpeg, list(dir.path(), &missing), &path);
        let runner = Runner::new(command.clone()).expect(Duration::from_secs(30));
        check_incomplete(
            runner,
            dir.path(),
            10.0,
            Kind::InputMissing,
            Some("Impossible to open"),
        );
        // Also when nobody knows how long it should be.
        check_incomplete(
            Runner::new(command),
            dir.path(),
            10.0,
            Kind::InputMissing,
            Some("Impossible to open"),
        );
        for broken in ["zero.mp4", "nomoov.mp4"] {
            let files = [segment(0), file(broken), segment(2)];
            let command = copy(&ffmpeg, list(dir.path(), &files), &path);
            let runner = Runner::new(command).expect(Duration::from_secs(30));
            check_incomplete(
                runner,
                dir.path(),
                10.0,
                Kind::InputInvalid,
                Some("Impossible to open"),
            );
        }
    }
}

#[test]
fn bit_rot_makes_a_copy_incomplete() {
    let dir = tempfile::tempdir().unwrap();
    for ffmpeg in both() {
        let files = [segment(0), file("bitrot.mp4"), segment(3)];
        let command = copy(&ffmpeg, list(dir.path(), &files), &dir.path().join("x.mp4"));
        let runner = Runner::new(command).expect(Duration::from_secs(30));
        match runner.run(NO_ONE) {
            Err(RunError::Incomplete { got, failure, .. }) => {
                assert!(got < Duration::from_secs(20), "{got:?}");
                assert_eq!(failure.kind, Kind::InputInvalid);
                assert!(
                    failure
                        .to_string()
                        .contains("filter failed to receive output packet"),
                    "{failure}"
                );
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn another_timescale_in_the_middle_makes_it_too_long() {
    let dir = tempfile::tempdir().unwrap();
    for ffmpeg in both() {
        let files = [segment(0), file("fps30.mp4"), segment(2)];
        let command = copy(&ffmpeg, list(dir.path(), &files), &dir.path().join("x.mp4"));
        let runner = Runner::new(command).expect(Duration::from_secs(30));
        match runner.run(NO_ONE) {
            Err(RunError::Incomplete {
                expected: Some(_),
                got,
                ..
            }) => assert!(got > Duration::from_secs(100)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_seek_past_the_end_gives_the_wrong_duration() {
    let dir = tempfile::tempdir().unwrap();
    for ffmpeg in both() {
        let input = || Input::file(segment(0)).seek(Duration::from_secs(100));
        for extension in ["mp4", "mkv"] {
            let path = dir.path().join(format!("x.{extension}"));
            let encoded = ffmpeg.command().input(input()).output(Output::file(&path));
            for command in [copy(&ffmpeg, input(), &path), encoded] {
                let ended = Runner::new(command)
                    .expect(Duration::from_secs(5))
                    .run(NO_ONE);
                assert!(
                    matches!(ended, Err(RunError::Incomplete { .. })),
                    "{ended:?}"
                );
            }
        }
        // Nobody expects anything: an MP4 that plays nothing is no success all the same.
        let encoded = ffmpeg
            .command()
            .input(input())
            .output(Output::file(dir.path().join("x.mp4")));
        check_incomplete(Runner::new(encoded), dir.path(), 0.0, Kind::Other, None);
    }
    assert_eq!(names_in(dir.path()), [""; 0]);
}

#[test]
fn damage_that_only_shows_is_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    for ffmpeg in both() {
        let path = dir.path().join(format!("{}.mp4", is_old(&ffmpeg)));
        let command = ffmpeg
            .command()
            .input(Input::file(file("bitrot.mp4")))
            .output(Output::file(path));
        let outcome = Runner::new(command)
            .expect(Duration::from_secs(10))
            .run(NO_ONE)
            .unwrap();
        assert!(
            outcome
                .warnings
                .iter()
                .any(|warning| warning.to_string().contains("decoding MB")),
            "{outcome:?}"
        );
    }
}

#[test]
fn containers_other_than_mp4_are_measured_too() {
    let dir = tempfile::tempdir().unwrap();
    let [old, new] = both();
    // ffmpeg 9 comes without ffprobe; what it says itself is believed.
    for (ffmpeg, ffprobe) in [
        (&old, Ffprobe::find()),
        (&new, Ffprobe::beside(new.program())),
    ] {
        for extension in ["mkv", "ts"] {
            let run = |expected| {
                let path = dir.path().join(format!("x.{extension}"));
                let command =
                    copy(ffmpeg, Input::file(segment(0)), &path).overwrite(Overwrite::Replace);
                Runner::new(command)
                    .ffprobe(ffprobe.clone())
                    .expect(Duration::from_secs(expected))
                    .run(NO_ONE)
            };
            let outcome = run(10).unwrap();
            let off = outcome.duration.unwrap().abs_diff(Duration::from_secs(10));
            assert!(off < Duration::from_millis(300), "{extension} {outcome:?}");
            assert!(matches!(run(12), Err(RunError::Incomplete { .. })));
        }
    }
}

#[test]
fn the_check_can_be_turned_off() {
    let dir = tempfile::tempdir().unwrap();
    let [ffmpeg, _] = both();
    let path = dir.path().join("x.mp4");
    let command = copy(&ffmpeg, Input::file(segment(0)), &path);
    let runner = Runner::new(command)
        .expect(Duration::from_secs(99))
        .verify(Verify::Off);
    assert_eq!(runner.run(NO_ONE).unwrap().duration, None);
    let loose = Verify::Duration {
        tolerance: Duration::from_secs(2),
    };
    let command = copy(&ffmpeg, Input::file(segment(0)), &path).overwrite(Overwrite::Replace);
    let runner = Runner::new(command)
        .expect(Duration::from_secs(11))
        .verify(loose);
    assert_eq!(
        runner.run(NO_ONE).unwrap().duration,
        Some(Duration::from_secs(10))
    );
}

#[test]
fn a_recording_that_breaks_off_can_be_kept() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&fs::read(file("seg.ts")).unwrap()[..400_000]);
    for ffmpeg in both() {
        let input = || {
            Input::url(server.url())
                .format("mpegts")
                .option("rw_timeout", "300000")
        };
        let path = dir.path().join(format!("{}.mp4", is_old(&ffmpeg)));
        let discarded = Runner::new(copy(&ffmpeg, input(), &path))
            .run(NO_ONE)
            .unwrap_err();
        assert_eq!(
            discarded.failure().unwrap().kept,
            [""; 0].map(PathBuf::from)
        );
        assert!(!path.exists());
        let kept = Runner::new(copy(&ffmpeg, input(), &path))
            .partial(Partial::Keep)
            .run(NO_ONE)
            .unwrap_err();
        let failure = kept.failure().unwrap();
        assert_eq!(
            (failure.kind, failure.kept.as_slice()),
            (Kind::Network, &[path.clone()][..])
        );
        assert!(Mp4::open(&path).unwrap().duration > Duration::from_secs(2));
    }
}

#[test]
fn failures_tell_their_reason() {
    let dir = tempfile::tempdir().unwrap();
    for ffmpeg in both() {
        let encode = |codec: &str| {
            let output = Output::file(dir.path().join("x.mp4")).video_codec(Codec::encoder(codec));
            Runner::new(ffmpeg.command().input(pictures(1)).output(output)).run(NO_ONE)
        };
        let (kind, cause) = ending(encode("h264_nvenc"));
        assert!(
            kind == Kind::Hardware && cause.contains("libcuda"),
            "{cause}"
        );
        let (kind, cause) = ending(encode("nosuch"));
        assert!(
            kind == Kind::CodecUnavailable && cause.contains("Unknown encoder 'nosuch'"),
            "{cause}"
        );
        // 5.1 ends with 0 here.
        let full = Output::file("/dev/full").format("matroska");
        let full = Runner::new(
            ffmpeg
                .command()
                .input(pictures(1))
                .output(full)
                .overwrite(Overwrite::Replace),
        )
        .run(NO_ONE);
        assert!(matches!(full, Err(RunError::Failed { .. })), "{full:?}");
        assert_eq!(ending(full).0, Kind::NoSpace);
        // 5.1 ends with 0 here, too.
        let small = Output::file(dir.path().join("x.mp4"))
            .codec(Codec::Copy)
            .option("moov_size", "100");
        let small = ffmpeg
            .command()
            .input(Input::file(segment(0)))
            .output(small);
        assert_eq!(ending(Runner::new(small).run(NO_ONE)).0, Kind::BadArgument);
    }
    assert_eq!(names_in(dir.path()), [""; 0]);
}

#[test]
fn what_cannot_be_run_is_refused_before() {
    let dir = tempfile::tempdir().unwrap();
    let run = |command: FfmpegCommand| Runner::new(command).run(NO_ONE).unwrap_err();
    let base = || FfmpegCommand::new().input(pictures(1));
    let output = |name: &str| Output::file(dir.path().join(name));

    let missing = FfmpegCommand::at("/nonexistent/ffmpeg")
        .input(pictures(1))
        .output(output("x.mp4"));
    assert!(matches!(
        run(missing),
        RunError::Tool(ToolError::NotFound { .. })
    ));
    assert!(matches!(run(base()), RunError::Command(_)));
    assert!(matches!(
        run(base().output(Output::stdout("nut"))),
        RunError::Streaming { pipe: "pipe:1" }
    ));
    let stdin = FfmpegCommand::new()
        .input(Input::stdin("nut"))
        .output(output("x.mp4"));
    assert!(matches!(run(stdin), RunError::Streaming { pipe: "pipe:0" }));
    assert!(matches!(
        run(base().output(output("x.nosuch"))),
        RunError::UnknownContainer { .. }
    ));
    let folder = run(base().output(output("nosuch/x.mp4")));
    assert!(folder.to_string().contains("nosuch/x.mp4"), "{folder}");
    assert!(matches!(folder, RunError::Output { .. }));
    assert_eq!(names_in(dir.path()), [""; 0]);
}

#[test]
fn a_flood_of_messages_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let noisy = dir.path().join("ffmpeg");
    let script = "#!/bin/sh\ncase \"$*\" in\n*-version) exec ffmpeg \"$@\" ;;\nesac\n\
        seq -f '[h264 @ 0x55cf453d8f00] [error] error while decoding MB 0 16, bytestream %.0f' 300000 >&2\n\
        exec ffmpeg \"$@\"\n";
    fs::write(&noisy, script).unwrap();
    fs::set_permissions(&noisy, fs::Permissions::from_mode(0o755)).unwrap();
    let path = dir.path().join("x.mp4");
    let missing = [segment(0), media::folder().join("nosuch.mp4")];
    let command = FfmpegCommand::at(&noisy)
        .input(list(dir.path(), &missing))
        .output(Output::file(&path).codec(Codec::Copy));
    let error = Runner::new(command)
        .expect(Duration::from_secs(20))
        .run(NO_ONE)
        .unwrap_err();
    let failure = error.failure().unwrap();
    // The cause is found behind 25 MB of noise, of which little is kept.
    assert_eq!(failure.kind, Kind::InputMissing);
    assert!(failure.log.dropped_lines() > 299_000);
    assert!(failure.log.lines().count() < 400);
}

#[test]
fn a_low_priority_holds_for_every_thread_and_not_for_us() {
    let dir = tempfile::tempdir().unwrap();
    let nice_of = |stat: &Path| {
        let stat = fs::read_to_string(stat).unwrap_or_default();
        // The name in brackets may hold blanks; nice is the 17th field behind it.
        stat.rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().nth(16)?.parse::<i32>().ok())
    };
    let ours = nice_of(Path::new("/proc/thread-self/stat"));
    for ffmpeg in both() {
        let path = dir.path().join(format!("{}.mp4", is_old(&ffmpeg)));
        let command = ffmpeg
            .command()
            .input(endless().realtime())
            .output(Output::file(path));
        let job = Runner::new(command)
            .priority(Priority::Low)
            .spawn()
            .unwrap();
        job.changes().next();
        let tasks = fs::read_dir(format!("/proc/{}/task", job.pid())).unwrap();
        let nices: Vec<_> = tasks
            .filter_map(|task| nice_of(&task.unwrap().path().join("stat")))
            .collect();
        assert!(
            nices.len() > 1 && nices.iter().all(|nice| *nice == 19),
            "{nices:?}"
        );
    }
    assert_eq!(nice_of(Path::new("/proc/thread-self/stat")), ours);
}

#[test]
fn writing_in_place_shows_the_file_as_it_grows() {
    let dir = tempfile::tempdir().unwrap();
    let [ffmpeg, _] = both();
    let path = dir.path().join("x.mkv");
    let command = ffmpeg
        .command()
        .input(endless().realtime())
        .output(Output::file(&path));
    let job = Runner::new(command).write_in_place().spawn().unwrap();
    wait_until("the output is there", || path.exists());
    drop(job);
    assert_eq!(names_in(dir.path()), ["x.mkv"], "and it stays");
}
