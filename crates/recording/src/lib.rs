//! Records cameras and sensors into crash-safe Matroska chunks with exact timestamps.

mod clock;
mod counts;
mod packet;
mod pts;
mod stream;

pub use clock::{ClockPair, Monotonic};
pub use counts::{Counts, DropReason, Gap, GapReason};
pub use packet::Packet;
pub use pts::Pts;
pub use stream::{
    Codec, CodecParameters, FrameRate, StreamIndex, StreamKind, StreamSpec, VideoParameters,
};
