//! Records cameras and sensors into crash-safe Matroska chunks with exact timestamps.
//!
//! ```
//! use std::time::Duration;
//!
//! use longtake_recording::{
//!     Capture, DEFAULT_READY_TIMEOUT, Device, FakeImu, NextEvent, Session, SessionOptions, StreamSpec,
//!     What, inspect,
//! };
//!
//! # let output = tempfile::tempdir()?;
//! # let output = output.path();
//! // Devices deliver as soon as they are open, whether or not something is recorded.
//! let devices: Vec<Box<dyn Device>> = vec![Box::new(FakeImu::new(StreamSpec::data("imu"), 100.0))];
//! let capture = Capture::open(devices, DEFAULT_READY_TIMEOUT)?;
//!
//! let (session, events) = Session::start(&capture, output, SessionOptions::default())?;
//! while session.elapsed() < Duration::from_millis(300) {
//!     if let NextEvent::Event(event) = events.next(Duration::from_millis(50))
//!         && let What::Dropped { reason, count } = event.what
//!     {
//!         println!("lost {count}: {reason}");
//!     }
//! }
//! let summary = session.stop();
//!
//! let counts = &summary.counts["imu"];
//! assert_eq!(counts.received, counts.written + counts.dropped_total());
//! assert_eq!(inspect(&summary.folder)?.streams[0].packets, counts.written);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! From a source to a file:
//!
//! - A [`Device`] carries one or more streams. [`Camera`] (ffmpeg captures), [`FakeImu`] and
//!   [`JsonLines`] come along; implement the trait for hardware of your own. What it captures goes into
//!   an [`Outlet`]: raw frames, which an [`Encoder`] turns into packets, packets that are encoded
//!   already (a [`Packager`] brings H.264 and H.265 into the form of the file), or samples.
//! - [`Capture`] opens devices and keeps them open; [`Capture::tap`] shows the newest picture.
//! - [`Session`] records what they deliver into a folder of its own, tells [`Events`] and counts
//!   everything ([`Counts`]): received = written + dropped + in flight.
//! - [`ChunkWriter`] cuts the streams into chunks. It can be used alone, for packets that are neither
//!   captured nor encoded here.
//! - Afterwards [`inspect`](inspect()) says what the files hold, [`recover`](recover()) makes whole what
//!   a crash left, and [`export`](export()) makes one file of it. [`Manifest`] is what the recorder
//!   wrote of it.
//!
//! Times on the way in are [`Monotonic`]; times in files are [`Pts`], session time in microseconds.

mod clock;
mod pts;
mod stream;

mod counts;
mod frame;
mod packet;

mod capture;
mod device;
mod health;
mod tap;

mod anchor;
mod bitstream;
mod nut;
mod source;

mod encoder;
mod event;
mod intake;
mod queue;
mod session;
mod session_time;

mod chunk;
mod pace;

mod lock;
mod manifest;
mod recording_id;

mod export;
mod inspect;
mod recover;

mod chunk_file;
mod content;
mod fault_text;
mod find;
mod survey;
mod wall_clock;

pub use bitstream::{PackageError, Packager};
pub use capture::{Capture, DEFAULT_READY_TIMEOUT, DeviceSummary, OpenError};
pub use chunk::{
    CHUNK_HEADER_VERSION, CHUNK_TAG, ChunkEvent, ChunkHeader, ChunkHeaderError, ChunkOptions,
    ChunkSummary, ChunkWriter, ChunksSummary, CreateWriterError, DeclaredStream, NameFault,
    RecordingFacts, StreamTally, WriteError,
};
pub use chunk_file::ReadChunkError;
pub use clock::{ClockPair, Monotonic};
pub use counts::{Counts, DropReason, Gap, GapReason};
pub use device::{Device, DeviceFault, Outlet, SourcePacket};
pub use encoder::{
    Bitrate, Encoder, EncoderError, EncoderFault, EncoderGone, EncoderKiller, EncoderOutput,
    EncoderSettings, EncoderSummary, SettingError, TrialError, VideoEncoder,
};
pub use event::{Event, Events, NextEvent, StartedStream, What};
pub use export::{
    EXPORT_HEADER_VERSION, EXPORT_TAG, ExportError, ExportOptions, ExportPhase, ExportProgress,
    Exported, ExportedTrack, export, export_on,
};
pub use find::find_recordings;
pub use frame::{RawFormat, RawFrame};
pub use inspect::{
    InspectError, InspectedChunk, InspectedGap, InspectedManifest, InspectedStream, Inspection,
    inspect, inspect_on,
};
pub use lock::{LockError, RecordingLock};
pub use longtake_ffmpeg::Ffmpeg;
pub use manifest::{
    MANIFEST_FILE, MANIFEST_VERSION, Manifest, ManifestChunk, ManifestStream, ReadManifestError,
    SetAside,
};
pub use nut::{NutError, NutFrame, NutKind, NutReader, NutStream};
pub use packet::Packet;
pub use pts::Pts;
pub use queue::WhenFull;
pub use recording_id::{ClaimError, ParseRecordingIdError, RecordingId};
pub use recover::{
    RecoverError, Recovered, RecoveredChunk, RecoveredStream, Repair, recover, recover_on,
};
pub use session::{
    DEFAULT_QUEUE_BYTES, Session, SessionOptions, StartError, StreamOptions, Summary,
};
pub use source::{
    Camera, Delivery, FakeImu, JsonLines, SensorSource, SourceError, V4l2Mode, VideoSource,
};
pub use stream::{
    Codec, CodecParameters, FrameRate, StreamIndex, StreamKind, StreamSpec, VideoParameters,
};
pub use tap::{Tap, Tapped, TappedPacket};
pub use wall_clock::{Moment, ParseMomentError, WallClock};
