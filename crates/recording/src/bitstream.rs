//! Brings packets from the form that they have in ffmpeg into the form that they have in Matroska.
//!
//! For H.264 and H.265 ffmpeg hands over either byte streams with startcodes (from its encoders, from
//! RTSP, from MPEG-TS) or units with lengths before them (from MP4 and Matroska). Matroska wants
//! lengths, and a configuration record for the decoder: `avcC` or `hvcC`. All other codecs are the
//! same in both.

mod bits;
mod h264;
mod h265;
mod nal;
mod parameter_sets;

use std::sync::Arc;

use bytes::Bytes;

use self::{
    nal::{Framing, begins_with_startcode, with_lengths},
    parameter_sets::{ParameterSet, ParameterSets, PictureSize, StoredSets, Unit},
};
use crate::{
    device::SourcePacket,
    nut::{NutFrame, NutKind, NutStream},
    stream::{Codec, CodecParameters, VideoParameters},
};

/// Brings the packets of one stream into Matroska's form, and keeps what a decoder must know of them.
///
/// Parameter sets of H.264 and H.265 that stand in packets stay there, as ffmpeg's own Matroska
/// writer leaves them, and go into the codec parameters too. When they differ from those in force,
/// the packets have new parameters from the next keyframe on, since a file can only begin there.
#[derive(Debug)]
pub struct Packager {
    codec: Codec,
    video: VideoParameters,
    units: Option<Units>,
    parameters: Option<Arc<CodecParameters>>,
}

/// Why a stream or a packet cannot be brought into Matroska's form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    /// Chunks cannot hold this codec.
    #[error("codec {fourcc:?} cannot be recorded as it is, only H.264, H.265, FFV1 and MJPEG")]
    UnsupportedCodec {
        /// ffmpeg's name of it, of up to four letters.
        fourcc: String,
    },
    /// The stream is no video.
    #[error("a stream that is no video cannot be recorded")]
    NotVideo,
    /// What ffmpeg says of the stream as a whole makes no sense for its codec.
    #[error("the {codec} configuration of the source makes no sense")]
    Configuration {
        /// The stream's codec.
        codec: Codec,
    },
    /// A packet makes no sense for its codec. The ones after it may.
    #[error("a {codec} packet is malformed")]
    Packet {
        /// The stream's codec.
        codec: Codec,
    },
}

/// The codecs that consist of NAL units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NalCodec {
    H264,
    H265,
}

/// What is known of a stream of NAL units.
#[derive(Debug)]
struct Units {
    codec: NalCodec,
    framing: Framing,
    sets: ParameterSets,
    /// Sets were found whose parameters have not come into force.
    changed: bool,
    seen_random_access: bool,
}

impl Packager {
    /// Begins with what ffmpeg says of the stream.
    ///
    /// # Errors
    ///
    /// If its packets cannot be recorded.
    pub fn new(stream: &NutStream) -> Result<Self, PackageError> {
        let NutKind::Video { width, height } = stream.kind else {
            return Err(PackageError::NotVideo);
        };
        let codec = codec(stream.fourcc).ok_or_else(|| PackageError::UnsupportedCodec {
            fourcc: stream.fourcc.escape_ascii().to_string(),
        })?;
        let mut packager = Self {
            codec,
            video: VideoParameters {
                width,
                height,
                fps: stream.frame_rate,
            },
            units: NalCodec::of(codec).map(Units::new),
            parameters: None,
        };
        packager.configure(&stream.extradata)?;
        Ok(packager)
    }

    /// Begins with a byte stream with startcodes (Annex B) or with JPEGs, as encoders in hardware give
    /// them. What a decoder must know comes with the packets. `video` is what the encoder was set to.
    ///
    /// # Errors
    ///
    /// `codec` is no video, or has a configuration that is not in its packets (FFV1).
    pub fn for_stream(codec: Codec, video: VideoParameters) -> Result<Self, PackageError> {
        match codec {
            Codec::H264 | Codec::H265 | Codec::Mjpeg => {}
            Codec::Ffv1 => return Err(PackageError::Configuration { codec }),
            Codec::Json => return Err(PackageError::NotVideo),
        }
        let mut packager = Self {
            codec,
            video,
            units: NalCodec::of(codec).map(Units::new),
            parameters: None,
        };
        packager.configure(&Bytes::new())?;
        Ok(packager)
    }

