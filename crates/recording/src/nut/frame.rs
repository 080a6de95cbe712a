//! The head of a frame, and the data that version 4 puts before its own.

use bytes::Bytes;

use super::{
    StreamState,
    crc::crc32,
    cursor::{Cursor, Fault},
    header::{MainHeader, Value},
};

const KEYFRAME: u64 = 1;
const END_OF_RELEVANCE: u64 = 2;
const CODED_PTS: u64 = 8;
const STREAM: u64 = 16;
const SIZE_MSB: u64 = 32;
const CHECKSUM: u64 = 64;
const RESERVED: u64 = 128;
const SIDE_DATA: u64 = 256;
const ELIDED: u64 = 1024;
const MATCH_TIME: u64 = 2048;
const CODED_FLAGS: u64 = 4096;
/// Marks a first byte that no frame has.
pub(super) const INVALID: u64 = 8192;

/// From this size on frames begin with their own bytes.
const MAX_ELIDED_FRAME: u64 = 4096;

/// As in the table of frame codes.
const MAX_RESERVED: u64 = 255;

/// What comes before the bytes of a frame.
#[derive(Debug)]
pub(super) struct FrameHead {
    flags: u64,
    pub(super) stream: usize,
    /// In ticks of the stream.
    pub(super) pts: i64,
    /// Which beginning is left out.
    pub(super) elided: usize,
    /// The bytes of this head.
    pub(super) len: usize,
    /// The bytes after it that belong to the frame.
    pub(super) body_len: u64,
}

impl FrameHead {
    pub(super) fn parse(
        bytes: &[u8],
        main: &MainHeader,
        streams: &[StreamState],
    ) -> Result<Self, Fault> {
        let mut cursor = Cursor::new(bytes);
        let code = main.frame_codes[usize::from(cursor.byte()?)];
        let mut flags = code.flags;
        if flags & INVALID != 0 {
            return Err(Fault::Invalid("no frame begins with this byte"));
        }
        if flags & CODED_FLAGS != 0 {
            flags ^= cursor.number()?;
        }
        let stream = if flags & STREAM != 0 {
            cursor.index()?
        } else {
            code.stream
        };
        let state = streams
            .get(stream)
            .ok_or(Fault::Invalid("a frame is of no stream"))?;
        let pts = if flags & CODED_PTS != 0 {
            state.pts_from_coded(cursor.number()?)
        } else {
            state.last_pts.checked_add(code.pts_delta)
        };
        let pts = pts.ok_or(Fault::Invalid("a timestamp has more than 64 bits"))?;
        let msb = if flags & SIZE_MSB != 0 {
            cursor.number()?
        } else {
            0
        };
        if flags & MATCH_TIME != 0 {
            let _match_time_delta = cursor.signed()?;
        }
        let elided = if flags & ELIDED != 0 {
            cursor.index()?
        } else {
            code.elided
        };
        let reserved = if flags & RESERVED != 0 {
            cursor.number()?
        } else {
            code.reserved
        };
        if reserved > MAX_RESERVED {
            return Err(Fault::Invalid("a frame has too many reserved fields"));
        }
        for _ in 0..reserved {
            cursor.number()?;
        }
        if flags & CHECKSUM != 0 {
            cursor.bytes(4)?;
            if crc32(&bytes[..cursor.at()]) != 0 {
                return Err(Fault::Invalid("the head of a frame has a wrong checksum"));
            }
        } else if pts.abs_diff(state.last_pts) > state.max_pts_step {
            return Err(Fault::Invalid("a timestamp jumps without a checksum"));
        }
        let size = code
            .size_mul
            .checked_mul(msb)
            .and_then(|size| size.checked_add(code.size_lsb))
            .ok_or(Fault::Invalid("a frame's size has more than 64 bits"))?;
        let elided = if size > MAX_ELIDED_FRAME { 0 } else { elided };
        let beginning = main
            .elided
            .get(elided)
            .ok_or(Fault::Invalid("a frame leaves out an unknown beginning"))?;
        Ok(Self {
            flags,
            stream,
            pts,
            elided,
            len: cursor.at(),
            body_len: size
                .checked_sub(beginning.len() as u64)
                .ok_or(Fault::Invalid("a frame is shorter than its beginning"))?,
        })
    }

    pub(super) const fn is_keyframe(&self) -> bool {
        self.flags & KEYFRAME != 0
    }

    /// Whether it only says that the stream's last frame ends here.
    pub(super) const fn is_end_of_relevance(&self) -> bool {
        self.flags & END_OF_RELEVANCE != 0
    }

    pub(super) const fn has_side_data(&self) -> bool {
        self.flags & SIDE_DATA != 0
    }
}

/// Data about a frame, before its own bytes.
#[derive(Debug, Default)]
pub(super) struct SideData {
    /// How many bytes it takes.
    pub(super) len: usize,
    pub(super) extradata: Option<Bytes>,
}

impl SideData {
    pub(super) fn parse(body: &[u8]) -> Result<Self, Fault> {
        let mut cursor = Cursor::new(body);
        let mut extradata = None;
        // Side data, then metadata.
        for _ in 0..2 {
            for _ in 0..cursor.number()? {
                let name = cursor.sized_bytes()?;
                let value = Value::parse(&mut cursor)?;
                if let (b"Extradata", Value::Binary(bytes)) = (name, value) {
                    extradata = Some(Bytes::copy_from_slice(bytes));
                }
            }
        }
        Ok(Self {
            len: cursor.at(),
            extradata,
        })
    }
}
