//! The chunk writer on real and simulated disks, in virtual time.

use std::{
    collections::BTreeMap,
    io::Cursor,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use jiff::Timestamp;
use longtake_durable::{RealStorage, Storage, read, sim::SimStorage};
use longtake_matroska::{Reader, TrackKind};
use longtake_recording::{
    ChunkEvent, ChunkHeader, ChunkOptions, ChunkSummary, ChunkWriter, ChunksSummary, ClockPair,
    Codec, CodecParameters, DeviceSummary, FrameRate, NameFault, Packet, Pts, RecordingFacts,
    StreamIndex, StreamSpec, VideoParameters, WriteError,
};

use crate::footage::{Footage, RECORDING_ID, RecordedStream, sensor, video};

/// A packet, and when it reaches the chunk writer: microseconds since the start.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    pub at_us: u64,
    pub packet: Packet,
}

/// A chunk writer in virtual time. The disk's work is done at once, unless a test says otherwise.
pub(crate) struct Recorder {
    pub writer: ChunkWriter,
    pub events: Vec<ChunkEvent>,
    start: Instant,
    next_tick: Option<Instant>,
}

/// What a chunk file holds up to the first damage.
#[derive(Debug)]
pub(crate) struct Held {
    pub header: ChunkHeader,
    /// Whether the Matroska header speaks of an end, as the last writes to a file make it do.
    pub claims_an_end: bool,
    pub is_complete: bool,
    /// By stream, in the order of the file.
    pub packets: BTreeMap<usize, Vec<HeldPacket>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeldPacket {
    pub pts_us: i64,
    pub keyframe: bool,
    pub data: Bytes,
}

/// Chunks of two seconds.
pub(crate) fn options() -> ChunkOptions {
    ChunkOptions::default().length(Duration::from_secs(2))
}

/// One camera from the start, one with B-frames that starts 1.3 s later, and a sensor.
pub(crate) fn usual_streams() -> Vec<RecordedStream> {
    vec![
        video("front", Footage::h264().clone()),
        video("side", Footage::h264_with_b_frames().later(1_300_000)),
        sensor("imu"),
    ]
}

pub(crate) fn specs(streams: &[RecordedStream]) -> Vec<StreamSpec> {
    let spec = |stream: &RecordedStream| match stream.kind {
        "video" => StreamSpec::video(stream.name),
        _ => StreamSpec::data(stream.name),
    };
    streams.iter().map(spec).collect()
}

/// The packets of `streams` in the order in which they arrive.
pub(crate) fn arrivals(streams: &[RecordedStream]) -> Vec<Arrival> {
    let mut arrivals = Vec::new();
    for (index, stream) in streams.iter().enumerate() {
        let parameters = Arc::new(parameters(&stream.footage));
        let mut at_us = 0;
        for packet in &stream.footage.packets {
            at_us = at_us.max(u64::try_from(packet.pts_us + stream.latency_us).unwrap());
            arrivals.push(Arrival {
                at_us,
                packet: Packet {
                    stream: StreamIndex(index),
                    pts: Pts(packet.pts_us),
                    duration: None,
                    keyframe: packet.keyframe,
                    data: packet.data.clone(),
                    parameters: Arc::clone(&parameters),
                },
            });
        }
    }
    arrivals.sort_by_key(|arrival| arrival.at_us);
    arrivals
}

fn parameters(footage: &Footage) -> CodecParameters {
    let video = match footage.track.kind {
        TrackKind::Video { width, height, .. } => Some(VideoParameters {
            width,
            height,
            fps: FrameRate::new(30, 1),
        }),
        _ => None,
    };
    CodecParameters {
        codec: Codec::from_matroska_id(&footage.track.codec_id).unwrap(),
        codec_private: footage.track.codec_private.clone(),
        video,
    }
}

pub(crate) fn facts() -> RecordingFacts {
    let started_at: Timestamp = "2026-09-04T12:03:14.123Z".parse().unwrap();
    let clock = move || ClockPair {
        pts_us: Pts::ZERO,
        realtime: started_at,
    };
    RecordingFacts::new(RECORDING_ID.parse().unwrap(), started_at, clock)
        .devices(vec![DeviceSummary {
            label: "gate".into(),
            device_type: "test".into(),
        }])
        .host("box")
        .program("tests 1")
}

impl Recorder {
    pub(crate) fn new(writer: ChunkWriter) -> Self {
        Self {
            writer,
            events: Vec::new(),
            start: Instant::now(),
            next_tick: None,
        }
    }

