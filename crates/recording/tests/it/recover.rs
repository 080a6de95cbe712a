//! A recording is made whole after a crash, a power cut, or damage, and nothing is thrown away.

use std::{collections::BTreeMap, fs, io::IoSlice, path::Path, process::Command};

use longtake_durable::{
    RealStorage, Storage,
    sim::{Operation, SimStorage},
};
use longtake_recording::{
    DropReason, GapReason, LockError, Manifest, Pts, RecordingLock, RecoverError, Recovered,
    Repair, find_recordings, inspect, inspect_on, recover, recover_on,
};
use serde_json::json;

use crate::{
    ffmpeg::check_plays,
    footage::{Footage, RECORDING_ID, Recorded, frame_pts, sensor, video},
};

/// Every file in a folder with its content.
type Files = BTreeMap<String, Vec<u8>>;

fn files(storage: &dyn Storage, folder: &Path) -> Files {
    let names = storage.list(folder).unwrap();
    let names = names.into_iter().map(|name| name.into_string().unwrap());
    names
        .map(|name| {
            let bytes = longtake_durable::read(storage, &folder.join(&name), 1 << 30).unwrap();
            (name, bytes)
        })
        .collect()
}

fn put(storage: &dyn Storage, path: &Path, bytes: &[u8]) {
    let file = storage.create_new(path).unwrap();
    file.write_all_at(0, &mut [IoSlice::new(bytes)]).unwrap();
    file.sync_all().unwrap();
}

/// A simulated disk with a recording's folder that holds `files`, all of it durable.
fn disk_with(files: &Files) -> SimStorage {
    let disk = SimStorage::new();
    disk.create_dir(folder()).unwrap();
    disk.sync_dir("/".as_ref()).unwrap();
    for (name, bytes) in files {
        put(&disk, &folder().join(name), bytes);
    }
    disk.sync_dir(folder()).unwrap();
    disk
}

fn folder() -> &'static Path {
    "/20260904T120314.123Z".as_ref()
}

/// How many packets each stream has, and that the folder says so consistently.
#[track_caller]
fn check_consistent(storage: &dyn Storage, folder: &Path) -> BTreeMap<String, u64> {
    let found = inspect_on(storage, folder).unwrap();
    let manifest = found.manifest.unwrap();
    assert!(manifest.consistent, "{:?}", manifest.differences);
    for chunk in found.chunks {
        assert!(chunk.complete, "{chunk:?}");
    }
    let streams = found.streams.into_iter();
    streams
        .map(|stream| (stream.name, stream.packets))
        .collect()
}

#[track_caller]
fn check_nothing_more_to_do(storage: &dyn Storage, folder: &Path) {
    let before = files(storage, folder);
    let again = recover_on(storage, folder).unwrap();
    assert!(!again.changed, "{again:?}");
    assert_eq!(again.chunks, []);
    assert!(
        files(storage, folder) == before,
        "a second run wrote something"
    );
}

#[test]
fn after_a_crash_every_chunk_is_whole_and_a_second_run_does_nothing() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("renamed by the user");
    fs::create_dir(&folder).unwrap();
    Recorded::usual().write_crashed(&folder);
    let folder = folder.canonicalize().unwrap();
    let found = find_recordings(&folder).unwrap();
    assert_eq!(found, std::slice::from_ref(&folder));

    let recovered = recover(&folder).unwrap();
    assert!(recovered.changed);
    assert_eq!(recovered.recording_id.to_string(), RECORDING_ID);
    assert_eq!(
        serde_json::to_value(&recovered.chunks).unwrap(),
        json!([{"file": "00004.mkv", "repair": "finished"}])
    );
    let counts = check_consistent(&RealStorage, &folder);
    assert_eq!(
        counts,
        BTreeMap::from([
            ("front".to_owned(), 240),
            ("imu".to_owned(), 800),
            ("side".to_owned(), 240)
        ])
    );
    check_nothing_more_to_do(&RealStorage, &folder);
    let found = inspect(&folder).unwrap();
    for chunk in &found.chunks {
        let frames = chunk.packets["front"] + chunk.packets["side"];
        check_plays(&folder.join(&chunk.file), usize::try_from(frames).unwrap());
    }

    let manifest = Manifest::read(&RealStorage, &folder).unwrap();
    assert!(manifest.recovered);
    assert_eq!(manifest.set_aside, []);
    assert_eq!(manifest.chunks.len(), 4);
    assert_eq!(manifest.host, "box");
    assert_eq!(manifest.devices[0].label, "gate");
    let last = manifest
        .streams
        .iter()
        .filter_map(|stream| stream.last_pts_us)
        .max()
        .unwrap();
    assert_eq!(last, Pts(frame_pts(239) + 500_000));
    assert_eq!(manifest.duration_s.to_string(), "8.466666");
    assert_eq!(
        manifest.stopped_at.unwrap().to_string(),
        "2026-09-04T12:03:22.589666Z",
        "the time of the last packet"
    );
    let side = manifest.stream("side").unwrap();
    assert_eq!(side.first_pts_us, Some(Pts(500_000)));
    assert_eq!(side.metadata["at"], "gate");
    assert_eq!(
        (side.width, side.height, side.fps),
        (Some(128), Some(96), Some(30.0))
    );
    assert_eq!(side.codec.unwrap().name(), "h264");
    assert_eq!((side.counts.received, side.counts.written), (240, 240));
}

