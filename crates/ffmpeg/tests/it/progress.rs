//! What real jobs tell of their progress, in every shape that the two versions give it.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use longtake_ffmpeg::{
    Block, Codec, Ffmpeg, FfmpegCommand, Input, Output, Phase, Progress, ProgressParser, Runner,
};

use crate::{both, ending, finish, is_old, media, names_in, pictures, wait_until};

/// Runs a job of `seconds` that tells its progress often; gives all that was told.
fn told(command: FfmpegCommand, seconds: u64) -> Vec<Progress> {
    let mut told = Vec::new();
    let runner = Runner::new(command).expect(Duration::from_secs(seconds));
    let outcome = runner
        .progress_every(Duration::from_millis(10))
        .run(|progress| told.push(*progress));
    assert!(outcome.is_ok(), "{outcome:?}");
    told
}

/// The blocks of a run without the runner.
fn blocks(command: &FfmpegCommand) -> Vec<Block> {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let period = Some(Duration::from_micros(1));
    let child = command
        .to_command_with_progress(writer.into(), period)
        .unwrap()
        .spawn()
        .unwrap();
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    assert!(finish(child).exit.success());
    let (mut parser, mut blocks) = (ProgressParser::new(), Vec::new());
    parser.push(&bytes, |block| blocks.push(*block));
    assert_eq!(parser.malformed(), 0, "{}", String::from_utf8_lossy(&bytes));
    blocks
}

fn encode(ffmpeg: &Ffmpeg, path: &Path) -> FfmpegCommand {
    let output = Output::file(path).video_codec(Codec::encoder("libx264"));
    ffmpeg.command().input(pictures(10)).output(output)
}

#[test]
fn progress_rises_to_100_and_only_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    for ffmpeg in both() {
        let told = told(
            encode(
                &ffmpeg,
                &dir.path().join(format!("{}.mp4", is_old(&ffmpeg))),
            ),
            10,
        );
        for pair in told.windows(2) {
            assert!(pair[1].position >= pair[0].position, "{pair:?}");
            assert!(pair[1].percent >= pair[0].percent, "{pair:?}");
            assert!(pair[1].frame >= pair[0].frame, "{pair:?}");
        }
        let (last, before) = told.split_last().unwrap();
        assert_eq!(
            (last.phase, last.percent, last.frame),
            (Phase::Done, Some(100.0), Some(300))
        );
        assert!(before.iter().all(|progress| progress.percent < Some(100.0)));
        assert!(
            before
                .iter()
                .any(|progress| progress.phase == Phase::Running)
        );
        assert!(last.bytes.unwrap() > 0 && last.speed.unwrap() > 0.0);
    }
}

#[test]
fn sound_alone_has_no_frames() {
    let dir = tempfile::tempdir().unwrap();
    for ffmpeg in both() {
        let path = dir.path().join(format!("{}.m4a", is_old(&ffmpeg)));
        let command = ffmpeg
            .command()
            .input(Input::lavfi("sine=duration=20"))
            .output(Output::file(path));
        let told = told(command, 20);
        let last = told.last().unwrap();
        assert_eq!((last.frame, last.phase), (None, Phase::Done));
        assert!(last.position > Some(Duration::from_secs(19)), "{last:?}");
    }
}

#[test]
fn nowhere_and_many_files_have_no_size() {
    let dir = tempfile::tempdir().unwrap();
    for ffmpeg in both() {
        let pictures_of = |output: Output| ffmpeg.command().input(pictures(1)).output(output);
        let pattern = Output::pattern(dir.path().join("frame%03d.jpg"));
        for output in [Output::null(), pattern] {
            let command = pictures_of(output).overwrite(longtake_ffmpeg::Overwrite::Replace);
            let blocks = blocks(&command);
            // 9.0 says 0 before the first picture.
            let sizes: Vec<_> = blocks.iter().map(|block| block.total_bytes).collect();
            assert!(sizes.iter().all(|size| size.unwrap_or(0) == 0), "{sizes:?}");
            let last = blocks.last().unwrap();
            assert_eq!((last.total_bytes, last.end), (None, true));
        }
    }
    assert_eq!(names_in(dir.path()).len(), 30);
}

#[test]
fn several_outputs_have_the_size_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    for ffmpeg in both() {
        let first = dir.path().join(format!("{}.mkv", is_old(&ffmpeg)));
        let raw = Output::null().video_codec(Codec::encoder("rawvideo"));
        let told = told(encode(&ffmpeg, &first).output(raw), 10);
        let size = fs::metadata(&first).unwrap().len();
        // Matroska writes its index after the last block.
        let bytes = told.last().unwrap().bytes.unwrap();
        assert!(bytes <= size && bytes * 2 > size, "{bytes} of {size}");
    }
}

#[test]
fn statistics_of_streams_are_passed_over() {
    // 9.0 has no `-psnr` any more.
    let [old, _] = both();
    let encoded = Output::null()
        .video_codec(Codec::encoder("libx264"))
        .raw_args(["-psnr"]);
    let blocks = blocks(&old.command().input(pictures(2)).output(encoded));
    assert_eq!(blocks.last().unwrap().frame, Some(60));
}

