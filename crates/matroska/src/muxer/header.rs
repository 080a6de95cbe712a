//! All that comes before the first cluster, and the one patch that completes it at the end.

use std::ops::Range;

use bytes::Bytes;

use crate::{
    ebml::{self, UNKNOWN_SIZE},
    ids,
    muxer::trailer::Patch,
    segment::{SegmentInfo, matroska_date},
    track::{Track, TrackKind},
};

/// The version of the layout that this crate writes; it stands in MuxingApp.
pub(crate) const LAYOUT_VERSION: u64 = 1;

/// What MuxingApp says before the version of the layout.
pub(crate) const MUXING_APP: &str = "longtake-matroska layout ";

/// One tick is 1 µs: Matroska counts in nanoseconds.
pub(crate) const TICK_NS: u64 = 1000;

/// Room for a SeekHead of [`SEEK_ENTRIES`] entries. It stays below the 127 bytes from which a size
/// takes two bytes.
pub(crate) const RESERVED_LEN: usize = 4 + 1 + ebml::CRC_ELEMENT_LEN + SEEK_ENTRIES * SEEK_LEN;

/// Info, Tags, Tracks and Cues.
const SEEK_ENTRIES: usize = 4;
/// A Seek with a position of eight bytes: 3 of its own head, 7 of SeekID, 11 of SeekPosition.
const SEEK_LEN: usize = 21;

/// A Duration, or the Void that keeps its place: ID and size 3, an eight-byte float.
pub(crate) const DURATION_LEN: usize = 11;

/// A written header and where its parts lie in the file.
#[derive(Clone, Debug)]
pub(crate) struct HeaderBytes {
    pub(crate) bytes: Bytes,
    pub(crate) layout: Layout,
}

/// Where the parts of a header lie that the end of a file completes, in bytes from its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// The eight bytes that say the Segment's size.
    pub(crate) segment_size: usize,
    /// Where the Segment's data begin: all positions inside count from here. The room for the
    /// SeekHead is the first thing in it.
    pub(crate) segment_data: usize,
    /// The whole Info element.
    pub(crate) info: usize,
    /// Info's data: CRC-32, Duration (or its Void), then the rest.
    pub(crate) info_data: Range<usize>,
    pub(crate) tags: Option<usize>,
    pub(crate) tracks: usize,
}

impl HeaderBytes {
    pub(crate) fn new(info: &SegmentInfo, tracks: &[Track]) -> Self {
        let mut buf = Vec::with_capacity(1024);
        ebml::put_master(&mut buf, ids::EBML, |buf| {
            ebml::put_uint(buf, ids::EBML_VERSION, 1);
            ebml::put_uint(buf, ids::EBML_READ_VERSION, 1);
            ebml::put_uint(buf, ids::EBML_MAX_ID_LENGTH, 4);
            ebml::put_uint(buf, ids::EBML_MAX_SIZE_LENGTH, 8);
            ebml::put_text(buf, ids::DOC_TYPE, "matroska");
            ebml::put_uint(buf, ids::DOC_TYPE_VERSION, 4);
            ebml::put_uint(buf, ids::DOC_TYPE_READ_VERSION, 2);
        });
        ebml::put_id(&mut buf, ids::SEGMENT);
        let segment_size = buf.len();
        buf.extend_from_slice(&UNKNOWN_SIZE);
        let segment_data = buf.len();
        ebml::put_void(&mut buf, RESERVED_LEN);

        let info_at = buf.len();
        let info_data = info_data(info);
        ebml::put_id(&mut buf, ids::INFO);
        ebml::put_size(&mut buf, info_data.len() as u64);
        let info_data_at = buf.len();
        buf.extend_from_slice(&info_data);

        let tags_at = (!info.tags.is_empty()).then_some(buf.len());
        if tags_at.is_some() {
            put_tags(&mut buf, info);
        }
        // Tracks come last, so that a header which has them was read whole.
        let tracks_at = buf.len();
        ebml::put_checked_master(&mut buf, ids::TRACKS, |buf| {
            for track in tracks {
                put_track(buf, track);
            }
        });
        Self {
            bytes: Bytes::from(buf),
            layout: Layout {
                segment_size,
                segment_data,
                info: info_at,
                info_data: info_data_at..info_data_at + info_data.len(),
                tags: tags_at,
                tracks: tracks_at,
            },
        }
    }

    /// What makes a file of `file_len` bytes complete: the Segment's size, the SeekHead, and Info's
    /// CRC and Duration, which lie side by side.
    pub(crate) fn completed(
        &self,
        file_len: u64,
        cues_at: Option<u64>,
        duration_us: Option<f64>,
    ) -> Patch {
        let layout = &self.layout;
        let mut bytes = Vec::with_capacity(256);
        let segment_len = file_len - layout.segment_data as u64;
        bytes.extend_from_slice(&ebml::wide_size(segment_len));

        self.put_seek_head(&mut bytes, cues_at);

        let head_end = layout.info_data.start;
        bytes.extend_from_slice(&self.bytes[layout.info..head_end]);
        let mut duration = Vec::with_capacity(DURATION_LEN);
        match duration_us {
            Some(us) => ebml::put_float(&mut duration, ids::DURATION, us),
            None => ebml::put_void(&mut duration, DURATION_LEN),
        }
        let rest = head_end + ebml::CRC_ELEMENT_LEN + DURATION_LEN..layout.info_data.end;
        let mut crc = crc32fast::Hasher::new();
        crc.update(&duration);
        crc.update(&self.bytes[rest]);
        ebml::put_crc(&mut bytes, crc.finalize());
        bytes.extend_from_slice(&duration);
        Patch {
            offset: layout.segment_size as u64,
            bytes: Bytes::from(bytes),
        }
    }

