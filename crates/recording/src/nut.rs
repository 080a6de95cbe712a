//! Reads NUT, the container in which ffmpeg hands over packets through a pipe.
//!
//! NUT because it keeps timestamps in any time base: with `-enc_time_base 1:1000000` (or a source
//! that has it) they come out to the microsecond, where ffmpeg's Matroska rounds to the millisecond
//! and MPEG-TS to 1/90000 s. The format is described in the "NUT Open Container Format" and, as far
//! as it matters, in ffmpeg's `libavformat/nutenc.c`.

mod crc;
mod cursor;
mod frame;
mod header;

use std::io::{self, Read};

use bytes::{Buf, Bytes, BytesMut};

use self::{
    crc::crc32,
    cursor::{Cursor, Fault},
    frame::{FrameHead, SideData},
    header::{HeaderFault, MainHeader, StreamHeader, TimeBase},
};
use crate::{pts::Pts, stream::FrameRate};

const FILE_ID: &[u8; 25] = b"nut/multimedia container\0";

const MAIN: [u8; 8] = *b"NM\x7A\x56\x1F\x5F\x04\xAD";
const STREAM: [u8; 8] = *b"NS\x11\x40\x5B\xF2\xF9\xDB";
const SYNCPOINT: [u8; 8] = *b"NK\xE4\xAD\xEE\xCA\x45\x69";
const INFO: [u8; 8] = *b"NI\xAB\x68\xB5\x96\xBA\x78";

/// The first byte of every packet that is no frame.
const STARTCODE_BEGIN: u8 = b'N';

/// Packets with more bytes than this have a second checksum, of their head.
const MAX_PLAIN_PACKET: u64 = 4096;

/// The checksum at the end of every packet that is no frame.
const CHECKSUM_BYTES: usize = 4;

/// The largest frame or header that is taken by default: a raw 8K picture of 16 bits a channel.
const DEFAULT_MAX_PACKET_BYTES: usize = 256 << 20;

/// How much is read at once.
const READ_BYTES: usize = 64 << 10;

/// Takes NUT apart as it comes.
///
/// Give it bytes by [`push`](Self::push) or [`read_from`](Self::read_from), in pieces of any size,
/// and take frames out until there is none; [`streams`](Self::streams) is known as soon as the first
/// frame is out. No more is held than one incomplete packet and what was pushed and not yet taken
/// out. It never panics, whatever the bytes are.
///
/// ```no_run
/// # fn run(mut ffmpeg_stdout: std::io::PipeReader) -> Result<(), Box<dyn std::error::Error>> {
/// use longtake_recording::NutReader;
///
/// let mut reader = NutReader::new();
/// while reader.read_from(&mut ffmpeg_stdout)? > 0 {
///     while let Some(frame) = reader.next_frame()? {
///         println!("{} {} bytes", frame.pts, frame.data.len());
///     }
/// }
/// reader.finish()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct NutReader {
    buffer: BytesMut,
    /// How many bytes came before those in `buffer`.
    offset: u64,
    max_packet_bytes: usize,
    begun: bool,
    main: Option<MainHeader>,
    /// In the order of their index; complete when there are as many as the main header says.
    streams: Vec<NutStream>,
    states: Vec<StreamState>,
    synchronized: bool,
}

/// What a stream is, as its header says.
#[derive(Debug, Clone, PartialEq)]
pub struct NutStream {
    /// What it carries.
    pub kind: NutKind,
    /// The name of its codec, such as `H264`; names of two letters end with two zeros.
    pub fourcc: [u8; 4],
    /// What a decoder must know, in the form that the codec has in ffmpeg; may be empty.
    pub extradata: Bytes,
    /// Nominal rate, where ffmpeg knows it.
    pub frame_rate: Option<FrameRate>,
}

/// What a stream carries.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum NutKind {
    /// Pictures.
    Video {
        /// Width in pixels, above 0.
        width: u32,
        /// Height in pixels, above 0.
        height: u32,
    },
    /// Sound.
    Audio {
        /// Samples a second.
        sampling_hz: f64,
        /// Number of channels, above 0.
        channels: u32,
    },
    /// Text for people.
    Subtitle,
    /// Anything else.
    Data,
}

/// One packet of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NutFrame {
    /// The index of its stream in [`NutReader::streams`].
    pub stream: usize,
    /// When it is shown. Exact if the stream's ticks are whole microseconds, otherwise rounded to the
    /// nearest one.
    pub pts: Pts,
    /// Whether ffmpeg says that decoding can begin with it.
    pub keyframe: bool,
    /// Its bytes, in the form that the codec has in ffmpeg.
    pub data: Bytes,
    /// New extradata for the stream from this frame on. Only version 4 has it.
    pub new_extradata: Option<Bytes>,
}

