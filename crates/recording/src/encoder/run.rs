//! One life of an encoder: an ffmpeg process, and the threads that empty its pipes.

use std::{
    io::{self, PipeReader, Read},
    path::PathBuf,
    process::ExitStatus,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use longtake_ffmpeg::{FfmpegCommand, LogTail};
use longtake_process::{Child, Killer, LineSplitter};
use parking_lot::Mutex;

use super::{
    EncoderFault,
    fault::cause_of_end,
    input::{FrameInput, Picture},
    ledger::{Ledger, Limits},
    restarts::Failure,
    settings::VideoEncoder,
    teller::Teller,
};
use crate::{
    bitstream::Packager,
    counts::DropReason,
    frame::RawFrame,
    nut::{NutError, NutReader},
    packet::Packet,
    pts::Pts,
    stream::{FrameRate, StreamIndex},
};

/// How long ffmpeg may take to exit once its pipes are closed.
const EXIT_WITHIN: Duration = Duration::from_secs(2);

/// How often a draining encoder is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What every life of an encoder has in common.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) program: PathBuf,
    pub(super) nice: Option<i32>,
    pub(super) picture: Picture,
    pub(super) limits: Limits,
    pub(super) stream: StreamIndex,
    /// The rate that the packets are said to have.
    pub(super) rate: Option<FrameRate>,
    pub(super) encoder: VideoEncoder,
    /// The layout that was asked for, if it is not left to ffmpeg.
    pub(super) encoded_format: Option<String>,
}

impl Job {
    /// Says that the encoder does not have the layout.
    pub(super) fn refused_format(&self) -> String {
        let format = self.encoded_format.as_deref().unwrap_or("of the input");
        format!("{} does not take pixel format {format}", self.encoder)
    }
}

/// An ffmpeg that runs. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Run {
    child: Child,
    input: Option<FrameInput>,
    ledger: Arc<Mutex<Ledger>>,
    reader: Option<JoinHandle<Result<(), EncoderFault>>>,
    /// Closed when the reader ends.
    reading: Receiver<()>,
    log: Option<JoinHandle<LogTail>>,
    hang_after: Duration,
}

/// Why a run cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It ended, or is about to.
    Ends,
    /// It gives no sign of life.
    Hung,
}

/// What a run left behind.
#[derive(Debug)]
pub(super) struct End {
    /// The frames that were inside, in their order.
    pub(super) inside: Vec<Pts>,
    pub(super) fault: EncoderFault,
    pub(super) failure: Failure,
}

impl Run {
    /// Starts ffmpeg and the threads.
    pub(super) fn start(
        job: &Job,
        command: &FfmpegCommand,
        teller: &Arc<Teller>,
    ) -> Result<Self, EncoderFault> {
        let mut command = command.to_command().map_err(EncoderFault::Command)?;
        if let Some(nice) = job.nice {
            command.nice(nice);
        }
        let mut child = command.spawn().map_err(EncoderFault::Start)?;
        let (stdin, stdout, stderr) =
            (child.take_stdin(), child.take_stdout(), child.take_stderr());
        let pipe = "the command uses all three pipes";
        let (stdin, stdout) = (stdin.expect(pipe), stdout.expect(pipe));
        let ledger = Arc::new(Mutex::new(Ledger::new(job.limits, Instant::now())));
        let input = FrameInput::new(job.picture, stdin, Arc::clone(&ledger));
        let (alive, reading) = bounded(0);
        let reader = PacketReader {
            ledger: Arc::clone(&ledger),
            teller: Arc::clone(teller),
            stream: job.stream,
            rate: job.rate,
            _alive: alive,
        };
        let mut run = Self {
            child,
            input: Some(input.map_err(EncoderFault::Pipe)?),
            ledger,
            reader: None,
            reading,
            log: None,
            hang_after: job.limits.hang_after,
        };
        let stderr = stderr.expect(pipe);
        run.log = Some(spawn("encoder log", move || read_log(stderr))?);
        run.reader = Some(spawn("encoder out", move || reader.run(stdout))?);
        Ok(run)
    }

    /// A handle that kills it from any thread.
    pub(super) fn killer(&self) -> Killer {
        self.child.killer()
    }

