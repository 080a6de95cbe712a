//! NUT's checksum.

const POLYNOMIAL: u32 = 0x04C1_1DB7;

const TABLE: [u32; 256] = table();

/// The CRC-32 of NUT: generator 0x104C11DB7, the highest bit first, beginning with 0 and not inverted
/// at the end. Over bytes that end with their own checksum it is 0.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |crc, byte| {
        (crc << 8) ^ TABLE[usize::from(crc.to_be_bytes()[0] ^ byte)]
    })
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    let mut first_byte = 0_u32;
    while index < table.len() {
        let mut crc = first_byte << 24;
        let mut bit = 0;
        while bit < 8 {
            let carry = crc & 0x8000_0000 != 0;
            crc <<= 1;
            if carry {
                crc ^= POLYNOMIAL;
            }
            bit += 1;
        }
        table[index] = crc;
        index += 1;
        first_byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_end_with_their_checksum_give_0() {
        // CRC-32/CKSUM of the catalogues has these parameters, but inverts the result: 0x765E7680.
        let crc = crc32(b"123456789");
        assert_eq!(crc, 0x89A1_897F);
        let mut bytes = b"123456789".to_vec();
        bytes.extend_from_slice(&crc.to_be_bytes());
        assert_eq!(crc32(&bytes), 0);
    }
}
