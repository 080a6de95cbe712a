//! NAL units in a packet: between startcodes, or with their length before them.

use memchr::memmem;

/// How a packet separates its NAL units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// `00 00 01` before each, as in a byte stream ("Annex B" of the standards).
    AnnexB,
    /// Its length before each, in 1, 2 or 4 bytes.
    Lengths(usize),
}

/// The size of the lengths that are written.
pub(super) const LENGTH_BYTES: usize = 4;

impl Framing {
    /// The NAL units of a packet, none of them empty; `None` when it is not framed like this.
    pub(super) fn split(self, packet: &[u8]) -> Option<Vec<&[u8]>> {
        match self {
            Self::AnnexB => split_annex_b(packet),
            Self::Lengths(bytes) => split_lengths(packet, bytes),
        }
    }
}

/// Whether this begins with a startcode, with any number of zeros before it.
pub(super) fn begins_with_startcode(bytes: &[u8]) -> bool {
    let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
    zeros >= 2 && bytes.get(zeros) == Some(&1)
}

/// The units with their lengths before them.
pub(super) fn with_lengths(units: &[&[u8]]) -> Option<Vec<u8>> {
    let len: usize = units.iter().map(|unit| LENGTH_BYTES + unit.len()).sum();
    let mut packet = Vec::with_capacity(len);
    for unit in units {
        let len = u32::try_from(unit.len()).ok()?;
        packet.extend_from_slice(&len.to_be_bytes());
        packet.extend_from_slice(unit);
    }
    Some(packet)
}

fn split_annex_b(packet: &[u8]) -> Option<Vec<&[u8]>> {
    if !begins_with_startcode(packet) {
        return None;
    }
    let mut units = Vec::new();
    let mut begin = None;
    for startcode in memmem::find_iter(packet, &[0, 0, 1]) {
        units.extend(begin.map(|begin| &packet[begin..startcode]));
        begin = Some(startcode + 3);
    }
    units.extend(begin.map(|begin| &packet[begin..]));
    // A unit never ends with a zero: those belong to the startcode behind it, or fill up.
    let units = units.into_iter().map(without_zeros_at_end);
    Some(units.filter(|unit| !unit.is_empty()).collect())
}

fn split_lengths(mut packet: &[u8], length_bytes: usize) -> Option<Vec<&[u8]>> {
    let mut units = Vec::new();
    while !packet.is_empty() {
        let (len, rest) = packet.split_at_checked(length_bytes)?;
        let len = len
            .iter()
            .fold(0_usize, |len, &byte| len << 8 | usize::from(byte));
        let (unit, rest) = rest.split_at_checked(len)?;
        if !unit.is_empty() {
            units.push(unit);
        }
        packet = rest;
    }
    Some(units)
}

fn without_zeros_at_end(unit: &[u8]) -> &[u8] {
    let len = unit
        .iter()
        .rposition(|&byte| byte != 0)
        .map_or(0, |at| at + 1);
    &unit[..len]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(framing: Framing, packet: &[u8], want: Option<&[&[u8]]>) {
        assert_eq!(framing.split(packet).as_deref(), want, "{packet:02x?}");
    }

    #[test]
    fn startcodes() {
        const A: Framing = Framing::AnnexB;
        check(A, &[0, 0, 1, 7], Some(&[&[7]]));
        check(
            A,
            &[0, 0, 0, 0, 1, 7, 0, 0, 0, 1, 8, 0, 9, 0, 0],
            Some(&[&[7], &[8, 0, 9]]),
        );
        check(
            A,
            &[0, 0, 1, 7, 0, 0, 3, 1, 0, 0, 1, 8],
            Some(&[&[7, 0, 0, 3, 1], &[8]]),
        );
        check(A, &[0, 0, 1, 0, 0, 1, 5], Some(&[&[5]]));
        check(A, &[0, 0, 1], Some(&[]));
        check(A, &[], None);
        check(A, &[0, 0], None);
        check(A, &[0, 1, 7], None);
        check(A, &[7, 0, 0, 1, 7], None);
    }

    #[test]
    fn lengths() {
        const L: Framing = Framing::Lengths(2);
        check(L, &[0, 1, 7, 0, 2, 8, 0], Some(&[&[7], &[8, 0]]));
        check(L, &[0, 0, 0, 1, 7], Some(&[&[7]]));
        check(L, &[], Some(&[]));
        check(L, &[0], None);
        check(L, &[0, 2, 7], None);
        check(Framing::Lengths(4), &[0xFF, 0xFF, 0xFF, 0xFF, 7], None);
    }

    proptest! {
        #[test]
        fn arbitrary_packets_never_panic(packet in prop::collection::vec(0_u8..4, 0..60)) {
            for framing in [Framing::AnnexB, Framing::Lengths(1), Framing::Lengths(2), Framing::Lengths(4)] {
                if let Some(units) = framing.split(&packet) {
                    prop_assert!(units.iter().all(|unit| !unit.is_empty()));
                    let written = with_lengths(&units).unwrap();
                    prop_assert_eq!(Framing::Lengths(4).split(&written), Some(units));
                }
            }
        }
    }
}
