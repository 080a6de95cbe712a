//! Concat lists read by real ffmpeg, picture by picture.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use longtake_ffmpeg::{
    BadReason, Codec, ConcatError, ConcatList, Difference, Ffmpeg, Input, Mp4, Output, Overwrite,
    Preflight,
};

use crate::media::{self, FPS, SEGMENT, file, segment};
use crate::{both, finish, raw, run};

/// Copies `input` into a file of this extension, without a message.
#[track_caller]
fn copy(ffmpeg: &Ffmpeg, input: Input, dir: &Path, extension: &str) -> PathBuf {
    let path = dir.join(format!("copy.{extension}"));
    let output = Output::file(&path).codec(Codec::Copy);
    let run = run(&ffmpeg
        .command()
        .input(input)
        .output(output)
        .overwrite(Overwrite::Replace));
    assert!(run.exit.success(), "{:?}", run.log);
    assert_eq!(run.log.errors().count(), 0, "{:?}", run.log);
    path
}

/// The first `count` segments with their durations.
fn segments(count: usize) -> ConcatList {
    let mut list = ConcatList::new();
    for number in 0..count {
        let path = segment(number);
        let duration = Mp4::open(&path).unwrap().duration;
        list.push(path, Some(duration)).unwrap();
    }
    list
}

#[test]
fn a_range_without_encoding_is_exact_to_the_picture() {
    let dir = tempfile::tempdir().unwrap();
    let list = segments(6);
    assert_eq!(list.duration(), Some(Duration::from_secs(60)));
    for ffmpeg in both() {
        let input = || {
            let input = list.write(dir.path().join("list.txt")).unwrap();
            input
                .seek(Duration::from_millis(7400))
                .duration(Duration::from_millis(23_800))
        };
        let clip = copy(&ffmpeg, input(), dir.path(), "mp4");
        let wanted: Vec<_> = (111..468).collect();
        assert_eq!(media::numbers(&clip), wanted, "{}", ffmpeg.version());
        let length = Mp4::open(&clip).unwrap().duration;
        assert!(
            length.abs_diff(Duration::from_millis(23_800)) < Duration::from_millis(2),
            "{length:?}"
        );
        // No edit list: the key frame before the start comes along.
        for extension in ["mkv", "ts"] {
            let clip = copy(&ffmpeg, input(), dir.path(), extension);
            assert_eq!(
                media::numbers(&clip)[0],
                90,
                "{extension} {}",
                ffmpeg.version()
            );
        }
    }
}

#[test]
fn a_gap_collapses_or_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let wanted: Vec<_> = (0..SEGMENT).chain(2 * SEGMENT..3 * SEGMENT).collect();
    for (first, whole) in [(10, 20), (20, 30)] {
        let mut list = ConcatList::new();
        list.push(segment(0), Some(Duration::from_secs(first)))
            .unwrap();
        list.push(segment(2), Some(Duration::from_secs(10)))
            .unwrap();
        for ffmpeg in both() {
            let input = list.write(dir.path().join("list.txt")).unwrap();
            let clip = copy(&ffmpeg, input, dir.path(), "mp4");
            assert_eq!(media::numbers(&clip), wanted);
            let length = Mp4::open(&clip).unwrap().duration;
            assert!(
                length.abs_diff(Duration::from_secs(whole)) < Duration::from_millis(2),
                "{length:?}"
            );
        }
    }
}

#[test]
fn hostile_names_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let mut list = ConcatList::new();
    let mut wanted = Vec::new();
    for (name, number) in media::HOSTILE {
        list.push(file(OsStr::from_bytes(name)), Some(Duration::from_secs(10)))
            .unwrap();
        wanted.extend(number * SEGMENT..(number + 1) * SEGMENT);
    }
    for ffmpeg in both() {
        // The list's own name is hostile too.
        let input = list.write(dir.path().join("it's 12:00 -list.txt")).unwrap();
        let clip = copy(&ffmpeg, input, dir.path(), "mp4");
        assert_eq!(media::numbers(&clip), wanted, "{}", ffmpeg.version());
    }
}

