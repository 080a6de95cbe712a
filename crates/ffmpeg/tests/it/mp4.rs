//! The native reader of MP4 indexes against files that ffmpeg wrote, and ffprobe as its judge.

use std::fs;
use std::path::Path;
use std::time::Duration;

use longtake_ffmpeg::{Ffprobe, Input, Mp4, Mp4Damage, Mp4Error, Mp4Track, TrackKind};

use crate::media::{file, segment};

/// The file is read as ffprobe reads it.
#[track_caller]
fn check(path: &Path) -> Mp4 {
    let mp4 = Mp4::open(path).unwrap();
    let media = Ffprobe::find().probe(&Input::file(path)).unwrap();
    let difference = mp4.duration.abs_diff(media.duration.unwrap());
    assert!(
        difference <= Duration::from_millis(1),
        "{path:?}: {mp4:?} {media:?}"
    );
    let (own, theirs) = (mp4.video().unwrap(), media.video().unwrap());
    let size = own
        .size
        .map(|(width, height)| (Some(u32::from(width)), Some(u32::from(height))));
    assert_eq!(size, Some((theirs.width, theirs.height)));
    assert_eq!(own.timescale, theirs.time_base.unwrap().denominator);
    let rate = |track: &Mp4Track| track.sample_rate;
    let their_rate = media.audio().map(|stream| stream.sample_rate);
    assert_eq!(mp4.audio().map(rate), their_rate);
    mp4
}

#[track_caller]
fn check_damage(name: &str, is_expected: impl Fn(&Mp4Damage) -> bool) {
    match Mp4::open(file(name)) {
        Err(Mp4Error::Damaged { source, .. }) if is_expected(&source) => {}
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn files_are_read_as_ffprobe_reads_them() {
    for name in [
        "seg000.mp4",
        "bframes.mp4",
        "audio.mp4",
        "frag.mp4",
        "hd.mp4",
        "fps30.mp4",
    ] {
        let mp4 = check(&file(name));
        assert_eq!(mp4.video().unwrap().codec.to_string(), "avc1", "{name}");
        assert!(!mp4.truncated, "{name}");
        assert_eq!(mp4.fragmented, name == "frag.mp4", "{name}");
    }
    assert_eq!(
        check(&file("hevc.mp4")).video().unwrap().codec.to_string(),
        "hvc1"
    );
    assert_eq!(
        Mp4::open(file("audio.mp4")).unwrap().tracks[1].kind,
        TrackKind::Audio
    );
    let missing = Mp4::open(file("seg000.mp4").with_file_name("nosuch.mp4"));
    assert!(matches!(missing, Err(Mp4Error::Open { .. })));
}

#[test]
fn broken_files_are_told_apart() {
    check_damage("zero.mp4", |damage| matches!(damage, Mp4Damage::Empty));
    check_damage("nomoov.mp4", |damage| matches!(damage, Mp4Damage::NoIndex));
    check_damage("junk.mp4", |damage| matches!(damage, Mp4Damage::NotMp4));
    check_damage("seg.ts", |damage| matches!(damage, Mp4Damage::NotMp4));
}

#[test]
fn fragments_before_a_cut_are_kept() {
    let mp4 = Mp4::open(file("fragcut.mp4")).unwrap();
    assert!(mp4.fragmented && mp4.truncated);
    // Five fragments of 2 s, cut in the middle of the file.
    assert_eq!(mp4.duration, Duration::from_secs(4));
}

#[test]
fn a_real_file_cut_anywhere_is_refused_or_truncated() {
    let whole = fs::read(segment(0)).unwrap();
    let step = whole.len() / 200;
    for end in (0..whole.len()).step_by(step) {
        let cut = Mp4::read(std::io::Cursor::new(&whole[..end]));
        assert!(cut.is_err(), "the index is at the end, cut at {end}");
    }
    let frag = fs::read(file("frag.mp4")).unwrap();
    let mut last = Duration::ZERO;
    for end in (0..frag.len()).step_by(step) {
        if let Ok(mp4) = Mp4::read(std::io::Cursor::new(&frag[..end])) {
            assert!(mp4.duration >= last, "more bytes, more media");
            last = mp4.duration;
        }
    }
    assert!(last >= Duration::from_secs(8), "{last:?}");
}