#[test]
fn killed_in_the_first_chunk_it_loses_nothing_that_was_written() {
    let recorded = Recorded::tiny();
    let part = recorded.open_chunk(1).1.concat();
    let disk = disk_with(&Files::from([("00001.mkv.part".to_owned(), part)]));
    recover_on(&disk, folder()).unwrap();
    let counts = check_consistent(&disk, folder());
    assert_eq!(counts["front"], 4);
    assert_eq!(counts["imu"], 4);
}

#[test]
fn an_open_chunk_cut_at_any_byte_is_whole_up_to_its_last_good_cluster() {
    let recorded = Recorded::tiny();
    let whole = recorded.open_chunk(1).1.concat();
    check_cut_anywhere("00001.mkv.part", &whole);
}

#[test]
fn a_finished_chunk_cut_at_any_byte_is_whole_up_to_its_last_good_cluster() {
    let recorded = Recorded::tiny();
    let whole = recorded.finished_chunk(1);
    check_cut_anywhere("00001.mkv", &whole);
}

#[track_caller]
fn check_cut_anywhere(name: &str, whole: &[u8]) {
    let ends = Recorded::tiny().cluster_ends(1);
    for len in 0..=whole.len() {
        let cut = whole[..len].to_vec();
        let disk = disk_with(&Files::from([(name.to_owned(), cut)]));
        let recovered = recover_on(&disk, folder()).unwrap();
        let counts = check_consistent(&disk, folder());
        let packets = counts.values().sum::<u64>();
        assert_eq!(packets, ends.packets_within(len), "{name} cut at {len}");
        check_nothing_thrown_away(&disk, &recovered, &whole[..len]);
        check_nothing_more_to_do(&disk, folder());
    }
}

#[test]
fn a_flipped_bit_costs_what_is_behind_it_and_that_is_set_aside() {
    let recorded = Recorded::tiny();
    let whole = recorded.finished_chunk(1);
    let ends = recorded.cluster_ends(1);
    let packets: u64 = ends.packets_within(whole.len());
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        let files = Files::from([("00001.mkv".to_owned(), flipped.clone())]);
        let disk = disk_with(&files);
        let recovered = match recover_on(&disk, folder()) {
            Ok(recovered) => recovered,
            // The flip made a version newer.
            Err(RecoverError::Chunk(error)) => {
                assert!(error.to_string().contains("newer"), "{at}: {error}");
                assert!(
                    self::files(&disk, folder()) == files,
                    "{at}: refused, yet changed"
                );
                continue;
            }
            Err(error) => panic!("{at}: {error:?}"),
        };
        let counts = check_consistent(&disk, folder());
        let left = counts.values().sum::<u64>();
        assert!(left >= ends.packets_within(at), "{at}: {left}");
        assert!(left <= packets);
        check_nothing_thrown_away(&disk, &recovered, &flipped);
        check_nothing_more_to_do(&disk, folder());
    }
}

