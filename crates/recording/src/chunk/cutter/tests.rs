//! The cutter's answers to short stories. Streams 0 and 1 are video with a keyframe now and then,
//! stream 2 is a sensor; chunks are 2 s long.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{Cutter, Order, Rules};
use crate::{
    packet::Packet,
    pts::Pts,
    stream::{Codec, CodecParameters, FrameRate, StreamIndex, VideoParameters},
};

pub(super) const RULES: Rules = Rules {
    chunk_length: Duration::from_secs(2),
    opening_wait: Duration::from_secs(2),
    max_held_bytes: 10_000,
    grace: Duration::from_secs(10),
    max_overrun: Duration::from_secs(60),
    max_open_chunks: 8,
};

/// Parameters of a stream of the stories; another `variant` is another decoder configuration.
pub(super) fn parameters(stream: usize, variant: u8) -> Arc<CodecParameters> {
    Arc::new(if stream == 2 {
        CodecParameters::json()
    } else {
        CodecParameters {
            codec: Codec::H264,
            codec_private: Bytes::copy_from_slice(&[variant]),
            video: Some(VideoParameters {
                width: 640,
                height: 400,
                fps: None,
            }),
        }
    })
}

/// A cutter in a story. Times are milliseconds; what it answers is one line an order.
struct Story {
    cutter: Cutter,
    start: Instant,
    told: Vec<String>,
}

impl Story {
    fn new(streams: usize) -> Self {
        Self::with(RULES, streams)
    }

    fn with(rules: Rules, streams: usize) -> Self {
        Self {
            cutter: Cutter::new(rules, streams),
            start: Instant::now(),
            told: Vec::new(),
        }
    }

    /// A packet that arrives when it was captured.
    fn packet(&mut self, stream: usize, ms: i64, kind: &str) {
        self.arrives(stream, ms, kind, ms.unsigned_abs());
    }

    /// `kind`: `K` a keyframe, `P` a picture that needs others, `K1` a keyframe with other
    /// parameters.
    fn arrives(&mut self, stream: usize, ms: i64, kind: &str, at: u64) {
        let variant = kind.as_bytes().get(1).copied().unwrap_or(b'0');
        let mut packet = Packet {
            stream: StreamIndex(stream),
            pts: Pts(ms * 1000),
            duration: None,
            keyframe: kind.starts_with('K'),
            data: Bytes::from_static(&[0; 100]),
            parameters: parameters(stream, variant),
        };
        if variant == b'f' {
            let mut slow = (*packet.parameters).clone();
            slow.video.as_mut().unwrap().fps = FrameRate::new(1, 2);
            packet.parameters = Arc::new(slow);
        }
        self.cutter.packet(packet, self.at(at));
        self.note();
    }

    fn ends(&mut self, stream: usize, at: u64) {
        self.cutter.end_stream(StreamIndex(stream), self.at(at));
        self.note();
    }

    fn tick(&mut self, at: u64) {
        self.cutter.tick(self.at(at));
        self.note();
    }

    fn finish(&mut self, at: u64) {
        self.cutter.finish(self.at(at));
        self.note();
    }

    fn deadline(&self, at: u64) -> Option<u128> {
        let deadline = self.cutter.deadline(self.at(at));
        deadline.map(|it| it.duration_since(self.start).as_millis())
    }

    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    fn note(&mut self) {
        while let Some(order) = self.cutter.next_order() {
            self.told.push(line(&order));
        }
    }

    /// Checks all that was answered since the last check.
    #[track_caller]
    fn check(&mut self, want: &[&str]) {
        let told = std::mem::take(&mut self.told);
        assert_eq!(told, want);
    }
}

fn line(order: &Order) -> String {
    let ms = |pts: Pts| pts.0 / 1000;
    match order {
        Order::Open(new) => {
            let tracks: Vec<_> = new.tracks.iter().map(|(index, _)| index.0).collect();
            format!("open {} at {} for {tracks:?}", new.sequence, ms(new.begins))
        }
        Order::Write { sequence, packet } => {
            format!("{} {} in {sequence}", packet.stream.0, ms(packet.pts))
        }
        Order::Finalise { sequence } => format!("close {sequence}"),
        Order::Drop { stream, reason } => format!("{} {reason}", stream.0),
        Order::Stalled { stream, last_pts } => {
            format!("{} silent since {:?}", stream.0, last_pts.map(ms))
        }
        Order::Gap { stream, gap } => {
            let (from, to) = (ms(gap.from_pts_us), ms(gap.to_pts_us));
            format!("{} {} gap {from}..{to}", stream.0, gap.reason)
        }
    }
}

