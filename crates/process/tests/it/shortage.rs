//! Stopping children when there are hardly any file numbers left for looking at `/proc`.

use longtake_process::{Command, Limit, Resource};

use crate::guardian::{Embedder, all_gone};
use crate::lives;

const BLIND: &str = "cannot look for processes in /proc";

/// Has somebody stop three processes with so many file numbers left, and then with enough; the first answer.
///
/// Whoever is in the group is killed in time in any case, and nobody is taken for gone.
#[track_caller]
fn check(order: &str, in_group: usize, files: usize) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_embedder"));
    let mut embedder = Embedder::of(command.limit(Resource::OpenFiles, Limit::both(64)));
    let pids = embedder.three(order);
    let said = embedder.order(&format!("stop {files}"));
    let left: Vec<u32> = pids.iter().copied().filter(|&pid| lives(pid)).collect();
    let of_group = left.iter().any(|pid| pids[..in_group].contains(pid));
    assert!(!of_group, "{left:?} of {pids:?} with {files} files: {said}");
    assert!(
        said != "stopped" || left.is_empty(),
        "{left:?} of {pids:?} taken for gone, {files} files"
    );
    assert_eq!(embedder.order("stop 30"), "stopped", "{files} files");
    all_gone(&pids);
    said
}

/// A leader that ignores `SIGTERM`, one such in its group, and one outside.
#[test]
fn the_folder_cannot_be_opened() {
    assert_eq!(check("family", 2, 0), BLIND);
}

/// The folder can be opened, but of no process anything can be read.
#[test]
fn the_files_run_out_half_way() {
    assert_eq!(check("family", 2, 1), BLIND);
}

/// Nobody sees the grandchildren, and the leader is gone.
#[test]
fn orphans_are_not_taken_for_gone() {
    assert_eq!(check("orphans", 1, 0), BLIND);
    assert_eq!(check("orphans", 1, 1), BLIND);
}

#[test]
fn a_few_files_are_enough() {
    for files in 2..5 {
        check("family", 2, files);
    }
    assert_eq!(check("family", 2, 5), "stopped");
}
