//! Encodes a second of pictures into the file of its argument: for a test that watches its system calls.

use std::{env, error::Error, time::Duration};

use longtake_ffmpeg::{Codec, Ffmpeg, Input, Output, Runner};

fn main() -> Result<(), Box<dyn Error>> {
    let path = env::args_os().nth(1).ok_or("no path was given")?;
    let pictures = Input::lavfi("testsrc2=size=64x64:rate=25").duration(Duration::from_secs(1));
    let command = Ffmpeg::find()?
        .command()
        .input(pictures)
        .output(Output::file(path).video_codec(Codec::encoder("libx264")));
    Runner::new(command).run(|_| {})?;
    Ok(())
}
