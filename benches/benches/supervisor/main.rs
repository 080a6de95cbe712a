//! What it costs to keep children alive: the supervisor beside a bare loop of `tokio::process` without
//! any supervision, and beside supervisord and runit where they are installed.
//!
//! Every contender runs in a process of its own, so that CPU, wakeups and memory are its own, and keeps
//! the same child (`src/bin/supervised.rs`), which writes the times itself. Contenders take turns. The
//! order to see in the tables is that of the targets at their end.

mod contender;
mod journal;
mod keeper;
mod spawn;
mod table;
mod usage;
mod workloads;

use std::env;
use std::process::ExitCode;

use crate::workloads::Sizes;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    // The bench starts itself: `cargo bench` gives no such arguments.
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["keep", who, count, folder] => keeper::keep(who, count, folder.as_ref()),
        ["spawn", resident_mb, rounds] => spawn::measure_here(resident_mb, rounds),
        _ => {
            let is_test = words.contains(&"--test");
            let sizes = if is_test {
                Sizes::tiny()
            } else {
                Sizes::full()
            };
            workloads::run(&sizes);
        }
    }
    ExitCode::SUCCESS
}