    /// Brings one packet into Matroska's form; `None` before the first packet that a decoder could
    /// begin with in a stream that tells its parameters only there.
    ///
    /// A packet counts as keyframe if ffmpeg says so and, for H.264 and H.265, it has a picture for
    /// random access. Streams of H.264 that have none (they refresh the picture bit by bit) keep the
    /// keyframes that ffmpeg sees.
    ///
    /// # Errors
    ///
    /// The packet is malformed. Later ones may be taken.
    pub fn package(&mut self, frame: NutFrame) -> Result<Option<SourcePacket>, PackageError> {
        if let Some(extradata) = &frame.new_extradata {
            self.configure(extradata)?;
        }
        self.package_bytes(frame.data, frame.keyframe)
    }

    /// Brings the bytes of one packet into Matroska's form, as [`package`](Self::package) does.
    ///
    /// # Errors
    ///
    /// The packet is malformed. Later ones may be taken.
    pub fn package_bytes(
        &mut self,
        data: Bytes,
        keyframe: bool,
    ) -> Result<Option<SourcePacket>, PackageError> {
        let (data, keyframe) = match &mut self.units {
            None => (data, keyframe || self.codec.is_intra_only()),
            Some(units) => units
                .repackage(data, keyframe)
                .ok_or(PackageError::Packet { codec: self.codec })?,
        };
        if keyframe {
            self.apply_changed_sets();
        }
        Ok(self.parameters.as_ref().map(|parameters| SourcePacket {
            keyframe,
            duration: None,
            data,
            parameters: Arc::clone(parameters),
        }))
    }

    /// The parameters in force, as soon as they are known.
    pub fn parameters(&self) -> Option<&Arc<CodecParameters>> {
        self.parameters.as_ref()
    }

    fn configure(&mut self, extradata: &Bytes) -> Result<(), PackageError> {
        let Some(units) = &mut self.units else {
            self.put_in_force(extradata.clone(), None);
            return Ok(());
        };
        let record_is_stored = units
            .configure(extradata)
            .ok_or(PackageError::Configuration { codec: self.codec })?;
        // Packets may be framed in another way from here on, which the old ones would not tell.
        self.parameters = None;
        if record_is_stored {
            let size = units.sets.picture_size();
            units.changed = false;
            self.put_in_force(extradata.clone(), size);
        } else {
            self.apply_changed_sets();
        }
        Ok(())
    }

    fn apply_changed_sets(&mut self) {
        let Some(units) = self.units.as_mut().filter(|units| units.changed) else {
            return;
        };
        if let Some(record) = units.sets.configuration(units.framing) {
            let size = units.sets.picture_size();
            units.changed = false;
            self.put_in_force(record, size);
        }
    }

    fn put_in_force(&mut self, codec_private: Bytes, size: Option<PictureSize>) {
        if let Some(PictureSize { width, height }) = size {
            self.video = VideoParameters {
                width,
                height,
                ..self.video
            };
        }
        let parameters = CodecParameters {
            codec: self.codec,
            codec_private,
            video: Some(self.video),
        };
        if self.parameters.as_deref() != Some(&parameters) {
            self.parameters = Some(Arc::new(parameters));
        }
    }
}

impl Units {
    const fn new(codec: NalCodec) -> Self {
        Self {
            codec,
            framing: Framing::AnnexB,
            sets: ParameterSets::new(codec),
            changed: false,
            seen_random_access: false,
        }
    }

