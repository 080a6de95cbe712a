//! One file from a recording: every packet, at its time, in its order.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::IoSlice,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use longtake_durable::{
    Storage,
    sim::{Operation, SimStorage},
};
use longtake_matroska::{Header, Reader};
use longtake_recording::{
    ExportError, ExportOptions, ExportPhase, ExportProgress, Exported, Moment, Pts, export,
    export_on, inspect,
};
use serde_json::{Value, json};

use crate::{
    ffmpeg::check_plays,
    footage::{
        Footage, FootagePacket, RECORDING_ID, Recorded, RecordedStream, frame_pts, sensor, video,
    },
};

/// What is in an exported file.
struct Found {
    header: Header,
    /// The packets of each track by name, in the order of the file.
    tracks: BTreeMap<String, Vec<FootagePacket>>,
    /// The earliest time in each cluster.
    cluster_times: Vec<i64>,
}

fn read(file: &Path) -> Found {
    let mut reader = Reader::new(File::open(file).unwrap()).unwrap();
    let header = reader.header().clone();
    let mut tracks: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let mut cluster_times = Vec::new();
    while let Some(cluster) = reader.next_cluster().unwrap() {
        cluster_times.push(cluster.first_pts_us());
        for block in cluster.blocks() {
            let mut named = header
                .tracks
                .iter()
                .filter(|track| track.number == block.track);
            let name = named.next().unwrap().name.clone();
            tracks.entry(name).or_default().push(FootagePacket {
                pts_us: block.pts_us,
                keyframe: block.keyframe,
                data: block.data,
            });
        }
    }
    assert!(reader.is_complete());
    Found {
        header,
        tracks,
        cluster_times,
    }
}

/// A recording on the real disk, and where it is exported to.
struct Exporting {
    root: tempfile::TempDir,
}

impl Exporting {
    fn finished(recorded: &Recorded) -> Self {
        let exporting = Self::empty();
        recorded.write_finished(&exporting.folder());
        exporting
    }

    fn crashed(recorded: &Recorded) -> Self {
        let exporting = Self::empty();
        recorded.write_crashed(&exporting.folder());
        exporting
    }

    fn empty() -> Self {
        let root = tempfile::tempdir().unwrap();
        let exporting = Self { root };
        fs::create_dir(exporting.folder()).unwrap();
        exporting
    }

    fn folder(&self) -> PathBuf {
        self.root.path().join(RECORDING_ID)
    }

    fn output(&self) -> PathBuf {
        self.root.path().join("all.mkv")
    }

    fn export(&self, options: ExportOptions) -> Result<Exported, ExportError> {
        export(&self.folder(), &self.output(), options, |_| {
            ControlFlow::Continue(())
        })
    }

    #[track_caller]
    fn exported(&self, options: ExportOptions) -> Found {
        let exported = self.export(options).unwrap();
        assert_eq!(exported.damage, [""; 0]);
        let found = read(&self.output());
        let counts: BTreeMap<_, _> = exported
            .tracks
            .into_iter()
            .map(|track| (track.name, track.packets))
            .collect();
        let want = found
            .tracks
            .iter()
            .map(|(name, packets)| (name.clone(), packets.len() as u64));
        assert_eq!(counts, want.collect());
        found
    }

    /// The names beside the recording.
    fn beside(&self) -> Vec<String> {
        let entries = fs::read_dir(self.root.path()).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != RECORDING_ID)
            .collect();
        names.sort();
        names
    }
}

fn seconds(seconds: f64) -> Moment {
    seconds.to_string().parse().unwrap()
}

fn whole() -> ExportOptions {
    ExportOptions::default()
}

