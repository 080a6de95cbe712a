//! A simulated disk that is full, broken or slow.

use std::io::{ErrorKind, IoSlice};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use longtake_durable::sim::{Operation, SimStorage};
use longtake_durable::{Storage, read};

use crate::EIO;

#[test]
fn a_disk_fills_up_in_the_middle_of_a_write() {
    let disk = SimStorage::new();
    disk.set_capacity(3 * 4096 + 4095);
    let path = Path::new("f");
    let file = disk.create_new(path).unwrap();
    let bytes = [7; 20_000];
    assert_eq!(
        file.write_at(100, &[IoSlice::new(&bytes)]).unwrap(),
        3 * 4096 - 100
    );
    assert_eq!(file.len().unwrap(), 3 * 4096);
    let full = file
        .write_at(3 * 4096, &[IoSlice::new(&bytes)])
        .unwrap_err();
    assert_eq!(full.kind(), ErrorKind::StorageFull);

    // What is there may be written again, and a shorter file makes room.
    assert_eq!(file.write_at(0, &[IoSlice::new(&bytes)]).unwrap(), 3 * 4096);
    file.set_len(4096).unwrap();
    assert_eq!(
        file.write_at(4096, &[IoSlice::new(&bytes)]).unwrap(),
        2 * 4096
    );
    disk.set_capacity(1 << 20);
    assert_eq!(
        file.write_at(3 * 4096, &[IoSlice::new(&bytes)]).unwrap(),
        20_000
    );
}

#[test]
fn the_nth_operation_meant_fails_and_only_that() {
    let disk = SimStorage::new();
    let is_write = |operation: &Operation| matches!(operation, Operation::Write { .. });
    disk.fail_nth(3, EIO, is_write);
    let file = disk.create_new("f".as_ref()).unwrap();
    let results: Vec<_> = (0..5)
        .map(|at| {
            file.write_at(at, &[IoSlice::new(b"x")])
                .map_err(|error| error.raw_os_error())
        })
        .collect();
    assert_eq!(results, [Ok(1), Ok(1), Err(Some(EIO)), Ok(1), Ok(1)]);
    assert_eq!(read(&disk, "f".as_ref(), 10).unwrap(), b"xx\0xx");
    assert_eq!(
        disk.operations()
            .iter()
            .filter(|operation| is_write(operation))
            .count(),
        4
    );
}

#[test]
fn every_operation_is_asked_about() {
    let disk = SimStorage::new();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&asked);
    disk.before_each(move |operation| {
        list.lock().unwrap().push(operation.to_string());
        Ok(())
    });

    let file = disk.create_new("a".as_ref()).unwrap();
    file.write_at(4, &[IoSlice::new(b"xy"), IoSlice::new(b"z")])
        .unwrap();
    file.set_len(5).unwrap();
    file.sync_data().unwrap();
    file.sync_all().unwrap();
    disk.rename("a".as_ref(), "b".as_ref()).unwrap();
    disk.rename_new("b".as_ref(), "c".as_ref()).unwrap();
    disk.sync_dir(".".as_ref()).unwrap();
    disk.create_dir("d".as_ref()).unwrap();
    disk.entry("d".as_ref()).unwrap();
    disk.list("d".as_ref()).unwrap();
    disk.open("c".as_ref()).unwrap();
    disk.open_read("c".as_ref())
        .unwrap()
        .read_at(1, &mut [0; 2])
        .unwrap();
    disk.remove_file("c".as_ref()).unwrap();

    assert_eq!(
        *asked.lock().unwrap(),
        [
            "create a",
            "write 3 bytes at 4 of a",
            "set length 5 of a",
            "sync data of a",
            "sync all of a",
            "rename a to b",
            "rename b to c",
            "sync folder .",
            "create folder d",
            "examine d",
            "list d",
            "open c",
            "open c",
            "read 2 bytes at 1 of c",
            "remove c",
        ]
    );
}

#[test]
fn a_sync_that_takes_its_time_holds_nobody_up() {
    let disk = SimStorage::new();
    let file = disk.create_new("f".as_ref()).unwrap();
    let (began, has_begun) = channel();
    let (release, released) = channel::<()>();
    let released: Mutex<Receiver<()>> = Mutex::new(released);
    disk.before_each(move |operation| {
        if operation.is_sync() {
            began.send(()).unwrap();
            released.lock().unwrap().recv().unwrap();
        }
        Ok(())
    });

    thread::scope(|scope| {
        let syncing = scope.spawn(|| file.sync_data());
        has_begun.recv().unwrap();
        // All of this returns although the sync does not.
        file.write_at(0, &[IoSlice::new(b"during")]).unwrap();
        let other = disk.create_new("g".as_ref()).unwrap();
        other.write_at(0, &[IoSlice::new(b"other")]).unwrap();
        assert_eq!(read(&disk, "f".as_ref(), 10).unwrap(), b"during");
        assert!(!syncing.is_finished());
        release.send(()).unwrap();
        syncing.join().unwrap().unwrap();
    });
    assert_eq!(
        disk.operations().last(),
        Some(&Operation::SyncData("f".into()))
    );
}
