//! Encoders that die, hang, lie or never begin: what is lost is counted, and the rest goes on.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::mpsc::channel,
    thread,
    time::{Duration, Instant},
};

use longtake_recording::{
    DropReason, Encoder, EncoderError, EncoderFault, EncoderOutput, EncoderSettings, Gap,
    GapReason, Pts, RawFormat, RawFrame, VideoEncoder,
};
use nix::sys::signal::Signal;
use tempfile::tempdir;

use crate::{
    encoder_bench::{Bench, Got, LONG, STREAM, child_with, format, odd_pts, picture, signal},
    ffmpeg::{run, words},
};

/// Settings by whose bit rate a test finds its ffmpeg.
fn marked(bitrate: &str) -> EncoderSettings {
    EncoderSettings::default().bitrate(bitrate.parse().unwrap())
}

/// All causes of an error.
fn told(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        told = format!("{told}: {error}");
        source = error.source();
    }
    told
}

/// Checks that what is missing between packets is what was told as lost, and that each interruption
/// with a loss has one gap.
#[track_caller]
fn check_losses(got: &Got, sent: &[Pts]) {
    let times = got.times();
    let lost: Vec<_> = sent.iter().filter(|pts| !times.contains(pts)).collect();
    let told: u64 = got.dropped.iter().map(|(_, count, ..)| count).sum();
    assert_eq!(lost.len() as u64, told);
    for (reason, _, from, to) in &got.dropped {
        assert_eq!(*reason, DropReason::EncoderFailed);
        assert!(lost.contains(&from) && lost.contains(&to));
    }
    for gap in &got.gaps {
        assert_eq!(gap.reason, GapReason::Encoder);
        let inside = |pts: &Pts| gap.from_pts_us <= *pts && *pts <= gap.to_pts_us;
        assert!(lost.iter().any(|pts| inside(pts)), "{gap:?}");
    }
}

#[test]
fn a_killed_encoder_is_started_again() {
    let mut bench = Bench::new("ffmpeg", marked("1000001"), format("yuv420p"));
    for number in 0..40 {
        bench.feed(0, number);
    }
    bench.wait("packets", |got| got.packets.len() >= 20);
    signal(child_with("1000001"), Signal::SIGKILL);
    for number in 40..100 {
        bench.feed(0, number);
    }
    let (summary, got) = bench.finish();
    assert_eq!((summary.received, summary.interruptions), (100, 1));
    let sent: Vec<_> = (0..100).map(|number| odd_pts(0, number)).collect();
    check_losses(&got, &sent);
    let times = got.times();
    assert!(times.len() >= 20 + 50, "{times:?}");
    assert_eq!(times.last(), sent.last());
    let fault = told(&got.faults[0]);
    assert!(fault.contains("signal: 9"), "{fault}");
    let hole = times
        .windows(2)
        .position(|pair| pair[1].0 - pair[0].0 > 40_000);
    if let Some(at) = hole {
        let [gap] = &got.gaps[..] else {
            panic!("{:?}", got.gaps)
        };
        assert_eq!((gap.from_pts_us, gap.to_pts_us), (times[at], times[at + 1]));
        assert!(
            got.keyframes().contains(&times[at + 1]),
            "decoding can begin after it"
        );
    }
}

