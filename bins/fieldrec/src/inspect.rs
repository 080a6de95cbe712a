//! `fieldrec inspect`

use std::fmt::Write as _;

use longtake_recording::{InspectedChunk, InspectedStream, Inspection, Pts, inspect};

use crate::{cli::InspectArgs, failure::Failure, output};

/// Shows what a recording or a file really holds.
pub(crate) fn run(args: &InspectArgs) -> Result<(), Failure> {
    let found = inspect(&args.path).map_err(Failure::failed)?;
    if args.json {
        output::json_line(&found)
    } else {
        output::text(&for_people(&found))
    }
}

fn for_people(found: &Inspection) -> String {
    let mut text = String::new();
    for stream in &found.streams {
        text.push_str(&stream_line(stream));
    }
    for chunk in &found.chunks {
        text.push_str(&chunk_line(chunk));
    }
    if let Some(manifest) = &found.manifest {
        let verdict = if manifest.consistent {
            "says the same"
        } else {
            "says something else"
        };
        let _infallible = writeln!(text, "manifest {verdict}");
        for difference in &manifest.differences {
            let _infallible = writeln!(text, "    {difference}");
        }
    }
    text
}

fn stream_line(stream: &InspectedStream) -> String {
    let codec = stream.codec.as_deref().unwrap_or("empty");
    let mut line = format!(
        "{}: {codec}, {} packets, {} keyframes, {}\n",
        stream.name,
        stream.packets,
        stream.keyframes,
        span(stream.first_pts_us, stream.last_pts_us)
    );
    for gap in &stream.gaps {
        let _infallible = writeln!(
            line,
            "    nothing from {} s to {} s",
            gap.from_pts_us, gap.to_pts_us
        );
    }
    line
}

fn chunk_line(chunk: &InspectedChunk) -> String {
    let state = match (&chunk.damage, chunk.complete) {
        (Some(damage), _) => damage.clone(),
        (None, true) => "complete".to_owned(),
        (None, false) => "not finished".to_owned(),
    };
    let size = bytesize::ByteSize(chunk.bytes);
    let span = span(chunk.first_pts_us, chunk.last_pts_us);
    format!("{}: {size}, {span}, {state}\n", chunk.file)
}

fn span(first: Option<Pts>, last: Option<Pts>) -> String {
    match first.zip(last) {
        Some((first, last)) => format!("{first} s to {last} s"),
        None => "nothing in it".to_owned(),
    }
}