/// What only says where things are is no reason to give up what is there.
#[test]
fn a_damaged_table_of_places_costs_nothing() {
    let recorded = Recorded::tiny();
    let whole = recorded.finished_chunk(1);
    let packets: u64 = recorded.cluster_ends(1).packets_within(whole.len());
    // The ID of a SeekHead, a size of one byte, and then its checksum and entries.
    let seek_head = [0x11, 0x4D, 0x9B, 0x74];
    let head = whole
        .windows(4)
        .position(|bytes| bytes == seek_head)
        .unwrap();
    let len = usize::from(whole[head + 4] & 0x7F);
    assert!((20..120).contains(&len), "{len}");
    for at in head + 5..head + 5 + len {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        let disk = disk_with(&Files::from([("00001.mkv".to_owned(), flipped)]));
        recover_on(&disk, folder()).unwrap();
        let counts = check_consistent(&disk, folder());
        assert_eq!(counts.values().sum::<u64>(), packets, "{at}");
        check_nothing_more_to_do(&disk, folder());
        assert!(files(&disk, folder())["00001.mkv"] == whole, "{at}");
    }
}

/// All bytes of the only chunk are still there: in the chunk up to the cut, and behind it in a file of
/// their own, or they are the beginning of the index that is there now.
#[track_caller]
fn check_nothing_thrown_away(disk: &SimStorage, recovered: &Recovered, before: &[u8]) {
    let now = files(disk, folder());
    let aside = recovered
        .chunks
        .iter()
        .find_map(|chunk| match &chunk.repair {
            Repair::Cut { set_aside, .. } | Repair::Unusable { set_aside, .. } => Some(set_aside),
            _ => None,
        });
    if let Some(aside) = aside {
        let offset = usize::try_from(aside.offset).unwrap();
        assert!(now[&aside.file] == before[offset..]);
        assert_eq!(aside.bytes, (before.len() - offset) as u64);
        assert_eq!(aside.chunk, "00001.mkv");
        let manifest = Manifest::read(disk, folder()).unwrap();
        assert_eq!(manifest.set_aside, std::slice::from_ref(aside));
        if offset > 512 {
            assert!(now["00001.mkv"][512..offset] == before[512..offset]);
        }
    } else {
        // The first 512 bytes hold what a finished chunk says of its length.
        let chunk = &now["00001.mkv"];
        assert!(chunk.len() >= before.len());
        assert!(before.len() <= 512 || chunk[512..before.len()] == before[512..]);
    }
}

/// Three chunks: the first whole, the second damaged in its middle, the third torn; and a chunk of
/// which the disk has nothing but the name.
fn hurt() -> (Files, Recorded) {
    let mut front = Footage::h264_smaller().clone();
    front.packets.truncate(150);
    let recorded = Recorded::new(vec![video("front", front)]);
    let mut second = recorded.finished_chunk(2);
    let middle = second.len() / 2;
    second[middle] ^= 0x10;
    let third = recorded.open_chunk(3).1.concat();
    let files = Files::from([
        ("00001.mkv".to_owned(), recorded.finished_chunk(1)),
        ("00002.mkv".to_owned(), second),
        (
            "00003.mkv.part".to_owned(),
            third[..third.len() - 3].to_vec(),
        ),
        ("00004.mkv.part".to_owned(), Vec::new()),
    ]);
    (files, recorded)
}

#[test]
fn damage_in_the_middle_is_a_gap_with_the_reason() {
    let (hurt, recorded) = hurt();
    let disk = disk_with(&hurt);
    let recovered = recover_on(&disk, folder()).unwrap();
    let repairs: Vec<_> = recovered
        .chunks
        .iter()
        .map(|chunk| (chunk.file.as_str(), &chunk.repair))
        .collect();
    assert!(
        matches!(
            repairs[..],
            [
                ("00002.mkv", Repair::Cut { .. }),
                ("00003.mkv", Repair::Cut { .. }),
                ("00004.mkv", Repair::Unusable { .. }),
            ]
        ),
        "{repairs:?}"
    );
    let found = inspect_on(&disk, folder()).unwrap();
    let second = found.chunks[1].packets["front"];
    let manifest = Manifest::read(&disk, folder()).unwrap();
    let gap = &manifest.streams[0].gaps[..];
    let [gap] = gap else { panic!("{gap:?}") };
    let from = frame_pts(60 + usize::try_from(second).unwrap() - 1);
    assert_eq!(
        (gap.from_pts_us, gap.to_pts_us),
        (Pts(from), Pts(4_000_000))
    );
    assert_eq!(gap.reason, GapReason::Crash);
    assert_eq!(manifest.set_aside.len(), 3);
    check_nothing_more_to_do(&disk, folder());
    assert_eq!(recorded.chunks.len(), 3);
}

