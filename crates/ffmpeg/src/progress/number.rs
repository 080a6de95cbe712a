//! Numbers as ffmpeg prints them, read from bytes without an allocation.

/// Powers of ten that `f64` holds exactly.
const POWERS: [f64; 19] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18,
];

/// Reads `120`; anything that does not fit 64 bits is no number.
pub(super) fn unsigned(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 20 {
        return None;
    }
    let mut number = 0_u64;
    for &byte in text {
        let digit = digit(byte)?;
        number = number.checked_mul(10)?.checked_add(digit)?;
    }
    Some(number)
}

/// Reads `-66602`.
pub(super) fn signed(text: &[u8]) -> Option<i64> {
    match text.strip_prefix(b"-") {
        None => i64::try_from(unsigned(text)?).ok(),
        Some(digits) => 0_i64.checked_sub_unsigned(unsigned(digits)?),
    }
}

/// Reads `23.976` and `1.34e+04`; infinities and NaN are no numbers.
pub(super) fn decimal(text: &[u8]) -> Option<f64> {
    plain_decimal(text).or_else(|| {
        let looks_numeric = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
        if !text.iter().all(looks_numeric) {
            return None;
        }
        let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
        number.is_finite().then_some(number)
    })
}

/// Reads `[-]HOURS:MM:SS[.fraction]` in microseconds; the hours may have any number of digits.
pub(super) fn clock(text: &[u8]) -> Option<i64> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut parts = text.splitn(3, |&byte| byte == b':');
    let hours = unsigned(parts.next()?)?;
    let minutes = unsigned(parts.next()?).filter(|minutes| *minutes < 60)?;
    let mut seconds = parts.next()?.splitn(2, |&byte| byte == b'.');
    let whole = unsigned(seconds.next()?).filter(|seconds| *seconds < 60)?;
    let fraction = seconds.next().map_or(Some(0), micros)?;
    let total = hours.checked_mul(3600)?.checked_add(minutes * 60 + whole)?;
    let us = i64::try_from(total.checked_mul(1_000_000)?.checked_add(fraction)?).ok()?;
    Some(if negative { -us } else { us })
}

/// The digits behind the point of a second, in microseconds; further digits are cut off.
fn micros(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 9 {
        return None;
    }
    let all = unsigned(digits)?;
    let mut us = all;
    for _ in digits.len()..6 {
        us *= 10;
    }
    for _ in 6..digits.len() {
        us /= 10;
    }
    Some(us)
}

/// The common form, up to 15 digits with at most one point, where one division rounds right.
fn plain_decimal(text: &[u8]) -> Option<f64> {
    if text.len() > 16 {
        return None;
    }
    let mut mantissa = 0_u64;
    let mut decimals = None;
    let mut digits = 0;
    for (at, &byte) in text.iter().enumerate() {
        if byte == b'.' && decimals.is_none() {
            decimals = Some(text.len() - at - 1);
            continue;
        }
        mantissa = mantissa * 10 + digit(byte)?;
        digits += 1;
    }
    if digits == 0 || digits > 15 {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "15 digits fit 53 bits")]
    Some(mantissa as f64 / POWERS[decimals.unwrap_or(0)])
}

fn digit(byte: u8) -> Option<u64> {
    byte.is_ascii_digit().then(|| u64::from(byte - b'0'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn integers_at_their_ends() {
        assert_eq!(unsigned(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(unsigned(b"18446744073709551616"), None);
        assert_eq!(unsigned(b"000000000000000000001"), None);
        assert_eq!(signed(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(signed(b"9223372036854775808"), None);
        assert_eq!(signed(b"--1"), None);
        assert_eq!(signed(b"-"), None);
    }

    #[test]
    fn clocks() {
        assert_eq!(clock(b"00:00:01.5"), Some(1_500_000));
        assert_eq!(clock(b"00:00:01.123456789"), Some(1_123_456));
        assert_eq!(clock(b"00:60:00.0"), None);
        assert_eq!(clock(b"00:00:60.0"), None);
        assert_eq!(clock(b"00:00:00."), None);
        assert_eq!(clock(b"00:00"), None);
        assert_eq!(clock(b"99999999999999:00:00.0"), None);
    }

    #[test]
    fn what_is_no_decimal() {
        for text in [
            "", ".", "nan", "inf", "infinity", "1e999", "1.2.3", "0x10", "+", "1_000",
        ] {
            assert_eq!(decimal(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn decimals_are_as_std_reads_them(text in "-?[0-9]{1,18}(\\.[0-9]{0,6})?(e[+-]?[0-9]{1,2})?") {
            prop_assert_eq!(decimal(text.as_bytes()), text.parse().ok());
        }

        #[test]
        fn integers_are_as_std_reads_them(number: i64) {
            prop_assert_eq!(signed(number.to_string().as_bytes()), Some(number));
        }
    }
}
