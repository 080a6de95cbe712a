//! `replace` on a disk that crashes, fills up or fails at any moment.

use std::collections::BTreeSet;
use std::error::Error;
use std::io::{self, ErrorKind, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use longtake_durable::sim::{Crash, Operation, SimStorage};
use longtake_durable::{ReplaceError, ReplaceStep, Storage, read, replace};
use proptest::prelude::{ProptestConfig, prop, prop_oneof, proptest};
use proptest::strategy::{Just, Strategy};

use crate::{EIO, on_both};

const PATH: &str = "/state";

/// What is at [`PATH`].
fn content(storage: &dyn Storage) -> Option<Vec<u8>> {
    match read(storage, PATH.as_ref(), 1 << 20) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => panic!("{error}"),
    }
}

/// Looks for a crash that breaks the promise of `replace`, if `step` is what replaces.
fn broken_promise(
    step: impl Fn(&dyn Storage, &[u8]) -> Result<(), Box<dyn Error>>,
) -> Option<Crash> {
    let contents = [
        None,
        Some(vec![b'a'; 10_000]),
        Some(vec![b'b'; 9_000]),
        Some(Vec::new()),
    ];
    let disk = SimStorage::new();
    let mut points = vec![0];
    for new in contents.iter().flatten() {
        step(&disk, new).unwrap();
        points.push(disk.now());
    }

    for (point, at) in points.iter().zip(0..) {
        let next = points.get(at + 1).map_or(*point, |next| next - 1);
        for crash in disk.crashes(*point..=next, 100_000) {
            assert!(crash.exhaustive, "{crash}");
            let found = content(&crash.storage);
            // At the very point only the acknowledged one will do.
            let may_be = if crash.point == *point {
                at..=at
            } else {
                at..=at + 1
            };
            if !contents[may_be].contains(&found) {
                return Some(crash);
            }
        }
    }
    None
}

fn boxed<E: Error + 'static>(result: Result<(), E>) -> Result<(), Box<dyn Error>> {
    Ok(result?)
}

#[test]
fn a_crash_leaves_the_old_or_the_new_content_and_after_ok_the_new() {
    let broken = broken_promise(|storage, bytes| boxed(replace(storage, PATH.as_ref(), bytes)));
    assert!(broken.is_none(), "{}", broken.unwrap());
}

/// `replace` as it is often written, with the syncs that are asked for.
fn careless(
    storage: &dyn Storage,
    bytes: &[u8],
    sync_file: bool,
    sync_folder: bool,
) -> Result<(), Box<dyn Error>> {
    let temporary = Path::new("/.state.tmp");
    let file = storage.create_new(temporary)?;
    file.write_all_at(0, &mut [IoSlice::new(bytes)])?;
    if sync_file {
        file.sync_all()?;
    }
    storage.rename(temporary, PATH.as_ref())?;
    if sync_folder {
        storage.sync_dir("/".as_ref())?;
    }
    Ok(())
}

#[test]
fn the_search_finds_what_careless_replacing_breaks() {
    let careful = broken_promise(|storage, bytes| careless(storage, bytes, true, true));
    assert!(careful.is_none(), "{}", careful.unwrap());

    let no_file_sync = broken_promise(|storage, bytes| careless(storage, bytes, false, true));
    let found = content(&no_file_sync.unwrap().storage);
    assert_ne!(found, None, "the name is there, only not the bytes");

    let no_folder_sync = broken_promise(|storage, bytes| careless(storage, bytes, true, false));
    assert_eq!(
        content(&no_folder_sync.unwrap().storage),
        None,
        "the name was never stored"
    );

    let in_place = broken_promise(|storage, bytes| {
        let path = Path::new(PATH);
        let file = storage.open(path).or_else(|_| storage.create_new(path))?;
        file.set_len(0)?;
        file.write_all_at(0, &mut [IoSlice::new(bytes)])?;
        file.sync_all()?;
        boxed(storage.sync_dir("/".as_ref()))
    });
    assert!(in_place.is_some());
}

