//! `fieldrec record`

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use longtake_recording::{
    Capture, DEFAULT_READY_TIMEOUT, Event, Events, NextEvent, Session, Summary, What,
};
use longtake_service::{Printer, Signals, read_config};
use tracing::info;

use crate::{
    cli::RecordArgs,
    config::Config,
    failure::Failure,
    output,
    status::Status,
    wiring::{self, Wiring},
};

/// How long what was captured before the end of a recording of given length may be on its way.
const ON_ITS_WAY: Duration = Duration::from_millis(200);

/// How often the live line is renewed, and a stop looked for.
const TURN: Duration = Duration::from_millis(100);

/// Records until it is told to stop, its time is over, or nothing is left to record.
pub(crate) fn run(args: RecordArgs) -> Result<(), Failure> {
    let json = args.json;
    let config = match &args.config {
        Some(path) => read_config(path).map_err(Failure::usage)?,
        None => Config::default(),
    };
    let config = config.with_flags(args);
    let Some(output) = config.output.clone() else {
        return Err(Failure::usage(
            "no folder for recordings: give one with --output DIR",
        ));
    };
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    let signals = Signals::install(move |signal| {
        info!(%signal, "stopping; a second signal stops at once");
        asked.store(true, Ordering::Release);
    })
    .map_err(Failure::failed)?;

    let stopped = || stop.load(Ordering::Acquire);
    let Wiring { devices, session } = wiring::wire(&config, stopped)?;
    check_writable(&output)?;
    let patience = config
        .ready_timeout
        .map_or(DEFAULT_READY_TIMEOUT, |span| span.0);
    let capture = match Capture::open_unless(devices, patience, stopped) {
        Ok(capture) => capture,
        Err(_) if stopped() => {
            info!("stopped before anything was recorded");
            return Ok(());
        }
        Err(error) => return Err(wiring::open_failure(error)),
    };
    let (session, events) = Session::start(&capture, &output, session).map_err(Failure::failed)?;

    let limit = config.duration.map(|span| span.0 + ON_ITS_WAY);
    let recording = Recording {
        session,
        events,
        json,
        status: Status::new(),
        printer: Printer::start().map_err(Failure::failed)?,
    };
    let followed = recording.follow(&stop, limit)?;
    drop(capture);
    drop(signals);
    judge(&followed)
}

/// A recording that runs, and whoever watches it.
struct Recording {
    session: Session,
    events: Events,
    json: bool,
    status: Status,
    printer: Printer,
}

/// How a recording went: what it holds, and the streams that ended before their time.
struct Followed {
    summary: Summary,
    broken: Vec<String>,
}

/// What was heard of a recording that decides how it goes on.
#[derive(Default)]
struct Heard {
    broken: Vec<String>,
    disk_is_full: bool,
}

impl Heard {
    fn note(&mut self, event: &Event) {
        match (&event.what, &event.stream) {
            (What::StreamEnded { error: Some(error) }, Some(stream)) => {
                self.broken.push(format!("{stream}: {error}"));
            }
            // Nothing more can be kept, so the cameras need not run on.
            (What::WriteFailed { .. }, _) => self.disk_is_full = true,
            _ => {}
        }
    }
}

impl Recording {
    /// Tells events as they come, and stops the recording when it is time.
    fn follow(self, stop: &AtomicBool, limit: Option<Duration>) -> Result<Followed, Failure> {
        let mut heard = Heard::default();
        let mut next_renewal = Instant::now();
        while !stop.load(Ordering::Acquire)
            && !heard.disk_is_full
            && !self.session.ended()
            && limit.is_none_or(|limit| self.session.elapsed() < limit)
        {
            self.tell_next(TURN.min(self.left(limit)), &mut heard)?;
            if Instant::now() >= next_renewal && !self.json {
                let counts = self.session.counts();
                if let Some(line) = self.status.renewed(self.session.elapsed(), &counts) {
                    self.printer.print(&line);
                }
                next_renewal = Instant::now() + TURN;
            }
        }
        let summary = self.session.stop();
        while self.tell_next(Duration::ZERO, &mut heard)? {}
        self.printer.print(self.status.clear());
        Ok(Followed {
            summary,
            broken: heard.broken,
        })
    }

    fn left(&self, limit: Option<Duration>) -> Duration {
        limit.map_or(TURN, |limit| limit.saturating_sub(self.session.elapsed()))
    }

    /// Tells the next event; false when there are no more.
    fn tell_next(&self, patience: Duration, heard: &mut Heard) -> Result<bool, Failure> {
        let event = match self.events.next(patience) {
            NextEvent::Event(event) => event,
            NextEvent::TimedOut => return Ok(true),
            NextEvent::Over => return Ok(false),
        };
        heard.note(&event);
        if self.json {
            self.printer.print(&output::as_json_line(&event)?);
        } else if let Some(line) = self.status.line(&event) {
            self.printer.print(&line);
        }
        Ok(true)
    }
}

/// A recording that did not go as asked is a failure, although what it holds is safe.
fn judge(followed: &Followed) -> Result<(), Failure> {
    let Followed { summary, broken } = followed;
    let folder = summary.folder.display();
    if let Some(error) = &summary.write_error {
        let message = format!("the recording in {folder} is not complete: {error}");
        return Err(Failure::failed(message));
    }
    if !broken.is_empty() {
        let broken = broken.join("; ");
        let message = format!("the recording in {folder} is not complete: {broken}");
        return Err(Failure::failed(message));
    }
    Ok(())
}

/// Finds out before any camera is opened whether the folder for recordings can be used.
fn check_writable(output: &Path) -> Result<(), Failure> {
    fs::create_dir_all(output)
        .and_then(|()| {
            nix::unistd::access(output, nix::unistd::AccessFlags::W_OK).map_err(Into::into)
        })
        .map_err(|error| {
            Failure::failed(format!(
                "cannot write to {}: {error}; give a folder that this user may write with --output",
                output.display()
            ))
        })
}