/// Why bytes are no NUT. The reader gives the same answer when it is asked again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NutError {
    /// It is something else from the first bytes on.
    #[error("this is no NUT")]
    NotNut,
    /// Only versions 3 and 4 are known.
    #[error("NUT version {version} is not known")]
    Version {
        /// Its version.
        version: u64,
    },
    /// Something is wrong in it.
    #[error("NUT is damaged at byte {offset}: {fault}")]
    Damaged {
        /// Where the packet begins that is wrong.
        offset: u64,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// A packet is larger than the reader may take.
    #[error("NUT packet at byte {offset} has {bytes} bytes, more than {max_bytes}")]
    TooLarge {
        /// Where it begins.
        offset: u64,
        /// Its size.
        bytes: u64,
        /// The limit.
        max_bytes: usize,
    },
    /// It ends inside a packet.
    #[error("NUT ends inside the packet at byte {offset}")]
    Truncated {
        /// Where that packet begins.
        offset: u64,
    },
}

/// What a frame's head refers to.
#[derive(Debug)]
struct StreamState {
    time_base: TimeBase,
    lsb_bits: u32,
    max_pts_step: u64,
    last_pts: i64,
}

/// What was taken from the front of the buffer.
enum Taken {
    /// It holds no complete packet.
    Nothing,
    Header,
    Frame(NutFrame),
}

/// Damage without its place.
enum Trouble {
    Header(HeaderFault),
    TooLarge(u64),
}

impl Default for NutReader {
    fn default() -> Self {
        Self::new()
    }
}

impl NutReader {
    /// A reader at the beginning of a stream of bytes.
    pub fn new() -> Self {
        Self {
            buffer: BytesMut::new(),
            offset: 0,
            max_packet_bytes: DEFAULT_MAX_PACKET_BYTES,
            begun: false,
            main: None,
            streams: Vec::new(),
            states: Vec::new(),
            synchronized: false,
        }
    }

    /// Sets the size of the largest packet that is taken, 256 MiB by default.
    #[must_use]
    pub fn max_packet_bytes(mut self, bytes: usize) -> Self {
        self.max_packet_bytes = bytes;
        self
    }

