//! `fieldrec recover`

use std::{fmt::Write as _, path::Path};

use longtake_recording::{LockError, RecoverError, Recovered, find_recordings, recover};
use serde::Serialize;
use tracing::info;

use crate::{cli::RecoverArgs, failure::Failure, output};

/// What became of one recording, as `--json` prints it.
#[derive(Serialize)]
struct Line<'a> {
    path: &'a Path,
    #[serde(flatten)]
    recovered: &'a Recovered,
}

/// Makes the recordings in a folder whole again, each by itself: one that cannot be recovered keeps
/// none of the others from it.
pub(crate) fn run(args: &RecoverArgs) -> Result<(), Failure> {
    let folder = args.folder.display();
    let recordings = find_recordings(&args.folder)
        .map_err(|error| Failure::failed(format!("cannot read {folder}: {error}")))?;
    if recordings.is_empty() {
        return Err(Failure::failed(format!(
            "there is no recording in {folder}"
        )));
    }
    let mut failed = 0;
    for path in &recordings {
        match recover(path) {
            Ok(recovered) if args.json => output::json_line(&Line {
                path,
                recovered: &recovered,
            })?,
            Ok(recovered) => output::text(&for_people(&recovered))?,
            // Whoever recovers all of a folder does not mean the one that is being recorded.
            Err(RecoverError::Lock(LockError::InUse { .. })) if !is_named(args, path) => {
                info!(path = %path.display(), "in use by another process, and left alone");
            }
            Err(error) => {
                failed += 1;
                let named =
                    longtake_service::with_sources(&error).contains(&*path.to_string_lossy());
                let path = path.display();
                let speaker = if named {
                    "fieldrec".into()
                } else {
                    format!("fieldrec: {path}")
                };
                longtake_service::report(&speaker, &error);
            }
        }
    }
    match failed {
        0 => Ok(()),
        _ => {
            let all = recordings.len();
            Err(Failure::failed(format!(
                "{failed} of {all} recordings could not be recovered"
            )))
        }
    }
}

/// Whether the user named this recording itself, and not a folder that it lies in.
fn is_named(args: &RecoverArgs, recording: &Path) -> bool {
    args.folder
        .canonicalize()
        .is_ok_and(|named| named == recording)
}

fn for_people(recovered: &Recovered) -> String {
    let id = recovered.recording_id;
    if !recovered.changed {
        return format!("{id}: whole, nothing to do\n");
    }
    let mut text = format!("{id}: recovered\n");
    for chunk in &recovered.chunks {
        let _infallible = writeln!(text, "    {}: {}", chunk.file, chunk.repair);
    }
    for stream in &recovered.streams {
        let lost = match stream.lost {
            0 => "none known to be lost in the crash".to_owned(),
            lost => format!("at least {lost} lost in the crash"),
        };
        let _infallible = writeln!(
            text,
            "    {}: {} packets, {lost}",
            stream.name, stream.packets
        );
    }
    text
}
