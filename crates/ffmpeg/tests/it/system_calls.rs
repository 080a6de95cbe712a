//! What reaches the kernel: that an output is safe on the disk, and what ffmpeg has in its environment.

use std::fs;
use std::path::Path;
use std::process::Command;

/// The system calls of a job into `path`, in their order, with the names behind file descriptors.
fn trace(path: &Path) -> Vec<String> {
    let log = tempfile::NamedTempFile::new().unwrap();
    let calls = "trace=execve,fsync,rename,renameat,renameat2";
    let traced = Command::new("strace")
        .args(["-f", "-y", "-v", "-s", "65536", "-e", calls, "-o"])
        .arg(log.path())
        .arg(env!("CARGO_BIN_EXE_ffmpeg-job"))
        .arg(path)
        .current_dir(path.parent().unwrap())
        .env("FFREPORT", "file=report.log")
        .env("LC_ALL", "de_DE.UTF-8")
        .env("AV_LOG_FORCE_COLOR", "1")
        .output()
        .expect("strace is installed by scripts/setup --tests");
    let said = String::from_utf8_lossy(&traced.stderr);
    assert!(traced.status.success(), "{said}");
    let log = fs::read(log.path()).unwrap();
    let log = String::from_utf8_lossy(&log).into_owned();
    log.lines().map(str::to_owned).collect()
}

#[test]
fn an_output_is_safe_before_it_has_its_name_and_the_name_before_success() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let calls = trace(&folder.join("x.mp4"));
    let place = |what: &dyn Fn(&str) -> bool| calls.iter().position(|call| what(call));
    let of_folder = format!("<{}>", folder.display());
    let synced = place(&|call| call.contains("fsync(") && call.contains(".x.mp4.part>"));
    let renamed = place(&|call| call.contains("rename") && call.contains(".x.mp4.part"));
    let folder_synced = place(&|call| call.contains("fsync(") && call.contains(&of_folder));
    assert!(
        synced.is_some() && synced < renamed,
        "{synced:?} {renamed:?}"
    );
    assert!(renamed < folder_synced, "{renamed:?} {folder_synced:?}");
}

#[test]
fn settings_of_the_environment_are_kept_out() {
    let folder = tempfile::tempdir().unwrap();
    let calls = trace(&folder.path().join("x.mp4"));
    let is_ffmpeg = |call: &&String| call.contains("execve(") && call.contains("/ffmpeg\", [");
    let started: Vec<_> = calls.iter().filter(is_ffmpeg).collect();
    assert!(!started.is_empty());
    for call in started {
        assert!(call.contains("\"LC_ALL=C\""), "{call}");
        assert!(call.contains("\"AV_LOG_FORCE_NOCOLOR=1\""), "{call}");
        assert!(!call.contains("FFREPORT"), "{call}");
    }
    let left: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["x.mp4"]);
}