    /// Takes the sets from extradata, and says whether it is a configuration record as Matroska
    /// stores it. `None` when it makes no sense.
    fn configure(&mut self, extradata: &[u8]) -> Option<bool> {
        let is_record = !extradata.is_empty() && !begins_with_startcode(extradata);
        let units = if is_record {
            let stored = self.codec.stored_sets(extradata)?;
            self.framing = Framing::Lengths(stored.length_bytes);
            stored.units
        } else {
            self.framing = Framing::AnnexB;
            Framing::AnnexB.split(extradata).unwrap_or_default()
        };
        self.sets = ParameterSets::new(self.codec);
        self.changed = self.sets.absorb(self.found_in(&units));
        Some(is_record)
    }

    /// Writes the packet with lengths, takes note of its sets, and says whether it is a keyframe.
    /// `None` when it is malformed.
    fn repackage(&mut self, packet: Bytes, key: bool) -> Option<(Bytes, bool)> {
        let units = self
            .framing
            .split(&packet)
            .filter(|units| !units.is_empty())?;
        let random_access = units
            .iter()
            .any(|unit| self.codec.classify(unit) == Unit::RandomAccess);
        let found = self.found_in(&units);
        let packet = match self.framing {
            Framing::AnnexB => Bytes::from(with_lengths(&units)?),
            Framing::Lengths(_) => packet.clone(),
        };
        self.changed |= self.sets.absorb(found);
        self.seen_random_access |= random_access;
        Some((packet, key && (random_access || !self.seen_random_access)))
    }

    fn found_in(&self, units: &[&[u8]]) -> Vec<ParameterSet> {
        let found = units
            .iter()
            .filter_map(|unit| match self.codec.classify(unit) {
                Unit::ParameterSet { kind, id } => Some(ParameterSet {
                    kind,
                    id,
                    unit: Bytes::copy_from_slice(unit),
                }),
                Unit::RandomAccess | Unit::Other => None,
            });
        found.collect()
    }
}

impl NalCodec {
    const fn of(codec: Codec) -> Option<Self> {
        match codec {
            Codec::H264 => Some(Self::H264),
            Codec::H265 => Some(Self::H265),
            _ => None,
        }
    }

    fn classify(self, unit: &[u8]) -> Unit {
        match self {
            Self::H264 => h264::classify(unit),
            Self::H265 => h265::classify(unit),
        }
    }

    const fn sps(self) -> u8 {
        match self {
            Self::H264 => h264::SPS,
            Self::H265 => h265::SPS,
        }
    }

    const fn needed_sets(self) -> &'static [u8] {
        match self {
            Self::H264 => &[h264::SPS, h264::PPS],
            Self::H265 => &[h265::VPS, h265::SPS, h265::PPS],
        }
    }

    fn picture_size(self, sps: &[u8]) -> Option<PictureSize> {
        match self {
            Self::H264 => h264::picture_size(sps),
            Self::H265 => h265::picture_size(sps),
        }
    }

    fn configuration(self, sets: &[ParameterSet], length_bytes: usize) -> Option<Vec<u8>> {
        match self {
            Self::H264 => h264::configuration(sets, length_bytes),
            Self::H265 => h265::configuration(sets, length_bytes),
        }
    }

    fn stored_sets(self, record: &[u8]) -> Option<StoredSets<'_>> {
        match self {
            Self::H264 => h264::stored_sets(record),
            Self::H265 => h265::stored_sets(record),
        }
    }
}

/// The codec that ffmpeg calls so in NUT: `libavformat/nut.c` and `riff.c`.
fn codec(fourcc: [u8; 4]) -> Option<Codec> {
    match &fourcc.to_ascii_uppercase()[..] {
        b"H264" | b"X264" | b"AVC1" => Some(Codec::H264),
        b"HEVC" | b"H265" | b"X265" | b"HVC1" | b"HEV1" => Some(Codec::H265),
        b"FFV1" => Some(Codec::Ffv1),
        b"MJPG" | b"JPEG" => Some(Codec::Mjpeg),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
