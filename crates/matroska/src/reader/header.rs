//! All that comes before the first cluster: read as bytes at first, then for what it says.

use std::{io::Read, ops::Range, time::Duration};

use bytes::Bytes;

use crate::{
    ids,
    muxer::{
        MAX_HEADER_BYTES,
        header::{HeaderBytes, LAYOUT_VERSION, Layout, RESERVED_LEN},
    },
    reader::{
        OpenError,
        damage::{Damage, DamageKind, Fault},
        element::Elements,
        info::{InfoElement, read_tags},
        input::{ElementHead, Input},
        tracks::read_tracks,
    },
    segment::SegmentInfo,
    track::Track,
};

/// What a file says before its first cluster.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Header {
    /// What the file says about itself as a whole.
    pub info: SegmentInfo,
    /// The library that wrote the file, in its own words.
    pub muxing_app: String,
    /// The version of this crate's layout, if this crate wrote the file.
    pub layout_version: Option<u64>,
    /// The tracks, in the order of the file.
    pub tracks: Vec<Track>,
    /// From the first block to the end of the last one; a file that was not completed says none.
    pub duration: Option<Duration>,
    /// How long one tick of the file's timestamps is.
    pub tick: Duration,
    /// The length of the header in bytes: where the first cluster begins.
    pub len: u64,
    pub(crate) has_seek_head: bool,
    /// Where the Segment's data begin.
    pub(crate) segment_data: u64,
    /// Where the Segment ends, if it says so.
    pub(crate) segment_end: Option<u64>,
    /// What a muxer needs to complete the file, if the header is laid out as this crate does.
    pub(crate) resumable: Option<HeaderBytes>,
}

/// The newest versions of EBML and of Matroska that can be read.
const EBML_READ_VERSION: u64 = 1;
const DOC_TYPE_READ_VERSION: u64 = 4;

/// The header's bytes and where its elements lie in them.
struct RawHeader {
    bytes: Vec<u8>,
    /// Whether `bytes` are all from the start of the file; some elements are passed over.
    is_whole: bool,
    segment_head_len: usize,
    segment_data: usize,
    segment_end: Option<u64>,
    parts: Vec<Part>,
}

/// What is there of the table of places.
enum SeekHead {
    Sound,
    /// It has no checksum; this crate writes none without.
    Unchecked,
    /// It is not there, or damaged.
    Missing,
}

/// An element of the header.
struct Part {
    id: u32,
    /// Where it lies in the file.
    offset: u64,
    /// Where it lies in the header's bytes.
    start: usize,
    data: Range<usize>,
}

impl Header {
    pub(crate) fn read<R: Read>(input: &mut Input<R>) -> Result<Self, OpenError> {
        let raw = RawHeader::read(input)?;
        let bytes = Bytes::from(raw.bytes.clone());
        let mut info = None;
        let mut tracks = None;
        let mut tags = Vec::new();
        let mut unchecked = None;
        let mut seek_head = SeekHead::Missing;
        for part in &raw.parts {
            let damaged = |kind| damaged(part.offset, kind);
            let checked = Elements::checked(bytes.slice(part.data.clone()));
            // It only says where things are: a damaged one is no reason to refuse the clusters.
            if part.id == ids::SEEK_HEAD {
                seek_head = match checked {
                    Ok((_, true)) => SeekHead::Sound,
                    Ok((_, false)) => SeekHead::Unchecked,
                    Err(_) => SeekHead::Missing,
                };
                continue;
            }
            let (children, has_crc) = checked.map_err(damaged)?;
            if !has_crc && part.id != ids::VOID {
                unchecked = Some(part.offset);
            }
            match part.id {
                ids::INFO => info = Some(InfoElement::read(children).map_err(damaged)?),
                ids::TRACKS => tracks = Some(read_tracks(children, part.offset)?),
                ids::TAGS => tags.extend(read_tags(children).map_err(damaged)?),
                _ => {}
            }
        }
        let (Some(info), Some(tracks)) = (info, tracks) else {
            return Err(RawHeader::ends_early(input));
        };
        if let Some(found) = info.layout_version.filter(|found| *found > LAYOUT_VERSION) {
            return Err(OpenError::Newer {
                what: "longtake-matroska layout",
                found,
                supported: LAYOUT_VERSION,
            });
        }
        if let (Some(_), Some(offset)) = (info.layout_version, unchecked) {
            return Err(damaged(offset, DamageKind::NoChecksum));
        }
        let resumable = info.layout_version.and_then(|_| raw.layout());
        Ok(Self {
            info: SegmentInfo { tags, ..info.info },
            muxing_app: info.muxing_app,
            layout_version: info.layout_version,
            tracks,
            duration: info.duration,
            tick: Duration::from_nanos(info.tick_ns),
            len: input.offset(),
            has_seek_head: match seek_head {
                SeekHead::Sound => true,
                SeekHead::Unchecked => info.layout_version.is_none(),
                SeekHead::Missing => false,
            },
            segment_data: raw.segment_data as u64,
            segment_end: raw.segment_end,
            resumable: resumable.map(|layout| HeaderBytes { bytes, layout }),
        })
    }
}

