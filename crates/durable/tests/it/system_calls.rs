//! What reaches the kernel: a simulated disk shows only that the calls are made.

use std::{fs, path::Path, process::Command};

/// The system calls of a program that concern what is safe on the disk, in their order: `fsync(NAME)`,
/// `rename(NAME, NAME)`.
#[track_caller]
fn trace(program: &mut Command, folder: &Path) -> Vec<String> {
    let log = tempfile::NamedTempFile::new().unwrap();
    let traced = Command::new("strace")
        .args([
            "-f",
            "-y",
            "-e",
            "trace=fsync,fdatasync,rename,renameat,renameat2",
            "-o",
        ])
        .arg(log.path())
        .arg(program.get_program())
        .args(program.get_args())
        .output()
        .expect("strace is installed by scripts/setup --tests");
    let said = String::from_utf8_lossy(&traced.stderr);
    assert!(traced.status.success(), "{said}");
    let folder = folder.canonicalize().unwrap();
    let folder = folder.to_str().unwrap();
    let log = fs::read_to_string(log.path()).unwrap();
    log.lines()
        .filter(|line| line.contains(folder) && line.ends_with("= 0"))
        .map(|line| line.split_once(' ').unwrap().1.trim().replace(folder, ""))
        .collect()
}

#[test]
fn bytes_then_names_then_the_folder_reach_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("manifest.json");
    fs::write(&path, "old").unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_durable-replace"));
    let calls = trace(program.arg(&path), folder.path());
    let kinds: Vec<_> = calls
        .iter()
        .map(|call| {
            let (kind, what) = call.split_once('(').unwrap();
            let is_folder = what.contains("<>");
            match (kind, is_folder) {
                ("fsync" | "fdatasync", false) => "bytes",
                ("fsync", true) => "folder",
                _ => "name",
            }
        })
        .collect();
    let want = ["bytes", "name", "folder", "bytes", "name", "folder"];
    assert_eq!(kinds, want, "{calls:#?}");
    assert!(calls[1].contains("manifest.json"), "{calls:#?}");
    assert!(calls[3].contains("manifest.part"), "{calls:#?}");
}
