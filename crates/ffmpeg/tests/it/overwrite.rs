//! Files that are there before a job, or that another job writes.

use std::fs;
use std::time::Duration;

use longtake_ffmpeg::{Ffmpeg, Input, Kind, Output, Overwrite, RunError, Runner};

use crate::job::{NO_ONE, copy};
use crate::media::{file, segment};
use crate::{both, ending, endless, names_in, pictures};

#[test]
fn an_output_that_exists_is_replaced_only_when_asked_and_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.mp4");
    for ffmpeg in both() {
        fs::write(&path, "precious").unwrap();
        let command = copy(&ffmpeg, Input::file(segment(0)), &path);
        let refused = Runner::new(command.clone()).run(NO_ONE);
        assert!(
            matches!(refused, Err(RunError::OutputExists { .. })),
            "{refused:?}"
        );
        assert_eq!(fs::read(&path).unwrap(), b"precious");

        let bad =
            copy(&ffmpeg, Input::file(file("nomoov.mp4")), &path).overwrite(Overwrite::Replace);
        assert_eq!(ending(Runner::new(bad).run(NO_ONE)).0, Kind::InputInvalid);
        assert_eq!(
            fs::read(&path).unwrap(),
            b"precious",
            "a failure replaces nothing"
        );

        let replaced = Runner::new(command.overwrite(Overwrite::Replace)).run(NO_ONE);
        assert_eq!(replaced.unwrap().duration, Some(Duration::from_secs(10)));
    }
    assert_eq!(names_in(dir.path()), ["x.mp4"]);
}

#[test]
fn an_output_that_appears_meanwhile_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.mp4");
    let [ffmpeg, _] = both();
    let job = Runner::new(copy(
        &ffmpeg,
        Input::file(segment(0))
            .realtime()
            .duration(Duration::from_secs(1)),
        &path,
    ))
    .spawn()
    .unwrap();
    fs::write(&path, "precious").unwrap();
    assert!(matches!(job.wait(), Err(RunError::OutputExists { .. })));
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    assert_eq!(names_in(dir.path()), ["x.mp4"]);
}

/// The job may not replace `name`, neither alone nor beside a plain file, unless it is told to; and
/// nothing is in the way of a first one.
#[track_caller]
fn check_protected(ffmpeg: &Ffmpeg, name: &str, output: impl Fn(&str) -> Output) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    let output = output(dir.path().to_str().unwrap());
    let command = ffmpeg.command().input(pictures(1)).output(output);
    fs::write(&path, "precious").unwrap();
    // The plain file is written beside its place, for which ffmpeg needs `-y`.
    let two = command
        .clone()
        .output(Output::file(dir.path().join("x.mkv")));
    for command in [command.clone(), two] {
        match Runner::new(command).run(NO_ONE) {
            Err(RunError::OutputExists { path: told }) => assert_eq!(told, path),
            other => panic!("{name}: {other:?}"),
        }
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        assert_eq!(names_in(dir.path()), [name]);
    }
    let replacing = command.clone().overwrite(Overwrite::Replace);
    Runner::new(replacing).run(NO_ONE).unwrap();
    assert_ne!(fs::read(&path).unwrap(), b"precious");
    for name in names_in(dir.path()) {
        fs::remove_file(dir.path().join(name)).unwrap();
    }
    Runner::new(command).run(NO_ONE).unwrap();
}

#[test]
fn no_file_of_a_pattern_or_an_address_is_replaced_unasked() {
    for ffmpeg in both() {
        check_protected(&ffmpeg, "frame007.jpg", |dir| {
            Output::pattern(format!("{dir}/frame%03d.jpg"))
        });
        check_protected(&ffmpeg, "list.m3u8", |dir| {
            Output::pattern(format!("{dir}/list.m3u8"))
        });
        check_protected(&ffmpeg, "x.ts", |dir| {
            Output::url(format!("file:{dir}/x.ts"), "mpegts")
        });
        check_protected(&ffmpeg, "x.ts", |dir| {
            Output::url(format!("{dir}/x.ts"), "mpegts")
        });
    }
}

#[test]
fn two_jobs_do_not_write_one_output() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.mp4");
    let [ffmpeg, _] = both();
    let command = || {
        ffmpeg
            .command()
            .input(endless().realtime())
            .output(Output::file(&path))
    };
    let first = Runner::new(command()).spawn().unwrap();
    let second = Runner::new(command()).spawn();
    assert!(
        matches!(second, Err(RunError::OutputBusy { .. })),
        "{second:?}"
    );
    drop(first);
    assert_eq!(names_in(dir.path()), [""; 0]);
    // What a crash left behind is in nobody's way.
    fs::write(dir.path().join(".x.mp4.part"), "left behind").unwrap();
    Runner::new(copy(&ffmpeg, Input::file(segment(0)), &path))
        .run(NO_ONE)
        .unwrap();
    assert_eq!(names_in(dir.path()), ["x.mp4"]);
}
