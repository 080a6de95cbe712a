//! One run of a child: what it is made of, and what can happen to it.

use std::future::pending;
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use longtake_process::{Census, Child, LineSplitter, StopLadder, set_nonblocking};
use tokio::io::Interest;
use tokio::time::sleep_until;

use crate::ending::Ending;
use crate::hang::HangWatch;
use crate::last_output::LastOutput;
use crate::output::{OutputMode, ReadProgress, Stream, TakenOutput};
use crate::readiness::{NeverReady, Notification, Said, Waiting};
use crate::report::Cause;
use crate::sampler::Sampler;
use crate::spec::ChildSpec;
use crate::stdin::StdinPipe;
use crate::watched::Watched;

/// How much of an output is read before anything else has a turn.
const READ_AT_ONCE: usize = 256 << 10;

/// A pidfd is readable before the status can be had while a debugger holds the zombie.
pub(crate) const HELD_ZOMBIE: Duration = Duration::from_millis(10);

/// What an output reads into; one buffer a thread, not one a child.
const BUFFER_BYTES: usize = 64 << 10;

thread_local! {
    static BUFFER: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// One run of a child, from its start until nothing of it is left.
pub(crate) struct Run {
    pub(crate) number: u64,
    pub(crate) child: Child,
    pub(crate) started: Instant,
    pub(crate) ready: bool,
    /// Why it is being ended; by itself, until something else is known.
    pub(crate) cause: Cause,
    /// Its leader has exited, and that was reported.
    pub(crate) reported: bool,
    pub(crate) ending: Option<Ending>,
    pub(crate) hang: HangWatch,
    pub(crate) sampler: Option<Sampler>,
    pub(crate) stdin: Option<StdinPipe>,
    pub(crate) last_output: Arc<LastOutput>,
    /// Its leader is dead, but somebody holds it (a debugger): when to ask again.
    pub(crate) look_again: Option<Instant>,
    /// What it said of itself and was told, and when it may be told more.
    pub(crate) told_status: Option<String>,
    pub(crate) tell_status_at: Option<Instant>,
    pidfd: Watched<OwnedFd>,
    outputs: [Option<Watched<PipeReader>>; 2],
    /// The last read took as much as one may.
    has_said_much: bool,
    /// An output of it was taken.
    is_taken: bool,
    /// As long as it is not ready, or goes on to tell of itself.
    waiting: Option<Waiting>,
    progress: Option<LineReader>,
    readiness_lines: Option<[LineSplitter; 2]>,
}

/// What happened to a run.
#[derive(Debug)]
pub(crate) enum Happened {
    Exited,
    Readable(Stream),
    Ready(Result<(), NeverReady>),
    Notified(Notification),
    StdinWritten,
    /// While it hangs, somebody has read of an output that he took.
    OutputTaken,
    /// There is something to do about its end, perhaps by a census that came.
    Ending(Option<Arc<Census>>),
    Sampled(Option<Arc<Census>>),
}

/// Splits an output into lines for somebody who looks for progress.
struct LineReader {
    splitters: [LineSplitter; 2],
    read: ReadProgress,
}

/// What a run is followed by.
pub(crate) struct Files {
    pidfd: Watched<OwnedFd>,
    outputs: [Option<Watched<PipeReader>>; 2],
    stdin: Option<StdinPipe>,
    last_output: Arc<LastOutput>,
}

/// The parts of a run that has just begun, which others hold.
#[derive(Default)]
pub(crate) struct Taken {
    pub(crate) stdout: Option<TakenOutput>,
    pub(crate) stderr: Option<TakenOutput>,
}

impl Files {
    /// Must be called within a runtime.
    pub(crate) fn open(child: &mut Child, spec: &ChildSpec) -> io::Result<(Self, Taken)> {
        let pidfd = child.as_fd().try_clone_to_owned()?;
        let mut files = Self {
            pidfd: Watched::new(pidfd, Interest::READABLE)?,
            outputs: [None, None],
            stdin: child.take_stdin().map(StdinPipe::new).transpose()?,
            last_output: Arc::new(LastOutput::default()),
        };
        let mut taken = Taken::default();
        for (stream, mode) in [(Stream::Stdout, spec.stdout), (Stream::Stderr, spec.stderr)] {
            let pipe = match stream {
                Stream::Stdout => child.take_stdout(),
                Stream::Stderr => child.take_stderr(),
            };
            let Some(pipe) = pipe else { continue };
            if mode == OutputMode::Take {
                let noted = Arc::clone(&files.last_output);
                let theirs = TakenOutput::new(pipe, child.pid(), noted)?;
                match stream {
                    Stream::Stdout => taken.stdout = Some(theirs),
                    Stream::Stderr => taken.stderr = Some(theirs),
                }
            } else {
                set_nonblocking(&pipe)?;
                files.outputs[stream as usize] = Some(Watched::new(pipe, Interest::READABLE)?);
            }
        }
        Ok((files, taken))
    }
}

impl Run {
    pub(crate) fn new(
        number: u64,
        child: Child,
        files: Files,
        waiting: Waiting,
        spec: &ChildSpec,
    ) -> Self {
        let started = Instant::now();
        let mut hang = HangWatch::new(&spec.hang, started, spec.grace);
        let progress = spec.progress.as_ref().and_then(|reader| {
            unless_it_panics(child.pid(), || reader.make()).map(|read| LineReader {
                splitters: Default::default(),
                read,
            })
        });
        if progress.is_none() {
            hang.forget_progress();
        }
        let is_taken = [spec.stdout, spec.stderr].contains(&OutputMode::Take);
        let run = Self {
            number,
            started,
            ready: false,
            cause: Cause::Exit,
            reported: false,
            ending: None,
            hang,
            sampler: Sampler::needed_by(spec, child.kin(), started),
            stdin: files.stdin,
            last_output: files.last_output,
            look_again: None,
            told_status: None,
            tell_status_at: None,
            pidfd: files.pidfd,
            outputs: files.outputs,
            has_said_much: false,
            is_taken,
            readiness_lines: waiting.wants_lines().then(Default::default),
            waiting: Some(waiting),
            progress,
            child,
        };
        run.judged_by_what_is_heard()
    }

    /// Waits until something happens to it. `read` says that somebody has room for output.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: whatever has not been told happens again.
    pub(crate) async fn next(&mut self, read: bool) -> Happened {
        let Self {
            pidfd,
            outputs: [stdout, stderr],
            waiting,
            stdin,
            ending,
            hang,
            sampler,
            last_output,
            ready: is_ready,
            reported,
            look_again,
            ..
        } = self;
        tokio::select! {
            () = exited(pidfd, *look_again), if !*reported => Happened::Exited,
            census = wake(ending) => Happened::Ending(census),
            told = tell(waiting, *is_ready) => told,
            () = readable(stdout), if read => Happened::Readable(Stream::Stdout),
            () = readable(stderr), if read => Happened::Readable(Stream::Stderr),
            () = write(stdin) => Happened::StdinWritten,
            () = last_output.news(), if hang.is_hanging() => Happened::OutputTaken,
            census = sample(sampler) => Happened::Sampled(census),
        }
    }

    /// Reads what is there of an output, up to a bound; false when there will be no more.
    pub(crate) fn read(&mut self, stream: Stream, mut each: impl FnMut(&[u8])) -> bool {
        let Some(pipe) = &self.outputs[stream as usize] else {
            return false;
        };
        // Taken before reading: what comes meanwhile is then not forgotten when it is cleared.
        let mut readiness = match pipe.poll_read_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(readiness)) => Some(readiness),
            Poll::Ready(Err(_)) | Poll::Pending => None,
        };
        let mut empty = false;
        let has_said_much = &mut self.has_said_much;
        let open = BUFFER.with_borrow_mut(|buffer| {
            buffer.resize(BUFFER_BYTES, 0);
            let mut total = 0;
            while total < READ_AT_ONCE && !empty {
                match pipe.file().read(buffer) {
                    Ok(0) => return false,
                    Ok(read) => {
                        total += read;
                        each(&buffer[..read]);
                        // A pipe that gave less than was asked for is empty.
                        empty = read < buffer.len();
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => empty = true,
                    Err(_) => return false,
                }
            }
            *has_said_much |= total >= READ_AT_ONCE;
            true
        });
        if empty && let Some(readiness) = &mut readiness {
            readiness.clear_ready();
        }
        if !open {
            self.outputs[stream as usize] = None;
        }
        open
    }

    /// Shows bytes of an output to those who look for progress and for the line that tells it is ready.
    /// Whoever looks and panics is not asked again, and the child no more judged by its progress. True if
    /// it is ready by this.
    pub(crate) fn look_at(&mut self, stream: Stream, bytes: &[u8], now: Instant) -> bool {
        if let Some(LineReader { splitters, read }) = &mut self.progress {
            let hang = &mut self.hang;
            let looked = unless_it_panics(self.child.pid(), || {
                splitters[stream as usize].push(bytes, |line| {
                    read(line.bytes(), &mut |output, position| {
                        hang.on_progress(output, position, now);
                    });
                });
            });
            if looked.is_none() {
                self.progress = None;
                self.hang.forget_progress();
            }
        }
        let mut ready = false;
        if let (Some(splitters), Some(waiting)) = (&mut self.readiness_lines, &mut self.waiting) {
            splitters[stream as usize].push(bytes, |line| {
                ready |= waiting.on_line(line.bytes());
            });
        }
        ready
    }

    /// It is ready: nobody looks for the line that says so any more.
    pub(crate) fn became_ready(&mut self) {
        self.ready = true;
        self.readiness_lines = None;
        if self
            .waiting
            .as_ref()
            .is_some_and(|waiting| !waiting.goes_on())
        {
            self.waiting = None;
        }
    }

    /// Begins to end it.
    pub(crate) fn end(&mut self, ladder: StopLadder) {
        let pipe = self.stdin.take().and_then(StdinPipe::into_pipe);
        self.ending = Some(Ending::begin(ladder, pipe));
    }

    /// Whether a read since the last call took as much as one may.
    pub(crate) fn take_has_said_much(&mut self) -> bool {
        std::mem::take(&mut self.has_said_much)
    }

    /// Whether anything that it says can be heard: by us, or by whoever took an output.
    pub(crate) fn is_heard(&self) -> bool {
        self.is_taken || self.outputs.iter().any(Option::is_some)
    }

    /// Whether it counts as ready as soon as it runs.
    pub(crate) fn is_ready_at_once(&self) -> bool {
        self.waiting.as_ref().is_some_and(Waiting::is_over)
    }

    /// Whether anybody looks at its lines beside the log.
    pub(crate) fn is_watched(&self) -> bool {
        self.progress.is_some() || self.readiness_lines.is_some()
    }

    /// It will never be ready: nobody waits for that any more.
    pub(crate) fn waiting_is_over(&mut self) {
        self.waiting = None;
        self.readiness_lines = None;
    }

    /// Silence says nothing of a child that nobody can hear.
    fn judged_by_what_is_heard(mut self) -> Self {
        if !self.is_heard() {
            self.hang.forget_silence();
        }
        self
    }

    pub(crate) fn uptime(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }
}

