//! Jobs that are cancelled, stand still, are late, or are dropped.

use std::fs;
use std::path::Path;
use std::slice;
use std::thread;
use std::time::{Duration, Instant};

use longtake_ffmpeg::{
    Cancel, Codec, Ffmpeg, FfmpegCommand, Input, Job, Mp4, Output, Overwrite, Partial, Phase,
    RunError, Runner,
};
use longtake_process::Signal;
use nix::sys::signal;
use nix::unistd::{Pid, getpgid};

use crate::media::file;
use crate::{LONG, Server, both, endless, is_old, names_in, wait_until};

const NOTHING: [&str; 0] = [];

fn record(ffmpeg: &Ffmpeg, path: &Path) -> FfmpegCommand {
    let output = Output::file(path)
        .video_codec(Codec::encoder("libx264"))
        .option("tune", "zerolatency");
    ffmpeg.command().input(endless().realtime()).output(output)
}

/// A copy of a stream that stands still after half of it, into a plain or a fragmented MP4.
fn stalled(ffmpeg: &Ffmpeg, server: &Server, path: &Path, fragmented: bool) -> FfmpegCommand {
    let output = Output::file(path).codec(Codec::Copy);
    let output = if fragmented {
        output.fragmented()
    } else {
        output
    };
    // Without these limits it would wait for more of the stream before it begins.
    let input = Input::url(server.url()).format("mpegts");
    let input = input
        .option("probesize", "100000")
        .option("analyzeduration", "0");
    ffmpeg.command().input(input).output(output)
}

fn half_a_stream() -> Server {
    let stream = fs::read(file("seg.ts")).unwrap();
    Server::start(&stream[..stream.len() / 2])
}

/// Waits until some media is written.
fn until_running(job: &Job) {
    let mut changes = job.changes();
    loop {
        let progress = changes
            .next_timeout(LONG)
            .expect("media is written before the end");
        if progress.position > Some(Duration::from_millis(300)) {
            return;
        }
    }
}

/// Waits until half of the stream has come and ffmpeg stands still; 5.1 tells nothing of either.
fn until_stalled(job: &Job, path: &Path) {
    let name = path.file_name().unwrap().to_str().unwrap();
    let part = path.with_file_name(format!(".{name}.part"));
    let length = || fs::metadata(&part).map_or(0, |part| part.len());
    wait_until("half of the stream has come", || length() > 250_000);
    let (mut last, mut same) = (0, 0);
    wait_until("ffmpeg reads no more", || {
        let io = fs::read_to_string(format!("/proc/{}/io", job.pid())).unwrap();
        let read = io
            .split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<u64>()
            .unwrap();
        same = if read == last { same + 1 } else { 0 };
        last = read;
        same == 20
    });
}

#[track_caller]
fn is_gone(pid: u32) -> bool {
    !Path::new(&format!("/proc/{pid}")).exists()
}

/// The job was cancelled and kept these files.
#[track_caller]
fn check_cancelled(job: Job, want: &[&Path]) {
    let pid = job.pid();
    match job.wait() {
        Err(RunError::Cancelled { kept }) => assert_eq!(kept, want),
        other => panic!("{other:?}"),
    }
    assert!(is_gone(pid));
}

#[test]
fn a_discard_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for ffmpeg in both() {
        let job = Runner::new(record(&ffmpeg, &dir.path().join("x.mp4")))
            .spawn()
            .unwrap();
        until_running(&job);
        assert_eq!(names_in(dir.path()), [".x.mp4.part"]);
        let canceller = job.canceller();
        let start = Instant::now();
        thread::spawn(move || {
            canceller.cancel(Cancel::Discard);
            canceller.cancel(Cancel::Discard);
        });
        check_cancelled(job, &[]);
        assert!(start.elapsed() < LONG);
        assert_eq!(names_in(dir.path()), NOTHING);
    }
}

#[test]
fn a_finalize_keeps_what_was_recorded() {
    let dir = tempfile::tempdir().unwrap();
    for ffmpeg in both() {
        let path = dir.path().join(format!("{}.mp4", is_old(&ffmpeg)));
        let job = Runner::new(record(&ffmpeg, &path)).spawn().unwrap();
        until_running(&job);
        job.cancel(Cancel::Finalize { grace: LONG });
        check_cancelled(job, &[&path]);
        assert!(Mp4::open(&path).unwrap().duration > Duration::from_millis(300));
    }
    assert_eq!(names_in(dir.path()), ["false.mp4", "true.mp4"]);
}

