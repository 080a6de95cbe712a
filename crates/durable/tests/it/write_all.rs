//! `write_all_at`, where one write takes only a part.

use std::io::{ErrorKind, IoSlice};
use std::path::Path;
use std::process::Command;

use longtake_durable::sim::SimStorage;
use longtake_durable::{RealStorage, Storage, StoredFile, read};
use proptest::prelude::{any, prop, proptest};

use crate::on_both;

#[test]
fn more_slices_than_the_kernel_takes_at_once() {
    on_both(|storage, folder| {
        let path = folder.join("file");
        let bytes: Vec<u8> = (0..=250).cycle().take(5000).collect();
        let mut parts: Vec<_> = bytes.chunks(1).map(IoSlice::new).collect();
        storage
            .create_new(&path)
            .unwrap()
            .write_all_at(3, &mut parts)
            .unwrap();
        assert_eq!(
            read(storage, &path, 6000).unwrap(),
            [&[0; 3], &bytes[..]].concat()
        );
    });
}

#[test]
fn one_real_write_takes_only_so_many_slices() {
    let folder = tempfile::tempdir().unwrap();
    let file = RealStorage.create_new(&folder.path().join("file")).unwrap();
    assert_eq!(file.write_at(0, &[IoSlice::new(b"x"); 5000]).unwrap(), 1024);
}

#[test]
fn writing_nothing_succeeds() {
    on_both(|storage, folder| {
        let file = storage.create_new(&folder.join("file")).unwrap();
        file.write_all_at(0, &mut []).unwrap();
        file.write_all_at(9, &mut [IoSlice::new(&[]), IoSlice::new(&[])])
            .unwrap();
        assert_eq!(file.len().unwrap(), 0);
    });
}

#[test]
fn offsets_that_no_file_has_are_refused() {
    on_both(|storage, folder| {
        let file = storage.create_new(&folder.join("file")).unwrap();
        for offset in [i64::MAX.cast_unsigned(), u64::MAX] {
            let error = file
                .write_all_at(offset, &mut [IoSlice::new(b"x")])
                .unwrap_err();
            assert_eq!(error.written, 0);
            assert!(file.set_len(offset.saturating_add(1)).is_err());
        }
        assert_eq!(file.len().unwrap(), 0);
        assert_eq!(file.read_at(4096, &mut [0; 9]).unwrap(), 0);
    });
}

#[test]
fn a_real_write_that_fails_halfway_says_how_far_it_came() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("state"), "old").unwrap();

    // Ignored signals stay ignored in the program that the shell turns into.
    let output = Command::new("/bin/sh")
        .args(["-c", "trap '' XFSZ; exec \"$0\" \"$1\""])
        .arg(env!("CARGO_BIN_EXE_durable-limited-write"))
        .arg(folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();

    let lines: Vec<_> = text.lines().collect();
    let state = folder.path().join("state");
    assert_eq!(
        lines,
        [
            "write_all_at: stopped after 10000 bytes: FileTooLarge".to_owned(),
            format!(
                "replace: cannot replace {}, writing beside it failed",
                state.display()
            ),
        ]
    );
    assert_eq!(
        read(&RealStorage, &folder.path().join("growing"), 20_000).unwrap(),
        [7; 10_000]
    );
    assert_eq!(read(&RealStorage, &state, 20_000).unwrap(), b"old");
    assert_eq!(
        RealStorage.list(folder.path()).unwrap(),
        ["growing", "state"]
    );
}

proptest! {
    /// A disk that is full after any number of blocks, or a file whose every write is short.
    #[test]
    fn what_is_reported_is_in_the_file(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..6000), 0..8),
        offset in 0..10_000_u64,
        capacity_blocks in 0..12_u64,
    ) {
        let bytes = parts.concat();
        let mut slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let disk = SimStorage::new();
        disk.set_capacity(capacity_blocks * 4096);
        let path = Path::new("/file");

        let result = disk.create_new(path).unwrap().write_all_at(offset, &mut slices);

        let start = usize::try_from(offset).unwrap();
        let found = read(&disk, path, 100_000).unwrap();
        match result {
            Ok(()) if bytes.is_empty() => assert!(found.is_empty()),
            Ok(()) => assert_eq!(found[start..], bytes),
            Err(error) => {
                assert_eq!(error.source.kind(), ErrorKind::StorageFull);
                let written = usize::try_from(error.written).unwrap();
                assert!(written < bytes.len());
                assert_eq!(found.get(start..).unwrap_or(&[]), &bytes[..written]);
            }
        }
    }
}

/// Takes `step` bytes a write, and from `full` bytes on none.
#[derive(Debug)]
struct Dribbling {
    file: std::sync::Arc<dyn StoredFile>,
    step: usize,
    full: u64,
}

impl StoredFile for Dribbling {
    fn write_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> std::io::Result<u64> {
        let mut bytes = parts
            .iter()
            .flat_map(|part| part.iter().copied())
            .collect::<Vec<_>>();
        assert!(!bytes.is_empty(), "a write of nothing");
        bytes.truncate(self.step.min(usize::try_from(self.full - offset).unwrap()));
        self.file.write_at(offset, &[IoSlice::new(&bytes)])
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<usize> {
        self.file.read_at(offset, buf)
    }
    fn len(&self) -> std::io::Result<u64> {
        self.file.len()
    }
    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.file.set_len(len)
    }
    fn sync_data(&self) -> std::io::Result<()> {
        self.file.sync_data()
    }
    fn sync_all(&self) -> std::io::Result<()> {
        self.file.sync_all()
    }
}

#[test]
fn writes_that_take_any_part_add_up() {
    let parts: [&[u8]; 6] = [b"", b"abc", b"d", b"", b"efghij", b""];
    for step in 1..12 {
        for full in 0..12 {
            let disk = SimStorage::new();
            let file = disk.create_new("/file".as_ref()).unwrap();
            let file = Dribbling { file, step, full };
            let result = file.write_all_at(0, &mut parts.map(IoSlice::new));
            let found = read(&disk, "/file".as_ref(), 100).unwrap();
            let want = usize::try_from(full).unwrap().min(10);
            assert_eq!(found, b"abcdefghij"[..want], "{step} {full}");
            match result {
                Ok(()) => assert!(full >= 10, "{step} {full}"),
                Err(error) => {
                    let got = (error.written, error.source.kind());
                    assert_eq!(got, (full, ErrorKind::WriteZero), "{step} {full}");
                }
            }
        }
    }
}
