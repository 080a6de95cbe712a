//! How EBML writes sizes, numbers and elements (RFC 8794, sections 4 to 7).

use crate::ids;

/// A size field of eight bytes that says "not known", as a Segment has it while it is written.
pub(crate) const UNKNOWN_SIZE: [u8; 8] = [0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];

/// A CRC-32 element: ID, size, four bytes.
pub(crate) const CRC_ELEMENT_LEN: usize = 6;

/// How many bytes `id` takes.
pub(crate) fn id_len(id: u32) -> usize {
    significant_bytes(u64::from(id))
}

/// How many bytes the size field of an element with `size` bytes of data takes.
pub(crate) fn size_len(size: u64) -> usize {
    // A field of n bytes holds 7n bits, less the all-ones value that means "not known".
    (1..8).find(|n| size < (1 << (7 * n)) - 1).unwrap_or(8)
}

/// How many bytes of data the number takes as an element.
pub(crate) fn uint_len(value: u64) -> usize {
    significant_bytes(value)
}

/// How many bytes an element takes whose ID and data are known.
pub(crate) fn element_len(id: u32, data_len: usize) -> usize {
    id_len(id) + size_len(data_len as u64) + data_len
}

pub(crate) fn put_id(buf: &mut Vec<u8>, id: u32) {
    buf.extend_from_slice(&id.to_be_bytes()[4 - id_len(id)..]);
}

/// Writes a size field in as few bytes as hold it.
pub(crate) fn put_size(buf: &mut Vec<u8>, size: u64) {
    let len = size_len(size);
    let marked = size | 1 << (7 * len);
    buf.extend_from_slice(&marked.to_be_bytes()[8 - len..]);
}

/// The size field of eight bytes, which leaves room for any size.
pub(crate) fn wide_size(size: u64) -> [u8; 8] {
    (size | 1 << 56).to_be_bytes()
}

pub(crate) fn put_uint(buf: &mut Vec<u8>, id: u32, value: u64) {
    put_bytes(buf, id, &value.to_be_bytes()[8 - uint_len(value)..]);
}

pub(crate) fn put_sint(buf: &mut Vec<u8>, id: u32, value: i64) {
    put_bytes(buf, id, &value.to_be_bytes());
}

pub(crate) fn put_float(buf: &mut Vec<u8>, id: u32, value: f64) {
    put_bytes(buf, id, &value.to_be_bytes());
}

/// Writes a text element; the text ends before its first NUL, as it would for every reader.
pub(crate) fn put_text(buf: &mut Vec<u8>, id: u32, text: &str) {
    let text = text.split('\0').next().unwrap_or_default();
    put_bytes(buf, id, text.as_bytes());
}

pub(crate) fn put_bytes(buf: &mut Vec<u8>, id: u32, data: &[u8]) {
    put_id(buf, id);
    put_size(buf, data.len() as u64);
    buf.extend_from_slice(data);
}

/// Writes an element whose data are the elements that `fill` writes.
pub(crate) fn put_master(buf: &mut Vec<u8>, id: u32, fill: impl FnOnce(&mut Vec<u8>)) {
    let mut body = Vec::new();
    fill(&mut body);
    put_bytes(buf, id, &body);
}

/// As [`put_master`], with a CRC-32 of all that follows as the first child.
pub(crate) fn put_checked_master(buf: &mut Vec<u8>, id: u32, fill: impl FnOnce(&mut Vec<u8>)) {
    put_bytes(buf, id, &checked(fill));
}

/// The elements that `fill` writes, behind a CRC-32 of them.
pub(crate) fn checked(fill: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut covered = Vec::new();
    fill(&mut covered);
    let mut all = Vec::with_capacity(CRC_ELEMENT_LEN + covered.len());
    put_crc(&mut all, crc32fast::hash(&covered));
    all.extend_from_slice(&covered);
    all
}

/// Writes a CRC-32 element; its four bytes are little-endian, unlike all other numbers.
pub(crate) fn put_crc(buf: &mut Vec<u8>, crc: u32) {
    put_bytes(buf, ids::CRC_32, &crc.to_le_bytes());
}

/// Writes a Void element of `len` bytes in all.
///
/// # Panics
///
/// If `len` is not in `2..=127`, which one byte of size cannot say.
pub(crate) fn put_void(buf: &mut Vec<u8>, len: usize) {
    assert!(
        (2..=127).contains(&len),
        "a Void of {len} bytes was asked for"
    );
    put_bytes(buf, ids::VOID, &[0; 125][..len - 2]);
}

fn significant_bytes(value: u64) -> usize {
    (8 - value.leading_zeros() as usize / 8).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_size(size: u64, want: &[u8]) {
        let mut buf = Vec::new();
        put_size(&mut buf, size);
        assert_eq!(buf, want, "{size}");
        assert_eq!(size_len(size), want.len(), "{size}");
    }

    #[test]
    fn sizes_never_look_unknown() {
        check_size(0, &[0x80]);
        check_size(126, &[0xFE]);
        check_size(127, &[0x40, 0x7F]);
        check_size((1 << 14) - 2, &[0x7F, 0xFE]);
        check_size((1 << 14) - 1, &[0x20, 0x3F, 0xFF]);
        check_size(
            (1 << 49) - 1,
            &[0x01, 0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
        );
        check_size(
            (1 << 56) - 2,
            &[0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFE],
        );
        assert_eq!(wide_size(5), [0x01, 0, 0, 0, 0, 0, 0, 5]);
    }

    #[test]
    fn numbers_take_as_few_bytes_as_they_need() {
        let mut buf = Vec::new();
        put_uint(&mut buf, ids::TIMESTAMP, 0);
        put_uint(&mut buf, ids::TIMESTAMP, 256);
        put_uint(&mut buf, ids::EBML_VERSION, u64::MAX);
        assert_eq!(
            buf,
            [
                &[0xE7, 0x81, 0][..],
                &[0xE7, 0x82, 1, 0],
                &[0x42, 0x86, 0x88, 255, 255, 255, 255, 255, 255, 255, 255],
            ]
            .concat()
        );
    }

    #[test]
    fn text_ends_at_its_first_nul() {
        let mut buf = Vec::new();
        put_text(&mut buf, ids::NAME, "rgb\0junk");
        assert_eq!(buf, b"\x53\x6E\x83rgb");
    }
}