    /// Whether it must be ended before the next frame.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        if self.reader.as_ref().is_none_or(JoinHandle::is_finished) {
            Some(Trouble::Ends)
        } else if self.ledger.lock().is_hung(Instant::now()) {
            Some(Trouble::Hung)
        } else {
            None
        }
    }

    /// Puts a frame in, waiting for room as long as the encoder gives signs of life. After an error
    /// the frame is not inside.
    pub(super) fn write(&mut self, frame: &RawFrame) -> Result<(), Trouble> {
        let Some(input) = &mut self.input else {
            return Err(Trouble::Ends);
        };
        // Before the first byte: the packet may be out before the last write returns.
        self.ledger.lock().goes_in(frame.pts, Instant::now());
        input.write(frame).map_err(|error| {
            self.ledger.lock().take_back(frame.pts);
            if error.kind() == io::ErrorKind::TimedOut {
                Trouble::Hung
            } else {
                Trouble::Ends
            }
        })
    }

    /// Ends the input and waits until everything came out. A frame that did not is an error.
    pub(super) fn drain(mut self, job: &Job) -> Result<(), End> {
        drop(self.input.take());
        while self.reading.recv_timeout(LOOK_AGAIN) == Err(RecvTimeoutError::Timeout) {
            if self.ledger.lock().is_hung_at_end(Instant::now()) {
                return Err(self.end(Trouble::Hung, job));
            }
        }
        let end = self.end(Trouble::Ends, job);
        let is_complete = end.inside.is_empty();
        match end.fault {
            EncoderFault::Ended {
                status: Some(status),
                ..
            } if status.success() && is_complete => Ok(()),
            _ => Err(end),
        }
    }

    /// Ends it, by force unless it is ending by itself, and finds out what was wrong.
    pub(super) fn end(mut self, trouble: Trouble, job: &Job) -> End {
        drop(self.input.take());
        let waited = match trouble {
            Trouble::Ends => self.child.wait_timeout(EXIT_WITHIN),
            Trouble::Hung => Ok(None),
        };
        let exited = matches!(waited, Ok(Some(status)) if status.code().is_some());
        let status = self.stop();
        let (read, log) = self.join();
        let (inside, gave_packets) = {
            let mut ledger = self.ledger.lock();
            (ledger.take_all(), ledger.gave_packets())
        };
        let (fault, speaks_nonsense) = match (trouble, read) {
            (Trouble::Hung, _) => {
                let silent = self.hang_after;
                (EncoderFault::Hung { silent }, false)
            }
            // A packet that was cut off is but a sign of the encoder's end.
            (_, Ok(()) | Err(EncoderFault::Output(NutError::Truncated { .. }))) => {
                let cause = match status {
                    Some(status) => cause_of_end(job, status, &log),
                    None => "its exit status is lost".to_owned(),
                };
                (EncoderFault::Ended { status, cause }, false)
            }
            (_, Err(fault)) => (fault, true),
        };
        let failure = if (exited || speaks_nonsense) && !gave_packets {
            Failure::Refused
        } else {
            Failure::Broken
        };
        End {
            inside,
            fault,
            failure,
        }
    }

    /// Kills what is left of it, and gives its status.
    fn stop(&mut self) -> Option<ExitStatus> {
        match self.child.kill() {
            Ok(stopped) => Some(stopped.status),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "encoder not stopped"
                );
                None
            }
        }
    }

    /// Joins the threads, which end with the process.
    fn join(&mut self) -> (Result<(), EncoderFault>, LogTail) {
        let read = self.reader.take().map_or(Ok(Ok(())), JoinHandle::join);
        let log = self.log.take().map_or(Ok(LogTail::new()), JoinHandle::join);
        match (read, log) {
            (Ok(read), Ok(log)) => (read, log),
            // The receiver of the packets panicked: that goes on in its owner's thread.
            (Err(panic), _) | (_, Err(panic)) => std::panic::resume_unwind(panic),
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if self.reader.is_some() || self.log.is_some() {
            drop(self.input.take());
            self.stop();
            drop(self.reader.take().map(JoinHandle::join));
            drop(self.log.take().map(JoinHandle::join));
        }
    }
}

/// The thread that reads packets.
struct PacketReader {
    ledger: Arc<Mutex<Ledger>>,
    teller: Arc<Teller>,
    stream: StreamIndex,
    rate: Option<FrameRate>,
    _alive: Sender<()>,
}

impl PacketReader {
    /// Reads until the end, or until something is wrong; then the pipe closes, and ffmpeg ends.
    fn run(self, mut stdout: PipeReader) -> Result<(), EncoderFault> {
        let mut reader = NutReader::new();
        let mut packager = None;
        while reader.read_from(&mut stdout).map_err(EncoderFault::Pipe)? > 0 {
            while let Some(frame) = reader.next_frame().map_err(EncoderFault::Output)? {
                let packager = match &mut packager {
                    Some(packager) => packager,
                    None => {
                        let mut stream = reader.streams()[frame.stream].clone();
                        stream.frame_rate = self.rate;
                        let new = Packager::new(&stream).map_err(EncoderFault::Packets)?;
                        packager.insert(new)
                    }
                };
                let pts = frame.pts;
                let packet = packager.package(frame).map_err(EncoderFault::Packets)?;
                let lost = self.ledger.lock().comes_out(pts, Instant::now());
                let mut lost = lost.map_err(|_| EncoderFault::NotSent { pts })?;
                let Some(packet) = packet else {
                    // It cannot be used: no decoder would know what to do with it.
                    lost.push(pts);
                    self.deliver(&lost, None);
                    continue;
                };
                self.deliver(
                    &lost,
                    Some(Packet {
                        stream: self.stream,
                        pts,
                        duration: packet.duration,
                        keyframe: packet.keyframe,
                        data: packet.data,
                        parameters: packet.parameters,
                    }),
                );
            }
        }
        reader.finish().map_err(EncoderFault::Output)
    }

    fn deliver(&self, lost: &[Pts], packet: Option<Packet>) {
        self.teller.dropped(DropReason::EncoderFailed, lost);
        if let Some(packet) = packet {
            self.teller.packet(packet);
        }
        self.ledger.lock().delivered(Instant::now());
    }
}

fn read_log(mut stderr: PipeReader) -> LogTail {
    let mut log = LogTail::new();
    let mut lines = LineSplitter::default();
    let mut buffer = vec![0; 8 << 10];
    loop {
        match stderr.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => lines.push(&buffer[..read], |line| {
                log.push(line);
            }),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    lines.finish(|line| {
        log.push(line);
    });
    log
}

fn spawn<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, EncoderFault> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map_err(EncoderFault::Pipe)
}
