//! What signals do to ffmpeg, and how that is understood.

use std::io::{self, BufRead, BufReader, PipeReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Duration;

use longtake_ffmpeg::{Codec, Ending, Ffmpeg, Input, Kind, Mp4, Output, Overwrite, classify};
use longtake_process::{Child, Signal};
use nix::fcntl::{FcntlArg, fcntl};

use crate::{Server, both, endless, finish, finish_reading, wait_until};

/// An endless encoding into `path`, after its first progress.
fn start(ffmpeg: &Ffmpeg, path: &Path) -> (Child, PipeReader) {
    let output = Output::file(path)
        .video_codec(Codec::encoder("libx264"))
        .option("preset", "ultrafast");
    let command = ffmpeg.command().input(endless().realtime()).output(output);
    let (mut reader, writer) = io::pipe().unwrap();
    let mut command = command
        .overwrite(Overwrite::Replace)
        .to_command_with_progress(writer.into(), None)
        .unwrap();
    let child = command.spawn().unwrap();
    let mut seen = Vec::new();
    while !seen.windows(9).any(|window| window == b"progress=") {
        let mut byte = [0; 64];
        let count = reader.read(&mut byte).unwrap();
        assert_ne!(count, 0, "ffmpeg ended early");
        seen.extend_from_slice(&byte[..count]);
    }
    (child, reader)
}

#[test]
fn one_signal_stops_in_order() {
    let dir = tempfile::tempdir().unwrap();
    for ffmpeg in both() {
        for signal in [Signal::Term, Signal::Int] {
            let path = dir.path().join("x.mp4");
            let (child, _progress) = start(&ffmpeg, &path);
            child.signal(signal).unwrap();
            let run = finish(child);
            assert_eq!(run.exit.code(), Some(255));
            assert!(Mp4::open(&path).unwrap().duration > Duration::ZERO);
            // Understood without knowing who sent it: the log tells.
            for we_signalled in [true, false] {
                let ending = classify(run.exit, ffmpeg.version(), we_signalled, &run.log);
                assert_eq!(ending, Ending::Stopped, "{:?}", run.log);
            }
        }
    }
}

#[test]
fn signals_that_kill_leave_no_index() {
    let dir = tempfile::tempdir().unwrap();
    for ffmpeg in both() {
        for signal in [Signal::Quit, Signal::Hup, Signal::Kill] {
            let path = dir.path().join("x.mp4");
            let (child, _progress) = start(&ffmpeg, &path);
            child.signal(signal).unwrap();
            let run = finish(child);
            assert_eq!(run.exit.signal(), Some(signal.as_raw()), "{signal}");
            assert_eq!(run.kind(&ffmpeg, false), Some(Kind::Killed));
            assert!(Mp4::open(&path).is_err());
        }
    }
}

#[test]
fn more_than_three_signals_end_it_on_the_spot() {
    let dir = tempfile::tempdir().unwrap();
    for ffmpeg in both() {
        // The pipe of the progress is full, so that ffmpeg stands still and cannot obey.
        let (_reader, mut writer) = io::pipe().unwrap();
        let capacity = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
        writer
            .write_all(&vec![0; usize::try_from(capacity).unwrap()])
            .unwrap();
        let path = dir.path().join("x.mp4");
        let command = ffmpeg
            .command()
            .input(endless())
            .output(Output::file(&path));
        let mut command = command
            .overwrite(Overwrite::Replace)
            .to_command_with_progress(writer.into(), None)
            .unwrap();
        let mut child = command.spawn().unwrap();
        let mut stderr = BufReader::new(child.take_stderr().unwrap());
        let mut line = Vec::new();
        while !line.starts_with(b"[info] Output #0") {
            line.clear();
            let count = stderr.read_until(b'\n', &mut line).unwrap();
            assert_ne!(count, 0, "ffmpeg ended early");
        }
        let mut sent = 0;
        wait_until("ffmpeg gives up", || {
            let is_over = child.try_wait().unwrap().is_some();
            if !is_over {
                child.signal(Signal::Term).unwrap();
                sent += 1;
            }
            is_over
        });
        let run = finish_reading(child, stderr);
        assert_eq!(run.exit.code(), Some(123), "{:?}", run.log);
        assert!(sent > 3, "{sent}");
        assert_eq!(run.kind(&ffmpeg, false), Some(Kind::Killed));
        assert!(Mp4::open(&path).is_err());
    }
}

#[test]
fn a_signal_while_probing() {
    let server = Server::start(b"");
    for ffmpeg in both() {
        let connections = server.connections();
        let input = Input::url(server.url()).format("mpegts");
        let command = ffmpeg.command().input(input).output(Output::null());
        let child = command.to_command().unwrap().spawn().unwrap();
        wait_until("ffmpeg connects", || server.connections() > connections);
        child.signal(Signal::Term).unwrap();
        let run = finish(child);
        let ending = classify(run.exit, ffmpeg.version(), true, &run.log);
        assert_eq!(ending, Ending::Stopped, "{:?} {:?}", run.exit, run.log);
    }
}
