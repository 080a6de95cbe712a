//! What a crash of the simulated disk may and may not lose.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use longtake_durable::sim::{Fate, SimStorage};
use longtake_durable::{Entry, Storage, StoredFile, read};
use proptest::prelude::{ProptestConfig, any, prop, prop_oneof, proptest};
use proptest::sample::{Index, select};
use proptest::strategy::{Just, Strategy};

use crate::EIO;

type Found = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// Everything on a disk: the bytes of files, `None` for folders.
fn found(disk: &SimStorage) -> Found {
    let mut found = Found::new();
    let mut folders = vec![PathBuf::from("/")];
    while let Some(folder) = folders.pop() {
        for name in disk.list(&folder).unwrap() {
            let path = folder.join(name);
            let content = match disk.entry(&path).unwrap() {
                Entry::Folder => {
                    folders.push(path.clone());
                    None
                }
                _ => Some(read(disk, &path, 1 << 20).unwrap()),
            };
            found.insert(path, content);
        }
    }
    found
}

/// Runs `program` on a disk and compares all that a crash at its end can leave, each told as
/// `name=content` with runs of the same byte as one letter, with `want`.
#[track_caller]
fn check<const N: usize>(program: impl FnOnce(&SimStorage) -> io::Result<()>, want: [&str; N]) {
    let disk = SimStorage::new();
    program(&disk).unwrap();
    let crashes: Vec<_> = disk.crashes(disk.now().., 10_000).collect();
    assert!(crashes.iter().all(|crash| crash.exhaustive));
    let got: BTreeSet<_> = crashes.iter().map(|crash| tell(&crash.storage)).collect();
    assert_eq!(got, want.map(String::from).into());
}

fn tell(disk: &SimStorage) -> String {
    let one = |(path, content): (PathBuf, Option<Vec<u8>>)| {
        let name = path.strip_prefix("/").unwrap().display().to_string();
        let Some(mut content) = content else {
            return format!("{name}/");
        };
        content.dedup();
        let content = content
            .iter()
            .map(|byte| if *byte == 0 { '0' } else { char::from(*byte) });
        format!("{name}={}", content.collect::<String>())
    };
    found(disk)
        .into_iter()
        .map(one)
        .collect::<Vec<_>>()
        .join(" ")
}

fn write(file: &dyn StoredFile, offset: u64, byte: u8, len: usize) -> io::Result<()> {
    file.write_all_at(offset, &mut [IoSlice::new(&vec![byte; len])])
        .map_err(|error| error.source)
}

/// A file that no crash can touch.
fn durable_file(disk: &SimStorage, name: &str, byte: u8, len: usize) -> io::Result<()> {
    let file = disk.create_new(name.as_ref())?;
    write(&*file, 0, byte, len)?;
    file.sync_all()?;
    disk.sync_dir("/".as_ref())
}

#[test]
fn a_name_needs_a_sync_of_its_folder() {
    check(|disk| disk.create_new("f".as_ref()).map(drop), ["", "f="]);
    check(|disk| durable_file(disk, "f", b'a', 10), ["f=a"]);
    check(
        |disk| {
            let file = disk.create_new("f".as_ref())?;
            write(&*file, 0, b'a', 10)?;
            file.sync_all()
        },
        ["", "f=a"],
    );
}

#[test]
fn bytes_need_a_sync_of_the_file() {
    check(
        |disk| {
            write(&*disk.create_new("f".as_ref())?, 0, b'a', 10)?;
            disk.sync_dir("/".as_ref())
        },
        ["f=", "f=0", "f=a"],
    );
}

#[test]
fn later_writes_may_be_there_without_earlier_ones() {
    check(
        |disk| {
            durable_file(disk, "f", b'a', 10)?;
            let file = disk.open("f".as_ref())?;
            write(&*file, 10, b'b', 10)?;
            write(&*file, 20, b'c', 10)
        },
        ["f=a", "f=a0", "f=a0c", "f=ab", "f=ab0", "f=abc"],
    );
}

