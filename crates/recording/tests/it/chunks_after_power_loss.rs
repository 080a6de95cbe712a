//! The chunk writer on a disk that loses its power after any operation.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use longtake_durable::{
    Storage,
    sim::{Crash, SimStorage},
};
use longtake_recording::{ChunkEvent, ChunkOptions, ChunkSummary};

use crate::{
    chunks::{Arrival, Recorder, arrivals, finished, try_hold},
    footage::{Footage, RecordedStream, sensor, video},
};

const FOLDER: &str = "/";

const STREAMS: usize = 4;

/// Chunks of 0.4 s, synced each 0.1 s, so that a short recording has all that a long one has.
const SYNC_INTERVAL_US: u64 = 100_000;
const FLUSH_AFTER_US: u64 = 20_000;

/// Crashes looked at after each operation: all combinations of what may happen to each unsynced
/// one if they are that few, else the selection that [`SimStorage::crashes`] describes.
const CRASHES_A_POINT: usize = 40;

/// The same for the long test: all combinations of up to twelve unsynced operations.
const MANY_CRASHES_A_POINT: usize = 4096;

fn options() -> ChunkOptions {
    ChunkOptions::default()
        .length(Duration::from_millis(400))
        .opening_wait(Duration::from_millis(50))
        .grace(Duration::from_millis(100))
        .sync_every(Duration::from_micros(SYNC_INTERVAL_US))
        .flush_after(Duration::from_micros(FLUSH_AFTER_US))
}

/// A camera with four pictures a picture group, another with eight, one that falls silent at once so
/// that later chunks declare it in vain, and a sensor.
fn streams() -> Vec<RecordedStream> {
    let mut streams = vec![
        video("front", Footage::h264_smaller().clone()),
        video("side", Footage::h264_smaller().clone()),
        video("dead", Footage::h264_smaller().clone()),
        sensor("imu"),
    ];
    streams[2].footage.packets.truncate(3);
    for (stream, gop) in streams.iter_mut().zip([4, 8, 8, 1]) {
        stream.footage.packets.retain(|it| it.pts_us < 1_000_000);
        for (number, packet) in stream.footage.packets.iter_mut().enumerate() {
            packet.keyframe = number % gop == 0;
        }
    }
    streams[3]
        .footage
        .packets
        .retain(|it| it.pts_us / 10_000 % 5 == 0);
    streams
}

/// A recording on a disk, and when each of the disk's operations was made.
struct Recording {
    disk: SimStorage,
    arrivals: Vec<Arrival>,
    /// In the order of the disk's log: the virtual time in µs.
    times: Vec<u64>,
    /// Chunks that were told to be finished, with the length of the log at that time.
    finished: Vec<(usize, ChunkSummary)>,
}

/// Records with syncs that each take `sync_us`.
fn record(sync_us: u64) -> Recording {
    let streams = streams();
    let disk = SimStorage::new();
    let arrivals = arrivals(&streams);
    let mut recorder =
        Recorder::inline(Arc::new(disk.clone()), FOLDER.as_ref(), &streams, options());
    let mut recording = Recording {
        disk,
        arrivals: arrivals.clone(),
        times: Vec::new(),
        finished: Vec::new(),
    };
    let mut disk_is_free_at = 0;
    for arrival in &arrivals {
        recorder.give(arrival);
        recording.note(&mut recorder, arrival.at_us);
        if arrival.at_us >= disk_is_free_at && recorder.writer.do_disk_work() {
            disk_is_free_at = arrival.at_us + sync_us;
            recording.note(&mut recorder, arrival.at_us);
        }
    }
    let end = arrivals.last().unwrap().at_us;
    let (events, _) = recorder.finish(end);
    recording.times.resize(recording.disk.now(), end);
    let stopped_at = recording.disk.now();
    let last = finished(&events).into_iter();
    recording
        .finished
        .extend(last.map(|chunk| (stopped_at, chunk)));
    recording
}

impl Recording {
    fn note(&mut self, recorder: &mut Recorder, now_us: u64) {
        self.times.resize(self.disk.now(), now_us);
        for event in recorder.events.drain(..) {
            if let ChunkEvent::Finished(chunk) = event {
                self.finished.push((self.disk.now(), chunk));
            }
        }
    }

