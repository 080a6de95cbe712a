//! What can be wrong with a file, and where.

use std::io;

/// Where a file is damaged, and how. All that comes before is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("damaged at byte {offset}: {kind}")]
#[non_exhaustive]
pub struct Damage {
    /// Where the element begins that is not good, in bytes from the start of the file.
    pub offset: u64,
    /// What is wrong with it.
    pub kind: DamageKind,
}

/// What is wrong with an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DamageKind {
    /// The file ends inside the element, or before the end that it announced.
    #[error("the file ends too early")]
    Torn,
    /// The CRC-32 does not fit the bytes.
    #[error("the checksum does not fit")]
    Checksum,
    /// This crate writes a CRC-32 here, and there is none.
    #[error("the checksum is missing")]
    NoChecksum,
    /// The element claims to be larger than any that is taken, or to have no known size.
    #[error("the size is beyond all limits")]
    Size,
    /// What is inside the element does not fit together.
    #[error("the contents do not fit together")]
    Malformed,
    /// An element that does not belong here.
    #[error("element {id:#X} does not belong here")]
    Unexpected {
        /// Its ID.
        id: u32,
    },
    /// No element begins here, as with zeros that a power cut left.
    #[error("these bytes are no element")]
    Garbage,
}

/// What ends the reading of one element.
#[derive(Debug)]
pub(crate) enum Fault {
    Io(io::Error),
    Damage(DamageKind),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<DamageKind> for Fault {
    fn from(kind: DamageKind) -> Self {
        Self::Damage(kind)
    }
}