#[test]
fn a_power_cut_at_any_moment_of_a_recovery_costs_nothing() {
    let (hurt, _) = hurt();
    let disk = disk_with(&hurt);
    let start = disk.now();
    recover_on(&disk, folder()).unwrap();
    let want = files(&disk, folder());
    let crashes = disk.crashes(start.., 40);
    let mut seen = 0;
    for crash in crashes {
        recover_on(&crash.storage, folder()).unwrap_or_else(|error| panic!("{crash}: {error:?}"));
        let found = files(&crash.storage, folder());
        check_same(&found, &want, &crash.to_string());
        check_nothing_more_to_do(&crash.storage, folder());
        seen += 1;
    }
    assert!(seen > 50, "{seen}");
}

/// The same files with the same content. Of the manifests only what the files hold is compared: why a
/// gap is there is forgotten if the power goes before the manifest says it.
#[track_caller]
fn check_same(found: &Files, want: &Files, when: &str) {
    let names: Vec<_> = found.keys().filter(|name| !name.starts_with('.')).collect();
    let want_names: Vec<_> = want.keys().collect();
    assert_eq!(names, want_names, "{when}");
    for (name, bytes) in want {
        assert!(
            name == "manifest.json" || found[name] == *bytes,
            "{when}: {name} differs"
        );
    }
}

#[test]
fn killed_again_and_again_it_comes_to_the_same_end() {
    let recorded = Recorded::tiny();
    let write_to = |folder: &Path| {
        for sequence in 1..=40 {
            let header = recorded.chunk_header(sequence);
            let mut part = recorded.open_chunk_with(1, &header).1.concat();
            part.truncate(part.len() - 2);
            fs::write(folder.join(format!("{sequence:05}.mkv.part")), part).unwrap();
        }
    };
    let undisturbed = tempfile::tempdir().unwrap();
    write_to(undisturbed.path());
    recover(undisturbed.path()).unwrap();

    let folder = tempfile::tempdir().unwrap();
    write_to(folder.path());
    let finished = || {
        let names = RealStorage.list(folder.path()).unwrap();
        names
            .iter()
            .filter(|name| name.as_encoded_bytes().ends_with(b".mkv"))
            .count()
    };
    for enough in (3..=36).step_by(3) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_recover-folder"))
            .arg(folder.path())
            .spawn()
            .unwrap();
        while finished() < enough && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    recover(folder.path()).unwrap();
    check_consistent(&RealStorage, folder.path());
    let names = |folder: &Path| RealStorage.list(folder).unwrap();
    assert_eq!(names(folder.path()), names(undisturbed.path()));
    check_same(
        &files(&RealStorage, folder.path()),
        &files(&RealStorage, undisturbed.path()),
        "after all kills",
    );
}

#[test]
fn a_disk_that_refuses_any_one_operation_loses_nothing() {
    let (hurt, _) = hurt();
    let whole = disk_with(&hurt);
    recover_on(&whole, folder()).unwrap();
    let want = files(&whole, folder());
    for errno in [5, 28] {
        for nth in 1.. {
            let disk = disk_with(&hurt);
            disk.fail_nth(nth, errno, changes);
            match recover_on(&disk, folder()) {
                Ok(_) => {
                    assert!(nth > 20, "only {nth} operations change something");
                    break;
                }
                Err(error) => {
                    assert!(
                        matches!(
                            error,
                            RecoverError::Write { .. } | RecoverError::WriteManifest(_)
                        ),
                        "{nth}: {error:?}"
                    );
                }
            }
            recover_on(&disk, folder()).unwrap();
            check_same(&files(&disk, folder()), &want, &format!("operation {nth}"));
        }
    }
}

fn changes(operation: &Operation) -> bool {
    !matches!(
        operation,
        Operation::Open(_) | Operation::Entry(_) | Operation::List(_) | Operation::Read { .. }
    )
}