    fn put_seek_head(&self, buf: &mut Vec<u8>, cues_at: Option<u64>) {
        let layout = &self.layout;
        let segment_data = layout.segment_data as u64;
        let start = buf.len();
        ebml::put_checked_master(buf, ids::SEEK_HEAD, |buf| {
            put_seek(buf, ids::INFO, layout.info as u64 - segment_data);
            if let Some(tags) = layout.tags {
                put_seek(buf, ids::TAGS, tags as u64 - segment_data);
            }
            put_seek(buf, ids::TRACKS, layout.tracks as u64 - segment_data);
            if let Some(cues_at) = cues_at {
                put_seek(buf, ids::CUES, cues_at - segment_data);
            }
        });
        let room_left = RESERVED_LEN - (buf.len() - start);
        if room_left > 0 {
            ebml::put_void(buf, room_left);
        }
    }
}

fn info_data(info: &SegmentInfo) -> Vec<u8> {
    let muxing_app = format!("{MUXING_APP}{LAYOUT_VERSION}");
    ebml::checked(|buf| {
        ebml::put_void(buf, DURATION_LEN);
        ebml::put_uint(buf, ids::TIMESTAMP_SCALE, TICK_NS);
        if let Some(date) = info.date {
            ebml::put_sint(buf, ids::DATE_UTC, matroska_date(date));
        }
        if !info.title.is_empty() {
            ebml::put_text(buf, ids::TITLE, &info.title);
        }
        ebml::put_text(buf, ids::MUXING_APP, &muxing_app);
        ebml::put_text(buf, ids::WRITING_APP, &info.writing_app);
    })
}

fn put_track(buf: &mut Vec<u8>, track: &Track) {
    ebml::put_master(buf, ids::TRACK_ENTRY, |buf| {
        ebml::put_uint(buf, ids::TRACK_NUMBER, track.number);
        ebml::put_uint(buf, ids::TRACK_UID, track.number);
        ebml::put_uint(buf, ids::TRACK_TYPE, track_type(track.kind));
        ebml::put_uint(buf, ids::FLAG_LACING, 0);
        if track.kind == TrackKind::Data {
            ebml::put_uint(buf, ids::FLAG_DEFAULT, 0);
        }
        if let Some(duration) = track.default_duration {
            put_duration(buf, ids::DEFAULT_DURATION, duration);
        }
        if !track.name.is_empty() {
            ebml::put_text(buf, ids::NAME, &track.name);
        }
        ebml::put_text(buf, ids::LANGUAGE, &track.language);
        ebml::put_text(buf, ids::CODEC_ID, &track.codec_id);
        if !track.codec_private.is_empty() {
            ebml::put_bytes(buf, ids::CODEC_PRIVATE, &track.codec_private);
        }
        if !track.codec_delay.is_zero() {
            put_duration(buf, ids::CODEC_DELAY, track.codec_delay);
        }
        if !track.seek_pre_roll.is_zero() {
            put_duration(buf, ids::SEEK_PRE_ROLL, track.seek_pre_roll);
        }
        put_kind(buf, track.kind);
    });
}

fn put_kind(buf: &mut Vec<u8>, kind: TrackKind) {
    match kind {
        TrackKind::Video {
            width,
            height,
            fourcc,
        } => ebml::put_master(buf, ids::VIDEO, |buf| {
            ebml::put_uint(buf, ids::PIXEL_WIDTH, u64::from(width));
            ebml::put_uint(buf, ids::PIXEL_HEIGHT, u64::from(height));
            if let Some(fourcc) = fourcc {
                ebml::put_bytes(buf, ids::UNCOMPRESSED_FOURCC, &fourcc);
            }
        }),
        TrackKind::Audio {
            sampling_hz,
            channels,
            bit_depth,
        } => ebml::put_master(buf, ids::AUDIO, |buf| {
            ebml::put_float(buf, ids::SAMPLING_FREQUENCY, sampling_hz);
            ebml::put_uint(buf, ids::CHANNELS, u64::from(channels));
            if let Some(bits) = bit_depth {
                ebml::put_uint(buf, ids::BIT_DEPTH, u64::from(bits));
            }
        }),
        TrackKind::Data | TrackKind::Other { .. } => {}
    }
}

fn track_type(kind: TrackKind) -> u64 {
    match kind {
        TrackKind::Video { .. } => 1,
        TrackKind::Audio { .. } => 2,
        TrackKind::Data => 17,
        TrackKind::Other { track_type } => track_type,
    }
}

fn put_tags(buf: &mut Vec<u8>, info: &SegmentInfo) {
    ebml::put_checked_master(buf, ids::TAGS, |buf| {
        ebml::put_master(buf, ids::TAG, |buf| {
            // Empty Targets mean the whole Segment.
            ebml::put_bytes(buf, ids::TARGETS, &[]);
            for tag in &info.tags {
                ebml::put_master(buf, ids::SIMPLE_TAG, |buf| {
                    ebml::put_text(buf, ids::TAG_NAME, &tag.name);
                    ebml::put_text(buf, ids::TAG_STRING, &tag.value);
                });
            }
        });
    });
}

/// Writes a Seek entry, its position in eight bytes so that all entries are of one length.
fn put_seek(buf: &mut Vec<u8>, id: u32, position: u64) {
    ebml::put_master(buf, ids::SEEK, |buf| {
        ebml::put_bytes(buf, ids::SEEK_ID, &id.to_be_bytes());
        ebml::put_bytes(buf, ids::SEEK_POSITION, &position.to_be_bytes());
    });
}

fn put_duration(buf: &mut Vec<u8>, id: u32, duration: std::time::Duration) {
    let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    ebml::put_uint(buf, id, ns);
}
