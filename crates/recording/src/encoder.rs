//! Encodes raw frames with an ffmpeg process, and keeps their times to the microsecond.
//!
//! Frames go in as uncompressed Matroska, packets come out as NUT: both keep microseconds. What is
//! inside is known at any time ([`ledger`]), so that a packet is matched with its frame, and a frame
//! without a packet is counted. An encoder that dies or hangs is started again ([`restarts`]).

mod arguments;
mod decimator;
mod fault;
mod input;
mod ledger;
mod restarts;
mod run;
mod settings;
mod teller;
mod trial;

use std::{path::PathBuf, sync::Arc, time::Instant};

use longtake_matroska::{MAX_BLOCK_BYTES, MAX_PTS_US, uncompressed_fourcc};
use longtake_process::Killer;
use parking_lot::Mutex;

use self::{
    decimator::Decimator,
    input::Picture,
    ledger::Limits,
    restarts::{Failure, Next, Restarts},
    run::{Job, Run, Trouble},
    teller::Teller,
};
pub use self::{
    fault::{EncoderError, EncoderFault, EncoderGone},
    settings::{Bitrate, EncoderSettings, SettingError, VideoEncoder},
    teller::{EncoderOutput, EncoderSummary},
    trial::TrialError,
};
use crate::{
    counts::DropReason,
    frame::{RawFormat, RawFrame},
    pts::Pts,
    stream::StreamIndex,
};

/// How many frames an encoder may hold that has no reason to hold any: those in pipes and threads.
const HELD_IN_PASSING: usize = 8;

/// How many frames an encoder may hold that looks ahead; x264's slowest preset looks at 60.
const HELD_LOOKING_AHEAD: usize = 250;

/// Encodes the raw frames of one stream.
///
/// [`feed`](Self::feed) it from one thread; what comes out goes to a function, called from a thread of
/// the encoder and sometimes from the feeding one. An ffmpeg is started with the first frame, and
/// again when it dies or hangs; what was inside is then lost and counted.
///
/// ```no_run
/// use longtake_recording::{
///     Encoder, EncoderOutput, EncoderSettings, Pts, RawFormat, RawFrame, StreamIndex,
/// };
///
/// let format = RawFormat { width: 64, height: 48, pixel_format: "gray".into(), fps: None };
/// let settings = EncoderSettings::default();
/// let mut encoder = Encoder::new("ffmpeg", settings, &format, StreamIndex(0), |output| {
///     if let EncoderOutput::Packet(packet) = output {
///         println!("{}: {} bytes", packet.pts, packet.data.len());
///     }
/// })?;
/// for frame in 0..30 {
///     encoder.feed(RawFrame { pts: Pts(frame * 33_333), data: vec![0; 64 * 48].into() });
/// }
/// assert_eq!(encoder.finish().encoded, 30);
/// # Ok::<(), longtake_recording::EncoderError>(())
/// ```
#[derive(Debug)]
pub struct Encoder {
    job: Job,
    settings: EncoderSettings,
    frame_bytes: usize,
    decimator: Option<Decimator>,
    restarts: Restarts,
    state: State,
    last_frame: Option<Pts>,
    teller: Arc<Teller>,
    kill: EncoderKiller,
}

/// Kills an encoder from any thread, for good.
#[derive(Debug, Clone, Default)]
pub struct EncoderKiller {
    shared: Arc<Mutex<Kill>>,
}

#[derive(Debug, Default)]
struct Kill {
    killed: bool,
    child: Option<Killer>,
}

#[derive(Debug)]
enum State {
    /// The next frame from this time on starts an ffmpeg.
    Waiting(Instant),
    Running(Box<Run>),
    /// No ffmpeg is started any more.
    Gone,
}

impl Encoder {
    /// An encoder for the frames of `stream`, which all have `format`, by the program `ffmpeg`; a name
    /// without a slash is looked for in `PATH`.
    ///
    /// `output` must not wait for long: the encoder stands still meanwhile. Should it panic, so does
    /// the next call of a method.
    ///
    /// # Errors
    ///
    /// Frames of this format cannot be encoded. Everything that only ffmpeg knows is told to `output`
    /// after the first frame.
    pub fn new(
        ffmpeg: impl Into<PathBuf>,
        settings: EncoderSettings,
        format: &RawFormat,
        stream: StreamIndex,
        output: impl Fn(EncoderOutput) + Send + Sync + 'static,
    ) -> Result<Self, EncoderError> {
        let fourcc = uncompressed_fourcc(&format.pixel_format);
        let (Some(fourcc), Some(frame_bytes)) = (fourcc, format.frame_bytes()) else {
            return Err(EncoderError::PixelFormat {
                name: format.pixel_format.clone(),
                instead: settings.input_format().to_owned(),
            });
        };
        let RawFormat {
            width, height, fps, ..
        } = *format;
        let frame_bytes = usize::try_from(frame_bytes)
            .ok()
            .filter(|bytes| (1..=MAX_BLOCK_BYTES).contains(bytes))
            .ok_or(EncoderError::Size { width, height })?;
        let held = if settings.has_low_latency() {
            HELD_IN_PASSING
        } else {
            HELD_LOOKING_AHEAD
        };
        let job = Job {
            program: ffmpeg.into(),
            nice: settings.nice,
            picture: Picture {
                fourcc,
                width,
                height,
                rate: arguments::nominal_rate(&settings, fps),
            },
            limits: Limits {
                // The frame that follows in time comes out before the B-frames between.
                reordered: match settings.effective_b_frames() {
                    0 => 0,
                    b_frames => b_frames + 1,
                },
                held,
                hang_after: settings.hang_after,
            },
            stream,
            rate: arguments::known_rate(&settings, fps),
            encoder: settings.encoder(),
            encoded_format: settings.encoded_format().map(str::to_owned),
        };
        Ok(Self {
            job,
            decimator: Decimator::new(fps, settings.fps),
            settings,
            frame_bytes,
            restarts: Restarts::default(),
            state: State::Waiting(Instant::now()),
            last_frame: None,
            teller: Arc::new(Teller::new(output)),
            kill: EncoderKiller::default(),
        })
    }

