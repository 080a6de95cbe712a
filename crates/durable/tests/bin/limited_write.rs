//! Writes past the largest file that it may make, which fails after a part as on a full disk, and
//! prints what became of it. Run by the tests, with a folder and SIGXFSZ ignored.

#![expect(clippy::print_stdout, reason = "its output is what the test reads")]

use std::error::Error;
use std::io::IoSlice;
use std::path::PathBuf;

use longtake_durable::{RealStorage, Storage, replace};
use rustix::process::{Resource, Rlimit, setrlimit};

const LIMIT: u64 = 10_000;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: FOLDER")?);
    setrlimit(
        Resource::Fsize,
        Rlimit {
            current: Some(LIMIT),
            maximum: Some(LIMIT),
        },
    )?;

    let file = RealStorage.create_new(&folder.join("growing"))?;
    let part = [7; 4000];
    if let Err(error) = file.write_all_at(0, &mut [IoSlice::new(&part); 3]) {
        println!("write_all_at: {error}: {:?}", error.source.kind());
    }
    if let Err(error) = replace(&RealStorage, &folder.join("state"), &[7; 12_000]) {
        println!("replace: {error}");
    }
    Ok(())
}
