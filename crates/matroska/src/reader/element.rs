//! Elements inside a buffer, and the values they hold.

use bytes::Bytes;

use crate::{
    ids,
    reader::{damage::DamageKind, input::ElementHead},
};

/// An element with its data, a slice of the buffer it was read from.
#[derive(Clone, Debug)]
pub(crate) struct Element {
    pub(crate) id: u32,
    pub(crate) data: Bytes,
}

/// The elements that lie one after the other in a buffer.
///
/// An element that does not fit ends it with [`DamageKind::Malformed`].
#[derive(Clone, Debug)]
pub(crate) struct Elements {
    rest: Bytes,
}

impl Elements {
    pub(crate) fn new(data: Bytes) -> Self {
        Self { rest: data }
    }

    /// The children of an element whose CRC-32, if it has one, fits; with whether it has one.
    pub(crate) fn checked(data: Bytes) -> Result<(Self, bool), DamageKind> {
        let mut children = Self::new(data);
        let after_crc = {
            let mut ahead = children.clone();
            match ahead.next() {
                Some(Ok(first)) if first.id == ids::CRC_32 => Some((first, ahead)),
                _ => None,
            }
        };
        let Some((crc, rest)) = after_crc else {
            return Ok((children, false));
        };
        let Ok(stored) = <[u8; 4]>::try_from(&crc.data[..]) else {
            return Err(DamageKind::Malformed);
        };
        if crc32fast::hash(&rest.rest) != u32::from_le_bytes(stored) {
            return Err(DamageKind::Checksum);
        }
        children = rest;
        Ok((children, true))
    }
}

impl Iterator for Elements {
    type Item = Result<Element, DamageKind>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let head = ElementHead::parse(&self.rest);
        let end = head.and_then(|head| {
            let size = usize::try_from(head.size?).ok()?;
            head.len().checked_add(size)
        });
        match (head, end) {
            (Some(head), Some(end)) if end <= self.rest.len() => {
                let data = self.rest.split_to(end).slice(head.len()..);
                Some(Ok(Element { id: head.id, data }))
            }
            _ => {
                self.rest.clear();
                Some(Err(DamageKind::Malformed))
            }
        }
    }
}

impl Element {
    pub(crate) fn children(&self) -> Elements {
        Elements::new(self.data.clone())
    }

    /// An unsigned number; no bytes mean 0.
    pub(crate) fn uint(&self) -> Result<u64, DamageKind> {
        if self.data.len() > 8 {
            return Err(DamageKind::Malformed);
        }
        Ok(self
            .data
            .iter()
            .fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    /// A signed number; no bytes mean 0.
    pub(crate) fn sint(&self) -> Result<i64, DamageKind> {
        let unsigned = self.uint()?;
        let unused_bits = 64 - 8 * self.data.len();
        if unused_bits == 64 {
            return Ok(0);
        }
        Ok((unsigned << unused_bits).cast_signed() >> unused_bits)
    }

    /// A float of 4 or 8 bytes; no bytes mean 0.
    pub(crate) fn float(&self) -> Result<f64, DamageKind> {
        match self.data.len() {
            0 => Ok(0.0),
            4 | 8 => Ok(match <[u8; 8]>::try_from(&self.data[..]) {
                Ok(eight) => f64::from_be_bytes(eight),
                Err(_) => f64::from(f32::from_bits(
                    u32::try_from(self.uint()?).map_err(|_| DamageKind::Malformed)?,
                )),
            }),
            _ => Err(DamageKind::Malformed),
        }
    }

    /// Text up to its first NUL; what is not UTF-8 becomes U+FFFD.
    pub(crate) fn text(&self) -> String {
        let until_nul = self.data.split(|byte| *byte == 0).next();
        String::from_utf8_lossy(until_nul.unwrap_or_default()).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(data: &'static [u8]) -> Element {
        Element {
            id: ids::VOID,
            data: Bytes::from_static(data),
        }
    }

    #[test]
    fn numbers_of_any_length() {
        assert_eq!(element(&[]).uint(), Ok(0));
        assert_eq!(element(&[1, 0]).uint(), Ok(256));
        assert_eq!(element(&[0xFF; 8]).uint(), Ok(u64::MAX));
        assert_eq!(element(&[0; 9]).uint(), Err(DamageKind::Malformed));
        assert_eq!(element(&[]).sint(), Ok(0));
        assert_eq!(element(&[0xFF]).sint(), Ok(-1));
        assert_eq!(element(&[0x80, 0]).sint(), Ok(-32768));
        assert_eq!(element(&[0xFF; 8]).sint(), Ok(-1));
        assert_eq!(element(&[]).float(), Ok(0.0));
        assert_eq!(element(&[0x3F, 0x80, 0, 0]).float(), Ok(1.0));
        assert_eq!(element(&[0x40, 0, 0, 0, 0, 0, 0, 0]).float(), Ok(2.0));
        assert_eq!(element(&[0; 3]).float(), Err(DamageKind::Malformed));
    }

    #[test]
    fn an_element_beyond_its_parent_is_malformed_and_the_last() {
        let mut elements = Elements::new(Bytes::from_static(&[0xEC, 0x81, 0, 0xEC, 0x82, 0]));
        assert!(elements.next().is_some_and(|first| first.is_ok()));
        assert!(elements.next().is_some_and(|second| second.is_err()));
        assert!(elements.next().is_none());
    }
}
