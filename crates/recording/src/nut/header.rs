//! The packets before the frames: main header, stream headers, infos.

use bytes::Bytes;

use super::{
    NutKind,
    cursor::{Cursor, Fault},
};
use crate::stream::FrameRate;

/// The versions that ffmpeg writes: 3, and 4 when it is told to be experimental.
const VERSIONS: std::ops::RangeInclusive<u64> = 3..=4;

/// As in ffmpeg.
const MAX_STREAMS: usize = 256;

/// As in ffmpeg; a frame's own head stays small by it.
const MAX_RESERVED: u64 = 255;

/// An index of the table that no frame may have: it is the first byte of all other packets.
const NOT_A_FRAME: usize = b'N' as usize;

/// What the main header says.
#[derive(Debug)]
pub(super) struct MainHeader {
    pub(super) stream_count: usize,
    pub(super) time_bases: Vec<TimeBase>,
    /// What the first byte of a frame stands for.
    pub(super) frame_codes: Vec<FrameCode>,
    /// Beginnings that frames can leave out; the first is empty.
    pub(super) elided: Vec<Bytes>,
}

/// A tick of a stream's clock: a fraction of a second. Both parts are from 1 to 2^31 - 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TimeBase {
    pub(super) numerator: i64,
    pub(super) denominator: i64,
}

/// What a frame is unless its head says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameCode {
    pub(super) flags: u64,
    pub(super) stream: usize,
    pub(super) size_mul: u64,
    pub(super) size_lsb: u64,
    pub(super) pts_delta: i64,
    pub(super) reserved: u64,
    pub(super) elided: usize,
}

/// What a stream header says.
#[derive(Debug)]
pub(super) struct StreamHeader {
    pub(super) index: usize,
    pub(super) kind: NutKind,
    pub(super) fourcc: [u8; 4],
    pub(super) time_base: TimeBase,
    /// How many low bits of a timestamp a frame stores at least.
    pub(super) lsb_bits: u32,
    /// A larger step between timestamps has a checksum.
    pub(super) max_pts_step: u64,
    pub(super) extradata: Bytes,
}

pub(super) enum HeaderFault {
    Version(u64),
    Field(Fault),
}

impl From<Fault> for HeaderFault {
    fn from(fault: Fault) -> Self {
        Self::Field(fault)
    }
}

impl MainHeader {
    pub(super) fn parse(payload: &[u8]) -> Result<Self, HeaderFault> {
        let mut cursor = Cursor::new(payload);
        let version = cursor.number()?;
        if !VERSIONS.contains(&version) {
            return Err(HeaderFault::Version(version));
        }
        if version > 3 {
            let _minor_version = cursor.number()?;
        }
        let stream_count = cursor.index()?;
        if !(1..=MAX_STREAMS).contains(&stream_count) {
            return Err(Fault::Invalid("the number of streams is not in 1..=256").into());
        }
        let _max_distance = cursor.number()?;
        let time_bases = time_bases(&mut cursor)?;
        let mut header = Self {
            stream_count,
            time_bases,
            frame_codes: frame_codes(&mut cursor, stream_count)?,
            elided: vec![Bytes::new()],
        };
        // Versions of ffmpeg before 0.6 end here; the flags of version 4 come after it.
        if !cursor.is_at_end() {
            for _ in 0..cursor.number()? {
                let bytes = cursor.sized_bytes()?;
                header.elided.push(Bytes::copy_from_slice(bytes));
            }
        }
        Ok(header)
    }
}

fn time_bases(cursor: &mut Cursor<'_>) -> Result<Vec<TimeBase>, Fault> {
    let count = cursor.number()?;
    if count == 0 {
        return Err(Fault::Invalid("there is no time base"));
    }
    let mut time_bases = Vec::new();
    for _ in 0..count {
        let (numerator, denominator) = (cursor.number32()?, cursor.number32()?);
        let parts = [numerator, denominator];
        if parts.contains(&0) || parts.iter().any(|part| part.cast_signed() < 0) {
            return Err(Fault::Invalid("a time base is not in 1..2^31"));
        }
        time_bases.push(TimeBase {
            numerator: numerator.into(),
            denominator: denominator.into(),
        });
    }
    Ok(time_bases)
}

/// Reads the table of 256 entries, which is stored as runs; what a run leaves out is as in the one
/// before it.
fn frame_codes(cursor: &mut Cursor<'_>, stream_count: usize) -> Result<Vec<FrameCode>, Fault> {
    const FULL: usize = 256;
    const WRONG_COUNT: Fault = Fault::Invalid("a run of frame codes has a wrong length");
    let mut codes = Vec::with_capacity(FULL);
    let (mut pts_delta, mut size_mul, mut stream, mut elided) = (0, 1, 0, 0);
    while codes.len() < FULL {
        let flags = cursor.number()?;
        let fields = cursor.number()?;
        let field = |index: u64| fields > index;
        if field(0) {
            pts_delta = cursor.signed()?;
        }
        if field(1) {
            size_mul = cursor.number32()?;
        }
        if field(2) {
            stream = cursor.index()?;
        }
        let size_lsb = if field(3) { cursor.number32()? } else { 0 };
        let reserved = if field(4) { cursor.number()? } else { 0 };
        let count = if field(5) {
            cursor.number()?
        } else {
            u64::from(size_mul.checked_sub(size_lsb).ok_or(WRONG_COUNT)?)
        };
        if field(6) {
            let _match_time_delta = cursor.signed()?;
        }
        if field(7) {
            elided = cursor.index()?;
        }
        for _ in 8..fields {
            cursor.number()?;
        }
        if reserved > MAX_RESERVED {
            return Err(Fault::Invalid("a frame has too many reserved fields"));
        }
        if stream >= stream_count {
            return Err(Fault::Invalid("a frame code is of no stream"));
        }
        let entry = FrameCode {
            flags,
            stream,
            size_mul: size_mul.into(),
            size_lsb: size_lsb.into(),
            pts_delta,
            reserved,
            elided,
        };
        if count == 0 || count > FULL as u64 {
            return Err(WRONG_COUNT);
        }
        for nth in 0..count {
            if codes.len() == NOT_A_FRAME {
                codes.push(FrameCode {
                    flags: super::frame::INVALID,
                    ..entry
                });
            }
            if codes.len() == FULL {
                return Err(WRONG_COUNT);
            }
            codes.push(FrameCode {
                size_lsb: entry.size_lsb + nth,
                ..entry
            });
        }
    }
    Ok(codes)
}

