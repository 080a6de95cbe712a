//! Records cameras and sensors into crash-safe Matroska chunks with exact timestamps.

mod anchor;
mod bitstream;
mod capture;
mod chunk;
mod chunk_file;
mod clock;
mod content;
mod counts;
mod device;
mod encoder;
mod event;
mod export;
mod fault_text;
mod find;
mod frame;
mod health;
mod inspect;
mod intake;
mod lock;
mod manifest;
mod nut;
mod pace;
mod packet;
mod pts;
mod queue;
mod recording_id;
mod recover;
mod session;
mod source;
mod stream;
mod survey;
mod tap;
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
    EncoderSettings, EncoderSummary, SettingError, VideoEncoder,
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
pub use source::{Camera, Delivery, FakeImu, JsonLines, SensorSource, SourceError, VideoSource};
pub use stream::{
    Codec, CodecParameters, FrameRate, StreamIndex, StreamKind, StreamSpec, VideoParameters,
};
pub use tap::{Tap, Tapped, TappedPacket};
pub use wall_clock::{Moment, ParseMomentError, WallClock};
