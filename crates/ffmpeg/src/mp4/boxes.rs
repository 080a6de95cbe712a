//! Walking over boxes: header, bounds, and bounded reading of what is in them.

use std::io::{self, Read, Seek, SeekFrom};

use super::{FourCc, Mp4Damage};

/// More boxes than a day of fragments of half a second has.
const MAX_BOXES: u32 = 2_000_000;

/// More boxes than one box holds in any sensible file.
const MAX_CHILDREN: usize = 4096;

/// The largest box that is read into memory; sample tables are larger, but not needed.
const MAX_BODY: u64 = 256 << 10;

/// What may stand first in a file.
const FIRST: [&[u8; 4]; 12] = [
    b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"sidx", b"free", b"skip", b"wide", b"pnot",
    b"uuid", b"emsg",
];

/// A file of boxes.
pub(super) struct Boxes<R> {
    reader: R,
    len: u64,
    left: u32,
}

/// A box: its code and where it lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub(super) kind: FourCc,
    pub(super) start: u64,
    pub(super) body: u64,
    pub(super) end: u64,
}

impl<R: Read + Seek> Boxes<R> {
    pub(super) fn new(mut reader: R) -> Result<Self, Mp4Damage> {
        let len = reader.seek(SeekFrom::End(0)).map_err(Mp4Damage::Read)?;
        Ok(Self {
            reader,
            len,
            left: MAX_BOXES,
        })
    }

    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The box at `at` of the file itself; it may end beyond the file. None at the end.
    pub(super) fn at_top(&mut self, at: u64) -> Result<Option<Header>, Mp4Damage> {
        if at >= self.len {
            return Ok(None);
        }
        let header = match self.header(at, self.len)? {
            Some(header) => header,
            None if at == 0 => return Err(Mp4Damage::NotMp4),
            // Less than a header is left of a box that was being written.
            None => return Ok(None),
        };
        if at == 0 && !FIRST.contains(&&header.kind.0) {
            return Err(Mp4Damage::NotMp4);
        }
        Ok(Some(header))
    }

    /// The boxes inside of `parent`, from `skip` bytes into its body.
    pub(super) fn children(
        &mut self,
        parent: &Header,
        skip: u64,
    ) -> Result<Vec<Header>, Mp4Damage> {
        let mut children = Vec::new();
        let mut at = parent.body.saturating_add(skip);
        while at < parent.end {
            // QuickTime closes some lists of boxes with four zero bytes.
            let Some(header) = self.header(at, parent.end)? else {
                break;
            };
            if header.end > parent.end {
                return Err(header.invalid("ends beyond the box around it"));
            }
            if children.len() == MAX_CHILDREN {
                return Err(parent.invalid("holds too many boxes"));
            }
            at = header.end;
            children.push(header);
        }
        Ok(children)
    }

    /// The body of a small box.
    pub(super) fn body(&mut self, header: &Header) -> Result<Vec<u8>, Mp4Damage> {
        let length = header.end - header.body;
        if length > MAX_BODY {
            return Err(header.invalid("is too long"));
        }
        self.bytes(
            header.body,
            usize::try_from(length).map_err(|_| header.invalid("is too long"))?,
        )
    }

    /// So many bytes at `at`, which the caller has bounded.
    pub(super) fn bytes(&mut self, at: u64, length: usize) -> Result<Vec<u8>, Mp4Damage> {
        let mut bytes = vec![0; length];
        self.fill(at, &mut bytes)?;
        Ok(bytes)
    }

    fn header(&mut self, at: u64, limit: u64) -> Result<Option<Header>, Mp4Damage> {
        self.left = self.left.checked_sub(1).ok_or(Mp4Damage::TooManyBoxes {
            max_boxes: MAX_BOXES,
        })?;
        if limit - at < 8 {
            return Ok(None);
        }
        let mut start = [0; 8];
        self.fill(at, &mut start)?;
        let [s0, s1, s2, s3, k0, k1, k2, k3] = start;
        let kind = FourCc([k0, k1, k2, k3]);
        let mut header = Header {
            kind,
            start: at,
            body: at + 8,
            end: limit,
        };
        let size = match u32::from_be_bytes([s0, s1, s2, s3]) {
            // To the end of the file.
            0 => return Ok(Some(header)),
            1 => {
                if limit - at < 16 {
                    return Ok(None);
                }
                let mut long = [0; 8];
                self.fill(at + 8, &mut long)?;
                header.body = at + 16;
                u64::from_be_bytes(long)
            }
            size => u64::from(size),
        };
        header.end = at
            .checked_add(size)
            .filter(|end| *end >= header.body)
            .ok_or_else(|| header.invalid("has an impossible size"))?;
        Ok(Some(header))
    }

    fn fill(&mut self, at: u64, buffer: &mut [u8]) -> Result<(), Mp4Damage> {
        let read = |source: io::Error| Mp4Damage::Read(source);
        self.reader.seek(SeekFrom::Start(at)).map_err(read)?;
        self.reader.read_exact(buffer).map_err(read)
    }
}

impl Header {
    pub(super) const fn invalid(&self, problem: &'static str) -> Mp4Damage {
        Mp4Damage::Invalid {
            kind: self.kind,
            at: self.start,
            problem,
        }
    }

    pub(super) const fn too_short(&self) -> Mp4Damage {
        self.invalid("is too short")
    }
}

/// Big-endian numbers out of a body, none when it is too short.
pub(super) fn be_u16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(super) fn be_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(super) fn be_u64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}