#[test]
fn after_any_crash_replacing_works_again_and_leaves_no_litter() {
    let disk = SimStorage::new();
    replace(&disk, PATH.as_ref(), b"first").unwrap();
    replace(&disk, PATH.as_ref(), b"second").unwrap();
    let mut leftovers = 0;
    for first in disk.crashes(.., 1000) {
        let disk = first.storage.clone();
        let old = content(&disk);
        leftovers += usize::from(
            disk.list("/".as_ref())
                .unwrap()
                .contains(&".state.tmp".into()),
        );
        replace(&disk, PATH.as_ref(), b"third").unwrap();
        assert_eq!(disk.list("/".as_ref()).unwrap(), ["state"], "{first}");
        for second in disk.crashes(.., 1000) {
            let found = content(&second.storage);
            let is_new = found.as_deref() == Some(b"third");
            let is_old = found == old && second.point < disk.now();
            assert!(is_new || is_old, "{first}, then {second}");
        }
    }
    assert!(
        leftovers > 0,
        "none of the crashes left anything to clean up"
    );
}

#[test]
fn a_replace_that_fails_leaves_the_old_content_and_no_litter() {
    for (step, is_meant) in [
        (
            ReplaceStep::Create,
            (|it| matches!(it, Operation::Create(_))) as fn(&Operation) -> bool,
        ),
        (ReplaceStep::Write, |it| {
            matches!(it, Operation::Write { .. })
        }),
        (ReplaceStep::Sync, |it| matches!(it, Operation::SyncAll(_))),
        (ReplaceStep::Rename, |it| {
            matches!(it, Operation::Rename { .. })
        }),
    ] {
        let disk = SimStorage::new();
        replace(&disk, PATH.as_ref(), b"old").unwrap();
        disk.fail_nth(1, EIO, is_meant);
        let error = replace(&disk, PATH.as_ref(), b"new").unwrap_err();

        let ReplaceError::Unchanged {
            step: failed,
            leftover: None,
            source,
            ..
        } = error
        else {
            panic!("{error:?}")
        };
        assert_eq!((failed, source.raw_os_error()), (step, Some(EIO)));
        assert_eq!(disk.list("/".as_ref()).unwrap(), ["state"]);
        for crash in disk.crashes(disk.now().., 1000) {
            assert_eq!(content(&crash.storage).unwrap(), b"old", "{crash}");
        }
        replace(&disk, PATH.as_ref(), b"new").unwrap();
        assert_eq!(content(&disk).unwrap(), b"new");
    }
}

#[test]
fn litter_that_cannot_be_removed_is_reported() {
    let disk = SimStorage::new();
    disk.fail_nth(1, EIO, |it| matches!(it, Operation::Write { .. }));
    disk.fail_nth(1, EIO, |it| matches!(it, Operation::RemoveFile(_)));
    let error = replace(&disk, PATH.as_ref(), b"new").unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot replace /state, writing beside it failed and left /.state.tmp behind"
    );
    assert_eq!(
        error.source().unwrap().to_string(),
        io::Error::from_raw_os_error(EIO).to_string()
    );
    assert_eq!(disk.list("/".as_ref()).unwrap(), [".state.tmp"]);
}

#[test]
fn a_folder_that_does_not_sync_is_reported_with_the_new_content_in_place() {
    let disk = SimStorage::new();
    replace(&disk, PATH.as_ref(), b"old").unwrap();
    disk.fail_nth(1, EIO, |it| matches!(it, Operation::SyncDir(_)));
    let error = replace(&disk, PATH.as_ref(), b"new").unwrap_err();
    assert!(
        matches!(error, ReplaceError::NotDurable { .. }),
        "{error:?}"
    );
    assert_eq!(
        error.to_string(),
        "replaced /state, but cannot sync its folder"
    );
    assert_eq!(content(&disk).unwrap(), b"new");
    let found: BTreeSet<_> = disk
        .crashes(disk.now().., 1000)
        .map(|crash| content(&crash.storage).unwrap())
        .collect();
    assert_eq!(found, [b"old".to_vec(), b"new".to_vec()].into());
}

