//! Replaces the file of its argument, renames another to a new name beside it and syncs its bytes: for a
//! test that watches its system calls.

use std::{env, error::Error, io::IoSlice, path::PathBuf};

use longtake_durable::{RealStorage, Storage, replace};

fn main() -> Result<(), Box<dyn Error>> {
    let path = PathBuf::from(env::args_os().nth(1).ok_or("no path was given")?);
    replace(&RealStorage, &path, b"new")?;
    let grown = RealStorage.create_new(&path.with_extension("part"))?;
    grown.write_all_at(0, &mut [IoSlice::new(b"grown")])?;
    grown.sync_data()?;
    RealStorage.rename_new(&path.with_extension("part"), &path.with_extension("mkv"))?;
    RealStorage.sync_dir(path.parent().ok_or("the path has no folder")?)?;
    Ok(())
}