#[track_caller]
fn check_tracks(found: &Found, want: &[(&str, &[FootagePacket])]) {
    let names: Vec<_> = want.iter().map(|(name, _)| *name).collect();
    let found_names: Vec<_> = found
        .header
        .tracks
        .iter()
        .map(|track| &track.name)
        .collect();
    assert_eq!(found_names, names);
    for (name, packets) in want {
        let times = |packets: &[FootagePacket]| -> Vec<i64> {
            packets.iter().map(|packet| packet.pts_us).collect()
        };
        assert_eq!(times(&found.tracks[*name]), times(packets), "{name}");
        assert!(found.tracks[*name] == *packets, "{name}");
    }
}

/// How far the clusters jump back in time at most.
fn longest_jump_back(found: &Found) -> i64 {
    let mut latest = i64::MIN;
    let mut longest = 0;
    for time in &found.cluster_times {
        latest = latest.max(*time);
        longest = longest.max(latest - time);
    }
    longest
}

#[test]
fn a_recording_comes_out_whole_with_every_offset() {
    let recorded = Recorded::usual();
    let exporting = Exporting::finished(&recorded);
    let found = exporting.exported(whole());
    let want: Vec<_> = recorded
        .streams
        .iter()
        .map(|stream| (stream.name, &stream.footage.packets[..]))
        .collect();
    check_tracks(&found, &want);
    assert_eq!(found.tracks["side"][0].pts_us, 500_000, "its own start");
    check_plays(&exporting.output(), 480);
    assert!(longest_jump_back(&found) <= 200_000);
    assert_eq!(exporting.beside(), ["all.mkv"]);

    let tag = &found.header.info.tags[0];
    assert_eq!(tag.name, "LONGTAKE_EXPORT");
    let said: Value = serde_json::from_str(&tag.value).unwrap();
    assert_eq!(said["version"], 1);
    assert_eq!(said["recording_id"], RECORDING_ID);
    assert_eq!(said["from_pts_us"], Value::Null);
    assert_eq!(
        said["clock"],
        json!([{"pts_us": 0, "realtime": "2026-09-04T12:03:14.123Z"}]),
        "nobody set the clock"
    );
    assert_eq!(said["streams"][1]["name"], "side");
}

#[test]
fn clusters_are_copied_as_they_are() {
    let recorded = Recorded::usual();
    let exporting = Exporting::finished(&recorded);
    exporting.export(whole()).unwrap();
    let export = fs::read(exporting.output()).unwrap();
    let mut reader = Reader::new(&export[..]).unwrap();
    let mut copied = Vec::new();
    while let Some(cluster) = reader.next_cluster().unwrap() {
        copied.push(cluster.raw().clone());
    }
    let mut originals = Vec::new();
    for sequence in recorded.chunks.keys() {
        let chunk = recorded.finished_chunk(*sequence);
        let mut reader = Reader::new(&chunk[..]).unwrap();
        while let Some(cluster) = reader.next_cluster().unwrap() {
            originals.push(cluster.raw().clone());
        }
    }
    copied.sort();
    originals.sort();
    assert!(copied == originals);
}

#[test]
fn streams_that_leave_a_chunk_late_keep_their_order_and_their_times() {
    // The keyframes of one stream are 3.9 s apart, so it leaves chunks far behind the others; another
    // comes out of its encoder 600 ms after it was captured.
    let mut rare = Footage::h264().clone();
    for (number, packet) in rare.packets.iter_mut().enumerate() {
        packet.keyframe = number % 117 == 0;
    }
    let slow = RecordedStream {
        latency_us: 600_000,
        ..video("slow", Footage::h264_with_b_frames().clone())
    };
    let recorded = Recorded::new(vec![video("rare", rare), slow, sensor("imu")]);
    let exporting = Exporting::finished(&recorded);
    let found = exporting.exported(whole());
    let want: Vec<_> = recorded
        .streams
        .iter()
        .map(|stream| (stream.name, &stream.footage.packets[..]))
        .collect();
    check_tracks(&found, &want);
    let jump = longest_jump_back(&found);
    assert!(
        jump <= 700_000,
        "{jump} µs: ffmpeg says nothing up to 700 ms"
    );
}