#[test]
fn each_stream_goes_on_at_its_own_keyframe() {
    let mut story = Story::new(3);
    story.packet(0, 0, "K");
    story.packet(2, 5, "K");
    story.check(&[]);
    story.packet(1, 10, "K");
    story.check(&[
        "open 1 at 0 for [0, 1, 2]",
        "0 0 in 1",
        "2 5 in 1",
        "1 10 in 1",
    ]);
    story.packet(2, 1999, "K");
    story.packet(2, 2000, "K");
    story.check(&["2 1999 in 1", "open 2 at 2000 for [0, 1, 2]", "2 2000 in 2"]);
    story.packet(0, 2033, "P");
    story.packet(0, 2066, "K");
    story.packet(1, 2070, "P");
    story.check(&["0 2033 in 1", "0 2066 in 2", "1 2070 in 1"]);
    story.packet(1, 2100, "K");
    story.check(&["1 2100 in 2", "close 1"]);
    story.finish(2200);
    story.check(&["close 2"]);
}

#[test]
fn pictures_shown_before_their_keyframe_go_where_it_went() {
    let mut story = Story::new(1);
    story.packet(0, 0, "K");
    story.packet(0, 1900, "P");
    story.packet(0, 2033, "K");
    story.packet(0, 1966, "P");
    story.packet(0, 2000, "P");
    story.packet(0, 2066, "P");
    story.check(&[
        "open 1 at 0 for [0]",
        "0 0 in 1",
        "0 1900 in 1",
        "open 2 at 2000 for [0]",
        "0 2033 in 2",
        "close 1",
        "0 1966 in 2",
        "0 2000 in 2",
        "0 2066 in 2",
    ]);
}

#[test]
fn a_stream_that_starts_late_uses_the_same_boundaries() {
    let mut story = Story::new(2);
    story.packet(0, 0, "K");
    story.packet(1, 1300, "K");
    story.packet(1, 1999, "K");
    story.packet(1, 2000, "K");
    story.packet(0, 2010, "K");
    story.check(&[
        "open 1 at 0 for [0, 1]",
        "0 0 in 1",
        "1 1300 in 1",
        "1 1999 in 1",
        "open 2 at 2000 for [0, 1]",
        "1 2000 in 2",
        "0 2010 in 2",
        "close 1",
    ]);
}

#[test]
fn a_stream_that_arrives_after_the_opening_enters_the_next_chunk_at_once() {
    let mut story = Story::new(2);
    story.packet(0, 0, "K");
    assert_eq!(story.deadline(0), Some(1000), "the silence of stream 0");
    story.packet(0, 1500, "P");
    assert_eq!(story.deadline(1500), Some(2000), "the opening");
    story.tick(2000);
    story.check(&[
        "open 1 at 0 for [0]",
        "0 0 in 1",
        "0 1500 in 1",
        "1 silent since None",
    ]);
    story.packet(1, 2300, "K");
    story.check(&["open 2 at 2000 for [0, 1]", "1 2300 in 2"]);
    story.packet(0, 2400, "K");
    story.check(&["0 2400 in 2", "close 1"]);
}

#[test]
fn new_parameters_open_a_chunk_and_the_others_follow_at_their_next_keyframe() {
    let mut story = Story::new(2);
    story.packet(0, 0, "K");
    story.packet(1, 0, "K");
    story.told.clear();
    story.packet(0, 700, "K1");
    story.packet(1, 710, "P");
    story.packet(1, 720, "K");
    story.packet(0, 730, "P1");
    story.check(&[
        "open 2 at 700 for [0, 1]",
        "0 700 in 2",
        "1 710 in 1",
        "1 720 in 2",
        "close 1",
        "0 730 in 2",
    ]);
    // One that changes in the middle of a picture group cannot be decoded.
    story.packet(0, 760, "P2");
    story.packet(0, 790, "P1");
    story.packet(0, 2000, "K1");
    story.check(&[
        "0 broken_gop",
        "0 broken_gop",
        "open 3 at 2000 for [0, 1]",
        "0 dropped gap 730..2000",
        "0 2000 in 3",
    ]);
}

#[test]
fn parameters_that_change_at_a_boundary_do_not_part_the_streams() {
    let mut story = Story::new(2);
    story.packet(0, 0, "K");
    story.packet(1, 0, "K");
    story.packet(0, 2000, "K");
    story.packet(1, 2000, "K1");
    story.told.clear();
    story.packet(0, 2500, "K");
    story.packet(1, 2500, "P1");
    story.check(&["0 2500 in 3", "close 2", "1 2500 in 3"]);
}

