//! `fieldrec export`

use std::{
    fmt::Write as _,
    io::{self, IsTerminal as _},
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use longtake_recording::{
    ExportError, ExportOptions, ExportPhase, ExportProgress, Exported, export,
};
use longtake_service::Signals;

use crate::{cli::ExportArgs, failure::Failure, output};

/// Copies a recording, or a range of it, into one file. A signal cancels it and leaves nothing.
pub(crate) fn run(args: &ExportArgs) -> Result<(), Failure> {
    if !args
        .output
        .extension()
        .is_some_and(|name| name.eq_ignore_ascii_case("mkv"))
    {
        return Err(Failure::usage(format!(
            "an export is a Matroska file: call {} something that ends with .mkv",
            args.output.display()
        )));
    }
    let cancelled = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&cancelled);
    let signals =
        Signals::install(move |_| asked.store(true, Ordering::Release)).map_err(Failure::failed)?;
    let mut options = ExportOptions::default();
    if let Some(from) = args.from {
        options = options.from(from);
    }
    if let Some(to) = args.to {
        options = options.to(to);
    }
    if args.overwrite {
        options = options.overwrite();
    }
    let bar = progress_bar(args.json);
    let exported = export(&args.recording, &args.output, options, |progress| {
        show(&bar, progress);
        if cancelled.load(Ordering::Acquire) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    bar.finish_and_clear();
    drop(signals);
    match exported {
        Ok(exported) if args.json => output::json_line(&exported),
        Ok(exported) => output::text(&for_people(&exported)),
        Err(error @ ExportError::Exists { .. }) => {
            Err(Failure::failed(format!("{error}; --overwrite replaces it")))
        }
        Err(error @ ExportError::EmptyRange { .. }) => Err(Failure::usage(error)),
        Err(error) => Err(Failure::failed(error)),
    }
}

/// A bar on standard error, if that is a terminal.
fn progress_bar(json: bool) -> ProgressBar {
    if json || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(
        "{msg} {wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta}",
    )
    .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style)
}

fn show(bar: &ProgressBar, progress: ExportProgress) {
    bar.set_message(match progress.phase {
        ExportPhase::Verifying => "verifying",
        _ => "copying",
    });
    bar.set_length(progress.total_bytes);
    bar.set_position(progress.done_bytes);
}

fn for_people(exported: &Exported) -> String {
    let (path, size) = (exported.path.display(), bytesize::ByteSize(exported.bytes));
    let (first, last) = (exported.first_pts_us, exported.last_pts_us);
    let mut text = format!("{path}: {size}, {first} s to {last} s\n");
    for track in &exported.tracks {
        let _infallible = writeln!(text, "    {}: {} packets", track.name, track.packets);
    }
    for damage in &exported.damage {
        let _infallible = writeln!(text, "    read only up to the damage: {damage}");
    }
    text
}
