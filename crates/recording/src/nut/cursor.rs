//! Reading NUT's numbers and strings from a slice.

/// Why a field cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The bytes end inside it.
    Short,
    /// No continuation of these bytes would be valid.
    Invalid(&'static str),
}

/// A place in a slice.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// 64 bits, 7 to the byte.
const MAX_NUMBER_BYTES: usize = 10;

impl<'a> Cursor<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes were read.
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    pub(super) const fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    pub(super) fn byte(&mut self) -> Result<u8, Fault> {
        let byte = *self.bytes.get(self.at).ok_or(Fault::Short)?;
        self.at += 1;
        Ok(byte)
    }

    /// A number of variable length, `v` in the specification.
    pub(super) fn number(&mut self) -> Result<u64, Fault> {
        let mut value = 0_u64;
        for _ in 0..MAX_NUMBER_BYTES {
            let byte = self.byte()?;
            if value >> 57 != 0 {
                return Err(Fault::Invalid("a number has more than 64 bits"));
            }
            value = value << 7 | u64::from(byte & 0x7F);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Fault::Invalid("a number has more than 64 bits"))
    }

    /// A number of variable length with a sign, `s` in the specification.
    pub(super) fn signed(&mut self) -> Result<i64, Fault> {
        let value = self.number()?.wrapping_add(1);
        let half = (value >> 1).cast_signed();
        Ok(if value & 1 == 1 { -half } else { half })
    }

    /// A number that must fit 32 bits.
    pub(super) fn number32(&mut self) -> Result<u32, Fault> {
        u32::try_from(self.number()?).map_err(|_| Fault::Invalid("a number has more than 32 bits"))
    }

    /// A number that is the index of something.
    pub(super) fn index(&mut self) -> Result<usize, Fault> {
        Ok(self.number32()? as usize)
    }

    pub(super) fn bytes(&mut self, len: u64) -> Result<&'a [u8], Fault> {
        let len = usize::try_from(len).map_err(|_| Fault::Short)?;
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..len).ok_or(Fault::Short)?;
        self.at += len;
        Ok(taken)
    }

    /// Bytes with their number before them, `vb` in the specification.
    pub(super) fn sized_bytes(&mut self) -> Result<&'a [u8], Fault> {
        let len = self.number()?;
        self.bytes(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], want: Result<u64, Fault>) {
        assert_eq!(Cursor::new(bytes).number(), want, "{bytes:02x?}");
    }

    #[test]
    fn numbers() {
        const TOO_LONG: Fault = Fault::Invalid("a number has more than 64 bits");
        check(&[0], Ok(0));
        check(&[0x7F], Ok(127));
        check(&[0x81, 0], Ok(128));
        check(&[0x80, 0x80, 1], Ok(1));
        check(&[0x81], Err(Fault::Short));
        let mut largest = [0xFF; 10];
        (largest[0], largest[9]) = (0x81, 0x7F);
        check(&largest, Ok(u64::MAX));
        largest[0] = 0x82;
        check(&largest, Err(TOO_LONG));
        check(&[0x80; 11], Err(TOO_LONG));
    }

    #[test]
    fn signs() {
        for (byte, want) in [(0, 0), (1, 1), (2, -1), (3, 2), (4, -2)] {
            assert_eq!(Cursor::new(&[byte]).signed(), Ok(want));
        }
    }

    #[test]
    fn strings_end_inside_the_slice() {
        let mut cursor = Cursor::new(b"\x02ab\x03c");
        assert_eq!(cursor.sized_bytes(), Ok(&b"ab"[..]));
        assert_eq!(cursor.sized_bytes(), Err(Fault::Short));
        assert_eq!(Cursor::new(&[0xFF, 0x7F]).sized_bytes(), Err(Fault::Short));
    }
}