    /// Checks what is left after a crash: every chunk that was told to be finished, and all packets
    /// but those that came in the last `may_be_lost_us`.
    fn check(&self, crash: &Crash, may_be_lost_us: u64) {
        let disk = &crash.storage;
        for (point, chunk) in &self.finished {
            if *point <= crash.point {
                let path = Path::new(FOLDER).join(&chunk.file);
                let held = try_hold(disk, &path).unwrap_or_else(|| panic!("{crash}"));
                let packets: Vec<_> = (0..STREAMS)
                    .map(|stream| held.packets.get(&stream).map_or(0, Vec::len) as u64)
                    .collect();
                assert!(held.is_complete && packets == chunk.packets, "{crash}");
            }
        }
        let readable = self.check_files(crash);
        let now_us = crash.point.checked_sub(1).map_or(0, |it| self.times[it]);
        for stream in 0..STREAMS {
            let safe = self
                .arrivals
                .iter()
                .filter(|it| it.packet.stream.0 == stream)
                .filter(|it| it.at_us + may_be_lost_us < now_us)
                .count();
            let there = readable.get(&stream).copied().unwrap_or(0);
            assert!(
                there >= safe,
                "{there} of {safe} packets of stream {stream} are left of those that came more \
                 than {may_be_lost_us} µs ago, {now_us} µs after the start\n{crash}"
            );
        }
    }

    /// Checks that each file holds a beginning of what was written to it, and that one is whole that
    /// has its final name, or a header that speaks of its end. Returns how many packets of each stream there are.
    fn check_files(&self, crash: &Crash) -> BTreeMap<usize, usize> {
        let mut readable = BTreeMap::new();
        for name in crash.storage.list(FOLDER.as_ref()).unwrap() {
            let path = Path::new(FOLDER).join(&name);
            let is_final = name.to_str().unwrap().ends_with(".mkv");
            let Some(held) = try_hold(&crash.storage, &path) else {
                assert!(!is_final, "{}\n{crash}", path.display());
                continue;
            };
            let should_be_whole = is_final || held.claims_an_end;
            assert!(
                held.is_complete || !should_be_whole,
                "{}\n{crash}",
                path.display()
            );
            for (stream, packets) in held.packets {
                let given = self.arrivals.iter().map(|it| &it.packet);
                let mut given = given
                    .filter(|it| it.stream.0 == stream)
                    .skip_while(|it| it.pts.0 != packets[0].pts_us);
                assert!(
                    packets
                        .iter()
                        .all(|held| given.next().unwrap().data == held.data),
                    "{}\n{crash}",
                    path.display()
                );
                *readable.entry(stream).or_default() += packets.len();
            }
        }
        readable
    }

    fn check_all_crashes(&self, a_point: usize, may_be_lost_us: u64) -> usize {
        let crashes = self.disk.crashes(.., a_point);
        crashes
            .map(|crash| self.check(&crash, may_be_lost_us))
            .count()
    }
}

#[test]
fn a_power_cut_loses_a_sync_interval_at_most_and_no_finished_chunk() {
    cut_power(CRASHES_A_POINT);
}

#[test]
#[ignore = "long: two minutes"]
fn a_power_cut_loses_no_more_whatever_combination_was_written() {
    cut_power(MANY_CRASHES_A_POINT);
}

fn cut_power(crashes_a_point: usize) {
    let recording = record(0);
    let finished_before_stop = recording
        .finished
        .iter()
        .filter(|(point, _)| *point < recording.disk.now())
        .count();
    assert!(finished_before_stop >= 1, "{:?}", recording.finished);
    // A packet comes each 33 ms or more often, and the disk's work is done when one comes.
    let may_be_lost_us = SYNC_INTERVAL_US + FLUSH_AFTER_US + 34_000;
    let seen = recording.check_all_crashes(crashes_a_point, may_be_lost_us);
    // Points with few operations on the way have fewer combinations than were asked for.
    assert!(seen > 20 * crashes_a_point, "{seen}");
}

#[test]
fn a_power_cut_during_slow_syncs_loses_an_interval_and_the_syncs_in_progress() {
    // Around a boundary a folder, two files and the end of a chunk wait for one another.
    let sync_us = 40_000;
    let recording = record(sync_us);
    let may_be_lost_us = SYNC_INTERVAL_US + FLUSH_AFTER_US + 34_000 + 3 * (sync_us + 34_000);
    recording.check_all_crashes(CRASHES_A_POINT, may_be_lost_us);
}

#[test]
fn without_its_syncs_the_search_finds_losses() {
    // The same check on a writer that never syncs must complain, or it proves nothing.
    let streams = streams();
    let disk = SimStorage::new();
    let all = arrivals(&streams);
    let mut recorder = Recorder::inline(
        Arc::new(disk.clone()),
        FOLDER.as_ref(),
        &streams,
        options().never_sync(),
    );
    recorder.run(&all);
    let (events, _) = recorder.finish(all.last().unwrap().at_us);
    let chunks = finished(&events);
    let is_whole = |crash: &Crash, chunk: &ChunkSummary| {
        let path = Path::new(FOLDER).join(&chunk.file);
        crash.storage.entry(&path).is_ok()
            && try_hold(&crash.storage, &path).is_some_and(|held| held.is_complete)
    };
    let loses_one = disk
        .crashes(disk.now().., CRASHES_A_POINT)
        .any(|crash| !chunks.iter().all(|chunk| is_whole(&crash, chunk)));
    assert!(loses_one);
}