#[test]
fn a_write_is_torn_between_blocks_only() {
    check(
        |disk| {
            durable_file(disk, "f", b'a', 8192)?;
            write(&*disk.open("f".as_ref())?, 0, b'b', 8192)
        },
        ["f=a", "f=ab", "f=b", "f=ba"],
    );
    check(
        |disk| {
            durable_file(disk, "f", b'a', 8192)?;
            write(&*disk.open("f".as_ref())?, 4096, b'b', 4096)
        },
        ["f=a", "f=ab"],
    );
    check(
        |disk| {
            durable_file(disk, "f", b'a', 4000)?;
            write(&*disk.open("f".as_ref())?, 4000, b'b', 1000)
        },
        // Nothing; its first block; its second; all; the length with nothing, and with the first.
        ["f=a", "f=a0", "f=a0b", "f=ab", "f=ab0"],
    );
}

#[test]
fn a_length_may_be_lost() {
    check(
        |disk| {
            durable_file(disk, "f", b'a', 100)?;
            let file = disk.open("f".as_ref())?;
            file.set_len(0)?;
            write(&*file, 0, b'b', 10)
        },
        ["f=", "f=0", "f=a", "f=b", "f=ba"],
    );
}

#[test]
fn a_rename_is_done_or_not() {
    let rename = |disk: &SimStorage| {
        durable_file(disk, "old", b'a', 10)?;
        durable_file(disk, "new", b'b', 10)?;
        disk.rename("new".as_ref(), "old".as_ref())
    };
    check(rename, ["new=b old=a", "old=b"]);
    check(
        |disk| rename(disk).and_then(|()| disk.sync_dir("/".as_ref())),
        ["old=b"],
    );
    check(
        |disk| {
            durable_file(disk, "a", b'a', 10)?;
            disk.rename_new("a".as_ref(), "b".as_ref())?;
            disk.rename_new("b".as_ref(), "c".as_ref())
        },
        ["a=a", "b=a", "c=a"],
    );
}

#[test]
fn a_rename_between_folders_is_durable_by_either() {
    for synced in ["from", "to"] {
        check(
            |disk| {
                disk.create_dir("from".as_ref())?;
                disk.create_dir("to".as_ref())?;
                durable_file(disk, "from/f", b'a', 10)?;
                disk.sync_dir("from".as_ref())?;
                disk.rename("from/f".as_ref(), "to/f".as_ref())?;
                disk.sync_dir(synced.as_ref())
            },
            ["from/ to/ to/f=a"],
        );
    }
}

#[test]
fn an_unlink_may_be_undone() {
    let remove = |disk: &SimStorage| {
        durable_file(disk, "f", b'a', 10)?;
        disk.remove_file("f".as_ref())
    };
    check(remove, ["", "f=a"]);
    check(
        |disk| remove(disk).and_then(|()| disk.sync_dir("/".as_ref())),
        [""],
    );
    check(
        |disk| {
            remove(disk)?;
            disk.create_new("f".as_ref()).map(drop)
        },
        ["", "f=", "f=a"],
    );
}

#[test]
fn an_unlink_concerns_only_the_file_that_it_was_meant_for() {
    check(
        |disk| {
            durable_file(disk, "f", b'f', 10)?;
            durable_file(disk, "g", b'g', 10)?;
            disk.rename("g".as_ref(), "f".as_ref())?;
            disk.remove_file("f".as_ref())
        },
        ["", "f=f g=g", "f=g"],
    );
}

#[test]
fn a_folder_without_a_name_takes_everything_in_it_along() {
    let fill = |disk: &SimStorage| {
        disk.create_dir("d".as_ref())?;
        let file = disk.create_new("d/f".as_ref())?;
        write(&*file, 0, b'a', 10)?;
        file.sync_all()?;
        disk.sync_dir("d".as_ref())
    };
    check(fill, ["", "d/ d/f=a"]);
    check(
        |disk| fill(disk).and_then(|()| disk.sync_dir("/".as_ref())),
        ["d/ d/f=a"],
    );
}