impl StreamHeader {
    pub(super) fn parse(payload: &[u8], main: &MainHeader) -> Result<Self, Fault> {
        let mut cursor = Cursor::new(payload);
        let index = cursor.index()?;
        if index >= main.stream_count {
            return Err(Fault::Invalid("a stream header is of no stream"));
        }
        let class = cursor.number()?;
        let fourcc = fourcc(cursor.sized_bytes()?)?;
        let time_base = main
            .time_bases
            .get(cursor.index()?)
            .ok_or(Fault::Invalid("a stream has no time base"))?;
        let lsb_bits = cursor.number32()?;
        if lsb_bits >= 16 {
            return Err(Fault::Invalid(
                "a stream stores too many bits of timestamps",
            ));
        }
        let max_pts_step = cursor.number()?;
        let _decode_delay = cursor.number()?;
        let _flags = cursor.number()?;
        let extradata = Bytes::copy_from_slice(cursor.sized_bytes()?);
        let kind = match class {
            0 => video(&mut cursor)?,
            1 => audio(&mut cursor)?,
            2 => NutKind::Subtitle,
            _ => NutKind::Data,
        };
        Ok(Self {
            index,
            kind,
            fourcc,
            time_base: *time_base,
            lsb_bits,
            max_pts_step,
            extradata,
        })
    }
}

fn fourcc(bytes: &[u8]) -> Result<[u8; 4], Fault> {
    match *bytes {
        [first, second] => Ok([first, second, 0, 0]),
        [first, second, third, fourth] => Ok([first, second, third, fourth]),
        _ => Err(Fault::Invalid("a codec's name has neither 2 nor 4 bytes")),
    }
}

fn video(cursor: &mut Cursor<'_>) -> Result<NutKind, Fault> {
    let (width, height) = (cursor.number32()?, cursor.number32()?);
    if width == 0 || height == 0 {
        return Err(Fault::Invalid(
            "a video stream has a width or height of zero",
        ));
    }
    Ok(NutKind::Video { width, height })
}

fn audio(cursor: &mut Cursor<'_>) -> Result<NutKind, Fault> {
    let (numerator, denominator) = (cursor.number32()?, cursor.number32()?);
    let channels = cursor.number32()?;
    if numerator == 0 || denominator == 0 || channels == 0 {
        return Err(Fault::Invalid(
            "an audio stream has no samples or no channels",
        ));
    }
    Ok(NutKind::Audio {
        sampling_hz: f64::from(numerator) / f64::from(denominator),
        channels,
    })
}

/// The nominal frame rate that an info packet gives to a stream, with the stream's index.
///
/// Infos only describe: one that makes no sense costs no more than what it would have said.
pub(super) fn frame_rate(payload: &[u8]) -> Option<(usize, FrameRate)> {
    let mut cursor = Cursor::new(payload);
    let stream_plus_1 = cursor.number().ok()?;
    let stream = usize::try_from(stream_plus_1.checked_sub(1)?).ok()?;
    let _chapter = (
        cursor.signed().ok()?,
        cursor.number().ok()?,
        cursor.number().ok()?,
    );
    for _ in 0..cursor.number().ok()? {
        let name = cursor.sized_bytes().ok()?;
        let value = Value::parse(&mut cursor).ok()?;
        if name == b"r_frame_rate" {
            let Value::Text(text) = value else {
                return None;
            };
            return Some((stream, FrameRate::parse(str::from_utf8(text).ok()?)?));
        }
    }
    None
}

/// The value of a named field in infos and in side data.
pub(super) enum Value<'a> {
    Text(&'a [u8]),
    Binary(&'a [u8]),
    Number,
}

impl<'a> Value<'a> {
    pub(super) fn parse(cursor: &mut Cursor<'a>) -> Result<Self, Fault> {
        match cursor.signed()? {
            -1 => return Ok(Self::Text(cursor.sized_bytes()?)),
            -2 => {
                let _type_name = cursor.sized_bytes()?;
                return Ok(Self::Binary(cursor.sized_bytes()?));
            }
            // A timestamp; a signed number; a fraction whose denominator is in the type.
            -4 => drop(cursor.number()?),
            ..=-3 => drop(cursor.signed()?),
            0.. => {}
        }
        Ok(Self::Number)
    }
}
