//! A disk that fills up while a recording runs.

use std::{fs, process::Command};

use serde_json::Value;

use crate::support::{chunks, decode, inspect, only_recording};

/// The size of the disk.
const DISK_MB: u64 = 24;

/// Mounts a small tmpfs that only this command sees, records onto it until it is full, and copies
/// what is there to where the test can see it. Needs no root: in a user namespace anybody may mount.
const SCRIPT: &str = r#"
mount -t tmpfs -o "size=$1m" tmpfs "$2" || exit 99
shift; disk=$1; kept=$2; shift 2
"$@"
code=$?
cp -r "$disk/." "$kept" || exit 98
exit $code
"#;

#[test]
fn a_full_disk_keeps_what_was_written() {
    let disk = tempfile::tempdir().unwrap();
    let kept = tempfile::tempdir().unwrap();
    let output = Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            SCRIPT,
            "sh",
        ])
        .arg(DISK_MB.to_string())
        .args([disk.path(), kept.path()])
        .arg(env!("CARGO_BIN_EXE_fieldrec"))
        .args(["record", "--json", "--output"])
        .arg(disk.path())
        .args(["--video", "depth=testsrc:1280x720@30,codec=ffv1"])
        .args(["--sensor", "imu=fake-imu:100"])
        .args(["--chunk-length", "1s", "--duration", "60s"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for word in ["disk full", "make room"] {
        assert!(said.contains(word), "{said}");
    }
    let events: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let failures: Vec<_> = events
        .iter()
        .filter(|event| event["event"] == "write_failed")
        .collect();
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert!(
        failures[0]["error"].as_str().unwrap().contains("disk full"),
        "{failures:?}"
    );

    let recording = only_recording(kept.path());
    let files = chunks(&recording);
    let on_disk: u64 = files
        .iter()
        .map(|file| fs::metadata(file).unwrap().len())
        .sum();
    assert!(
        on_disk > DISK_MB * 1_000_000 * 9 / 10,
        "{on_disk} bytes were written"
    );
    let found = inspect(&recording);
    let playable: u64 = files.iter().map(|file| playable_bytes(file)).sum();
    assert!(
        playable * 100 >= on_disk * 95,
        "{playable} of {on_disk} bytes play"
    );
    let counts = &events.last().unwrap()["counts"];
    for stream in found["streams"].as_array().unwrap() {
        let counts = &counts[stream["name"].as_str().unwrap()];
        assert_eq!(stream["packets"], counts["written"], "{stream}");
        let dropped = counts["dropped"]["write_failed"].as_u64().unwrap();
        let received = counts["received"].as_u64().unwrap();
        let all_dropped: u64 = counts["dropped"]
            .as_object()
            .unwrap()
            .values()
            .map(|n| n.as_u64().unwrap())
            .sum();
        assert_eq!(
            received,
            counts["written"].as_u64().unwrap() + all_dropped,
            "{counts}"
        );
        assert!(dropped > 0, "{counts}");
    }
    for file in &files {
        decode(file);
    }
}

/// The sizes of all packets that ffprobe reads from a file.
#[track_caller]
fn playable_bytes(file: &std::path::Path) -> u64 {
    let output = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-of",
            "csv=p=0",
            "-show_entries",
            "packet=size",
        ])
        .arg(file)
        .output()
        .unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| line.trim_end_matches(',').parse::<u64>().unwrap())
        .sum()
}
