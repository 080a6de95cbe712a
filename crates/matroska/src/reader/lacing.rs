//! Several frames in one block, as other writers pack audio (RFC 9559, section 10.3).

use bytes::Bytes;

use crate::reader::{
    damage::DamageKind,
    input::{size, size_len},
};

/// The bits of a block's flags that say how its frames are packed.
const LACING_MASK: u8 = 0x06;

/// Whether a block with `flags` may hold several frames.
pub(crate) fn is_laced(flags: u8) -> bool {
    flags & LACING_MASK != 0
}

/// The frames in the payload of a laced block with `flags`; at least one, at most 256.
pub(crate) fn frames(flags: u8, payload: Bytes) -> Result<Vec<Bytes>, DamageKind> {
    let frames = match flags & LACING_MASK {
        0x02 => xiph(payload),
        0x04 => equal(payload),
        _ => ebml(payload),
    };
    frames.ok_or(DamageKind::Malformed)
}

/// Each size but the last is a sum of bytes, of which the last is below 255.
fn xiph(mut payload: Bytes) -> Option<Vec<Bytes>> {
    let sized = take_byte(&mut payload)?;
    let mut sizes = Vec::with_capacity(usize::from(sized));
    for _ in 0..sized {
        let mut size = 0;
        loop {
            let byte = take_byte(&mut payload)?;
            size += usize::from(byte);
            if byte < 255 {
                break;
            }
        }
        sizes.push(size);
    }
    cut(payload, &sizes)
}

/// All frames are of one size.
fn equal(mut payload: Bytes) -> Option<Vec<Bytes>> {
    let count = usize::from(take_byte(&mut payload)?) + 1;
    let size = payload.len() / count;
    if size * count != payload.len() {
        return None;
    }
    cut(payload, &vec![size; count - 1])
}

/// The first size is a number as in elements, the others but the last are differences.
fn ebml(mut payload: Bytes) -> Option<Vec<Bytes>> {
    let sized = take_byte(&mut payload)?;
    let mut sizes = Vec::with_capacity(usize::from(sized));
    let mut last = 0_i64;
    for n in 0..sized {
        let (number, len) = take_number(&mut payload)?;
        let number = i64::try_from(number).ok()?;
        // A difference of n bytes counts from the middle of what 7n bits hold.
        let middle = (1_i64 << (7 * len - 1)) - 1;
        last = if n == 0 {
            number
        } else {
            last + number - middle
        };
        // What is beyond the payload also ends here, so that sums of differences stay small.
        sizes.push(
            usize::try_from(last)
                .ok()
                .filter(|size| *size <= payload.len())?,
        );
    }
    cut(payload, &sizes)
}

/// Frames of `sizes`, and one more of what is left.
fn cut(mut payload: Bytes, sizes: &[usize]) -> Option<Vec<Bytes>> {
    let mut frames = Vec::with_capacity(sizes.len() + 1);
    for &size in sizes {
        if size > payload.len() {
            return None;
        }
        frames.push(payload.split_to(size));
    }
    frames.push(payload);
    Some(frames)
}

fn take_byte(payload: &mut Bytes) -> Option<u8> {
    (!payload.is_empty()).then(|| payload.split_to(1)[0])
}

/// A number as in a size field, with the length of the field.
pub(crate) fn take_number(payload: &mut Bytes) -> Option<(u64, usize)> {
    let len = size_len(*payload.first()?)?;
    if len > payload.len() {
        return None;
    }
    size(&payload.split_to(len)).map(|number| (number, len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(flags: u8, payload: &'static [u8], want: Option<&[usize]>) {
        let got = frames(flags, Bytes::from_static(payload)).ok();
        let sizes = got.map(|frames| frames.iter().map(Bytes::len).collect::<Vec<_>>());
        assert_eq!(sizes.as_deref(), want, "{payload:?}");
    }

    #[test]
    fn xiph_lacing() {
        check(0x02, &[2, 1, 2, 9, 9, 9, 9], Some(&[1, 2, 1]));
        check(0x02, &[1, 9, 0], None);
        check(0x02, &[1, 255], None);
        check(0x02, &[], None);
        let mut long = vec![1, 255, 1];
        long.resize(3 + 256 + 4, 0);
        check(0x02, long.leak(), Some(&[256, 4]));
    }

    #[test]
    fn equal_lacing() {
        check(0x04, &[2, 1, 2, 3, 4, 5, 6], Some(&[2, 2, 2]));
        check(0x04, &[2, 1, 2, 3, 4], None);
        check(0x04, &[], None);
    }

    #[test]
    fn ebml_lacing() {
        // 3, then 1 less, then the rest: 0xBF is a difference of zero.
        check(0x06, &[2, 0x83, 0xBE, 0, 0, 0, 0, 0, 7], Some(&[3, 2, 1]));
        check(
            0x06,
            &[2, 0x83, 0xBF, 0, 0, 0, 0, 0, 0, 7, 7],
            Some(&[3, 3, 2]),
        );
        check(0x06, &[2, 0x81, 0x80, 0, 0], None);
        check(0x06, &[1, 0xFF, 0, 0], None);
        check(0x06, &[1, 0x40], None);
    }
}