/// Calls a reader of progress, which may be anybody's code.
fn unless_it_panics<T>(pid: u32, call: impl FnOnce() -> T) -> Option<T> {
    let result = catch_unwind(AssertUnwindSafe(call));
    if result.is_err() {
        tracing::error!(pid, "reader of progress panicked, not asked again");
    }
    result.ok()
}

async fn exited(pidfd: &Watched<OwnedFd>, not_before: Option<Instant>) {
    if let Some(moment) = not_before {
        sleep_until(moment.into()).await;
    }
    if let Err(error) = pidfd.ready(Interest::READABLE).await {
        tracing::error!(%error, "cannot wait for a child");
        pending::<()>().await;
    }
}

/// Whether there is something to read; [`Run::read`] takes it.
async fn readable(pipe: &Option<Watched<PipeReader>>) {
    match pipe {
        Some(pipe) if pipe.ready(Interest::READABLE).await.is_ok() => {}
        _ => pending().await,
    }
}

async fn wake(ending: &mut Option<Ending>) -> Option<Arc<Census>> {
    match ending {
        Some(ending) => ending.wake().await,
        None => pending().await,
    }
}

async fn tell(waiting: &mut Option<Waiting>, is_ready: bool) -> Happened {
    match waiting {
        Some(waiting) if is_ready => Happened::Notified(waiting.notification().await),
        Some(waiting) => match waiting.ready().await {
            Ok(Said::Ready) => Happened::Ready(Ok(())),
            Ok(Said::Notification(other)) => Happened::Notified(other),
            Err(never) => Happened::Ready(Err(never)),
        },
        None => pending().await,
    }
}

async fn write(stdin: &mut Option<StdinPipe>) {
    match stdin {
        Some(stdin) => stdin.go_on().await,
        None => pending().await,
    }
}

async fn sample(sampler: &mut Option<Sampler>) -> Option<Arc<Census>> {
    match sampler {
        Some(sampler) => sampler.census().await,
        None => pending().await,
    }
}