    /// A recorder of `streams` whose writer has no thread.
    pub(crate) fn inline(
        storage: Arc<dyn Storage>,
        folder: &Path,
        streams: &[RecordedStream],
        options: ChunkOptions,
    ) -> Self {
        let writer =
            ChunkWriter::create_without_thread(storage, folder, facts(), specs(streams), options);
        Self::new(writer.unwrap())
    }

    pub(crate) fn at(&self, us: u64) -> Instant {
        self.start + Duration::from_micros(us)
    }

    /// Gives one packet, after the ticks that are due before it.
    pub(crate) fn give(&mut self, arrival: &Arrival) {
        self.tick_until(arrival.at_us);
        let now = self.at(arrival.at_us);
        self.writer.write(arrival.packet.clone(), now);
        self.next_tick = Some(now);
        self.note();
    }

    /// Ticks as it is asked for until `us`.
    pub(crate) fn tick_until(&mut self, us: u64) {
        let until = self.at(us);
        let mut ticks = 0;
        while let Some(now) = self.next_tick.filter(|at| *at <= until) {
            self.next_tick = self.writer.tick(now);
            self.note();
            ticks += 1;
            assert!(ticks < 10_000, "a busy loop");
        }
    }

    pub(crate) fn run(&mut self, arrivals: &[Arrival]) {
        for arrival in arrivals {
            self.give(arrival);
            while self.writer.do_disk_work() {}
        }
    }

    /// Gives all packets, and ends each stream after its last one.
    pub(crate) fn run_to_end(&mut self, arrivals: &[Arrival]) {
        for (number, arrival) in arrivals.iter().enumerate() {
            self.run(std::slice::from_ref(arrival));
            let stream = arrival.packet.stream;
            let mut rest = arrivals[number + 1..].iter();
            if !rest.any(|later| later.packet.stream == stream) {
                self.writer.end_stream(stream, self.at(arrival.at_us));
            }
        }
    }

    pub(crate) fn finish(mut self, us: u64) -> (Vec<ChunkEvent>, ChunksSummary) {
        let now = self.at(us);
        let mut summary = self.writer.finish(now);
        self.events.append(&mut summary.events);
        (self.events, summary)
    }

    fn note(&mut self) {
        while let Some(event) = self.writer.next_event() {
            self.events.push(event);
        }
    }
}

/// The chunks that were finished, in the order in which they were opened.
pub(crate) fn finished(events: &[ChunkEvent]) -> Vec<ChunkSummary> {
    let mut chunks: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            ChunkEvent::Finished(chunk) => Some(chunk.clone()),
            _ => None,
        })
        .collect();
    chunks.sort_by_key(|chunk| chunk.sequence);
    chunks
}

/// Reads a chunk up to the first damage; `None` when not even its header is whole.
pub(crate) fn try_hold(storage: &dyn Storage, path: &Path) -> Option<Held> {
    let bytes = read(storage, path, 1 << 30).unwrap();
    let mut reader = Reader::new(Cursor::new(bytes)).ok()?;
    let tags = &reader.header().info.tags;
    let tag = tags.iter().find(|tag| tag.name == "LONGTAKE").unwrap();
    let header = ChunkHeader::from_json(&tag.value).unwrap();
    let claims_an_end = reader.header().duration.is_some();
    let mut packets: BTreeMap<usize, Vec<HeldPacket>> = BTreeMap::new();
    while let Ok(Some(cluster)) = reader.next_cluster() {
        for block in cluster.blocks() {
            let stream = usize::try_from(block.track).unwrap() - 1;
            packets.entry(stream).or_default().push(HeldPacket {
                pts_us: block.pts_us,
                keyframe: block.keyframe,
                data: block.data,
            });
        }
    }
    Some(Held {
        header,
        claims_an_end,
        is_complete: reader.is_complete(),
        packets,
    })
}

pub(crate) fn hold(storage: &dyn Storage, path: &Path) -> Held {
    try_hold(storage, path).unwrap_or_else(|| panic!("{} has no header", path.display()))
}

/// The packets of each stream in `folder`, chunk after chunk in the order of their sequence.
pub(crate) fn hold_all(storage: &dyn Storage, folder: &Path) -> BTreeMap<usize, Vec<HeldPacket>> {
    let mut chunks: Vec<_> = storage
        .list(folder)
        .unwrap()
        .iter()
        .filter_map(|name| try_hold(storage, &folder.join(name)))
        .collect();
    chunks.sort_by_key(|chunk| chunk.header.sequence);
    let mut all: BTreeMap<usize, Vec<HeldPacket>> = BTreeMap::new();
    for chunk in chunks {
        for (stream, mut packets) in chunk.packets {
            all.entry(stream).or_default().append(&mut packets);
        }
    }
    all
}

