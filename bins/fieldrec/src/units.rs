//! Spans of time and amounts of memory as a user writes them.

use std::{fmt, str::FromStr, time::Duration};

use bytesize::ByteSize;
use jiff::SignedDuration;
use serde::Deserialize;

/// A span of time such as `60s`, `1m30s` or `500ms`. Never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Span(pub(crate) Duration);

/// An amount of memory such as `64MiB` or `10MB`, at least one byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Size(pub(crate) usize);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let span: SignedDuration = text
            .parse()
            .map_err(|_| format!("{text:?} is no span of time; write it as 60s or 1m30s"))?;
        Duration::try_from(span)
            .map(Self)
            .map_err(|_| format!("{text:?} is negative; a span of time is not"))
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let size: ByteSize = text
            .parse()
            .map_err(|_| format!("{text:?} is no amount of memory; write it as 64MiB or 10MB"))?;
        match usize::try_from(size.0) {
            Ok(bytes) if bytes > 0 => Ok(Self(bytes)),
            _ => Err(format!(
                "{text:?} is out of range; an amount of memory is such as 64MiB"
            )),
        }
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        assert_eq!("60s".parse(), Ok(Span(Duration::from_secs(60))));
        assert_eq!("1m30s".parse(), Ok(Span(Duration::from_secs(90))));
        assert_eq!("1.5s".parse(), Ok(Span(Duration::from_millis(1500))));
        for wrong in ["20", "", "-5s", "soon", "99999999999999999999s"] {
            assert!(wrong.parse::<Span>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!("64MiB".parse(), Ok(Size(64 << 20)));
        assert_eq!("1024".parse(), Ok(Size(1024)));
        for wrong in ["0", "", "-1", "many", "0.1"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong:?}");
        }
    }
}
