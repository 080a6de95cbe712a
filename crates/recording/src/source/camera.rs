//! A camera or a file that ffmpeg captures.

use std::{
    io::{PipeReader, Read as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use longtake_ffmpeg::{Ending, Ffmpeg, LogTail, classify};
use longtake_process::{Child, Killer, LineSplitter};
use parking_lot::Mutex;
use tracing::{debug, error, warn};

use super::{
    VideoSource,
    placing::Placing,
    plan::{Delivery, capture_command},
};
use crate::{
    bitstream::Packager,
    clock::Monotonic,
    device::{Device, DeviceFault, Outlet},
    frame::RawFormat,
    nut::{NutError, NutFrame, NutKind, NutReader},
    stream::StreamSpec,
};

/// How long ffmpeg may take to exit once it has closed its output.
const EXIT_PATIENCE: Duration = Duration::from_secs(2);

/// How often a file that nobody records yet looks whether it should stop.
const IDLE_POLL: Duration = Duration::from_millis(20);

/// The longest log line of ffmpeg that is kept, in bytes.
const MAX_LOG_LINE: usize = 4096;

/// A video source behind an ffmpeg: a test picture, a V4L2 camera, an RTSP camera or a file.
///
/// Each picture gets the time at which it was captured: the kernel's for V4L2, otherwise the
/// source's own timestamp, shifted by what is fixed once pictures come at their own pace. A network camera whose
/// clock leaves ours by more than 500 ms is anchored anew, which shows as a gap.
///
/// A file waits for a recording, so that its beginning is not lost, and ends in order.
#[derive(Debug)]
pub struct Camera {
    spec: StreamSpec,
    source: VideoSource,
    delivery: Delivery,
    ffmpeg: Ffmpeg,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    outlet: Outlet,
    state: Arc<State>,
    killer: Killer,
    thread: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct State {
    ready: AtomicBool,
    closing: AtomicBool,
    fault: Mutex<Option<String>>,
}

impl Camera {
    /// A camera with one stream.
    pub const fn new(
        spec: StreamSpec,
        source: VideoSource,
        delivery: Delivery,
        ffmpeg: Ffmpeg,
    ) -> Self {
        Self {
            spec,
            source,
            delivery,
            ffmpeg,
            running: None,
        }
    }
}

impl Device for Camera {
    fn label(&self) -> String {
        format!("{} ({})", self.spec.name, self.source)
    }

    fn device_type(&self) -> String {
        self.source.device_type().into()
    }

    fn streams(&self) -> Vec<StreamSpec> {
        vec![self.spec.clone()]
    }

    fn open(&mut self, mut outlets: Vec<Outlet>) -> Result<(), DeviceFault> {
        let outlet = outlets.pop().ok_or("a camera needs one outlet")?;
        let command = capture_command(self.ffmpeg.program(), &self.source, &self.delivery);
        debug!(stream = self.spec.name, %command, "capture starts");
        let child = command.to_command()?.spawn()?;
        let killer = child.killer();
        let state = Arc::new(State::default());
        let capture = Capture {
            outlet: outlet.clone(),
            state: Arc::clone(&state),
            source: self.source.clone(),
            delivery: self.delivery.clone(),
            ffmpeg: self.ffmpeg.clone(),
        };
        let thread = thread::Builder::new()
            .name("camera".into())
            .spawn(move || capture.run(child))?;
        self.running = Some(Running {
            outlet,
            state,
            killer,
            thread,
        });
        Ok(())
    }

    fn ready(&self) -> bool {
        self.running
            .as_ref()
            .is_some_and(|running| running.state.ready.load(Ordering::Acquire))
    }

    fn healthy(&self) -> Result<(), DeviceFault> {
        let Some(running) = &self.running else {
            return Err("it is not open".into());
        };
        if let Some(fault) = running.state.fault.lock().as_ref() {
            return Err(fault.clone().into());
        }
        if running.thread.is_finished() && !running.outlet.ended() {
            return Err("its thread has ended".into());
        }
        Ok(())
    }

    fn close(&mut self) {
        let Some(running) = self.running.take() else {
            return;
        };
        running.state.closing.store(true, Ordering::Release);
        if let Err(gone) = running.killer.kill() {
            debug!(
                error = &gone as &dyn std::error::Error,
                "capture had ended already"
            );
        }
        if running.thread.join().is_err() {
            error!(stream = self.spec.name, "the thread of a camera panicked");
        }
    }
}

/// What the thread of a camera owns.
struct Capture {
    outlet: Outlet,
    state: Arc<State>,
    source: VideoSource,
    delivery: Delivery,
    ffmpeg: Ffmpeg,
}

/// Why capturing came to its end.
enum End {
    /// ffmpeg closed its output; its exit status and log tell why.
    Output,
    /// What it wrote cannot be used.
    Unusable(String),
    /// We close.
    Closing,
}

impl Capture {
    fn run(self, mut child: Child) {
        let log = child.take_stderr().map(|pipe| {
            thread::Builder::new()
                .name("camera-log".into())
                .spawn(move || read_log(pipe))
        });
        let end = match child.take_stdout() {
            Some(pipe) => self.deliver(pipe),
            None => End::Unusable("it has no output".into()),
        };
        let exit = match &end {
            End::Output => child.wait_timeout(EXIT_PATIENCE).ok().flatten(),
            End::Unusable(_) | End::Closing => None,
        };
        if let Err(error) = child.kill() {
            warn!(
                error = &error as &dyn std::error::Error,
                "capture did not end"
            );
        }
        let log = match log {
            Some(Ok(thread)) => thread.join().unwrap_or_default(),
            _ => LogTail::new(),
        };
        if self.state.closing.load(Ordering::Acquire) {
            return;
        }
        let fault = match (end, exit) {
            (End::Closing, _) => return,
            (End::Unusable(why), _) => Some(why),
            (End::Output, None) => Some("it closed its output and did not exit".to_owned()),
            (End::Output, Some(exit)) => match classify(exit, self.ffmpeg.version(), false, &log) {
                Ending::Finished if matches!(self.source, VideoSource::File { .. }) => None,
                Ending::Finished => Some("the source ended".to_owned()),
                Ending::Stopped => Some("ffmpeg was told to stop by somebody else".to_owned()),
                Ending::Failed { kind, cause } => Some(cause.map_or_else(
                    || format!("ffmpeg failed: {kind} ({exit})"),
                    |cause| format!("ffmpeg says: {}", cause.text),
                )),
            },
        };
        match fault {
            None => self.outlet.end(),
            Some(why) => {
                *self.state.fault.lock() = Some(why.clone());
                self.outlet.fail(&why);
            }
        }
    }

    /// Hands everything over that comes out of ffmpeg.
    fn deliver(&self, mut pipe: PipeReader) -> End {
        let mut reader = NutReader::new();
        let mut placing = Placing::of(&self.source);
        let mut form: Option<Form> = None;
        loop {
            match reader.read_from(&mut pipe) {
                Ok(0) => return End::Output,
                Ok(_) => {}
                Err(error) => return End::Unusable(format!("reading from ffmpeg failed: {error}")),
            }
            let mut arrival = Monotonic::now();
            loop {
                let frame = match reader.next_frame() {
                    Ok(Some(frame)) => frame,
                    Ok(None) => break,
                    Err(error) => return End::Unusable(unusable(&error)),
                };
                let form = match &mut form {
                    Some(form) => form,
                    None => match self.form(&reader) {
                        Ok(first) => {
                            if self.source.plays_by_our_clock() {
                                self.state.ready.store(true, Ordering::Release);
                            }
                            if !self.wait_until_wanted() {
                                return End::Closing;
                            }
                            arrival = Monotonic::now();
                            form.insert(first)
                        }
                        Err(why) => return End::Unusable(why),
                    },
                };
                self.hand_over(form, &mut placing, arrival, frame);
                if placing.is_settled() {
                    self.state.ready.store(true, Ordering::Release);
                }
            }
        }
    }

    fn form(&self, reader: &NutReader) -> Result<Form, String> {
        let stream = reader.streams().first().ok_or("there is no stream in it")?;
        match (&self.delivery, &stream.kind) {
            (Delivery::Decoded { pixel_format }, NutKind::Video { width, height }) => {
                Ok(Form::Raw(Arc::new(RawFormat {
                    width: *width,
                    height: *height,
                    pixel_format: pixel_format.clone(),
                    fps: stream.frame_rate,
                })))
            }
            (Delivery::Copied, NutKind::Video { .. }) => {
                let packager = Packager::new(stream)
                    .map_err(|error| format!("{error}; ask for codec=libx264 to encode it anew"))?;
                Ok(Form::Packets(packager))
            }
            _ => Err("its stream is no video".to_owned()),
        }
    }

    fn hand_over(
        &self,
        form: &mut Form,
        placing: &mut Placing,
        arrival: Monotonic,
        frame: NutFrame,
    ) {
        let (at, anchored_anew) = placing.place(frame.pts.micros(), arrival);
        if anchored_anew {
            self.outlet.clock_jumped();
        }
        match form {
            Form::Raw(format) => self.outlet.frame(at, format, frame.data),
            Form::Packets(packager) => match packager.package(frame) {
                Ok(Some(packet)) => self.outlet.packet(at, packet),
                // Nothing could be decoded from it: the stream has not yet said what it is.
                Ok(None) => {}
                Err(error) => {
                    debug!(stream = self.outlet.spec().name, %error, "packet not recorded");
                    self.outlet.invalid(at);
                }
            },
        }
    }

    /// Lets a file wait for a recording; false when the camera is closed meanwhile.
    fn wait_until_wanted(&self) -> bool {
        if matches!(self.source, VideoSource::File { .. }) {
            while !self.outlet.wait_for_recording(IDLE_POLL) {
                if self.state.closing.load(Ordering::Acquire) {
                    return false;
                }
            }
        }
        true
    }
}

/// What a camera's frames are.
enum Form {
    Raw(Arc<RawFormat>),
    Packets(Packager),
}

fn unusable(error: &NutError) -> String {
    format!("what ffmpeg wrote cannot be read: {error}")
}

/// Reads ffmpeg's log to its end. What cannot be read is no reason to stop capturing.
fn read_log(mut pipe: PipeReader) -> LogTail {
    let mut log = LogTail::new();
    let mut splitter = LineSplitter::new(MAX_LOG_LINE);
    let mut piece = [0; 4096];
    while let Ok(count @ 1..) = pipe.read(&mut piece) {
        splitter.push(piece.get(..count).unwrap_or_default(), |line| {
            log.push(line);
        });
    }
    splitter.finish(|line| {
        log.push(line);
    });
    log
}