/// What should be there of a stream.
pub(crate) fn footage_packets(stream: &RecordedStream) -> Vec<HeldPacket> {
    let packet = |packet: &crate::footage::FootagePacket| HeldPacket {
        pts_us: packet.pts_us,
        keyframe: packet.keyframe,
        data: packet.data.clone(),
    };
    stream.footage.packets.iter().map(packet).collect()
}

#[track_caller]
pub(crate) fn check_all_there(storage: &dyn Storage, folder: &Path, streams: &[RecordedStream]) {
    let all = hold_all(storage, folder);
    for (index, stream) in streams.iter().enumerate() {
        let want = footage_packets(stream);
        let got = &all[&index];
        let first = want.iter().zip(got).position(|(want, got)| want != got);
        assert_eq!((got.len(), first), (want.len(), None), "{}", stream.name);
    }
}

fn disk() -> (SimStorage, &'static Path) {
    (SimStorage::new(), Path::new("/"))
}

#[test]
fn every_packet_is_in_a_chunk_with_its_exact_time() {
    let folder = tempfile::tempdir().unwrap();
    let streams = usual_streams();
    let writer = ChunkWriter::create(
        Arc::new(RealStorage),
        folder.path(),
        facts(),
        specs(&streams),
        options(),
    );
    let mut recorder = Recorder::new(writer.unwrap());
    recorder.run_to_end(&arrivals(&streams));
    let (events, summary) = recorder.finish(10_000_000);

    check_all_there(&RealStorage, folder.path(), &streams);
    for (tally, stream) in summary.streams.iter().zip(&streams) {
        let packets = stream.footage.packets.len() as u64;
        let times = stream.footage.times();
        assert_eq!(tally.counts.received, packets);
        assert_eq!(tally.counts.written, packets);
        assert_eq!(tally.counts.in_flight(), 0);
        assert_eq!(tally.first_pts, times.iter().min().copied().map(Pts));
        assert_eq!(tally.last_pts, times.iter().max().copied().map(Pts));
    }
    assert_eq!(
        (summary.failure.is_none(), summary.missed_events),
        (true, 0)
    );

    let chunks = finished(&events);
    let names: Vec<_> = chunks.iter().map(|chunk| chunk.file.as_str()).collect();
    assert_eq!(
        names,
        [
            "00001.mkv",
            "00002.mkv",
            "00003.mkv",
            "00004.mkv",
            "00005.mkv"
        ]
    );
    let mut listed = RealStorage.list(folder.path()).unwrap();
    listed.sort();
    assert_eq!(listed, names, "nothing else is in the folder");
    for chunk in &chunks {
        let path = folder.path().join(&chunk.file);
        let held = hold(&RealStorage, &path);
        assert!(held.is_complete, "{}", chunk.file);
        assert_eq!(path.metadata().unwrap().len(), chunk.bytes);
        assert_eq!(held.header.sequence, chunk.sequence);
        let begins_us = i64::try_from(chunk.sequence - 1).unwrap() * 2_000_000;
        assert_eq!(held.header.begins_pts_us, Pts(begins_us));
        for (stream, packets) in &held.packets {
            assert_eq!(packets.len() as u64, chunk.packets[*stream]);
            assert!(packets[0].keyframe, "{} of {}", stream, chunk.file);
            assert!(packets[0].pts_us >= begins_us);
            let keyframes = packets.iter().filter(|packet| packet.keyframe);
            for packet in keyframes {
                assert!(packet.pts_us < begins_us + 2_000_000, "{stream} stayed on");
            }
        }
        check_silent(&path);
    }
}

/// Checks that ffprobe and ffmpeg read a file without a word.
#[track_caller]
fn check_silent(path: &Path) {
    let mut probe = Command::new("ffprobe");
    probe.args(["-v", "warning", "-show_packets", "-of", "compact"]);
    probe.arg(path);
    let mut decode = Command::new("ffmpeg");
    decode.args(["-nostdin", "-v", "warning", "-xerror", "-i"]);
    decode.arg(path);
    decode.args(["-map", "0", "-c:s", "copy", "-f", "null", "-"]);
    for mut command in [probe, decode] {
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{said}");
    }
}

