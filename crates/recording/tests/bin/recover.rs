//! Recovers the recording that is named, for tests that kill it while it does.

use std::{env, path::Path, process::ExitCode};

fn main() -> ExitCode {
    let folder = env::args_os().nth(1).unwrap_or_default();
    match longtake_recording::recover(Path::new(&folder)) {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