#[test]
fn line_breaks_are_refused_because_ffmpeg_cannot_read_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = file("new\nline.mp4");
    let refused = ConcatList::new().push(&path, None);
    assert!(matches!(refused, Err(ConcatError::LineBreak { .. })));
    let return_path = dir.path().join("carriage\rreturn.mp4");
    fs::copy(segment(0), &return_path).unwrap();
    for ffmpeg in both() {
        for path in [&path, &return_path] {
            let list = dir.path().join("list.txt");
            fs::write(&list, format!("file '{}'\n", path.display())).unwrap();
            let args = [
                "-f",
                "concat",
                "-safe",
                "0",
                "-i",
                list.to_str().unwrap(),
                "-f",
                "null",
                "-",
            ];
            assert!(
                !finish(raw(&ffmpeg, &args).spawn().unwrap()).exit.success(),
                "{path:?}"
            );
        }
    }
}

#[test]
fn a_preflight_sorts_what_ffmpeg_would_join_to_garbage() {
    let names = [
        "seg000.mp4",
        "fragcut.mp4",
        "seg002.mp4",
        "hevc.mp4",
        "hd.mp4",
        "fps30.mp4",
        "audio.mp4",
        "zero.mp4",
        "nomoov.mp4",
        "junk.mp4",
        "seg003.mp4",
    ];
    let missing = media::folder().join("nosuch.mp4");
    let preflight = Preflight::of(names.iter().map(file).chain([missing]));

    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let runs: Vec<Vec<_>> = preflight
        .runs
        .iter()
        .map(|run| run.iter().map(|member| name(&member.path)).collect())
        .collect();
    let first = ["seg000.mp4", "fragcut.mp4", "seg002.mp4"];
    assert_eq!(runs[0], first);
    assert_eq!(
        runs[1..],
        [
            ["hevc.mp4"],
            ["hd.mp4"],
            ["fps30.mp4"],
            ["audio.mp4"],
            ["seg003.mp4"]
        ]
    );
    let bad: Vec<_> = preflight.bad.iter().map(|bad| name(&bad.path)).collect();
    assert_eq!(bad, ["zero.mp4", "nomoov.mp4", "junk.mp4", "nosuch.mp4"]);
    assert!(
        preflight
            .bad
            .iter()
            .all(|bad| matches!(bad.reason, BadReason::Unreadable(_)))
    );

    let dir = tempfile::tempdir().unwrap();
    let list = ConcatList::of_run(&preflight.runs[0]).unwrap();
    assert_eq!(list.duration(), Some(Duration::from_secs(24)));
    // The cut file gives its whole fragments, and does not end the list.
    let wanted: Vec<_> = (0..SEGMENT + 4 * FPS)
        .chain(2 * SEGMENT..3 * SEGMENT)
        .collect();
    for ffmpeg in both() {
        let input = list.write(dir.path().join("list.txt")).unwrap();
        let clip = copy(&ffmpeg, input, dir.path(), "mp4");
        assert_eq!(media::numbers(&clip), wanted, "{}", ffmpeg.version());
    }
}

#[test]
fn files_that_differ_are_told_apart_by_what_differs() {
    let open = |name: &str| Mp4::open(file(name)).unwrap();
    let base = open("seg000.mp4");
    for (name, want) in [
        ("seg005.mp4", None),
        ("frag.mp4", None),
        ("hevc.mp4", Some(Difference::Codec)),
        ("hd.mp4", Some(Difference::Size)),
        ("fps30.mp4", Some(Difference::Timescale)),
        ("audio.mp4", Some(Difference::Tracks)),
        ("bframes.mp4", Some(Difference::Parameters)),
    ] {
        assert_eq!(base.difference(&open(name)), want, "{name}");
    }
}

#[test]
fn a_file_without_its_end_is_bad() {
    let dir = tempfile::tempdir().unwrap();
    let [ffmpeg, _] = both();
    let fast = Output::file(dir.path().join("fast.mp4"))
        .codec(Codec::Copy)
        .faststart();
    assert!(
        run(&ffmpeg.command().input(Input::file(segment(0))).output(fast))
            .exit
            .success()
    );
    let bytes = fs::read(dir.path().join("fast.mp4")).unwrap();
    let cut = dir.path().join("cut.mp4");
    fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let preflight = Preflight::of([&cut]);
    assert!(preflight.runs.is_empty());
    assert!(
        matches!(preflight.bad[0].reason, BadReason::CutOff { .. }),
        "{preflight:?}"
    );
}