#[test]
fn gaps_stay_as_long_as_they_are() {
    let front = Footage::h264().without(2_900_000, 6_000_000);
    let mut recorded = Recorded::new(vec![video("front", front)]);
    // Of the chunk in which nothing happened there is no file.
    assert!(recorded.chunks.remove(&3).is_none());
    let exporting = Exporting::finished(&recorded);
    let found = exporting.exported(whole());
    check_tracks(&found, &[("front", &recorded.streams[0].footage.packets)]);
    check_plays(&exporting.output(), found.tracks["front"].len());
    let gaps = &inspect(&exporting.output()).unwrap().streams[0].gaps;
    assert_eq!(gaps.len(), 1);
    assert_eq!(gaps[0].from_pts_us, Pts(frame_pts(86)));
    assert_eq!(gaps[0].to_pts_us, Pts(6_000_000));
}

#[test]
fn a_crashed_recording_needs_no_recovery_first() {
    let recorded = Recorded::usual();
    let exporting = Exporting::crashed(&recorded);
    let part = exporting.folder().join("00004.mkv.part");
    let mut torn = fs::read(&part).unwrap();
    torn.truncate(torn.len() - 5);
    fs::write(&part, torn).unwrap();
    let found = exporting.exported(whole());
    let packets: usize = found.tracks.values().map(Vec::len).sum();
    assert!((1270..1280).contains(&packets), "{packets}");
    for stream in &recorded.streams {
        let got = &found.tracks[stream.name];
        assert!(got[..] == stream.footage.packets[..got.len()]);
    }
}

#[test]
fn damage_is_told_and_what_comes_after_is_there() {
    let recorded = Recorded::new(vec![video("front", Footage::h264().clone())]);
    let exporting = Exporting::finished(&recorded);
    let hurt = exporting.folder().join("00002.mkv");
    let mut bytes = fs::read(&hurt).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&hurt, bytes).unwrap();
    let exported = exporting.export(whole()).unwrap();
    assert_eq!(exported.damage.len(), 1);
    assert!(
        exported.damage[0].starts_with("00002.mkv: damaged at byte"),
        "{:?}",
        exported.damage
    );
    let found = read(&exporting.output());
    let times: Vec<_> = found.tracks["front"]
        .iter()
        .map(|packet| packet.pts_us)
        .collect();
    let after: Vec<_> = (120..240).map(frame_pts).collect();
    assert!(times.ends_with(&after));
    assert!(times.len() < 240);
}

#[test]
fn a_range_begins_at_a_keyframe_and_ends_before_its_end() {
    let recorded = Recorded::usual();
    let exporting = Exporting::finished(&recorded);
    let found = exporting.exported(whole().from(seconds(3.5)).to(seconds(5.0)));
    let part = |stream: usize, from: i64, to: i64| -> Vec<FootagePacket> {
        let packets = recorded.streams[stream].footage.packets.iter();
        packets
            .filter(|packet| (from..to).contains(&packet.pts_us))
            .cloned()
            .collect()
    };
    assert!(found.tracks["front"] == part(0, 3_000_000, 5_000_000));
    assert!(found.tracks["imu"] == part(2, 3_500_000, 5_000_000));
    // The last keyframe of this one is at 0.5 + 3 * 0.8 s. Of its B-frames each has what it needs.
    let side = &found.tracks["side"];
    assert_eq!(side[0].pts_us, frame_pts(72) + 500_000);
    assert!(side[0].keyframe);
    for packet in part(1, 2_900_000, 5_000_000) {
        assert!(side.contains(&packet), "{}", packet.pts_us);
    }
    let beyond = side
        .iter()
        .filter(|packet| packet.pts_us >= 5_000_000)
        .count();
    assert!(beyond <= 1, "{beyond}");
    check_plays(
        &exporting.output(),
        found.tracks["front"].len() + side.len(),
    );
}

