//! Whatever is done to the files of a recording, nothing panics, and recovering twice is enough.

use std::{collections::BTreeMap, io::IoSlice, ops::ControlFlow, path::Path};

use longtake_durable::{Storage, sim::SimStorage};
use longtake_recording::{ExportOptions, Pts, export_on, inspect_on, recover_on};
use proptest::prelude::*;

use crate::footage::{Footage, RECORDING_ID, Recorded, sensor, video};

type Files = BTreeMap<String, Vec<u8>>;

/// One thing that a disk, a crash or a user does to a file.
#[derive(Debug, Clone)]
enum Harm {
    Flip {
        at: u16,
        bit: u8,
    },
    Cut {
        at: u16,
    },
    Zero {
        at: u16,
        len: u16,
    },
    Fill {
        at: u16,
        bytes: Vec<u8>,
    },
    Double {
        at: u16,
    },
    Remove,
    /// It has the content of another file.
    Swap {
        other: u8,
    },
}

fn harm() -> impl Strategy<Value = (u8, Harm)> {
    let harm = prop_oneof![
        4 => (any::<u16>(), 0..8_u8).prop_map(|(at, bit)| Harm::Flip { at, bit }),
        3 => any::<u16>().prop_map(|at| Harm::Cut { at }),
        2 => (any::<u16>(), 1..9000_u16).prop_map(|(at, len)| Harm::Zero { at, len }),
        2 => (any::<u16>(), proptest::collection::vec(any::<u8>(), 1..40))
            .prop_map(|(at, bytes)| Harm::Fill { at, bytes }),
        1 => any::<u16>().prop_map(|at| Harm::Double { at }),
        1 => Just(Harm::Remove),
        1 => any::<u8>().prop_map(|other| Harm::Swap { other }),
    ];
    (any::<u8>(), harm)
}

impl Harm {
    fn apply(self, files: &mut Files, name: &str) {
        let others: Vec<_> = files.values().cloned().collect();
        let bytes = files.get_mut(name).unwrap();
        let place = |at: u16| usize::from(at) * bytes.len() / 65_536;
        match self {
            _ if bytes.is_empty() => {}
            Self::Flip { at, bit } => {
                let at = place(at);
                bytes[at] ^= 1 << bit;
            }
            Self::Cut { at } => bytes.truncate(place(at)),
            Self::Zero { at, len } => {
                let at = place(at);
                let end = (at + usize::from(len)).min(bytes.len());
                bytes[at..end].fill(0);
            }
            Self::Fill { at, bytes: fill } => {
                let at = place(at);
                let end = (at + fill.len()).min(bytes.len());
                bytes[at..end].copy_from_slice(&fill[..end - at]);
            }
            Self::Double { at } => bytes.extend_from_within(place(at)..),
            Self::Remove => drop(files.remove(name)),
            Self::Swap { other } => *bytes = others[usize::from(other) % others.len()].clone(),
        }
    }
}

/// Three small chunks, the last of them unfinished, and their manifest.
fn recording() -> Files {
    let mut front = Footage::h264_smaller().clone();
    front.packets.truncate(150);
    let mut imu = sensor("imu");
    imu.footage
        .packets
        .retain(|packet| packet.pts_us < 5_000_000);
    let recorded = Recorded::new(vec![video("front", front), imu]);
    let disk = SimStorage::new();
    let files = Files::from([
        ("00001.mkv".to_owned(), recorded.finished_chunk(1)),
        ("00002.mkv".to_owned(), recorded.finished_chunk(2)),
    ]);
    put_all(&disk, &files);
    recover_on(&disk, folder()).unwrap();
    let mut files = files_of(&disk);
    files.insert(
        "00003.mkv.part".to_owned(),
        recorded.open_chunk(3).1.concat(),
    );
    files
}

fn folder() -> &'static Path {
    "/20260904T120314.123Z".as_ref()
}

fn put_all(disk: &SimStorage, files: &Files) {
    assert!(folder().ends_with(RECORDING_ID));
    disk.create_dir(folder()).unwrap();
    for (name, bytes) in files {
        let file = disk.create_new(&folder().join(name)).unwrap();
        file.write_all_at(0, &mut [IoSlice::new(bytes)]).unwrap();
    }
}

fn files_of(disk: &SimStorage) -> Files {
    let names = disk.list(folder()).unwrap().into_iter();
    names
        .map(|name| {
            let path = folder().join(&name);
            let bytes = longtake_durable::read(disk, &path, 1 << 30).unwrap();
            (name.into_string().unwrap(), bytes)
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_files_are_survived(harms in proptest::collection::vec(harm(), 1..6), from in 0..6_i64) {
        check(harms, from)?;
    }
}

/// One chunk is a copy of another, and nothing can be found in it any more.
#[test]
fn a_copy_counts_when_nothing_is_left_of_the_first() {
    let harms = vec![
        (61, Harm::Swap { other: 10 }),
        (221, Harm::Zero { at: 2953, len: 1 }),
    ];
    check(harms, 0).unwrap();
}

/// Harms a recording, and wants every command to cope with it and recovery to be done at once.
fn check(harms: Vec<(u8, Harm)>, from: i64) -> Result<(), TestCaseError> {
    let mut files = recording();
    for (which, harm) in harms {
        let names: Vec<_> = files.keys().cloned().collect();
        if !names.is_empty() {
            harm.apply(&mut files, &names[usize::from(which) % names.len()]);
        }
    }
    let disk = SimStorage::new();
    put_all(&disk, &files);
    // Most of these fail; none may panic.
    drop(inspect_on(&disk, folder()));
    let options =
        ExportOptions::default().from(longtake_recording::Moment::Session(Pts(from * 1_000_000)));
    let early = export_on(&disk, folder(), "/early.mkv".as_ref(), options, |_| {
        ControlFlow::Continue(())
    });
    drop(early);

    if recover_on(&disk, folder()).is_err() {
        return Ok(());
    }
    let after = files_of(&disk);
    let again = recover_on(&disk, folder()).unwrap();
    prop_assert!(!again.changed, "{again:?}");
    prop_assert!(files_of(&disk) == after);
    let found = inspect_on(&disk, folder()).unwrap();
    let manifest = found.manifest.unwrap();
    prop_assert!(manifest.consistent, "{:?}", manifest.differences);
    let packets: u64 = found.streams.iter().map(|stream| stream.packets).sum();
    let whole = export_on(
        &disk,
        folder(),
        "/all.mkv".as_ref(),
        ExportOptions::default(),
        |_| ControlFlow::Continue(()),
    );
    match whole {
        Ok(exported) => {
            let exported: u64 = exported.tracks.iter().map(|track| track.packets).sum();
            prop_assert_eq!(exported, packets);
        }
        Err(error) => prop_assert_eq!(packets, 0, "{:?}", error),
    }
    Ok(())
}