#[test]
fn recording_begins_without_a_stream_that_does_not() {
    let mut story = Story::new(2);
    for ms in (0..2000).step_by(500) {
        story.packet(0, ms, "K");
    }
    story.check(&[]);
    story.tick(1999);
    story.check(&[]);
    story.tick(2000);
    assert_eq!(story.told.len(), 6, "{:?}", story.told);
}

#[test]
fn what_waits_for_the_opening_is_bounded() {
    let mut story = Story::new(2);
    let mut ms = 0;
    while story.told.is_empty() {
        story.packet(0, ms, "K");
        ms += 1;
        assert!(ms < 100, "100 packets of 100 bytes are enough");
    }
    assert_eq!(
        i64::try_from(story.told.len()).unwrap(),
        ms + 1,
        "all, and the chunk"
    );
}

#[test]
fn an_ended_stream_is_waited_for_nowhere() {
    let mut story = Story::new(3);
    story.packet(0, 0, "K");
    story.packet(1, 0, "K");
    story.ends(2, 100);
    story.check(&["open 1 at 0 for [0, 1]", "0 0 in 1", "1 0 in 1"]);
    story.packet(0, 2000, "K");
    story.told.clear();
    story.ends(1, 2100);
    story.check(&["close 1"]);
    story.packet(0, 4000, "K");
    story.check(&["open 3 at 4000 for [0]", "0 4000 in 3", "close 2"]);
    story.ends(0, 4100);
    story.check(&["close 3"]);
}

#[test]
fn a_silent_stream_is_told_once_and_holds_nobody() {
    let mut story = Story::new(2);
    story.packet(0, 0, "K");
    story.packet(1, 0, "K");
    story.told.clear();
    for ms in (500..20_000).step_by(500) {
        story.packet(0, ms, "K");
        story.tick(ms.unsigned_abs());
    }
    let told = std::mem::take(&mut story.told);
    let about_1: Vec<_> = told.iter().filter(|line| line.starts_with("1 ")).collect();
    assert_eq!(about_1, ["1 silent since Some(0)"]);
    let written = told.iter().filter(|line| line.starts_with("0 ")).count();
    assert_eq!(written, 39, "{told:?}");
    // The first chunk was kept for it as long as the grace lasts, later ones were not.
    let closed = |n: u32| told.iter().position(|line| *line == format!("close {n}"));
    let opened_at = |ms: u32| {
        told.iter()
            .position(|line| line.ends_with(&format!("at {ms} for [0, 1]")))
    };
    assert!(closed(1) > opened_at(10_000) && closed(1) < opened_at(12_000));
    assert!(closed(8) > opened_at(16_000) && closed(8) < opened_at(18_000));
    // Its old picture group is lost, it goes on at its next keyframe.
    story.packet(1, 19_900, "P");
    story.packet(1, 19_910, "P");
    story.packet(1, 19_920, "K");
    story.check(&[
        "1 late",
        "1 broken_gop",
        "1 silent gap 0..19920",
        "1 19920 in 10",
    ]);
}

#[test]
fn a_stream_that_pauses_for_less_than_the_grace_loses_nothing() {
    let mut story = Story::new(2);
    story.packet(1, 0, "K");
    for ms in (0..8000).step_by(500) {
        story.packet(0, ms, "K");
    }
    story.told.clear();
    // Six seconds of packets come at once, as from an encoder that was stopped and continued.
    for ms in (500..8000).step_by(500) {
        story.arrives(1, ms, if ms % 2000 == 0 { "K" } else { "P" }, 8000);
    }
    let told = &story.told;
    let written = told.iter().filter(|line| line.starts_with("1 ")).count();
    assert_eq!(written, 15, "{told:?}");
    assert!(told.contains(&"1 500 in 1".into()) && told.contains(&"1 7500 in 4".into()));
    let closed: Vec<_> = told.iter().filter(|it| it.starts_with("close")).collect();
    assert_eq!(closed, ["close 1", "close 2", "close 3"]);
}