#[test]
fn a_wall_clock_that_is_set_moves_no_chunk_and_is_told_in_each() {
    let (storage, folder) = disk();
    let streams = usual_streams();
    // Flaw: a step back ended the recording, a step of a minute made 31 chunks of one frame. Here it
    // is set back by an hour, and forth by two.
    let steps = Mutex::new([0, -3600, 7200, 60, 0].into_iter());
    let started_at: Timestamp = "2026-09-04T12:03:14.123Z".parse().unwrap();
    let clock = move || {
        let step = steps.lock().unwrap().next().unwrap();
        ClockPair {
            pts_us: Pts(step),
            realtime: started_at + jiff::SignedDuration::from_secs(step),
        }
    };
    let recording = RecordingFacts::new(RECORDING_ID.parse().unwrap(), started_at, clock)
        .host("box")
        .program("tests 1");
    let writer = ChunkWriter::create_without_thread(
        Arc::new(storage.clone()),
        folder,
        recording,
        specs(&streams),
        options(),
    );
    let mut recorder = Recorder::new(writer.unwrap());
    recorder.run(&arrivals(&streams));
    let (events, _) = recorder.finish(10_000_000);

    check_all_there(&storage, folder, &streams);
    let chunks = finished(&events);
    assert_eq!(chunks.len(), 5);
    for (chunk, step) in chunks.iter().zip([0, -3600, 7200, 60, 0]) {
        let held = hold(&storage, &folder.join(&chunk.file));
        assert_eq!(held.header.clock.pts_us, Pts(step));
        assert_eq!(held.header.clock, chunk.clock);
        assert_eq!(held.header.recording_id.to_string(), RECORDING_ID);
        assert_eq!(held.header.started_at, started_at);
        assert_eq!(held.header.chunk_length_us, 2_000_000);
        assert_eq!(
            (&*held.header.host, &*held.header.program),
            ("box", "tests 1")
        );
        let names: Vec<_> = held.header.streams.iter().map(|it| &*it.name).collect();
        assert_eq!(names, ["front", "side", "imu"]);
    }
}

#[test]
fn a_stop_before_every_stream_has_crossed_leaves_a_chunk_that_reads_in_silence() {
    let folder = tempfile::tempdir().unwrap();
    let streams = usual_streams();
    let storage = Arc::new(RealStorage);
    let mut recorder = Recorder::inline(storage, folder.path(), &streams, options());
    let all = arrivals(&streams);
    // The sensor is the first one in the third chunk, and here the only one.
    let first = |it: &Arrival| it.packet.stream == StreamIndex(2) && it.packet.pts > Pts(4_000_000);
    let stop = all.iter().position(first).unwrap() + 1;
    recorder.run(&all[..stop]);
    let (events, _) = recorder.finish(all[stop].at_us);
    let chunks = finished(&events);
    assert_eq!(chunks[2].packets, [0, 0, 1]);
    for chunk in chunks {
        let path = folder.path().join(&chunk.file);
        check_silent(&path);
        let held = hold(&RealStorage, &path);
        assert!(held.is_complete);
        assert_eq!(held.header.streams.len(), 3);
    }
}

#[test]
fn a_stream_without_a_packet_is_declared_in_every_chunk() {
    let (storage, folder) = disk();
    let mut streams = usual_streams();
    streams[1].footage.packets.clear();
    let mut recorder = Recorder::inline(Arc::new(storage.clone()), folder, &streams, options());
    recorder.run(&arrivals(&streams));
    let (events, summary) = recorder.finish(10_000_000);
    assert_eq!(summary.streams[1].first_pts, None);
    for chunk in finished(&events) {
        let held = hold(&storage, &folder.join(&chunk.file));
        assert_eq!(held.header.streams[1].name, "side");
        assert_eq!(chunk.packets[1], 0);
    }
}

#[test]
fn names_come_from_the_embedder_and_bad_ones_are_refused() {
    let (storage, folder) = disk();
    let taken = storage.create_new(&folder.join("taken")).unwrap();
    let streams = usual_streams();
    let names = ["first.mkv", "../second", "first.mkv", "taken", "fifth"];
    let options = options().name(move |header: &ChunkHeader| {
        names[usize::try_from(header.sequence - 1).unwrap()].to_owned()
    });
    let mut recorder = Recorder::inline(Arc::new(storage.clone()), folder, &streams, options);
    recorder.run(&arrivals(&streams));
    let (events, _) = recorder.finish(10_000_000);

    let files: Vec<_> = finished(&events).into_iter().map(|it| it.file).collect();
    assert_eq!(
        files,
        ["first.mkv", "00002.mkv", "00003.mkv", "00004.mkv", "fifth"]
    );
    let refused: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            ChunkEvent::NameRefused { name, fault, file } => Some((&**name, *fault, &**file)),
            _ => None,
        })
        .collect();
    assert_eq!(
        refused,
        [
            ("../second", NameFault::NotPlain, "00002.mkv"),
            ("first.mkv", NameFault::Repeated, "00003.mkv"),
            ("taken", NameFault::Taken, "00004.mkv"),
        ]
    );
    assert_eq!(taken.len().unwrap(), 0, "it was not written over");
    check_all_there(&storage, folder, &streams);
}