#[test]
fn a_finalize_in_the_second_pass_keeps_the_whole_file() {
    let dir = tempfile::tempdir().unwrap();
    for ffmpeg in both() {
        let path = dir.path().join(format!("{}.mov", is_old(&ffmpeg)));
        let raw = Output::file(&path).video_codec(Codec::encoder("rawvideo"));
        let source = Input::lavfi("color=size=1280x720:rate=30:duration=6,format=yuv420p");
        let command = ffmpeg.command().input(source).output(raw.faststart());
        let command = command.overwrite(Overwrite::Replace);
        // The pass takes some tenths of a second; on a busy machine we may come too late for it.
        wait_until("it is cancelled in the second pass", || {
            let job = Runner::new(command.clone()).spawn().unwrap();
            let mut changes = job.changes();
            if changes.any(|progress| progress.phase == Phase::Finalizing) {
                job.cancel(Cancel::Finalize { grace: LONG });
            }
            let was_cancelled = match job.wait() {
                Ok(_) => false,
                Err(RunError::Cancelled { kept }) => {
                    assert_eq!(kept, slice::from_ref(&path));
                    true
                }
                Err(error) => panic!("{error:?}"),
            };
            let whole = Mp4::open(&path).unwrap();
            assert_eq!(whole.duration, Duration::from_secs(6));
            was_cancelled
        });
    }
}

#[test]
fn a_finalize_of_a_stalled_input_takes_two_signals() {
    let dir = tempfile::tempdir().unwrap();
    let server = half_a_stream();
    let grace = Duration::from_millis(400);
    for ffmpeg in both() {
        // A plain MP4 loses its index to the second signal; fragments do not.
        for fragmented in [false, true] {
            let path = dir
                .path()
                .join(format!("{}-{fragmented}.mp4", is_old(&ffmpeg)));
            let job = Runner::new(stalled(&ffmpeg, &server, &path, fragmented))
                .spawn()
                .unwrap();
            until_stalled(&job, &path);
            let start = Instant::now();
            job.cancel(Cancel::Finalize { grace });
            let kept: Vec<&Path> = if fragmented { vec![&path] } else { vec![] };
            check_cancelled(job, &kept);
            if is_old(&ffmpeg) {
                assert!(start.elapsed() >= grace, "one signal was enough");
            }
            assert_eq!(path.exists(), fragmented);
        }
    }
}

#[test]
fn a_discard_outdoes_a_finalize() {
    let dir = tempfile::tempdir().unwrap();
    let server = half_a_stream();
    let [ffmpeg, _] = both();
    let path = dir.path().join("x.mp4");
    let job = Runner::new(stalled(&ffmpeg, &server, &path, true))
        .spawn()
        .unwrap();
    until_stalled(&job, &path);
    job.cancel(Cancel::Finalize {
        grace: Duration::MAX,
    });
    job.cancel(Cancel::Discard);
    job.cancel(Cancel::Finalize {
        grace: Duration::MAX,
    });
    check_cancelled(job, &[]);
    assert_eq!(names_in(dir.path()), NOTHING);
}

#[test]
fn a_stopped_ffmpeg_is_woken_to_finalize() {
    let dir = tempfile::tempdir().unwrap();
    let [ffmpeg, _] = both();
    let path = dir.path().join("x.mp4");
    let job = Runner::new(record(&ffmpeg, &path)).spawn().unwrap();
    until_running(&job);
    signal::kill(pid_of(&job), signal::Signal::SIGSTOP).unwrap();
    job.cancel(Cancel::Finalize { grace: LONG });
    check_cancelled(job, &[&path]);
}

#[test]
fn a_dropped_job_is_discarded() {
    let dir = tempfile::tempdir().unwrap();
    for ffmpeg in both() {
        let job = Runner::new(record(&ffmpeg, &dir.path().join("x.mp4")))
            .spawn()
            .unwrap();
        until_running(&job);
        let (pid, canceller, mut changes) = (job.pid(), job.canceller(), job.changes());
        drop(job);
        assert!(is_gone(pid));
        assert_eq!(names_in(dir.path()), NOTHING);
        canceller.cancel(Cancel::Discard);
        while changes.next().is_some() {}
    }
}

