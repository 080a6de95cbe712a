//! Lines of real logs, in every form.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;

use longtake_ffmpeg::{Codec, FfmpegCommand, Input, Level, LogLine, Output};

use crate::{both, finish, is_old, media, pictures, raw, run};

/// The first line that holds `needle`.
#[track_caller]
fn find<'a>(lines: &'a [Vec<u8>], needle: &[u8]) -> LogLine<'a> {
    let line = lines
        .iter()
        .find(|line| memchr::memmem::find(line, needle).is_some());
    LogLine::parse(line.unwrap_or_else(|| {
        let all = lines.join(&b'\n');
        panic!(
            "no {} in\n{}",
            needle.escape_ascii(),
            String::from_utf8_lossy(&all)
        )
    }))
}

#[test]
fn every_line_has_a_level_and_a_context_where_it_should() {
    let dir = tempfile::tempdir().unwrap();
    for ffmpeg in both() {
        let output = Output::file(dir.path().join(format!("{}.mp4", is_old(&ffmpeg))));
        let run = run(&ffmpeg
            .command()
            .input(pictures(1))
            .output(output.video_codec(Codec::encoder("libx264")).faststart()));
        assert!(run.exit.success());
        for line in &run.lines {
            let line = LogLine::parse(line);
            assert_eq!(line.level, Some(Level::Info), "{line:?}");
        }
        assert_eq!(
            find(&run.lines, b"using cpu capabilities").context,
            Some(&b"libx264"[..])
        );
        let second = find(&run.lines, b"Starting second pass");
        assert_eq!(second.context, Some(&b"mp4"[..]));
        // `-nostats` leaves the last statistics line in.
        assert!(find(&run.lines, b" Lsize=").text.starts_with(b"frame="));
    }
}

#[test]
fn several_contexts_and_a_library_of_its_own() {
    for ffmpeg in both() {
        let output = Output::null()
            .video_codec(Codec::encoder("libx264"))
            .option("preset", "nosuch");
        let run = run(&ffmpeg.command().input(pictures(1)).output(output));
        let own = find(&run.lines, b"invalid preset");
        assert_eq!(
            (own.level, own.context),
            (Some(Level::Error), Some(&b"x264"[..]))
        );
        if !is_old(&ffmpeg) {
            assert_eq!(
                find(&run.lines, b"Could not open encoder").context,
                Some(&b"enc:libx264"[..])
            );
        }
    }
}

#[test]
fn names_that_are_no_utf8() {
    for ffmpeg in both() {
        let (name, _) = media::HOSTILE[1];
        let path = media::file(OsStr::from_bytes(name));
        let command = ffmpeg
            .command()
            .input(Input::file(path))
            .output(Output::null().codec(Codec::Copy));
        let run = run(&command);
        assert_eq!(find(&run.lines, b"caf\xe9").level, Some(Level::Info));
    }
}

#[test]
fn colours_of_the_environment_are_kept_out() {
    let dir = tempfile::tempdir().unwrap();
    for ffmpeg in both() {
        let command: FfmpegCommand = ffmpeg.command().input(pictures(1)).output(Output::null());
        let mut command = command.to_command().unwrap();
        command.env("AV_LOG_FORCE_COLOR", "1").cwd(dir.path());
        let run = finish(command.spawn().unwrap());
        assert!(run.exit.success());
        assert!(
            !run.lines.iter().any(|line| line.contains(&0x1b)),
            "{:?}",
            run.log
        );
    }
}

#[test]
fn forced_colours_are_read_all_the_same() {
    for ffmpeg in both() {
        let mut command = raw(&ffmpeg, &["-i", "/nonexistent/x.mp4", "-f", "null", "-"]);
        let run = finish(command.env("AV_LOG_FORCE_COLOR", "1").spawn().unwrap());
        assert!(run.lines.iter().any(|line| line.contains(&0x1b)));
        assert_eq!(find(&run.lines, b"No such file").level, Some(Level::Error));
    }
}

#[test]
fn a_line_that_comes_again_is_counted_only_when_asked_for() {
    for ffmpeg in both() {
        // An absolute level as ours turns counting off.
        for (level, is_counted) in [("level+info", false), ("-repeat+level+info", true)] {
            let prints = r"select=print(7\,16)";
            let source = ["-f", "lavfi", "-i", "testsrc2=rate=30:duration=1"];
            let filter = ["-filter:v", prints, "-f", "null", "-"];
            let args = [&["-loglevel", level][..], &source, &filter].concat();
            let run = finish(raw(&ffmpeg, &args).spawn().unwrap());
            let lines: Vec<_> = run.lines.iter().map(|line| LogLine::parse(line)).collect();
            let printed = lines.iter().filter(|line| line.text == b"7.000000");
            let printed = printed.count() as u64;
            let repeated: u64 = lines.iter().filter_map(|line| line.repeats).sum();
            assert_eq!(printed + repeated, 30, "one a picture: {:?}", run.log);
            assert_eq!(repeated > 0, is_counted, "{:?}", run.log);
        }
    }
}

#[test]
fn statistics_glue_themselves_to_the_next_message() {
    let bitrot = media::file("bitrot.mp4");
    for ffmpeg in both() {
        // Not with our `-nostats`; and the reader of lines cuts at `\r`, so look at the bytes.
        let input = [
            "-stats",
            "-stats_period",
            "0.0001",
            "-i",
            bitrot.to_str().unwrap(),
        ];
        let args = [&input[..], &["-f", "null", "-"]].concat();
        let mut child = raw(&ffmpeg, &args).spawn().unwrap();
        let mut bytes = Vec::new();
        child
            .take_stderr()
            .unwrap()
            .read_to_end(&mut bytes)
            .unwrap();
        let error = b"error while decoding MB";
        let mut lines = bytes.split(|byte| *byte == b'\n');
        let glued = lines.find(|line| {
            let stats = line.starts_with(b"frame=") || line.starts_with(b"[info] frame=");
            stats && memchr::memmem::find(line, error).is_some()
        });
        let line = LogLine::parse(glued.unwrap());
        assert_eq!(
            (line.level, line.context),
            (Some(Level::Error), Some(&b"h264"[..]))
        );
        assert!(line.text.starts_with(error));
    }
}

#[test]
fn passwords_of_cameras_stay_out_of_logs() {
    for ffmpeg in both() {
        let input = Input::url("rtsp://admin:hunter2@127.0.0.1:1/live");
        let run = run(&ffmpeg.command().input(input).output(Output::null()));
        let raw = run.lines.join(&b'\n');
        assert!(
            memchr::memmem::find(&raw, b"hunter2").is_some(),
            "ffmpeg itself repeats it"
        );
        assert!(!format!("{:?} {}", run.log, run.log).contains("hunter2"));
        assert!(!run.cause(&ffmpeg).contains("hunter2"));
    }
}
