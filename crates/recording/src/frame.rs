//! Pictures before they are encoded.

use bytes::Bytes;

use crate::{pts::Pts, stream::FrameRate};

/// What the bytes of a raw frame mean. A stream keeps one format as long as it is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawFormat {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// ffmpeg's name of the layout, such as `yuv420p` or `gray16le`.
    pub pixel_format: String,
    /// Nominal rate, where it is known.
    pub fps: Option<FrameRate>,
}

/// One picture on its way into an encoder: planes one after the other, rows without padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawFrame {
    /// When it was captured.
    pub pts: Pts,
    /// The pixels.
    pub data: Bytes,
}