#[test]
fn a_folder_that_only_an_earlier_move_keeps_out_of_itself_is_not_lost() {
    check(
        |disk| {
            disk.create_dir("a".as_ref())?;
            disk.create_dir("b".as_ref())?;
            disk.sync_dir("/".as_ref())?;
            disk.rename("a".as_ref(), "b/a".as_ref())?;
            disk.rename("b/a".as_ref(), "a".as_ref())?;
            disk.rename("b".as_ref(), "a/b".as_ref())
        },
        ["a/ a/b/", "a/ b/", "b/ b/a/"],
    );
}

#[test]
fn a_failed_sync_is_not_made_up_for_by_the_next() {
    check(
        |disk| {
            durable_file(disk, "f", b'a', 10)?;
            let file = disk.open("f".as_ref())?;
            write(&*file, 0, b'b', 10)?;
            disk.fail_nth(1, EIO, |operation| operation.is_sync());
            assert_eq!(file.sync_data().unwrap_err().raw_os_error(), Some(EIO));
            write(&*file, 0, b'c', 5)?;
            file.sync_data()
        },
        ["f=ca", "f=cb"],
    );
    check(
        |disk| {
            durable_file(disk, "f", b'a', 10)?;
            disk.remove_file("f".as_ref())?;
            disk.fail_nth(1, EIO, |operation| operation.is_sync());
            disk.sync_dir("/".as_ref()).unwrap_err();
            disk.sync_dir("/".as_ref())
        },
        ["", "f=a"],
    );
    check(
        |disk| {
            durable_file(disk, "g", b'g', 10)?;
            durable_file(disk, "h", b'h', 10)?;
            disk.rename("g".as_ref(), "f".as_ref())?;
            disk.fail_nth(1, EIO, |operation| operation.is_sync());
            disk.sync_dir("/".as_ref()).unwrap_err();
            disk.rename("h".as_ref(), "f".as_ref())?;
            disk.sync_dir("/".as_ref())
        },
        ["f=h", "f=h g=g"],
    );
}

#[test]
fn a_sync_covers_what_was_done_before_it_began() {
    check(
        |disk| {
            durable_file(disk, "f", b'a', 10)?;
            let file = disk.open("f".as_ref())?;
            write(&*file, 10, b'b', 10)?;
            let during = std::sync::Arc::clone(&file);
            disk.before_each(move |operation| {
                if operation.is_sync() {
                    write(&*during, 20, b'c', 10)
                } else {
                    Ok(())
                }
            });
            file.sync_data()
        },
        ["f=ab", "f=ab0", "f=abc"],
    );
}

#[test]
fn chosen_crashes_are_told_apart() {
    let disk = SimStorage::new();
    let file = disk.create_new("f".as_ref()).unwrap();
    write(&*file, 0, b'a', 3 * 4096).unwrap();
    let asked = std::cell::RefCell::new(Vec::new());
    let crashed = disk.crash_at(2, |unsynced| {
        let (position, blocks, grows) = (unsynced.position(), unsynced.blocks(), unsynced.grows());
        asked.borrow_mut().push((position, blocks, grows));
        match blocks {
            0 => Fate::Kept,
            _ => Fate::Torn {
                blocks: vec![false, true],
                grown: false,
            },
        }
    });
    assert_eq!(asked.into_inner(), [(0, 0, false), (1, 3, true)]);
    assert_eq!(tell(&crashed), "f=0a");
    assert_eq!(read(&crashed, "f".as_ref(), 1 << 20).unwrap().len(), 8192);

    let crash = disk
        .crashes(2.., 1000)
        .find(|crash| tell(&crash.storage) == "f=a0")
        .unwrap();
    assert_eq!(
        crash.to_string(),
        "crash after 2 operations\n  kept 0: create f\n  \
         torn 1: write 12288 bytes at 0 of f [+--, grown]"
    );
}