#[test]
fn a_signal_from_a_stranger_is_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    for ffmpeg in both() {
        let path = dir.path().join(format!("{}.mp4", is_old(&ffmpeg)));
        for (signal, kept) in [(Signal::Term, true), (Signal::Kill, false)] {
            let job = Runner::new(record(&ffmpeg, &path))
                .partial(Partial::Keep)
                .spawn()
                .unwrap();
            until_running(&job);
            let number = signal::Signal::try_from(signal.as_raw()).unwrap();
            signal::kill(pid_of(&job), number).unwrap();
            let error = job.wait().unwrap_err();
            let failure = error.failure().unwrap();
            assert_eq!(failure.kind, longtake_ffmpeg::Kind::Killed);
            assert_eq!(failure.kept, if kept { vec![path.clone()] } else { vec![] });
            assert_eq!(path.exists(), kept);
            if kept {
                fs::remove_file(&path).unwrap();
            }
        }
    }
}

#[test]
fn a_job_has_its_own_group_and_reads_no_keys() {
    let dir = tempfile::tempdir().unwrap();
    let [ffmpeg, _] = both();
    let job = Runner::new(record(&ffmpeg, &dir.path().join("x.mp4")))
        .spawn()
        .unwrap();
    let group = getpgid(Some(pid_of(&job))).unwrap();
    assert_eq!(group, pid_of(&job), "its own group");
    let stdin = fs::read_link(format!("/proc/{}/fd/0", job.pid())).unwrap();
    assert_eq!(stdin, Path::new("/dev/null"), "and no keys are read");
}

#[test]
fn a_stalled_input_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let server = half_a_stream();
    for ffmpeg in both() {
        let path = dir.path().join(format!("{}.mp4", is_old(&ffmpeg)));
        let limit = Duration::from_millis(1500);
        let runner = Runner::new(stalled(&ffmpeg, &server, &path, true)).stall_after(limit);
        match runner.partial(Partial::Keep).run(|_| {}) {
            Err(RunError::Stalled {
                limit: told,
                failure,
            }) => {
                assert_eq!(
                    (told, failure.kept.as_slice()),
                    (limit, slice::from_ref(&path))
                );
                assert!(Mp4::open(&path).unwrap().duration >= Duration::from_secs(2));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_server_that_never_says_anything_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(b"");
    for ffmpeg in both() {
        let command = stalled(&ffmpeg, &server, &dir.path().join("x.mp4"), false);
        let ended = Runner::new(command)
            .stall_after(Duration::from_secs(1))
            .run(|progress| {
                assert_eq!(progress.phase, Phase::Starting);
            });
        assert!(matches!(ended, Err(RunError::Stalled { .. })), "{ended:?}");
        assert_eq!(names_in(dir.path()), NOTHING);
    }
}

#[test]
fn work_in_silence_is_no_stall() {
    let dir = tempfile::tempdir().unwrap();
    for ffmpeg in both() {
        // Thousands of pictures are made and thrown away before the first is written.
        let source = Input::lavfi("testsrc2=size=1280x720:rate=30:duration=161");
        let path = dir.path().join(format!("{}.mp4", is_old(&ffmpeg)));
        let output = Output::file(path)
            .option("ss", "160")
            .video_filter("scale=64:64")
            .option("threads", "1");
        let limit = Duration::from_secs(1);
        let job = Runner::new(ffmpeg.command().input(source).output(output))
            .stall_after(limit)
            .spawn()
            .unwrap();
        let mut longest = Duration::ZERO;
        while !job.is_over() {
            longest = longest.max(job.progress().since_advance);
            thread::sleep(Duration::from_millis(5));
        }
        let outcome = job.wait().unwrap();
        assert!(
            longest > limit,
            "it was silent for {longest:?} only: {outcome:?}"
        );
    }
}

#[test]
fn a_late_job_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    let [ffmpeg, _] = both();
    for (partial, seconds) in [(Partial::Discard, 1), (Partial::Keep, 2)] {
        let path = dir.path().join("x.mp4");
        let limit = Duration::from_secs(seconds);
        let ended = Runner::new(record(&ffmpeg, &path))
            .deadline(limit)
            .partial(partial)
            .run(|_| {});
        match ended {
            Err(RunError::Deadline {
                limit: told,
                failure,
            }) => {
                assert_eq!(told, limit);
                assert_eq!(failure.kept.len(), usize::from(partial == Partial::Keep));
            }
            other => panic!("{other:?}"),
        }
    }
    wait_until("only the kept one is there", || {
        names_in(dir.path()) == ["x.mp4"]
    });
}

fn pid_of(job: &Job) -> Pid {
    Pid::from_raw(i32::try_from(job.pid()).unwrap())
}