#[test]
fn counts_and_gaps_of_the_old_manifest_live_on() {
    let (hurt, recorded) = hurt();
    let disk = disk_with(&hurt);
    let header = recorded.chunk_header(1);
    let old = json!({
        "version": 1,
        "recording_id": RECORDING_ID,
        "started_at": header["started_at"],
        "stopped_at": null,
        "duration_s": 4.0,
        "host": "box",
        "program": "fieldrec 0.1.0",
        "devices": [],
        "streams": {"front": {
            "kind": "video", "codec": "h264", "width": 32, "height": 24, "fps": 30.0,
            "metadata": {}, "first_pts_us": 0, "last_pts_us": frame_pts(119),
            "counts": {
                "received": 131, "encoded": 128, "written": 121, "dropped": {"queue_full": 3},
            },
            "gaps": [{"from_pts_us": 10, "to_pts_us": 20, "reason": "encoder"}],
        }},
        "chunks": [],
        "recovered": false,
    });
    put(
        &disk,
        &folder().join("manifest.json"),
        old.to_string().as_bytes(),
    );
    let recovered = recover_on(&disk, folder()).unwrap();
    let found = inspect_on(&disk, folder()).unwrap();
    let left = found.streams[0].packets;
    let manifest = Manifest::read(&disk, folder()).unwrap();
    let front = &manifest.streams[0];
    assert_eq!(front.counts.received, 131);
    assert_eq!(front.counts.written, left);
    assert_eq!(front.counts.dropped[&DropReason::QueueFull], 3);
    assert_eq!(front.counts.dropped[&DropReason::Crash], 128 - left);
    assert_eq!(recovered.streams[0].lost, 128 - left);
    let reasons: Vec<_> = front.gaps.iter().map(|gap| gap.reason).collect();
    assert_eq!(reasons, [GapReason::Encoder, GapReason::Crash]);
    assert!(found.manifest.unwrap().consistent);
    check_nothing_more_to_do(&disk, folder());
}

#[test]
fn a_torn_manifest_is_set_aside_and_built_anew() {
    let (mut hurt, _) = hurt();
    hurt.insert("manifest.json".to_owned(), b"{\"version\": 1, ".to_vec());
    let disk = disk_with(&hurt);
    recover_on(&disk, folder()).unwrap();
    check_consistent(&disk, folder());
    assert_eq!(
        files(&disk, folder())["manifest.json.0.torn"],
        b"{\"version\": 1, "
    );
    check_nothing_more_to_do(&disk, folder());
}

#[test]
fn a_newer_format_is_refused_and_nothing_is_changed() {
    let (hurt, recorded) = hurt();
    let mut header = recorded.chunk_header(4);
    header["version"] = json!(2);
    let newer_chunk = recorded.open_chunk_with(3, &header).1.concat();
    for (name, bytes) in [
        ("00005.mkv.part", newer_chunk),
        ("manifest.json", b"{\"version\": 2}".to_vec()),
    ] {
        let mut files = hurt.clone();
        files.insert(name.to_owned(), bytes);
        let disk = disk_with(&files);
        let error = recover_on(&disk, folder()).unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains(name) && message.contains("version 2"),
            "{message}"
        );
        assert!(self::files(&disk, folder()) == files);
    }
}

#[test]
fn a_recording_that_goes_on_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    Recorded::tiny().write_crashed(folder.path());
    let before = files(&RealStorage, folder.path());
    let recorder = RecordingLock::take(folder.path()).unwrap();
    let error = recover(folder.path()).unwrap_err();
    assert!(
        matches!(error, RecoverError::Lock(LockError::InUse { .. })),
        "{error:?}"
    );
    assert!(files(&RealStorage, folder.path()) == before);
    drop(recorder);
    recover(folder.path()).unwrap();
}

#[test]
fn a_folder_that_is_no_recording_is_left_alone() {
    let disk = SimStorage::new();
    let downloads: &Path = "/downloads".as_ref();
    disk.create_dir(downloads).unwrap();
    put(&disk, &downloads.join("film.mkv.part"), b"half a film");
    let error = recover_on(&disk, downloads).unwrap_err();
    assert!(
        matches!(error, RecoverError::NoRecording { .. }),
        "{error:?}"
    );
    assert_eq!(files(&disk, downloads).len(), 1);
    assert_eq!(files(&disk, downloads)["film.mkv.part"], b"half a film");
}

