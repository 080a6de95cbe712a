//! What holds for the cutter whatever happens.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use proptest::prelude::*;

use super::{
    Cutter, NewChunk, Order, Rules,
    tests::{RULES, parameters},
};
use crate::{
    counts::DropReason,
    packet::Packet,
    pts::Pts,
    stream::{CodecParameters, StreamIndex},
};

const STREAMS: usize = 3;

#[derive(Debug, Clone)]
enum Step {
    /// The time goes on and a packet arrives that was captured `lag_ms` ago.
    Packet {
        wait_ms: u64,
        stream: usize,
        lag_ms: i64,
        keyframe: bool,
        variant: u8,
    },
    Wild {
        stream: usize,
        pts: i64,
    },
    Tick {
        wait_ms: u64,
    },
    End {
        stream: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let wait = prop_oneof![20 => 0..60_u64, 5 => 0..900_u64, 1 => 0..15_000_u64];
    let lag = prop_oneof![20 => 0..100_i64, 5 => -100..2500_i64, 1 => 0..20_000_i64];
    let variant = prop_oneof![30 => Just(0_u8), 1 => 1..4_u8];
    let packet = (wait, 0..STREAMS, lag, prop::bool::weighted(0.3), variant).prop_map(
        |(wait_ms, stream, lag_ms, keyframe, variant)| Step::Packet {
            wait_ms,
            stream,
            lag_ms,
            keyframe,
            variant,
        },
    );
    let wild = (
        0..STREAMS,
        prop_oneof![Just(-1), Just(i64::MAX), Just(i64::MIN), any::<i64>()],
    )
        .prop_map(|(stream, pts)| Step::Wild { stream, pts });
    prop_oneof![
        200 => packet,
        1 => wild,
        10 => (0..3000_u64).prop_map(|wait_ms| Step::Tick { wait_ms }),
        1 => (0..STREAMS).prop_map(|stream| Step::End { stream }),
    ]
}

/// Follows the orders and complains about every one that must not be.
struct Judge {
    rules: Rules,
    cutter: Cutter,
    now: Instant,
    given: Vec<u64>,
    settled: Vec<u64>,
    dropped: BTreeMap<DropReason, u64>,
    open: BTreeMap<u64, NewChunk>,
    opened: u64,
    finalised: u64,
    streams: Vec<Written>,
}

#[derive(Debug, Clone, Default)]
struct Written {
    last_id: Option<u64>,
    last_sequence: u64,
}

impl Judge {
    fn new(rules: Rules) -> Self {
        Self {
            cutter: Cutter::new(rules.clone(), STREAMS),
            rules,
            now: Instant::now(),
            given: vec![0; STREAMS],
            settled: vec![0; STREAMS],
            dropped: BTreeMap::new(),
            open: BTreeMap::new(),
            opened: 0,
            finalised: 0,
            streams: vec![Written::default(); STREAMS],
        }
    }

    fn packet(&mut self, stream: usize, pts: i64, keyframe: bool, known: &Arc<CodecParameters>) {
        let id = self.given[stream];
        self.given[stream] += 1;
        let packet = Packet {
            stream: StreamIndex(stream),
            pts: Pts(pts),
            duration: None,
            keyframe,
            data: Bytes::copy_from_slice(&id.to_le_bytes()),
            parameters: Arc::clone(known),
        };
        self.cutter.packet(packet, self.now);
        self.follow();
        if self.opened > 0 {
            assert_eq!(self.given, self.settled, "a packet waits after the opening");
        }
    }

    fn tick(&mut self) {
        self.cutter.tick(self.now);
        self.follow();
        let deadline = self.cutter.deadline(self.now);
        assert!(
            deadline.is_none_or(|it| it > self.now),
            "nothing is left to do now"
        );
    }

    fn end(&mut self, stream: usize) {
        self.cutter.end_stream(StreamIndex(stream), self.now);
        self.follow();
    }

    fn finish(&mut self) {
        self.cutter.finish(self.now);
        self.follow();
        assert_eq!(self.given, self.settled, "every packet has one fate");
        assert!(self.open.is_empty());
        assert_eq!(self.opened, self.finalised);
    }

    fn follow(&mut self) {
        while let Some(order) = self.cutter.next_order() {
            match order {
                Order::Open(new) => self.opens(new),
                Order::Write { sequence, packet } => self.writes(sequence, &packet),
                Order::Finalise { sequence } => {
                    assert!(
                        self.open.remove(&sequence).is_some(),
                        "{sequence} is not open"
                    );
                    self.finalised += 1;
                }
                Order::Drop { stream, reason } => {
                    self.settled[stream.0] += 1;
                    *self.dropped.entry(reason).or_default() += 1;
                }
                Order::Stalled { .. } => {}
                Order::Gap { gap, .. } => assert!(gap.from_pts_us < gap.to_pts_us),
            }
        }
        assert!(self.open.len() <= self.rules.max_open_chunks);
    }