    /// Puts a frame in. Times must go up from 0.
    ///
    /// Waits while ffmpeg is busy, and at most until it counts as hung, twice at the worst. A frame
    /// that is malformed, left out or lost is told as dropped.
    pub fn feed(&mut self, frame: RawFrame) {
        self.teller.received();
        if let Err(reason) = self.admit(&frame) {
            return self.teller.dropped(reason, &[frame.pts]);
        }
        while let Some(run) = self.run_for(frame.pts) {
            match run.write(&frame) {
                Ok(()) => return,
                Err(trouble) => self.broke(trouble),
            }
        }
        self.teller.lost(&[frame.pts]);
    }

    /// Lets everything out that is inside and ends.
    ///
    /// Takes as long as the encoder needs for what it holds; when it hangs, it is killed after a
    /// while. Frames that did not come out are told as dropped before this returns.
    pub fn finish(mut self) -> EncoderSummary {
        if let State::Running(run) = std::mem::replace(&mut self.state, State::Gone)
            && let Err(end) = run.drain(&self.job)
        {
            self.teller.lost(&end.inside);
            if !self.kill.is_killed() {
                self.teller.ended_badly(end.fault);
            }
        }
        if let Some(last) = self.last_frame {
            self.teller.end_gap(last);
        }
        self.teller.summary()
    }

    /// A handle that kills the encoder from any thread, also while [`feed`](Self::feed) or
    /// [`finish`](Self::finish) waits.
    pub fn killer(&self) -> EncoderKiller {
        self.kill.clone()
    }

    /// What became of the frames up to now; those inside are in no count but `received`.
    pub fn summary(&self) -> EncoderSummary {
        self.teller.summary()
    }

    /// Whether a frame goes into the encoder.
    fn admit(&mut self, frame: &RawFrame) -> Result<(), DropReason> {
        let is_in_order = self.last_frame.is_none_or(|last| frame.pts > last);
        let has_time = (0..=MAX_PTS_US).contains(&frame.pts.0);
        if !is_in_order || !has_time || frame.data.len() != self.frame_bytes {
            return Err(DropReason::Invalid);
        }
        self.last_frame = Some(frame.pts);
        let decimator = self.decimator.as_mut();
        if decimator.is_none_or(|decimator| decimator.picks(frame.pts)) {
            Ok(())
        } else {
            Err(DropReason::Decimated)
        }
    }

    /// The ffmpeg that takes the frame at `pts`; `None` while there is none.
    fn run_for(&mut self, pts: Pts) -> Option<&mut Run> {
        if let State::Running(run) = &self.state
            && let Some(trouble) = run.trouble()
        {
            self.broke(trouble);
        }
        if let State::Waiting(until) = self.state
            && Instant::now() >= until
        {
            self.start(pts);
        }
        match &mut self.state {
            State::Running(run) => Some(run),
            State::Waiting(_) | State::Gone => None,
        }
    }

    fn start(&mut self, first: Pts) {
        let rate = self.job.picture.rate;
        let command = arguments::command(&self.job.program, &self.settings, rate, first);
        match Run::start(&self.job, &command, &self.teller) {
            Ok(run) => {
                self.kill.watch(run.killer());
                self.state = State::Running(Box::new(run));
            }
            Err(fault) => self.failed(fault.failure_to_start(), fault),
        }
    }

    /// Ends the ffmpeg that runs, and counts what was inside.
    fn broke(&mut self, trouble: Trouble) {
        if let State::Running(run) = std::mem::replace(&mut self.state, State::Gone) {
            let end = run.end(trouble, &self.job);
            self.teller.lost(&end.inside);
            self.failed(end.failure, end.fault);
        }
    }

    fn failed(&mut self, failure: Failure, fault: EncoderFault) {
        if self.kill.is_killed() {
            self.state = State::Gone;
            return;
        }
        match self.restarts.on_failure(failure, Instant::now()) {
            Next::StartAt(time) => {
                self.state = State::Waiting(time);
                self.teller.interrupted(fault);
            }
            Next::GiveUp => {
                self.state = State::Gone;
                self.teller.gone(fault);
            }
        }
    }
}

impl EncoderKiller {
    /// Kills the encoder at once. What is inside is lost, and it is not started again.
    pub fn kill(&self) {
        let mut shared = self.shared.lock();
        shared.killed = true;
        if let Some(child) = shared.child.take() {
            // Should it be gone by itself, all the better.
            drop(child.kill());
        }
    }

    fn is_killed(&self) -> bool {
        self.shared.lock().killed
    }

    /// Kills this child when the time comes, or now if it has.
    fn watch(&self, child: Killer) {
        let killed = {
            let mut shared = self.shared.lock();
            shared.child = Some(child);
            shared.killed
        };
        if killed {
            self.kill();
        }
    }
}