impl RawHeader {
    fn read<R: Read>(input: &mut Input<R>) -> Result<Self, OpenError> {
        let mut raw = Self {
            bytes: Vec::with_capacity(1024),
            is_whole: true,
            segment_head_len: 0,
            segment_data: 0,
            segment_end: None,
            parts: Vec::new(),
        };
        raw.read_ebml(input)?;
        raw.enter_segment(input)?;
        loop {
            let offset = input.offset();
            match raw.read_part(input, offset) {
                Ok(true) => {}
                Ok(false) => return Ok(raw),
                Err(fault) => return Err(stopped(offset, fault)),
            }
        }
    }

    /// Reads the EBML head, and refuses what is no Matroska or too new.
    fn read_ebml<R: Read>(&mut self, input: &mut Input<R>) -> Result<(), OpenError> {
        let head = match input.peek() {
            Ok(Some(head)) if head.id == ids::EBML => head,
            Err(Fault::Io(source)) => return Err(OpenError::Io { source }),
            _ => return Err(OpenError::NotMatroska),
        };
        let data = self
            .read_element(input, head)
            .map_err(|fault| stopped(0, fault))?;
        let data = Bytes::copy_from_slice(&self.bytes[data]);
        let (children, _) = Elements::checked(data).map_err(|kind| damaged(0, kind))?;
        for child in children {
            let child = child.map_err(|kind| damaged(0, kind))?;
            let (what, supported) = match child.id {
                ids::DOC_TYPE if !matches!(child.text().as_str(), "matroska" | "webm") => {
                    return Err(OpenError::NotMatroska);
                }
                ids::EBML_READ_VERSION => ("EBML", EBML_READ_VERSION),
                ids::DOC_TYPE_READ_VERSION => ("Matroska", DOC_TYPE_READ_VERSION),
                ids::EBML_MAX_ID_LENGTH => ("EBML ID length", 4),
                ids::EBML_MAX_SIZE_LENGTH => ("EBML size length", 8),
                _ => continue,
            };
            let found = child.uint().map_err(|kind| damaged(0, kind))?;
            if found > supported {
                return Err(OpenError::Newer {
                    what,
                    found,
                    supported,
                });
            }
        }
        Ok(())
    }

    fn enter_segment<R: Read>(&mut self, input: &mut Input<R>) -> Result<(), OpenError> {
        let offset = input.offset();
        match input.peek().map_err(|fault| stopped(offset, fault))? {
            Some(head) if head.id == ids::SEGMENT => {
                input.enter(&mut self.bytes);
                self.segment_head_len = head.len();
                self.segment_data = self.bytes.len();
                self.segment_end = head.size.and_then(|size| size.checked_add(input.offset()));
                Ok(())
            }
            Some(head) => Err(damaged(offset, DamageKind::Unexpected { id: head.id })),
            None => Err(damaged(offset, DamageKind::Torn)),
        }
    }

