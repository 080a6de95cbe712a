//! Runs an ffmpeg job with a progress line, and tells what became of it.
//!
//! ```sh
//! cargo run -p longtake-examples --example ffmpeg_progress
//! ```

use std::error::Error;
use std::io::{self, Write};
use std::time::Duration;

use longtake_ffmpeg::{
    Codec, Ffmpeg, Input, Kind, Output, Overwrite, Priority, Progress, RunError, Runner,
};

/// How long the clip is to play.
const CLIP: Duration = Duration::from_secs(20);

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout();
    // A missing ffmpeg says here what to install.
    let ffmpeg = Ffmpeg::find()?;
    let folder = tempfile::tempdir()?;
    let clip = folder.path().join("clip.mp4");

    // A generated camera; `Input::file` and `Input::url` take real ones.
    let camera = Input::lavfi("testsrc2=size=1280x720:rate=30").duration(CLIP);
    let video = Output::file(&clip)
        .video_codec(Codec::encoder("libx264"))
        .faststart();
    let command = ffmpeg
        .command()
        .input(camera)
        .output(video)
        .overwrite(Overwrite::Replace);
    writeln!(out, "{command}")?;

    // The clip appears under its name only when it is whole and plays 20 s.
    let ended = Runner::new(command)
        .expect(CLIP)
        .priority(Priority::Low)
        .stall_after(Duration::from_secs(30))
        .run(|progress| {
            // ffmpeg does not wait for this, and does not mind if nobody watches.
            let _shown = show(progress);
        });
    writeln!(out)?;
    match ended {
        Ok(outcome) => {
            writeln!(
                out,
                "{} plays {:?}",
                clip.display(),
                outcome.duration.unwrap_or_default()
            )?;
            writeln!(
                out,
                "ffmpeg took {:?} of CPU time",
                outcome.usage.cpu_time()
            )?;
            Ok(())
        }
        Err(RunError::Failed { failure }) if failure.kind == Kind::CodecUnavailable => {
            writeln!(out, "this ffmpeg has no libx264: {failure}")?;
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Shows the newest progress.
fn show(progress: &Progress) -> io::Result<()> {
    let phase = format!("{:?}", progress.phase);
    let percent = progress.percent.unwrap_or(0.0);
    let eta = progress.eta.map_or(0, |eta| eta.as_secs());
    let mut out = io::stdout().lock();
    write!(out, "\r{phase:<12} {percent:5.1} %  {eta:3} s left ")?;
    out.flush()
}