#[test]
fn killed_before_the_first_packet_it_is_an_empty_recording() {
    let recorded = Recorded::tiny();
    let header = recorded.open_chunk(1).1[0].to_vec();
    for part in [header, Vec::new()] {
        let disk = disk_with(&Files::from([("00001.mkv.part".to_owned(), part.clone())]));
        let recovered = recover_on(&disk, folder()).unwrap();
        assert!(matches!(
            recovered.chunks[0].repair,
            Repair::Unusable { .. }
        ));
        let manifest = Manifest::read(&disk, folder()).unwrap();
        assert_eq!(manifest.chunks, []);
        assert_eq!(manifest.duration_s.to_string(), "0");
        assert_eq!(files(&disk, folder())["00001.mkv.0.torn"], part);
        check_nothing_more_to_do(&disk, folder());
    }
}

#[test]
fn a_chunk_that_is_there_twice_is_touched_by_nobody() {
    let (mut hurt, recorded) = hurt();
    hurt.insert("00003.mkv".to_owned(), recorded.finished_chunk(3));
    let disk = disk_with(&hurt);
    let error = recover_on(&disk, folder()).unwrap_err();
    assert!(matches!(error, RecoverError::NameTaken { .. }), "{error:?}");
    let now = files(&disk, folder());
    for name in ["00003.mkv", "00003.mkv.part"] {
        assert!(now[name] == hurt[name]);
    }
}

#[test]
fn players_do_not_see_a_camera_that_had_not_begun() {
    let recorded = Recorded::new(vec![
        video("front", Footage::h264().clone()),
        video("late", Footage::h264_smaller().later(5_000_000)),
    ]);
    let folder = tempfile::tempdir().unwrap();
    let part = recorded.open_chunk(1).1.concat();
    fs::write(folder.path().join("00001.mkv.part"), part).unwrap();
    recover(folder.path()).unwrap();
    check_plays(&folder.path().join("00001.mkv"), 60);
    check_nothing_more_to_do(&RealStorage, folder.path());
    let manifest = Manifest::read(&RealStorage, folder.path()).unwrap();
    let names: Vec<_> = manifest.streams.iter().map(|stream| &stream.name).collect();
    assert_eq!(names, ["front", "late"]);
    assert_eq!(manifest.streams[1].codec, None);
}

#[test]
fn a_copy_of_a_chunk_counts_once() {
    let recorded = Recorded::tiny();
    let chunk = recorded.finished_chunk(1);
    let disk = disk_with(&Files::from([
        ("00001.mkv".to_owned(), chunk.clone()),
        ("00001 (copy).mkv".to_owned(), chunk.clone()),
    ]));
    recover_on(&disk, folder()).unwrap();
    assert_eq!(check_consistent(&disk, folder())["front"], 4);
    let manifest = Manifest::read(&disk, folder()).unwrap();
    assert_eq!(manifest.chunks.len(), 1);
    assert_eq!(manifest.chunks[0].file, "00001.mkv");
    assert!(files(&disk, folder())["00001 (copy).mkv"] == chunk);
    check_nothing_more_to_do(&disk, folder());
}

#[test]
fn files_that_are_no_chunks_of_the_recording_stay_as_they_are() {
    let (mut hurt, recorded) = hurt();
    let mut header = recorded.chunk_header(1);
    header["recording_id"] = json!("20200101T000000.000Z");
    let stranger = recorded.open_chunk_with(1, &header).1.concat();
    hurt.insert("zz.mkv.part".to_owned(), stranger.clone());
    hurt.insert("notes.txt".to_owned(), b"rain at noon".to_vec());
    let disk = disk_with(&hurt);
    recover_on(&disk, folder()).unwrap();
    let now = files(&disk, folder());
    assert!(now["zz.mkv.part"] == stranger);
    assert_eq!(now["notes.txt"], b"rain at noon");
    check_consistent(&disk, folder());
}

#[test]
fn a_recorder_that_died_between_two_cameras_says_which_ends_early() {
    let recorded = Recorded::new(vec![
        video("front", Footage::h264().without(7_000_000, i64::MAX)),
        sensor("imu"),
    ]);
    let folder = tempfile::tempdir().unwrap();
    recorded.write_crashed(folder.path());
    let recovered = recover(folder.path()).unwrap();
    assert_eq!(recovered.streams[0].ends_early_us, 7_990_007 - 6_966_666);
    assert_eq!(recovered.streams[1].ends_early_us, 0);
}