    fn opens(&mut self, new: NewChunk) {
        self.opened += 1;
        assert_eq!(new.sequence, self.opened);
        self.open.insert(new.sequence, new);
    }

    fn writes(&mut self, sequence: u64, packet: &Packet) {
        let index = packet.stream.0;
        let id = u64::from_le_bytes(packet.data[..].try_into().unwrap());
        let chunk = &self.open[&sequence];
        let track = chunk.tracks.iter().find(|(track, _)| track.0 == index);
        assert_eq!(track.unwrap().1, packet.parameters);

        let written = &mut self.streams[index];
        assert!(written.last_id < Some(id), "decode order");
        assert!(
            written.last_sequence <= sequence,
            "a stream never goes back to a chunk"
        );
        if packet.keyframe || packet.parameters.codec.is_intra_only() {
            let length = i64::try_from(self.rules.chunk_length.as_micros()).unwrap();
            let boundary = packet.pts.0 - packet.pts.0.rem_euclid(length);
            assert!(chunk.begins.0 >= boundary, "the boundary was passed over");
        } else {
            let before = id.checked_sub(1);
            assert_eq!(written.last_id, before, "what it depends on is there");
            assert_eq!(written.last_sequence, sequence, "and in the same chunk");
        }
        *written = Written {
            last_id: Some(id),
            last_sequence: sequence,
        };
        self.settled[index] += 1;
    }
}

proptest! {
    #[test]
    fn every_packet_has_one_fate_and_every_chunk_decodes(
        steps in prop::collection::vec(step(), 0..400),
        max_open_chunks in 1..6_usize,
        chunk_ms in prop_oneof![Just(2000_u64), 1..5000_u64],
    ) {
        let rules = Rules {
            chunk_length: Duration::from_millis(chunk_ms),
            max_open_chunks,
            ..RULES
        };
        let mut judge = Judge::new(rules);
        let mut media_ms = 0;
        for step in steps {
            match step {
                Step::Packet { wait_ms, stream, lag_ms, keyframe, variant } => {
                    judge.now += Duration::from_millis(wait_ms);
                    media_ms += i64::try_from(wait_ms).unwrap();
                    let pts = (media_ms - lag_ms).max(0) * 1000;
                    judge.packet(stream, pts, keyframe, &parameters(stream, variant));
                }
                Step::Wild { stream, pts } => {
                    judge.packet(stream, pts, true, &parameters(stream, 0));
                }
                Step::Tick { wait_ms } => {
                    judge.now += Duration::from_millis(wait_ms);
                    media_ms += i64::try_from(wait_ms).unwrap();
                    judge.tick();
                }
                Step::End { stream } => judge.end(stream),
            }
        }
        judge.finish();
    }

    /// Streams with latencies and picture groups of their own: what comes within a second of its
    /// capture is written, whatever the other streams do.
    #[test]
    fn what_comes_in_time_is_never_lost(
        latency_ms in prop::array::uniform3(0..1000_u64),
        gop in prop::array::uniform2(1..400_u64),
        silent in prop::array::uniform3((0..60_u64, 0..60_u64)),
        spacing_ms in prop::array::uniform3(5..120_u64),
    ) {
        let mut arrivals = Vec::new();
        for stream in 0..STREAMS {
            let (from, span) = silent[stream];
            let mut frames = 0;
            for number in 0..60_000 / spacing_ms[stream] {
                let captured = number * spacing_ms[stream];
                // The first second belongs to the opening.
                if captured > 1000 && (from..from + span).contains(&(captured / 1000)) {
                    frames = 0;
                    continue;
                }
                let keyframe = stream == 2 || frames % gop[stream] == 0;
                frames += 1;
                arrivals.push((captured + latency_ms[stream], stream, captured, keyframe));
            }
        }
        arrivals.sort_unstable();
        let known: Vec<_> = (0..STREAMS).map(|stream| parameters(stream, 0)).collect();
        let mut judge = Judge::new(Rules { max_open_chunks: 64, ..RULES });
        let start = judge.now;
        for (at, stream, captured, keyframe) in arrivals {
            judge.now = start + Duration::from_millis(at);
            judge.packet(stream, i64::try_from(captured).unwrap() * 1000, keyframe, &known[stream]);
            judge.tick();
        }
        judge.finish();
        prop_assert_eq!(judge.dropped, BTreeMap::new());
    }
}