#[test]
fn a_finished_chunk_never_takes_the_place_of_another_file() {
    let (storage, folder) = disk();
    let streams = usual_streams();
    let mut recorder = Recorder::inline(Arc::new(storage.clone()), folder, &streams, options());
    let arrivals = arrivals(&streams);
    let (opened, rest) = arrivals.split_at(arrivals.partition_point(|it| it.at_us < 1_500_000));
    recorder.run(opened);
    // Somebody else makes a file of that name while the chunk is open.
    storage.create_new(&folder.join("00001.mkv")).unwrap();
    recorder.run(rest);
    let (events, summary) = recorder.finish(10_000_000);

    let unfinished: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            ChunkEvent::Unfinished { chunk, error } => Some((&*chunk.file, &**error)),
            _ => None,
        })
        .collect();
    assert!(
        matches!(unfinished[..], [("00001.mkv", WriteError::Rename { .. })]),
        "{unfinished:?}"
    );
    assert!(summary.failure.is_none(), "the recording goes on");
    assert_eq!(finished(&events).len(), 4);
    assert_eq!(read(&storage, &folder.join("00001.mkv"), 1).unwrap(), b"");
    assert!(hold(&storage, &folder.join("00001.mkv.part")).is_complete);
    check_all_there(&storage, folder, &streams);
}

#[test]
fn a_killed_recorder_loses_no_more_than_waits_for_a_cluster() {
    let (storage, folder) = disk();
    let streams = usual_streams();
    let mut recorder = Recorder::inline(Arc::new(storage.clone()), folder, &streams, options());
    let all = arrivals(&streams);
    // After the opening, which waits for the stream that starts late.
    for (number, arrival) in all.iter().enumerate() {
        recorder.give(arrival);
        if arrival.at_us < 1_400_000 || number % 97 != 0 {
            continue;
        }
        let there = hold_all(&storage, folder);
        let there: usize = there.values().map(Vec::len).sum();
        let waits = all[..=number]
            .iter()
            .filter(|it| it.at_us + 51_000 > arrival.at_us)
            .count();
        assert!(
            there + waits > number,
            "{there} of {number} are there, {waits} may wait"
        );
    }
    // With no more packets, the last ones are written all the same.
    let given = all.len();
    recorder.tick_until(all[given - 1].at_us + 50_000);
    let there: usize = hold_all(&storage, folder).values().map(Vec::len).sum();
    assert_eq!(there, given);
    check_all_there(&storage, folder, &streams);
}

#[test]
fn a_dropped_writer_finishes_its_chunks() {
    let folder = tempfile::tempdir().unwrap();
    let streams = usual_streams();
    let writer = ChunkWriter::create(
        Arc::new(RealStorage),
        folder.path(),
        facts(),
        specs(&streams),
        options(),
    );
    let mut recorder = Recorder::new(writer.unwrap());
    recorder.run(&arrivals(&streams));
    drop(recorder);
    check_all_there(&RealStorage, folder.path(), &streams);
    assert!(hold(&RealStorage, &folder.path().join("00005.mkv")).is_complete);
}

#[test]
fn events_that_nobody_takes_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let streams = vec![sensor("imu")];
    let writer = ChunkWriter::create_without_thread(
        Arc::new(RealStorage),
        folder.path(),
        facts(),
        specs(&streams),
        ChunkOptions::default()
            .length(Duration::from_millis(10))
            .never_sync(),
    );
    let mut writer = writer.unwrap();
    let start = Instant::now();
    let arrivals = arrivals(&streams);
    let mut packet = arrivals[0].packet.clone();
    for number in 0..2100 {
        packet.pts = Pts(number * 10_000);
        writer.write(packet.clone(), start);
    }
    let summary = writer.finish(start);
    assert_eq!(summary.events.len(), 4096);
    assert_eq!(summary.missed_events, 4200 - 4096);
}
