//! What only the real file system has: permissions, links, folders that cannot be synced.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use longtake_durable::{Entry, RealStorage, ReplaceError, ReplaceStep, Storage, read, replace};

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn replacing_keeps_the_permissions() {
    let folder = tempfile::tempdir().unwrap();
    let [path, leftover] = ["state", ".state.tmp"].map(|name| folder.path().join(name));
    // 0666 is more than the usual umask allows.
    for kept in [0o600, 0o666, 0o440] {
        for with_leftover in [false, true] {
            fs::write(&path, "old").unwrap();
            fs::set_permissions(&path, Permissions::from_mode(kept)).unwrap();
            if with_leftover {
                fs::write(&leftover, "of a crash").unwrap();
            }
            replace(&RealStorage, &path, b"new").unwrap();
            assert_eq!(mode(&path), kept);
            assert_eq!(read(&RealStorage, &path, 10).unwrap(), b"new");
            fs::remove_file(&path).unwrap();
        }
    }
}

#[test]
fn what_replaces_a_secret_is_one_from_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let [secret, beside] = ["secret", "beside"].map(|name| folder.path().join(name));
    fs::write(&secret, "old").unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();

    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut seen = BTreeSet::new();
            while !done.load(Ordering::Relaxed) {
                seen.extend(fs::metadata(&beside).map(|metadata| metadata.mode() & 0o777));
            }
            seen
        });
        for _ in 0..500 {
            drop(RealStorage.create_like(&beside, &secret).unwrap());
            assert_eq!(mode(&beside), 0o600);
            fs::remove_file(&beside).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        let seen = watching.join().unwrap();
        assert_eq!(seen.iter().find(|mode| **mode != 0o600), None);
    });
}

#[test]
fn a_symbolic_link_is_replaced_and_its_target_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let [target, link] = ["target", "link"].map(|name| folder.path().join(name));
    fs::write(&target, "secret").unwrap();
    fs::set_permissions(&target, Permissions::from_mode(0o600)).unwrap();
    symlink("target", &link).unwrap();

    replace(&RealStorage, &link, b"new").unwrap();

    assert!(fs::symlink_metadata(&link).unwrap().is_file());
    assert_eq!(mode(&link), 0o600);
    assert_eq!(fs::read(&link).unwrap(), b"new");
    assert_eq!(fs::read(&target).unwrap(), b"secret");
}

#[test]
fn a_link_in_the_place_of_the_leftover_is_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let [victim, path] = ["victim", "state"].map(|name| folder.path().join(name));
    fs::write(&victim, "untouched").unwrap();
    symlink("victim", folder.path().join(".state.tmp")).unwrap();

    replace(&RealStorage, &path, b"new").unwrap();

    assert_eq!(fs::read(&path).unwrap(), b"new");
    assert_eq!(fs::read(&victim).unwrap(), b"untouched");
    assert_eq!(
        RealStorage.list(folder.path()).unwrap(),
        ["state", "victim"]
    );
}

#[test]
fn a_folder_in_the_way_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    fs::create_dir(&path).unwrap();

    let error = replace(&RealStorage, &path, b"new").unwrap_err();

    let ReplaceError::Unchanged {
        step: ReplaceStep::Rename,
        leftover: None,
        source,
        ..
    } = error
    else {
        panic!("{error:?}")
    };
    assert_eq!(source.kind(), ErrorKind::IsADirectory);
    assert_eq!(RealStorage.list(folder.path()).unwrap(), ["state"]);
}

#[test]
fn a_path_in_the_working_folder_needs_no_folder() {
    // Its folder is the empty path, which cannot be opened; that shows only after the rename.
    let name = format!("replaced-by-test-{}", std::process::id());
    let result = replace(&RealStorage, Path::new(&name), b"new");
    fs::remove_file(&name).unwrap();
    result.unwrap();
}

#[test]
fn a_path_without_a_name_is_refused() {
    for path in ["", "/", "..", "folder/.."] {
        let error = replace(&RealStorage, Path::new(path), b"new").unwrap_err();
        assert!(
            matches!(&error, ReplaceError::Unchanged { step: ReplaceStep::Create, source, .. }
                if source.kind() == ErrorKind::InvalidInput),
            "{path:?}: {error:?}"
        );
    }
}

#[test]
fn folders_that_cannot_be_synced_have_nothing_to_lose() {
    let proc = Path::new("/proc");
    assert_eq!(
        fs::File::open(proc).unwrap().sync_all().unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    RealStorage.sync_dir(proc).unwrap();
}

#[test]
fn entries_are_what_a_link_leads_to() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name| folder.path().join(name);
    fs::write(at("file"), "12345").unwrap();
    symlink("file", at("to file")).unwrap();
    symlink(".", at("to folder")).unwrap();
    symlink("nowhere", at("to nothing")).unwrap();

    assert_eq!(
        RealStorage.entry(&at("to file")).unwrap(),
        Entry::File { len: 5 }
    );
    assert_eq!(RealStorage.entry(&at("to folder")).unwrap(), Entry::Folder);
    assert_eq!(
        RealStorage.entry(Path::new("/dev/null")).unwrap(),
        Entry::Other
    );
    let error = RealStorage.entry(&at("to nothing")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let error = RealStorage
        .rename_new(&at("file"), &at("to nothing"))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
}

#[test]
fn reading_stops_at_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, [7; 40_000]).unwrap();
    assert_eq!(read(&RealStorage, &path, 40_000).unwrap(), [7; 40_000]);
    let error = read(&RealStorage, &path, 39_999).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FileTooLarge);
    // No end of it, and no length to ask for.
    let error = read(&RealStorage, Path::new("/dev/zero"), 1 << 20).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FileTooLarge);
}