#[test]
fn a_keyframe_at_the_beginning_of_the_range_is_enough() {
    let recorded = Recorded::new(vec![video("front", Footage::h264().clone())]);
    let exporting = Exporting::finished(&recorded);
    for (from, first) in [
        (4.0, 4_000_000),
        (3.999_999, 3_000_000),
        (0.0, 0),
        (7.99, 7_000_000),
    ] {
        let found = exporting.exported(whole().from(seconds(from)).overwrite());
        assert_eq!(found.tracks["front"][0].pts_us, first, "from {from}");
    }
}

#[test]
fn a_range_may_be_said_in_wall_clock_time() {
    let recorded = Recorded::new(vec![sensor("imu")]);
    let exporting = Exporting::finished(&recorded);
    let found = exporting.exported(
        whole()
            .from("2026-09-04T14:03:16.123+02:00".parse().unwrap())
            .to("2026-09-04T12:03:16.223Z".parse().unwrap()),
    );
    let times: Vec<_> = found.tracks["imu"]
        .iter()
        .map(|packet| packet.pts_us)
        .collect();
    let want: Vec<_> = (200..210).map(|n| n * 10_000 + 7).collect();
    assert_eq!(times, want);
}

#[test]
fn a_stream_that_is_silent_at_the_beginning_of_the_range_begins_behind_its_silence() {
    let recorded = Recorded::new(vec![
        video("front", Footage::h264().without(1_500_000, 6_000_000)),
        sensor("imu"),
    ]);
    let exporting = Exporting::finished(&recorded);
    let found = exporting.exported(whole().from(seconds(5.5)));
    assert_eq!(found.tracks["front"][0].pts_us, 6_000_000);
    // A hole of less than a second is none.
    let found = exporting.exported(whole().from(seconds(2.0)).overwrite());
    assert_eq!(found.tracks["front"][0].pts_us, 1_000_000);
}

#[test]
fn a_stream_with_nothing_in_the_range_has_no_track() {
    let recorded = Recorded::new(vec![
        video("front", Footage::h264().clone()),
        video("late", Footage::h264_smaller().later(5_000_000)),
    ]);
    let exporting = Exporting::finished(&recorded);
    let found = exporting.exported(whole().to(seconds(5.0)));
    check_tracks(
        &found,
        &[("front", &recorded.streams[0].footage.packets[..150])],
    );
    check_plays(&exporting.output(), 150);
}

#[test]
fn parameters_that_change_make_a_second_track() {
    let recorded = Recorded::new(vec![
        video("front", Footage::h264().without(4_000_000, i64::MAX)),
        sensor("imu"),
    ]);
    let changed = Recorded::new(vec![
        video("front", Footage::h264_smaller().without(0, 4_000_000)),
        sensor("imu"),
    ]);
    let exporting = Exporting::empty();
    for (sequence, recorded) in [(1, &recorded), (2, &recorded), (3, &changed), (4, &changed)] {
        let path = exporting.folder().join(format!("{sequence:05}.mkv"));
        fs::write(path, recorded.finished_chunk(sequence)).unwrap();
    }
    let found = exporting.exported(whole());
    check_tracks(
        &found,
        &[
            ("front", &recorded.streams[0].footage.packets),
            ("imu", &recorded.streams[1].footage.packets),
            ("front (2)", &changed.streams[0].footage.packets),
        ],
    );
    let numbers: Vec<_> = found
        .header
        .tracks
        .iter()
        .map(|track| track.number)
        .collect();
    assert_eq!(numbers, [1, 2, 3]);
    check_plays(&exporting.output(), 240);
}