#[test]
fn a_full_disk_keeps_the_old_content() {
    let disk = SimStorage::new();
    replace(&disk, PATH.as_ref(), &[1; 8192]).unwrap();
    disk.set_capacity(3 * 4096);
    let error = replace(&disk, PATH.as_ref(), &[2; 8192]).unwrap_err();
    let ReplaceError::Unchanged {
        step: ReplaceStep::Write,
        leftover: None,
        source,
        ..
    } = error
    else {
        panic!("{error:?}")
    };
    assert_eq!(source.kind(), ErrorKind::StorageFull);
    assert_eq!(content(&disk).unwrap(), [1; 8192]);
    replace(&disk, PATH.as_ref(), &[3; 4096]).unwrap();
}

#[test]
fn a_leftover_of_a_crash_is_overwritten() {
    on_both(|storage, folder| {
        let path = folder.join("state");
        let leftover = storage.create_new(&folder.join(".state.tmp")).unwrap();
        leftover
            .write_all_at(0, &mut [IoSlice::new(b"longer than what comes")])
            .unwrap();
        replace(storage, &path, b"short").unwrap();
        assert_eq!(read(storage, &path, 100).unwrap(), b"short");
        assert_eq!(storage.list(folder).unwrap(), ["state"]);
    });
}

#[derive(Debug, Clone)]
enum Fault {
    None,
    Full,
    Nth(usize),
}

fn attempt() -> impl Strategy<Value = (usize, Fault)> {
    let fault = prop_oneof![
        2 => Just(Fault::None),
        1 => Just(Fault::Full),
        3 => (1..9_usize).prop_map(Fault::Nth),
    ];
    (0..20_000_usize, fault)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever fails on the way, a crash leaves one of the contents that are said to be possible.
    #[test]
    fn errors_tell_the_truth(attempts in prop::collection::vec(attempt(), 1..6)) {
        let disk = SimStorage::new();
        let until_failure = Arc::new(AtomicUsize::new(0));
        let left = Arc::clone(&until_failure);
        disk.before_each(move |_| {
            let before = left.load(Ordering::Relaxed);
            left.store(before.saturating_sub(1), Ordering::Relaxed);
            if before == 1 { Err(io::Error::from_raw_os_error(EIO)) } else { Ok(()) }
        });

        let mut durable = BTreeSet::from([None]);
        for (number, (len, fault)) in (1..).zip(attempts) {
            let (begin, old, new) = (disk.now(), content(&disk), vec![number; len]);
            disk.set_capacity(if matches!(fault, Fault::Full) { 4096 } else { 1 << 20 });
            until_failure.store(if let Fault::Nth(nth) = fault { nth } else { 0 }, Ordering::Relaxed);
            let result = replace(&disk, PATH.as_ref(), &new);
            until_failure.store(0, Ordering::Relaxed);

            let in_between = durable.iter().cloned().chain([Some(new.clone())]).collect();
            match result {
                Ok(()) => durable = [Some(new)].into(),
                Err(ReplaceError::Unchanged { .. }) => assert_eq!(content(&disk), old),
                Err(ReplaceError::NotDurable { .. }) => {
                    assert_eq!(content(&disk), Some(new.clone()));
                    durable.insert(Some(new));
                }
                Err(error) => panic!("{error:?}"),
            }
            for crash in disk.crashes(begin.., 30) {
                let may_be = if crash.point == disk.now() { &durable } else { &in_between };
                assert!(may_be.contains(&content(&crash.storage)), "{crash}");
            }
        }
    }
}