/// Feeds frames, as fast as a camera, until what came out satisfies `enough`.
#[track_caller]
fn feed_until(bench: &mut Bench, number: &mut i64, mut enough: impl FnMut(&Got) -> bool) {
    let deadline = Instant::now() + LONG;
    while !enough(&bench.got) {
        bench.feed(0, *number);
        *number += 1;
        bench.look();
        assert!(
            Instant::now() < deadline,
            "it never came, after {number} frames"
        );
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn an_encoder_that_is_killed_again_and_again_costs_what_was_inside() {
    let mut bench = Bench::new("ffmpeg", marked("1000002"), format("yuv420p"));
    let mut number = 0;
    for round in 1..=3 {
        feed_until(&mut bench, &mut number, |got| {
            got.packets.len() >= 10 * round
        });
        signal(child_with("1000002"), Signal::SIGKILL);
        // After the second failure it waits for a quarter of a second: until then frames are lost.
        let mut packets = usize::MAX;
        feed_until(&mut bench, &mut number, |got| {
            if got.faults.len() == round {
                packets = packets.min(got.packets.len());
            }
            got.packets.len() > packets
        });
    }
    let (summary, got) = bench.finish();
    assert_eq!(summary.interruptions, 3);
    let sent: Vec<_> = (0..number).map(|number| odd_pts(0, number)).collect();
    check_losses(&got, &sent);
    assert!(got.gaps.len() <= 3);
}

#[test]
fn keyframes_still_begin_chunks_after_a_restart() {
    let settings = marked("1000003")
        .chunk_length(Duration::from_millis(700))
        .gop_length(1000);
    let mut bench = Bench::new("ffmpeg", settings, format("yuv420p"));
    for number in 0..40 {
        bench.feed(300_000, number);
    }
    bench.wait("all packets", |got| got.packets.len() == 40);
    signal(child_with("1000003"), Signal::SIGKILL);
    for number in 40..130 {
        bench.feed(300_000, number);
    }
    let (summary, got) = bench.finish();
    assert_eq!(summary.interruptions, 1);
    let times = got.times();
    let begins = |at: usize| {
        let chunk = |pts: Pts| pts.0 / 700_000;
        chunk(times[at]) > chunk(times[at - 1])
            || !got.gaps.is_empty() && times[at] == got.gaps[0].to_pts_us
    };
    let mut keyframes: Vec<_> = (1..times.len())
        .filter(|&at| begins(at))
        .map(|at| times[at])
        .collect();
    keyframes.insert(0, times[0]);
    if got.gaps.is_empty() {
        // Nothing was inside: the new encoder begins with the first frame that it got.
        keyframes.push(odd_pts(300_000, 40));
        keyframes.sort_unstable();
        keyframes.dedup();
    }
    assert_eq!(got.keyframes(), keyframes);
}

#[test]
fn a_stopped_encoder_that_goes_on_in_time_loses_nothing() {
    let mut bench = Bench::new(
        "ffmpeg",
        marked("1000004").hang_after(LONG),
        format("yuv420p"),
    );
    for number in 0..10 {
        bench.feed(0, number);
    }
    bench.wait("all packets", |got| got.packets.len() == 10);
    let child = child_with("1000004");
    signal(child, Signal::SIGSTOP);
    // As many as the pipe holds: nobody reads it now.
    for number in 10..14 {
        bench.feed(0, number);
    }
    signal(child, Signal::SIGCONT);
    for number in 14..60 {
        bench.feed(0, number);
    }
    let (summary, got) = bench.finish();
    assert_eq!((summary.encoded, summary.interruptions), (60, 0));
    assert_eq!(got.gaps, []);
}

#[test]
fn a_stopped_encoder_is_replaced() {
    // Large frames fill the pipe at once; small ones only pile up inside.
    for (bitrate, width) in [("1000005", 640), ("1000006", 32)] {
        let settings = marked(bitrate).hang_after(Duration::from_secs(2));
        let format = RawFormat {
            width,
            height: 32,
            ..format("rgb24")
        };
        let mut bench = Bench::new("ffmpeg", settings, format);
        for number in 0..10 {
            bench.feed(0, number);
        }
        bench.wait("packets", |got| got.packets.len() >= 5);
        signal(child_with(bitrate), Signal::SIGSTOP);
        let mut number = 10;
        feed_until(&mut bench, &mut number, |got| !got.faults.is_empty());
        let packets = bench.got.packets.len();
        bench.feed(0, number);
        bench.wait("packets of the next one", |got| got.packets.len() > packets);
        let (_, got) = bench.finish();
        assert!(
            matches!(got.faults[..], [EncoderFault::Hung { .. }]),
            "{:?}",
            got.faults
        );
        let sent: Vec<_> = (0..=number).map(|number| odd_pts(0, number)).collect();
        check_losses(&got, &sent);
        assert_eq!(got.gaps.len(), 1);
    }
}

#[test]
fn an_encoder_that_hangs_at_the_end_is_killed() {
    let settings = marked("1000007").hang_after(Duration::from_secs(2));
    let mut bench = Bench::new("ffmpeg", settings, format("yuv420p"));
    for number in 0..10 {
        bench.feed(0, number);
    }
    bench.wait("all packets", |got| got.packets.len() == 10);
    signal(child_with("1000007"), Signal::SIGSTOP);
    bench.feed(0, 10);
    bench.feed(0, 11);
    let (summary, got) = bench.finish();
    assert_eq!(summary.dropped, [(DropReason::EncoderFailed, 2)].into());
    assert!(got.faults.is_empty(), "it is not started again");
    let end = &got.bad_end;
    assert!(matches!(end, Some(EncoderFault::Hung { .. })), "{end:?}");
    let gap = Gap {
        from_pts_us: odd_pts(0, 9),
        to_pts_us: odd_pts(0, 11),
        reason: GapReason::Encoder,
    };
    assert_eq!(got.gaps, [gap]);
}

#[test]
fn a_receiver_that_takes_its_time_is_not_the_encoders_fault() {
    // Long enough for ffmpeg to start on a busy machine, and shorter than the receiver takes.
    let settings = EncoderSettings::default().hang_after(Duration::from_secs(2));
    let format = format("rgb24");
    let mut slow = true;
    let wait = std::sync::Mutex::new(move || {
        if std::mem::take(&mut slow) {
            thread::sleep(Duration::from_secs(5));
        }
    });
    let mut encoder = Encoder::new("ffmpeg", settings, &format, STREAM, move |output| {
        assert!(matches!(output, EncoderOutput::Packet(_)), "{output:?}");
        (wait.lock().unwrap())();
    })
    .unwrap();
    // Enough to fill all pipes while the first packet is being taken.
    for number in 0..60 {
        encoder.feed(RawFrame {
            pts: odd_pts(0, number),
            data: picture(&format, number),
        });
    }
    assert_eq!(encoder.finish().encoded, 60);
}

/// Feeds frames until the encoder is given up, and tells why.
#[track_caller]
fn check_gone(ffmpeg: &Path, settings: EncoderSettings, format: RawFormat, want: &[&str]) {
    let mut bench = Bench::new(ffmpeg, settings, format);
    let mut number = 0;
    feed_until(&mut bench, &mut number, |got| !got.gone.is_empty());
    bench.feed(0, number);
    let (summary, got) = bench.finish();
    assert_eq!(got.packets, []);
    assert_eq!(
        summary.dropped,
        [(DropReason::EncoderFailed, summary.received)].into()
    );
    let told = told(&got.gone[0]);
    for want in want {
        assert!(told.contains(want), "{want:?} is not in {told:?}");
    }
}

#[test]
fn what_can_never_work_is_told_with_its_cause() {
    let any = EncoderSettings::default;
    let missing = Path::new("/nonexistent/ffmpeg");
    check_gone(
        missing,
        any(),
        format("gray"),
        &["cannot find program /nonexistent/ffmpeg"],
    );
    for ffmpeg in crate::ffmpeg::both() {
        check_gone(
            &ffmpeg,
            any().tune("nonsense"),
            format("gray"),
            &["nonsense"],
        );
        check_gone(
            &ffmpeg,
            any().preset("nonsense"),
            format("gray"),
            &["nonsense"],
        );
        let gray16 = any().pixel_format("gray16le").unwrap();
        check_gone(
            &ffmpeg,
            gray16,
            format("gray16le"),
            &["libx264", "gray16le"],
        );
        let unknown = any().pixel_format("nonsense").unwrap();
        check_gone(&ffmpeg, unknown, format("gray"), &["nonsense"]);
    }
    let odd = RawFormat {
        width: 95,
        ..format("yuv420p")
    };
    check_gone(
        Path::new("ffmpeg"),
        any(),
        odd,
        &["width not divisible by 2 (95x64)"],
    );
}

/// A program in place of ffmpeg.
fn script(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn programs_that_are_no_ffmpeg_are_given_up() {
    let folder = tempdir().unwrap();
    let cases = [
        ("exit 3", "exit status: 3"),
        (
            "echo '[fatal] Something is rotten.' >&2; exit 1",
            "Something is rotten.",
        ),
        ("exec cat", "this is no NUT"),
        ("exec sleep 1000", "gave nothing"),
        ("kill -SEGV $$", "signal: 11"),
    ];
    thread::scope(|scope| {
        for (text, want) in cases {
            let program = script(folder.path(), &text.len().to_string(), text);
            let quick = EncoderSettings::default().hang_after(Duration::from_millis(50));
            scope.spawn(move || check_gone(&program, quick, format("rgb24"), &[want]));
        }
    });
}

#[test]
fn an_encoder_that_invents_timestamps_is_not_believed() {
    let folder = tempdir().unwrap();
    let nut = folder.path().join("other.nut");
    let line =
        "-f lavfi -i testsrc2=s=96x64:r=7 -frames:v 3 -c:v libx264 -bf 0 -pix_fmt yuv420p -f nut";
    run(words(line).into_iter().chain([nut.to_str().unwrap()]));
    let text = format!(
        "head -c 2000 >/dev/null; cat {}; exec cat >/dev/null",
        nut.display()
    );
    let program = script(folder.path(), "liar", &text);
    // The first frames agree in their time, 0, and in nothing after it.
    let mut bench = Bench::new(&program, EncoderSettings::default(), format("yuv420p"));
    bench.feed(0, 0);
    bench.wait("the frame that agrees", |got| got.packets.len() == 1);
    let mut number = 1;
    feed_until(&mut bench, &mut number, |got| !got.faults.is_empty());
    let (summary, got) = bench.finish();
    assert_eq!(summary.encoded, 1);
    assert!(
        matches!(got.faults[0], EncoderFault::NotSent { .. }),
        "{:?}",
        got.faults
    );
}

#[test]
fn a_kill_from_another_thread_ends_everything_at_once() {
    let settings = marked("1000008").hang_after(LONG);
    let mut bench = Bench::new("ffmpeg", settings, format("rgb24"));
    for number in 0..10 {
        bench.feed(0, number);
    }
    bench.wait("all packets", |got| got.packets.len() == 10);
    let child = child_with("1000008");
    signal(child, Signal::SIGSTOP);
    let killer = bench.encoder.killer();
    let (stops, stopped) = channel();
    let fed = thread::spawn(move || {
        // More than the pipe holds: it blocks for the whole of LONG but for the kill.
        for number in 10..60 {
            bench.feed(0, number);
            stops.send(()).unwrap();
        }
        bench
    });
    stopped.recv_timeout(LONG).unwrap();
    killer.kill();
    let bench = fed.join().unwrap();
    let began = Instant::now();
    let (summary, got) = bench.finish();
    assert!(began.elapsed() < LONG / 2);
    assert_eq!(summary.received, 60);
    assert_eq!(summary.interruptions, 0, "{:?}", got.faults);
    assert!(
        nix::sys::signal::kill(child, None).is_err(),
        "it is gone and reaped"
    );
}

#[test]
fn a_dropped_encoder_leaves_no_process() {
    let mut bench = Bench::new("ffmpeg", marked("1000009"), format("yuv420p"));
    bench.feed(0, 0);
    // Right after its start its arguments are not in /proc yet.
    bench.wait("a packet", |got| got.packets.len() == 1);
    let child = child_with("1000009");
    drop(bench);
    assert!(nix::sys::signal::kill(child, None).is_err());
}

#[test]
fn frames_that_ffmpeg_cannot_be_given_are_refused_before_the_first() {
    let refused = |format: &RawFormat, settings: EncoderSettings| {
        Encoder::new("ffmpeg", settings, format, STREAM, |_| {}).unwrap_err()
    };
    let ten_bits = format("yuv422p10le");
    let settings = EncoderSettings::new(VideoEncoder::Ffv1)
        .pixel_format("yuv422p10le")
        .unwrap();
    let error = refused(&ten_bits, settings);
    assert_eq!(
        error.to_string(),
        "frames in pixel format \"yuv422p10le\" cannot be encoded: convert them to yuv422p"
    );
    let too_large = RawFormat {
        width: 65_536,
        height: 65_536,
        ..format("gray")
    };
    let error = refused(&too_large, EncoderSettings::default());
    assert_eq!(
        error,
        EncoderError::Size {
            width: 65_536,
            height: 65_536
        }
    );
}