#[test]
fn what_cannot_be_exported_is_said() {
    let recorded = Recorded::new(vec![video("front", Footage::h264().clone())]);
    let exporting = Exporting::finished(&recorded);
    let empty = exporting
        .export(whole().from(seconds(3.0)).to(seconds(3.0)))
        .unwrap_err();
    assert!(matches!(empty, ExportError::EmptyRange { .. }), "{empty:?}");
    let nothing = exporting.export(whole().from(seconds(60.0))).unwrap_err();
    assert!(
        matches!(nothing, ExportError::NothingInRange),
        "{nothing:?}"
    );
    let none = Exporting::empty().export(whole()).unwrap_err();
    assert!(matches!(none, ExportError::NoRecording { .. }), "{none:?}");
    let nowhere = exporting.root.path().join("missing/all.mkv");
    let error = export(&exporting.folder(), &nowhere, whole(), |_| {
        ControlFlow::Continue(())
    });
    assert!(matches!(error, Err(ExportError::Write { .. })), "{error:?}");
    assert_eq!(exporting.beside(), [""; 0]);
}

#[test]
fn what_is_there_is_replaced_only_if_told_so_and_a_chunk_never() {
    let recorded = Recorded::tiny();
    let exporting = Exporting::finished(&recorded);
    fs::write(exporting.output(), "precious").unwrap();
    let error = exporting.export(whole()).unwrap_err();
    assert!(matches!(error, ExportError::Exists { .. }), "{error:?}");
    assert_eq!(fs::read(exporting.output()).unwrap(), b"precious");
    exporting.exported(whole().overwrite());

    let chunk = recorded.finished_chunk(1);
    fs::write(exporting.output(), &chunk).unwrap();
    for output in [
        exporting.output(),
        exporting.folder().join("00001.mkv"),
        exporting.folder().join("00002.mkv"),
    ] {
        let options = whole().overwrite();
        let error = export(&exporting.folder(), &output, options, |_| {
            ControlFlow::Continue(())
        });
        assert!(
            matches!(error, Err(ExportError::IsChunk { .. })),
            "{error:?}"
        );
    }
    assert!(fs::read(exporting.output()).unwrap() == chunk);
}

