//! A source of bytes, read element by element, never further than the elements say.

use std::io::{self, BufReader, ErrorKind, Read};

use crate::reader::damage::{DamageKind, Fault};

/// A source with the position in it.
#[derive(Debug)]
pub(crate) struct Input<R> {
    source: BufReader<R>,
    /// How many bytes were read, less those of `peeked`.
    offset: u64,
    peeked: Option<ElementHead>,
    /// What is wrong with the next head; its bytes are gone, so it is kept to be said again.
    broken: Option<DamageKind>,
}

/// An element's ID and size, as they were read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ElementHead {
    pub(crate) id: u32,
    /// How many bytes of data follow; `None` if the element does not say.
    pub(crate) size: Option<u64>,
    bytes: [u8; 12],
    len: usize,
}

/// How much room is made before the bytes are seen to exist.
const FIRST_ROOM: u64 = 1 << 20;

impl<R: Read> Input<R> {
    pub(crate) fn new(source: R) -> Self {
        Self {
            source: BufReader::with_capacity(16 << 10, source),
            offset: 0,
            peeked: None,
            broken: None,
        }
    }

    /// Where the next element begins, in bytes from the start of the source.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The head of the next element, which stays the next; none at the end of the source.
    pub(crate) fn peek(&mut self) -> Result<Option<ElementHead>, Fault> {
        if let Some(kind) = self.broken {
            return Err(kind.into());
        }
        if self.peeked.is_none() {
            let head = self.read_head();
            if let Err(Fault::Damage(kind)) = head {
                self.broken = Some(kind);
            }
            self.peeked = head?;
        }
        Ok(self.peeked)
    }

    /// Reads the element that was peeked at: its head, then its data of `size` bytes.
    ///
    /// `raw` gets both behind what it holds. Memory grows only with the bytes that come.
    pub(crate) fn read(&mut self, raw: &mut Vec<u8>, size: u64) -> Result<(), Fault> {
        let head_len = self.read_peeked_head(raw);
        let before = raw.len();
        let first_room = usize::try_from(size.min(FIRST_ROOM)).unwrap_or(0);
        raw.reserve(first_room);
        self.source.by_ref().take(size).read_to_end(raw)?;
        if ((raw.len() - before) as u64) < size {
            return Err(DamageKind::Torn.into());
        }
        self.offset += head_len + size;
        Ok(())
    }

    /// Reads only the head of the element that was peeked at; its first child is next.
    pub(crate) fn enter(&mut self, raw: &mut Vec<u8>) {
        self.offset += self.read_peeked_head(raw);
    }

    /// Passes over the element that was peeked at, which has `size` bytes of data.
    pub(crate) fn skip(&mut self, size: u64) -> Result<(), Fault> {
        let head_len = self.read_peeked_head(&mut Vec::new());
        let skipped = io::copy(&mut self.source.by_ref().take(size), &mut io::sink())?;
        if skipped < size {
            return Err(DamageKind::Torn.into());
        }
        self.offset += head_len + size;
        Ok(())
    }

    fn read_peeked_head(&mut self, raw: &mut Vec<u8>) -> u64 {
        let head = self.peeked.take().expect("an element is peeked at first");
        raw.extend_from_slice(head.bytes());
        head.len() as u64
    }

    fn read_head(&mut self) -> Result<Option<ElementHead>, Fault> {
        let mut bytes = [0; 12];
        match self.source.read_exact(&mut bytes[..1]) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        let id_len = id_len(bytes[0]).ok_or(DamageKind::Garbage)?;
        self.read_exact(&mut bytes[1..=id_len])?;
        let size_len = size_len(bytes[id_len]).ok_or(DamageKind::Garbage)?;
        let len = id_len + size_len;
        self.read_exact(&mut bytes[id_len + 1..len])?;
        Ok(Some(ElementHead {
            id: id(&bytes[..id_len]),
            size: size(&bytes[id_len..len]),
            bytes,
            len,
        }))
    }

    fn read_exact(&mut self, bytes: &mut [u8]) -> Result<(), Fault> {
        match self.source.read_exact(bytes) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(DamageKind::Torn.into()),
            other => Ok(other?),
        }
    }
}

impl ElementHead {
    /// How many bytes the head takes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The head of an element at the start of `bytes`; none if there is no whole one.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let id_len = id_len(*bytes.first()?)?;
        let size_len = size_len(*bytes.get(id_len)?)?;
        let len = id_len + size_len;
        let read = bytes.get(..len)?;
        let mut kept = [0; 12];
        kept[..len].copy_from_slice(read);
        Some(Self {
            id: id(&read[..id_len]),
            size: size(&read[id_len..]),
            bytes: kept,
            len,
        })
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// How long the ID is that begins with `first`: Matroska knows 1 to 4 bytes.
fn id_len(first: u8) -> Option<usize> {
    let len = first.leading_zeros() as usize + 1;
    (len <= 4).then_some(len)
}

/// How long the size field is that begins with `first`: 1 to 8 bytes.
pub(crate) fn size_len(first: u8) -> Option<usize> {
    let len = first.leading_zeros() as usize + 1;
    (len <= 8).then_some(len)
}

fn id(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |id, byte| id << 8 | u32::from(*byte))
}

/// What a whole size field says; `None` for "not known".
pub(crate) fn size(bytes: &[u8]) -> Option<u64> {
    let all = bytes
        .iter()
        .fold(0, |size, byte| size << 8 | u64::from(*byte));
    let mask = (1 << (7 * bytes.len())) - 1;
    (all & mask != mask).then_some(all & mask)
}