    /// Adds the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Reads once from `source`, and adds what came; gives its size, 0 at the end.
    ///
    /// # Errors
    ///
    /// Those of `source`, except that an interrupted read is tried again.
    pub fn read_from(&mut self, source: &mut impl Read) -> io::Result<usize> {
        let len = self.buffer.len();
        self.buffer.resize(len + READ_BYTES, 0);
        let read = loop {
            match source.read(&mut self.buffer[len..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        let added = read.as_ref().map_or(0, |&read| read);
        self.buffer.truncate(len + added);
        read
    }

    /// Takes out the next frame; `None` when more bytes are needed for it.
    ///
    /// # Errors
    ///
    /// The bytes are no NUT, or damaged. Frames from before the damage came out already.
    pub fn next_frame(&mut self) -> Result<Option<NutFrame>, NutError> {
        loop {
            let taken = self.take().map_err(|trouble| self.placed(trouble))?;
            match taken {
                Taken::Nothing => return Ok(None),
                Taken::Header => {}
                Taken::Frame(frame) => return Ok(Some(frame)),
            }
        }
    }

    /// The streams; empty until their headers have been read, which is before the first frame.
    pub fn streams(&self) -> &[NutStream] {
        match &self.main {
            Some(main) if self.streams.len() == main.stream_count => &self.streams,
            _ => &[],
        }
    }

    /// Says that no more bytes come.
    ///
    /// # Errors
    ///
    /// If they end inside a packet, or before the headers are complete.
    pub fn finish(mut self) -> Result<(), NutError> {
        while self.next_frame()?.is_some() {}
        if self.buffer.is_empty() && !self.streams().is_empty() {
            Ok(())
        } else {
            Err(NutError::Truncated {
                offset: self.offset,
            })
        }
    }

    fn placed(&self, trouble: Trouble) -> NutError {
        let offset = self.offset;
        match trouble {
            Trouble::TooLarge(bytes) => NutError::TooLarge {
                offset,
                bytes,
                max_bytes: self.max_packet_bytes,
            },
            Trouble::Header(HeaderFault::Version(version)) => NutError::Version { version },
            Trouble::Header(HeaderFault::Field(_)) if !self.begun => NutError::NotNut,
            Trouble::Header(HeaderFault::Field(Fault::Invalid(fault))) => {
                NutError::Damaged { offset, fault }
            }
            Trouble::Header(HeaderFault::Field(Fault::Short)) => NutError::Damaged {
                offset,
                fault: "a packet ends inside a field",
            },
        }
    }

    fn take(&mut self) -> Result<Taken, Trouble> {
        if !self.begun {
            return self.take_file_id();
        }
        match self.buffer.first() {
            None => Ok(Taken::Nothing),
            Some(&STARTCODE_BEGIN) => self.take_packet(),
            Some(_) => self.take_frame(),
        }
    }

    fn take_file_id(&mut self) -> Result<Taken, Trouble> {
        let len = self.buffer.len().min(FILE_ID.len());
        if self.buffer[..len] != FILE_ID[..len] {
            return Err(Fault::Invalid("the file ID is missing").into());
        }
        if len < FILE_ID.len() {
            return Ok(Taken::Nothing);
        }
        self.begun = true;
        self.skip(len);
        Ok(Taken::Header)
    }

    /// Takes a packet with a startcode: a header, an info, a syncpoint, an index.
    fn take_packet(&mut self) -> Result<Taken, Trouble> {
        let Some((startcode, head_len, payload_len)) = complete(packet_head(&self.buffer))? else {
            return Ok(Taken::Nothing);
        };
        if payload_len > self.max_packet_bytes as u64 {
            return Err(Trouble::TooLarge(payload_len));
        }
        let Some(payload) = body(&self.buffer, head_len, payload_len) else {
            return Ok(Taken::Nothing);
        };
        let (payload, checksum) = payload
            .split_last_chunk::<CHECKSUM_BYTES>()
            .ok_or(Fault::Invalid("a packet has no room for its checksum"))?;
        if crc32(payload) != u32::from_be_bytes(*checksum) {
            return Err(Fault::Invalid("a packet has a wrong checksum").into());
        }
        let len = head_len + payload.len() + checksum.len();
        match (startcode, &self.main) {
            (MAIN, None) => self.main = Some(MainHeader::parse(payload)?),
            (STREAM, Some(main)) if self.streams.len() < main.stream_count => {
                let header = StreamHeader::parse(payload, main)?;
                self.add_stream(header)?;
            }
            (INFO, Some(_)) => {
                if let Some((stream, rate)) = header::frame_rate(payload)
                    && let Some(stream) = self.streams.get_mut(stream)
                {
                    stream.frame_rate = Some(rate);
                }
            }
            (SYNCPOINT, Some(main)) => {
                let (ticks, time_base) = syncpoint(payload, main)?;
                for state in &mut self.states {
                    state.last_pts = time_base.convert(ticks, state.time_base);
                }
                self.synchronized = true;
            }
            (STREAM | SYNCPOINT, None) => {
                return Err(Fault::Invalid("there is no main header").into());
            }
            // A repeated header, an index, or something that later versions have.
            _ => {}
        }
        self.skip(len);
        Ok(Taken::Header)
    }

    fn add_stream(&mut self, header: StreamHeader) -> Result<(), Fault> {
        if header.index != self.streams.len() {
            return Err(Fault::Invalid("stream headers are not in order"));
        }
        self.streams.push(NutStream {
            kind: header.kind,
            fourcc: header.fourcc,
            extradata: header.extradata,
            frame_rate: None,
        });
        self.states.push(StreamState {
            time_base: header.time_base,
            lsb_bits: header.lsb_bits,
            max_pts_step: header.max_pts_step,
            last_pts: 0,
        });
        Ok(())
    }

    fn take_frame(&mut self) -> Result<Taken, Trouble> {
        let main = match &self.main {
            Some(main) if self.synchronized && !self.streams().is_empty() => main,
            _ => return Err(Fault::Invalid("a frame comes before the headers").into()),
        };
        let Some(head) = complete(FrameHead::parse(&self.buffer, main, &self.states))? else {
            return Ok(Taken::Nothing);
        };
        if head.body_len > self.max_packet_bytes as u64 {
            return Err(Trouble::TooLarge(head.body_len));
        }
        let Some(body) = body(&self.buffer, head.len, head.body_len) else {
            return Ok(Taken::Nothing);
        };
        let side = if head.has_side_data() {
            SideData::parse(body)?
        } else {
            SideData::default()
        };
        let body_len = body.len() - side.len;
        let beginning = main.elided[head.elided].clone();
        let state = &mut self.states[head.stream];
        let pts = state
            .time_base
            .micros(head.pts)
            .ok_or(Fault::Invalid("a timestamp has more than 64 bits"))?;
        state.last_pts = head.pts;
        self.skip(head.len + side.len);
        let body = self.split(body_len);
        if head.is_end_of_relevance() {
            return Ok(Taken::Header);
        }
        Ok(Taken::Frame(NutFrame {
            stream: head.stream,
            pts: Pts(pts),
            keyframe: head.is_keyframe(),
            data: joined(beginning, body),
            new_extradata: side.extradata,
        }))
    }

    fn skip(&mut self, len: usize) {
        self.offset += len as u64;
        self.buffer.advance(len);
    }

    fn split(&mut self, len: usize) -> Bytes {
        self.offset += len as u64;
        self.buffer.split_to(len).freeze()
    }
}

impl StreamState {
    /// The timestamp that a frame's head stores: whole, or only its lowest bits.
    fn pts_from_coded(&self, coded: u64) -> Option<i64> {
        let low_bits = 1_i64 << self.lsb_bits;
        let coded = i64::try_from(coded).ok()?;
        if coded >= low_bits {
            return Some(coded - low_bits);
        }
        let mask = low_bits - 1;
        let lowest = self.last_pts.wrapping_sub(mask / 2);
        Some((coded.wrapping_sub(lowest) & mask).wrapping_add(lowest))
    }
}

impl TimeBase {
    /// `ticks` in microseconds, rounded to the nearest one.
    fn micros(self, ticks: i64) -> Option<i64> {
        let scaled = i128::from(ticks) * i128::from(self.numerator) * 1_000_000;
        let denominator = i128::from(self.denominator);
        i64::try_from((scaled + denominator / 2).div_euclid(denominator)).ok()
    }

    /// `ticks` in another time base, rounded down.
    fn convert(self, ticks: i64, to: Self) -> i64 {
        let scaled = i128::from(ticks) * i128::from(self.numerator) * i128::from(to.denominator);
        let divisor = i128::from(self.denominator) * i128::from(to.numerator);
        let rounded = scaled.div_euclid(divisor);
        i64::try_from(rounded).unwrap_or(if rounded < 0 { i64::MIN } else { i64::MAX })
    }
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self::Header(HeaderFault::Field(fault))
    }
}

impl From<HeaderFault> for Trouble {
    fn from(fault: HeaderFault) -> Self {
        Self::Header(fault)
    }
}

/// Startcode, length of the head, and length of what follows it, the checksum at its end included.
fn packet_head(bytes: &[u8]) -> Result<([u8; 8], usize, u64), Fault> {
    let startcode = *bytes.first_chunk().ok_or(Fault::Short)?;
    let mut cursor = Cursor::new(bytes);
    cursor.bytes(startcode.len() as u64)?;
    let payload_len = cursor.number()?;
    if payload_len > MAX_PLAIN_PACKET {
        cursor.bytes(CHECKSUM_BYTES as u64)?;
        if crc32(&bytes[..cursor.at()]) != 0 {
            return Err(Fault::Invalid("the head of a packet has a wrong checksum"));
        }
    }
    Ok((startcode, cursor.at(), payload_len))
}

/// The time of a syncpoint, from which the timestamps after it count.
fn syncpoint(payload: &[u8], main: &MainHeader) -> Result<(i64, TimeBase), Fault> {
    // With reordered frames the first time is a decoding time below 0: ffmpeg multiplies it by the
    // number of time bases with wrap-around, which is undone by taking it for a signed number.
    let coded = Cursor::new(payload).number()?.cast_signed();
    let count = i64::try_from(main.time_bases.len()).map_err(|_| Fault::Short)?;
    let index = usize::try_from(coded.rem_euclid(count)).map_err(|_| Fault::Short)?;
    Ok((coded.div_euclid(count), main.time_bases[index]))
}

/// `None` in place of what is not yet complete.
fn complete<T>(parsed: Result<T, Fault>) -> Result<Option<T>, Fault> {
    match parsed {
        Ok(parsed) => Ok(Some(parsed)),
        Err(Fault::Short) => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// The bytes after a head, if they are all there.
fn body(bytes: &[u8], head_len: usize, body_len: u64) -> Option<&[u8]> {
    let body_len = usize::try_from(body_len).ok()?;
    bytes[head_len..].get(..body_len)
}

fn joined(beginning: Bytes, body: Bytes) -> Bytes {
    if beginning.is_empty() {
        body
    } else {
        Bytes::from([beginning, body].concat())
    }
}

#[cfg(test)]
mod tests;
