//! Reading the bits of a NAL unit.

/// Bits of a NAL unit, without the bytes that only keep startcodes from appearing in it.
///
/// Everything is `None` from the end of the unit on.
#[derive(Debug, Clone)]
pub(super) struct Bits<'a> {
    rest: &'a [u8],
    /// How many zero bytes were just before `rest`.
    zeros: u8,
    byte: u8,
    bits_left: u8,
}

impl<'a> Bits<'a> {
    pub(super) const fn new(nal: &'a [u8]) -> Self {
        Self {
            rest: nal,
            zeros: 0,
            byte: 0,
            bits_left: 0,
        }
    }

    pub(super) fn bit(&mut self) -> Option<bool> {
        if self.bits_left == 0 {
            self.byte = self.next_byte()?;
            self.bits_left = 8;
        }
        self.bits_left -= 1;
        Some(self.byte >> self.bits_left & 1 == 1)
    }

    /// A number of `count` bits, at most 32.
    pub(super) fn number(&mut self, count: u32) -> Option<u32> {
        (0..count).try_fold(0, |number, _| Some(number << 1 | u32::from(self.bit()?)))
    }

    /// A number of 8 bits.
    pub(super) fn byte(&mut self) -> Option<u8> {
        (0..8).try_fold(0, |number, _| Some(number << 1 | u8::from(self.bit()?)))
    }

    pub(super) fn skip(&mut self, count: u32) -> Option<()> {
        (0..count).try_for_each(|_| self.bit().map(drop))
    }

    /// An Exp-Golomb code without a sign, `ue(v)` in the standards: at most 2^32 - 2.
    pub(super) fn golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.bit()? {
            zeros += 1;
            if zeros == 32 {
                return None;
            }
        }
        let suffix = u64::from(self.number(zeros)?);
        u32::try_from((1_u64 << zeros) - 1 + suffix).ok()
    }

    /// An Exp-Golomb code with a sign, `se(v)` in the standards.
    pub(super) fn signed_golomb(&mut self) -> Option<i64> {
        let code = i64::from(self.golomb()?);
        Some(if code % 2 == 0 {
            -(code / 2)
        } else {
            code / 2 + 1
        })
    }

    fn next_byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        if self.zeros >= 2 && byte == 3 {
            self.zeros = 0;
            return self.next_byte();
        }
        self.zeros = if byte == 0 {
            self.zeros.saturating_add(1)
        } else {
            0
        };
        Some(byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_bits() {
        let mut bits = Bits::new(&[0b1010_0110, 0xFF]);
        assert_eq!(bits.bit(), Some(true));
        assert_eq!(bits.number(4), Some(0b0100));
        assert_eq!(bits.byte(), Some(0b1101_1111));
        assert_eq!(bits.skip(3), Some(()));
        assert_eq!(bits.bit(), None);
        assert_eq!(bits.skip(0), Some(()));
        assert_eq!(
            Bits::new(&[0x12, 0x34, 0x56, 0x78]).number(32),
            Some(0x1234_5678)
        );
    }

    #[track_caller]
    fn check_golomb(bytes: &[u8], unsigned: Option<u32>, signed: Option<i64>) {
        assert_eq!(Bits::new(bytes).golomb(), unsigned, "{bytes:02x?}");
        assert_eq!(Bits::new(bytes).signed_golomb(), signed, "{bytes:02x?}");
    }

    #[test]
    fn exp_golomb_codes() {
        check_golomb(&[0b1000_0000], Some(0), Some(0));
        check_golomb(&[0b0100_0000], Some(1), Some(1));
        check_golomb(&[0b0110_0000], Some(2), Some(-1));
        check_golomb(&[0b0010_0000], Some(3), Some(2));
        check_golomb(&[0b0001_1110], Some(14), Some(-7));
        check_golomb(&[0b0010_0000; 0], None, None);
        check_golomb(
            &[0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF],
            Some(0x00FF_FFFE),
            Some(-0x007F_FFFF),
        );
        check_golomb(
            &[0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFE],
            Some(u32::MAX - 1),
            Some(-0x7FFF_FFFF),
        );
        check_golomb(&[0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], None, None);
        check_golomb(&[0x10, 0, 0, 0], Some(7), Some(4));
    }

    #[test]
    fn bytes_that_prevent_startcodes_are_left_out() {
        let read = |nal: &[u8]| {
            let mut bits = Bits::new(nal);
            std::iter::from_fn(move || bits.byte()).collect::<Vec<_>>()
        };
        assert_eq!(read(&[1, 0, 0, 3, 1]), [1, 0, 0, 1]);
        assert_eq!(read(&[0, 0, 3, 0, 0, 3, 3]), [0, 0, 0, 0, 3]);
        assert_eq!(read(&[0, 3, 0, 0, 3]), [0, 3, 0, 0]);
    }
}
