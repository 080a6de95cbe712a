//! What can be recorded: a device with one or more streams on one clock.

use std::{
    error::Error,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use crate::{
    clock::Monotonic,
    frame::RawFormat,
    intake::{Captured, Intake},
    stream::{CodecParameters, StreamSpec},
    tap::{Tap, TapSlot},
};

/// Why a device does not work, in the device's own words.
pub type DeviceFault = Box<dyn Error + Send + Sync>;

/// A camera, a sensor, or a unit that carries several of them, such as RGB, depth and IMU.
///
/// Implement it for hardware of your own: hand frames, packets or samples to the [`Outlet`]s that
/// [`open`](Self::open) gets, from any thread, each with the time at which it was captured. No
/// ffmpeg is needed for packets and samples; raw frames are encoded by one.
///
/// A device is opened once and closed once. It works from [`open`](Self::open) on, whether or not a
/// recording takes what it gives, so that a preview is possible while idle.
pub trait Device: Send + fmt::Debug {
    /// What the user calls it, for manifests, events and errors.
    fn label(&self) -> String;

    /// What kind of device it is, such as `v4l2`.
    fn device_type(&self) -> String;

    /// The streams that it carries, in the order of the outlets that [`open`](Self::open) gets.
    fn streams(&self) -> Vec<StreamSpec>;

    /// Begins to capture, with one outlet a stream. Does not wait for the first frame.
    ///
    /// # Errors
    ///
    /// The device cannot be opened. It must then hold nothing: [`close`](Self::close) is not called.
    fn open(&mut self, outlets: Vec<Outlet>) -> Result<(), DeviceFault>;

    /// Whether it delivers. Asked every few milliseconds until it says yes.
    fn ready(&self) -> bool;

    /// Whether it still works. Asked once a second while the device is open and one of its streams
    /// has not ended; must answer at once, since [`close`](Self::close) waits for the answer.
    ///
    /// # Errors
    ///
    /// Why it does not: all its streams then end with this reason.
    fn healthy(&self) -> Result<(), DeviceFault>;

    /// Stops capturing. Nothing reaches an outlet after it returns.
    fn close(&mut self);
}

/// Where a device puts what one of its streams captured. Cheap to clone.
///
/// Times are those of the capture, on the clock that [`Monotonic::now`] reads. Raw frames must rise in
/// time: one that is not later than the one before counts as dropped for being invalid. Packets and
/// samples are written as they come. A time more than a minute ahead of the clock counts as invalid too.
///
/// Nothing here waits, unless the recording was told to make this source wait when its queue is
/// full ([`WhenFull::Block`](crate::WhenFull::Block)).
#[derive(Debug, Clone)]
pub struct Outlet {
    shared: Arc<OutletShared>,
}

#[derive(Debug)]
struct OutletShared {
    spec: StreamSpec,
    tap: Arc<TapSlot>,
    intake: Mutex<Option<Arc<Intake>>>,
    attached: Condvar,
    delivered: AtomicU64,
    ended: AtomicBool,
    failure: Mutex<Option<String>>,
}

impl Outlet {
    pub(crate) fn new(spec: StreamSpec) -> Self {
        Self {
            shared: Arc::new(OutletShared {
                spec,
                tap: Arc::new(TapSlot::default()),
                intake: Mutex::new(None),
                attached: Condvar::new(),
                delivered: AtomicU64::new(0),
                ended: AtomicBool::new(false),
                failure: Mutex::new(None),
            }),
        }
    }

    /// Hands over one raw frame that was captured `at`. Frames of one format share the `Arc`.
    pub fn frame(&self, at: Monotonic, format: &Arc<RawFormat>, data: Bytes) {
        self.shared.delivered.fetch_add(1, Ordering::Relaxed);
        self.shared.tap.put_frame(at, format, &data);
        self.take(at, || Captured::Frame {
            format: Arc::clone(format),
            data,
        });
    }

    /// Hands over one encoded packet that was captured `at`, in decode order.
    pub fn packet(&self, at: Monotonic, packet: SourcePacket) {
        self.shared.delivered.fetch_add(1, Ordering::Relaxed);
        self.shared
            .tap
            .put_packet(at, packet.keyframe, &packet.data, &packet.parameters);
        self.take(at, || Captured::Packet(packet));
    }

    /// Hands over one sensor sample that was captured `at`: one JSON object as UTF-8 text. Anything
    /// else is counted as dropped for being invalid.
    pub fn sample(&self, at: Monotonic, json: Bytes) {
        self.shared.delivered.fetch_add(1, Ordering::Relaxed);
        self.shared.tap.put_sample(at, &json);
        self.take(at, || Captured::Sample(json));
    }

    /// Says that the source's own clock jumped just before what comes next, so that the recording
    /// shows a gap there.
    pub fn clock_jumped(&self) {
        if let Some(intake) = self.intake() {
            intake.note_clock_jump();
        }
    }

    /// Says that something came `at` this time that cannot be recorded, such as a line that is too
    /// long. It is counted as received and as dropped for being invalid.
    pub fn invalid(&self, at: Monotonic) {
        self.shared.delivered.fetch_add(1, Ordering::Relaxed);
        if let Some(intake) = self.intake() {
            intake.refuse(at);
        }
    }

    /// Says that nothing will come any more: a file was read to its end.
    pub fn end(&self) {
        self.end_because(None);
    }

    /// Says that nothing will come any more, and why: the source is gone or broken. The stream ends,
    /// the others of the recording go on.
    pub fn fail(&self, why: &str) {
        self.end_because(Some(why));
    }

    /// Waits at most `patience` until a recording takes what comes here, and says whether one does.
    ///
    /// For sources that can wait, such as a file or a pipe: their beginning is not lost when they
    /// wait for this before they hand over the first thing.
    pub fn wait_for_recording(&self, patience: Duration) -> bool {
        let mut intake = self.shared.intake.lock();
        if intake.is_none() {
            self.shared.attached.wait_for(&mut intake, patience);
        }
        intake.is_some()
    }

    /// How many frames, packets and samples came through here.
    pub fn delivered(&self) -> u64 {
        self.shared.delivered.load(Ordering::Relaxed)
    }

    /// Whether the device said that nothing will come any more.
    pub fn ended(&self) -> bool {
        self.shared.ended.load(Ordering::Acquire)
    }

    pub(crate) fn spec(&self) -> &StreamSpec {
        &self.shared.spec
    }

    pub(crate) fn tap(&self) -> Tap {
        Tap::new(&self.shared.tap)
    }

    /// Sends what comes from now on into a recording too.
    pub(crate) fn attach(&self, intake: Arc<Intake>) {
        *self.shared.intake.lock() = Some(Arc::clone(&intake));
        self.shared.attached.notify_all();
        // After the write: a source that ends in between must not be missed.
        if self.ended() {
            intake.end(self.shared.failure.lock().as_deref());
        }
    }

    /// Sends nothing into a recording any more. A call that is under way may still reach the intake;
    /// once that is closed, it refuses.
    pub(crate) fn detach(&self) {
        *self.shared.intake.lock() = None;
    }

    fn end_because(&self, why: Option<&str>) {
        if let Some(why) = why {
            self.shared
                .failure
                .lock()
                .get_or_insert_with(|| why.to_owned());
        }
        self.shared.ended.store(true, Ordering::Release);
        if let Some(intake) = self.intake() {
            intake.end(why);
        }
    }

    fn intake(&self) -> Option<Arc<Intake>> {
        self.shared.intake.lock().clone()
    }

    fn take(&self, at: Monotonic, captured: impl FnOnce() -> Captured) {
        if let Some(intake) = self.intake() {
            intake.take(at, captured());
        }
    }
}

/// An encoded packet as its source gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcePacket {
    /// Whether decoding can begin with it.
    pub keyframe: bool,
    /// How long it lasts, where that is known.
    pub duration: Option<Duration>,
    /// The encoded bytes, in Matroska's form for their codec.
    pub data: Bytes,
    /// What a decoder must know. Packets of one run share the `Arc`.
    pub parameters: Arc<CodecParameters>,
}