#[test]
fn an_export_in_the_folder_of_its_recording_is_no_chunk() {
    let recorded = Recorded::tiny();
    let exporting = Exporting::finished(&recorded);
    let output = exporting.folder().join("all.mkv");
    for _ in 0..2 {
        let options = whole().overwrite();
        export(&exporting.folder(), &output, options, |_| {
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(read(&output).tracks["front"].len(), 4);
        assert_eq!(inspect(&exporting.folder()).unwrap().chunks.len(), 1);
    }
}

#[test]
fn one_export_to_a_path_at_a_time_and_a_dead_one_holds_nobody() {
    let exporting = Exporting::finished(&Recorded::tiny());
    let half = exporting.root.path().join(".all.mkv.export");
    fs::write(&half, vec![7; 100_000]).unwrap();
    let other = File::open(&half).unwrap();
    other.lock().unwrap();
    let error = exporting.export(whole()).unwrap_err();
    assert!(matches!(error, ExportError::Lock(_)), "{error:?}");
    assert_eq!(exporting.beside(), [".all.mkv.export"]);
    drop(other);
    exporting.exported(whole());
    assert_eq!(exporting.beside(), ["all.mkv"]);
}

#[test]
fn progress_is_told_and_a_cancelled_export_leaves_nothing() {
    let exporting = Exporting::finished(&Recorded::usual());
    let mut told: Vec<ExportProgress> = Vec::new();
    export(
        &exporting.folder(),
        &exporting.output(),
        whole(),
        |progress| {
            told.push(progress);
            ControlFlow::Continue(())
        },
    )
    .unwrap();
    assert_eq!(told[0].phase, ExportPhase::Copying);
    assert_eq!(told.last().unwrap().phase, ExportPhase::Verifying);
    for progress in &told {
        assert!(progress.done_bytes <= progress.total_bytes, "{progress:?}");
    }
    fs::remove_file(exporting.output()).unwrap();

    for phase in [ExportPhase::Copying, ExportPhase::Verifying] {
        let cancelled = export(
            &exporting.folder(),
            &exporting.output(),
            whole(),
            |progress| {
                if progress.phase == phase {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            },
        );
        assert!(
            matches!(cancelled, Err(ExportError::Cancelled)),
            "{cancelled:?}"
        );
        assert_eq!(exporting.beside(), [""; 0]);
    }
}

/// A simulated disk with a recording, all of it durable.
fn disk_with(recorded: &Recorded) -> SimStorage {
    let disk = SimStorage::new();
    disk.create_dir("/recording".as_ref()).unwrap();
    disk.sync_dir("/".as_ref()).unwrap();
    for sequence in recorded.chunks.keys() {
        let path = format!("/recording/{sequence:05}.mkv");
        let file = disk.create_new(path.as_ref()).unwrap();
        let chunk = recorded.finished_chunk(*sequence);
        file.write_all_at(0, &mut [IoSlice::new(&chunk)]).unwrap();
        file.sync_all().unwrap();
    }
    disk.sync_dir("/recording".as_ref()).unwrap();
    disk
}

fn export_sim(disk: &SimStorage, options: ExportOptions) -> Result<Exported, ExportError> {
    let (folder, output) = ("/recording".as_ref(), "/all.mkv".as_ref());
    export_on(disk, folder, output, options, |_| ControlFlow::Continue(()))
}

fn content(disk: &SimStorage) -> Option<Vec<u8>> {
    longtake_durable::read(disk, "/all.mkv".as_ref(), 1 << 30).ok()
}

#[test]
fn a_full_disk_is_said_and_nothing_is_left() {
    let disk = disk_with(&Recorded::usual());
    let bytes: u64 = 4 * 4096
        + ["1", "2", "3", "4"]
            .iter()
            .map(
                |number| match disk.entry(format!("/recording/0000{number}.mkv").as_ref()) {
                    Ok(longtake_durable::Entry::File { len }) => len,
                    other => panic!("{other:?}"),
                },
            )
            .sum::<u64>();
    disk.set_capacity(bytes + 100_000);
    let error = export_sim(&disk, whole()).unwrap_err();
    assert!(matches!(error, ExportError::DiskFull { .. }), "{error:?}");
    assert_eq!(disk.list("/".as_ref()).unwrap(), ["recording"]);
    disk.set_capacity(u64::MAX);
    export_sim(&disk, whole()).unwrap();
}

#[test]
fn a_power_cut_leaves_the_old_file_or_the_new_one_and_the_recording() {
    let disk = disk_with(&Recorded::tiny());
    let whole_export = export_sim(&disk, whole()).map(|_| content(&disk)).unwrap();
    let start = disk.now();
    let options = whole().from(seconds(0.000_007)).overwrite();
    export_sim(&disk, options).unwrap();
    let part_export = content(&disk);
    assert!(whole_export != part_export);
    let published = disk.now();
    for crash in disk.crashes(start..=published, 200) {
        let found = content(&crash.storage);
        let is_old = found == whole_export;
        assert!(is_old || found == part_export, "{crash}");
        assert!(!is_old || crash.point < published, "{crash}");
        export_sim(&crash.storage, options).unwrap();
        assert!(content(&crash.storage) == part_export, "{crash}");
        let names = crash.storage.list("/".as_ref()).unwrap();
        assert_eq!(names, ["all.mkv", "recording"], "{crash}");
    }
}

#[test]
fn a_disk_that_refuses_any_one_operation_keeps_what_was_there() {
    for nth in 1.. {
        let disk = disk_with(&Recorded::tiny());
        disk.fail_nth(nth, 5, |operation| {
            let on_output = |path: &Path| !path.starts_with("/recording");
            match operation {
                Operation::Create(path)
                | Operation::Write { path, .. }
                | Operation::SyncDir(path)
                | Operation::SyncData(path)
                | Operation::SyncAll(path) => on_output(path),
                Operation::Rename { .. } => true,
                _ => false,
            }
        });
        match export_sim(&disk, whole()) {
            Ok(_) => {
                assert!(nth > 6, "only {nth} operations");
                break;
            }
            Err(error) => {
                assert!(
                    matches!(error, ExportError::Write { .. }),
                    "{nth}: {error:?}"
                );
            }
        }
    }
}