#[test]
fn times_before_zero_and_backwards() {
    let dir = tempfile::tempdir().unwrap();
    let [old, _] = both();
    let delayed = || {
        Output::file(dir.path().join("raw.mp4"))
            .video_codec(Codec::encoder("libx264"))
            .option("bf", "3")
    };
    let blocks = blocks(&old.command().input(pictures(10)).output(delayed()));
    let negative = blocks
        .iter()
        .any(|block| block.out_time_us < Some(0) && block.out_time_us.is_some());
    assert!(negative, "5.1 starts below zero: {blocks:?}");
    for ffmpeg in both() {
        let path = dir.path().join(format!("{}.mkv", is_old(&ffmpeg)));
        let output = Output::file(path)
            .video_codec(Codec::encoder("libx264"))
            .video_filter("fps=15");
        let told = told(ffmpeg.command().input(pictures(10)).output(output), 10);
        assert!(
            told.windows(2)
                .all(|pair| pair[0].position <= pair[1].position)
        );
    }
}

#[test]
fn the_second_pass_of_faststart_is_a_phase() {
    let dir = tempfile::tempdir().unwrap();
    for ffmpeg in both() {
        let path = dir.path().join(format!("{}.mov", is_old(&ffmpeg)));
        let raw = Output::file(path)
            .video_codec(Codec::encoder("rawvideo"))
            .faststart();
        let source = Input::lavfi("color=size=1280x720:rate=30:duration=6,format=yuv420p");
        let told = told(ffmpeg.command().input(source).output(raw), 6);
        let mut phases: Vec<_> = told.iter().map(|progress| progress.phase).collect();
        phases.dedup();
        assert!(
            phases.ends_with(&[Phase::Verifying, Phase::Done]),
            "{phases:?}"
        );
        assert!(phases.contains(&Phase::Finalizing), "{phases:?}");
    }
}

#[test]
fn more_progress_than_a_pipe_holds_while_nobody_listens() {
    let dir = tempfile::tempdir().unwrap();
    for ffmpeg in both() {
        let path = dir.path().join(format!("{}.mp4", is_old(&ffmpeg)));
        let output = Output::file(&path)
            .video_codec(Codec::encoder("libx264"))
            .option("preset", "ultrafast");
        let command = ffmpeg.command().input(pictures(40)).output(output);
        let mut calls = 0;
        let runner = Runner::new(command).progress_every(Duration::from_micros(1));
        let outcome = runner.run(|_| {
            calls += 1;
            // 1200 blocks of 190 bytes; the pipe holds 65 536.
            wait_until(
                "the output is there, though the first call has not returned",
                || path.exists(),
            );
        });
        assert!(outcome.is_ok(), "{outcome:?}");
        assert!((1..10).contains(&calls), "only the newest is told: {calls}");
    }
}

#[test]
fn a_panic_in_the_callback_spoils_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let [ffmpeg, _] = both();
    let path = dir.path().join("x.mp4");
    let runner = Runner::new(encode(&ffmpeg, &path)).expect(Duration::from_secs(10));
    let quiet = Mutex::new(panic::take_hook());
    panic::set_hook(Box::new(move |info| {
        if info.payload_as_str() != Some("the progress bar broke") {
            quiet.lock().unwrap()(info);
        }
    }));
    let panicked = panic::catch_unwind(AssertUnwindSafe(|| {
        runner.run(|_| panic!("the progress bar broke"))
    }));
    let message = panicked.unwrap_err();
    assert_eq!(
        message.downcast_ref::<&str>(),
        Some(&"the progress bar broke")
    );
    assert_eq!(names_in(dir.path()), ["x.mp4"]);
}

#[test]
fn ffmpeg_goes_on_when_the_progress_is_closed() {
    for ffmpeg in both() {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let command = ffmpeg.command().input(pictures(2)).output(Output::null());
        let child = command
            .to_command_with_progress(writer.into(), None)
            .unwrap()
            .spawn()
            .unwrap();
        let run = finish(child);
        assert!(
            run.log.to_string().contains("Error closing progress log"),
            "{:?}",
            run.log
        );
        assert_eq!(run.kind(&ffmpeg, false), None);
    }
}

#[test]
fn an_ffmpeg_without_stats_period_is_not_asked_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let old = dir.path().join("ffmpeg");
    let script = "#!/bin/sh\ncase \"$*\" in\n*-version) echo 'ffmpeg version 4.1 Copyright' ;;\n\
        *-stats_period*) echo \"[error] Unrecognized option 'stats_period'.\" >&2; exit 1 ;;\n\
        *) exec ffmpeg \"$@\" ;;\nesac\n";
    fs::write(&old, script).unwrap();
    fs::set_permissions(&old, fs::Permissions::from_mode(0o755)).unwrap();
    let output = Output::file(dir.path().join("x.mp4"));
    let command = FfmpegCommand::at(&old)
        .input(Input::file(media::segment(0)))
        .output(output.codec(Codec::Copy));
    let outcome = Runner::new(command).run(|_| {}).unwrap();
    assert_eq!(outcome.duration, Some(Duration::from_secs(10)));
}

#[test]
fn progress_of_the_end_is_no_success() {
    // ffmpeg says `progress=end` on a full disk as well.
    for ffmpeg in both() {
        let output = Output::file("/dev/full")
            .format("mpegts")
            .video_codec(Codec::encoder("libx264"));
        let command = ffmpeg
            .command()
            .input(pictures(10))
            .output(output)
            .overwrite(longtake_ffmpeg::Overwrite::Replace);
        let job = Runner::new(command)
            .expect(Duration::from_secs(10))
            .spawn()
            .unwrap();
        let told: Vec<_> = job.changes().collect();
        assert!(
            told.iter()
                .all(|progress| progress.phase != Phase::Done && progress.percent < Some(100.0))
        );
        assert_eq!(ending(job.wait()).0, longtake_ffmpeg::Kind::NoSpace);
    }
}