#[test]
fn crashes_come_at_the_points_asked_for() {
    let disk = SimStorage::new();
    for name in ["a", "b", "c"] {
        disk.create_new(name.as_ref()).unwrap();
    }
    let points = |crashes: longtake_durable::sim::Crashes| {
        crashes
            .map(|crash| crash.point)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
    };
    assert_eq!(points(disk.crashes(.., 9)), [0, 1, 2, 3]);
    assert_eq!(points(disk.crashes(1..3, 9)), [1, 2]);
    assert_eq!(points(disk.crashes(2..=9, 9)), [2, 3]);
    assert_eq!(points(disk.crashes(1..=2, 9)), [1, 2]);
    assert_eq!(points(disk.crashes(4.., 9)), []);
    assert_eq!(disk.crashes(3.., 8).count(), 8);
    assert_eq!(disk.crashes(3.., 5).count(), 5);
}

#[derive(Debug, Clone)]
enum Step {
    Create(&'static str),
    CreateDir(&'static str),
    Rename(&'static str, &'static str),
    Remove(&'static str),
    Write(&'static str, u64, u8, usize),
    SetLen(&'static str, u64),
    SyncDir(&'static str),
    Sync(&'static str),
    FailNextSync,
}

fn step() -> impl Strategy<Value = Step> {
    let name = || select(&["a", "b", "d", "d/a", "d/e", "e", "e/a"][..]);
    prop_oneof![
        name().prop_map(Step::Create),
        name().prop_map(Step::CreateDir),
        (name(), name()).prop_map(|(from, to)| Step::Rename(from, to)),
        name().prop_map(Step::Remove),
        (name(), 0..9000_u64, 1..=255_u8, 0..9000_usize)
            .prop_map(|(name, offset, byte, len)| Step::Write(name, offset, byte, len)),
        (name(), 0..9000_u64).prop_map(|(name, len)| Step::SetLen(name, len)),
        select(&["/", "d", "e"][..]).prop_map(Step::SyncDir),
        name().prop_map(Step::Sync),
        Just(Step::FailNextSync),
    ]
}

#[derive(Debug, Clone)]
enum LogStep {
    Elsewhere(Step),
    Append(usize),
    Sync,
}

/// Does what it can.
fn run(disk: &SimStorage, step: &Step) -> io::Result<()> {
    match step {
        Step::Create(name) => disk.create_new(name.as_ref()).map(drop),
        Step::CreateDir(name) => disk.create_dir(name.as_ref()),
        Step::Rename(from, to) => disk.rename(from.as_ref(), to.as_ref()),
        Step::Remove(name) => disk.remove_file(name.as_ref()),
        Step::Write(name, offset, byte, len) => {
            write(&*disk.open(name.as_ref())?, *offset, *byte, *len)
        }
        Step::SetLen(name, len) => disk.open(name.as_ref())?.set_len(*len),
        Step::SyncDir(name) => disk.sync_dir(name.as_ref()),
        Step::Sync(name) => disk.open(name.as_ref())?.sync_all(),
        Step::FailNextSync => {
            disk.fail_nth(1, EIO, |operation| operation.is_sync());
            Ok(())
        }
    }
}

fn sync_everything(disk: &SimStorage) {
    disk.sync_dir("/".as_ref()).unwrap();
    for (path, content) in found(disk) {
        match content {
            None => disk.sync_dir(&path).unwrap(),
            Some(_) => disk.open_read(&path).unwrap().sync_all().unwrap(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_crash_that_loses_nothing_changes_nothing(
        steps in prop::collection::vec(step(), 0..40),
    ) {
        let disk = SimStorage::new();
        let mut at_point = BTreeMap::from([(0, Found::new())]);
        for step in &steps {
            drop(run(&disk, step));
            at_point.insert(disk.now(), found(&disk));
        }
        for (point, want) in at_point {
            assert_eq!(found(&disk.crash_at(point, |_| Fate::Kept)), want, "{point}");
        }
    }

    #[test]
    fn what_is_synced_stays(
        begin in prop::collection::vec(step(), 0..30),
        rest in prop::collection::vec(step(), 0..10),
        chosen in any::<Index>(),
    ) {
        let disk = SimStorage::new();
        let begin = begin.iter().filter(|step| !matches!(step, Step::FailNextSync));
        begin.for_each(|step| drop(run(&disk, step)));
        sync_everything(&disk);
        let (synced, want) = (disk.now(), found(&disk));
        assert_eq!(found(&disk.crash_at(synced, |_| Fate::Lost)), want);

        // Nor does anything done later reach it, unless it is kept.
        rest.iter().for_each(|step| drop(run(&disk, step)));
        let point = synced + chosen.index(disk.now() - synced + 1);
        let syncs = disk.operations()[synced..point].iter().any(|operation| operation.is_sync());
        if !syncs {
            assert_eq!(found(&disk.crash_at(point, |_| Fate::Lost)), want);
        }
    }

    #[test]
    fn no_crash_reaches_what_was_acknowledged(
        steps in prop::collection::vec(prop_oneof![
            2 => step().prop_map(LogStep::Elsewhere),
            2 => (1..9000_usize).prop_map(LogStep::Append),
            1 => Just(LogStep::Sync),
        ], 0..30),
    ) {
        let disk = SimStorage::new();
        let log = disk.create_new("log".as_ref()).unwrap();
        disk.sync_dir("/".as_ref()).unwrap();
        let mut bytes = Vec::new();
        let mut acknowledged = BTreeMap::from([(disk.now(), 0)]);
        for (byte, step) in (1..).zip(&steps) {
            match step {
                LogStep::Elsewhere(step) => drop(run(&disk, step)),
                LogStep::Append(len) => {
                    write(&*log, bytes.len() as u64, byte, *len).unwrap();
                    bytes.resize(bytes.len() + len, byte);
                }
                // Once a sync failed the bytes would have to be written anew.
                LogStep::Sync if log.sync_data().is_err() => break,
                LogStep::Sync => drop(acknowledged.insert(disk.now(), bytes.len())),
            }
        }

        for (begin, len) in &acknowledged {
            let next = acknowledged.range(begin + 1..).next();
            let end = next.map_or(disk.now() + 1, |(next, _)| *next);
            for crash in disk.crashes(*begin..end, 20) {
                let found = read(&crash.storage, "log".as_ref(), 1 << 20).unwrap();
                assert!(found.len() <= bytes.len() && found.starts_with(&bytes[..*len]), "{crash}");
            }
        }
    }

    #[test]
    fn a_crashed_disk_works_and_crashes_again(
        begin in prop::collection::vec(step(), 0..20),
        rest in prop::collection::vec(step(), 0..20),
        chosen in any::<Index>(),
    ) {
        let disk = SimStorage::new();
        begin.iter().for_each(|step| drop(run(&disk, step)));
        let crashes: Vec<_> = disk.crashes(.., 20).collect();
        let crashed = &chosen.get(&crashes).storage;
        let want = found(crashed);
        assert_eq!(found(&crashed.crash_at(0, |_| Fate::Lost)), want);
        rest.iter().for_each(|step| drop(run(crashed, step)));
        assert_eq!(found(&crashed.crash_at(crashed.now(), |_| Fate::Kept)), found(crashed));
    }
}

#[test]
fn a_file_without_a_name_lives_as_long_as_its_handle() {
    let disk = SimStorage::new();
    disk.set_capacity(8192);
    let path = Path::new("f");
    let file = disk.create_new(path).unwrap();
    write(&*file, 0, b'a', 8192).unwrap();
    disk.remove_file(path).unwrap();
    assert_eq!(file.read_at(0, &mut [0; 9]).unwrap(), 9);

    let second = disk.create_new(path).unwrap();
    let error = write(&*second, 0, b'b', 1).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    drop(file);
    write(&*second, 0, b'b', 8192).unwrap();
}