#[test]
fn a_sample_that_is_slow_on_its_way_still_finds_its_chunk() {
    let mut story = Story::new(3);
    story.packet(0, 0, "K");
    story.ends(1, 0);
    story.packet(2, 100, "K");
    for ms in (2000..30_000).step_by(2000) {
        story.packet(0, ms, "K");
    }
    story.told.clear();
    // Silent for longer than the grace, and now something from just before the boundary.
    story.packet(0, 30_000, "K");
    story.arrives(2, 29_990, "K", 30_900);
    story.check(&[
        "open 16 at 30000 for [0, 2]",
        "0 30000 in 16",
        "close 14",
        "2 29990 in 15",
    ]);
    // Since it gives something now, it is waited for again.
    story.tick(31_000);
    story.arrives(2, 29_999, "K", 31_100);
    story.arrives(2, 30_001, "K", 31_100);
    story.check(&["2 29999 in 15", "2 30001 in 16", "close 15"]);
}

#[test]
fn silence_is_measured_in_frame_intervals() {
    let mut story = Story::new(1);
    story.packet(0, 0, "Kf");
    story.tick(5999);
    story.told.clear();
    story.tick(6000);
    story.check(&["0 silent since Some(0)"]);
    story.packet(0, 6500, "Pf");
    story.tick(12_499);
    story.check(&["0 silent gap 0..6500", "0 6500 in 1"]);

    // A sensor says no rate: a regular one shows it, a single pause does not.
    let mut story = Story::new(3);
    story.ends(0, 0);
    story.ends(1, 0);
    for ms in [0, 900, 2700] {
        story.packet(2, ms, "K");
    }
    story.told.clear();
    assert_eq!(story.deadline(2700), Some(2700 + 3 * 900));
}

#[test]
fn a_stream_without_keyframes_keeps_its_chunk_for_a_while_only() {
    let mut story = Story::new(2);
    story.packet(1, 0, "K");
    for ms in (0..80_000).step_by(500) {
        story.packet(0, ms, "K");
        story.packet(1, ms + 1, "P");
    }
    let told = std::mem::take(&mut story.told);
    let position = |line: &str| told.iter().position(|it| it == line).expect(line);
    assert!(position("1 61501 in 1") < position("1 broken_gop"));
    assert!(
        position("close 30") < position("close 1"),
        "only its own chunk is kept open"
    );
    assert!(position("close 1") < position("0 62500 in 32"));
    story.packet(1, 80_000, "K");
    story.check(&[
        "open 41 at 80000 for [0, 1]",
        "1 dropped gap 61501..80000",
        "1 80000 in 41",
    ]);
}

#[test]
fn chunks_that_pile_up_are_finalised_from_the_oldest_on() {
    let mut story = Story::new(2);
    story.packet(1, 0, "K");
    for second in 0..8 {
        // Far ahead of the other stream, in no time.
        story.arrives(0, second * 2000, "K", 1);
    }
    assert!(!story.told.contains(&"close 1".into()));
    story.arrives(0, 16_000, "K", 1);
    assert!(story.told.contains(&"close 1".into()));
    story.told.clear();
    story.arrives(1, 500, "K", 2);
    story.arrives(1, 2000, "K", 2);
    story.check(&["1 late", "1 dropped gap 0..2000", "1 2000 in 2"]);
}

#[test]
fn one_wrong_timestamp_does_not_stop_the_others_from_cutting() {
    let mut story = Story::new(3);
    story.ends(1, 0);
    story.packet(0, 0, "K");
    story.packet(2, 0, "K");
    story.arrives(2, 3_600_000, "K", 100);
    story.told.clear();
    for ms in [1000, 2000, 4000] {
        story.packet(0, ms, "K");
    }
    story.check(&[
        "0 1000 in 1",
        "open 3 at 2000 for [0, 2]",
        "0 2000 in 3",
        "close 1",
        "open 4 at 4000 for [0, 2]",
        "0 4000 in 4",
        "close 3",
    ]);
}

#[test]
fn what_no_file_can_hold_is_invalid() {
    let mut story = Story::new(1);
    story.packet(0, -1, "K");
    story.packet(0, i64::MAX / 1000, "K");
    story.packet(0, 10, "P");
    story.packet(0, 20, "K");
    story.packet(0, 30, "P");
    story.check(&[
        "0 invalid",
        "0 invalid",
        "0 broken_gop",
        "open 1 at 0 for [0]",
        "0 20 in 1",
        "0 30 in 1",
    ]);
}

#[test]
fn an_ended_stream_may_come_back() {
    let mut story = Story::new(1);
    story.packet(0, 0, "K");
    story.ends(0, 100);
    story.check(&["open 1 at 0 for [0]", "0 0 in 1", "close 1"]);
    story.packet(0, 200, "P");
    story.packet(0, 300, "K");
    story.finish(400);
    story.check(&[
        "0 late",
        "open 2 at 0 for [0]",
        "0 dropped gap 0..300",
        "0 300 in 2",
        "close 2",
    ]);
}