    /// Reads one element of the Segment; false if the next one is no part of the header, which may be
    /// because it is damaged.
    fn read_part<R: Read>(&mut self, input: &mut Input<R>, offset: u64) -> Result<bool, Fault> {
        let head = match input.peek() {
            Ok(Some(head)) => head,
            Ok(None) => return Ok(false),
            Err(Fault::Damage(_)) if self.is_sufficient() => return Ok(false),
            Err(fault) => return Err(fault),
        };
        let size = head.size.unwrap_or(u64::MAX);
        match head.id {
            ids::CLUSTER | ids::CUES => return Ok(false),
            ids::SEEK_HEAD | ids::INFO | ids::TRACKS | ids::TAGS => {}
            ids::VOID if size <= RESERVED_LEN as u64 => {}
            ids::VOID | ids::CRC_32 | ids::ATTACHMENTS | ids::CHAPTERS => {
                self.is_whole = false;
                input.skip(head.size.ok_or(DamageKind::Size)?)?;
                return Ok(true);
            }
            _ if self.is_sufficient() => return Ok(false),
            id => return Err(DamageKind::Unexpected { id }.into()),
        }
        let start = self.bytes.len();
        let data = self.read_element(input, head)?;
        self.parts.push(Part {
            id: head.id,
            offset,
            start,
            data,
        });
        Ok(true)
    }

    /// Whether blocks can be understood with what has been read.
    fn is_sufficient(&self) -> bool {
        let has = |id| self.parts.iter().any(|part| part.id == id);
        has(ids::INFO) && has(ids::TRACKS)
    }

    /// Reads an element whole, and gives where its data are in `bytes`.
    fn read_element<R: Read>(
        &mut self,
        input: &mut Input<R>,
        head: ElementHead,
    ) -> Result<Range<usize>, Fault> {
        let size = head.size.ok_or(DamageKind::Size)?;
        let room = MAX_HEADER_BYTES.saturating_sub(self.bytes.len() + head.len());
        if size > room as u64 {
            return Err(DamageKind::Size.into());
        }
        let start = self.bytes.len() + head.len();
        input.read(&mut self.bytes, size)?;
        Ok(start..self.bytes.len())
    }

    /// What is wrong with a header that ends before Info and Tracks have come.
    fn ends_early<R: Read>(input: &mut Input<R>) -> OpenError {
        let offset = input.offset();
        match input.peek() {
            Ok(Some(head)) => damaged(offset, DamageKind::Unexpected { id: head.id }),
            Ok(None) => damaged(offset, DamageKind::Torn),
            Err(fault) => stopped(offset, fault),
        }
    }

    /// Where the parts lie that complete a file, if this header has them where this crate puts them.
    fn layout(&self) -> Option<Layout> {
        let place = |id| self.parts.iter().find(|part| part.id == id);
        let info = place(ids::INFO)?;
        let reserved_first = self.parts.first()?.start == self.segment_data
            && info.start == self.segment_data + RESERVED_LEN;
        let data = &self.bytes[info.data.clone()];
        let crc_first = data.starts_with(&[0xBF, 0x84]);
        let duration_next = data.get(6..).is_some_and(|rest| {
            rest.starts_with(&[0xEC, 0x89]) || rest.starts_with(&[0x44, 0x89, 0x88])
        });
        let wide_size = self.segment_head_len == 12;
        let as_ours = self.is_whole && reserved_first && wide_size && crc_first && duration_next;
        as_ours.then_some(Layout {
            segment_size: self.segment_data - 8,
            segment_data: self.segment_data,
            info: info.start,
            info_data: info.data.clone(),
            tags: place(ids::TAGS).map(|tags| tags.start),
            tracks: place(ids::TRACKS)?.start,
        })
    }
}

fn stopped(offset: u64, fault: Fault) -> OpenError {
    match fault {
        Fault::Io(source) => OpenError::Io { source },
        Fault::Damage(kind) => damaged(offset, kind),
    }
}

pub(crate) fn damaged(offset: u64, kind: DamageKind) -> OpenError {
    OpenError::Damaged(Damage { offset, kind })
}
