//! What an error of a file in `/proc/PID` says of the process.

use std::io;

use rustix::io::Errno;

/// Whether the process is gone, or not ours to look at.
///
/// Any other error says nothing of it: there may be no file number or no memory left to look with.
pub(crate) fn is_hidden(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOENT | Errno::SRCH | Errno::ACCESS | Errno::PERM)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_hides_nobody() {
        for errno in [Errno::NOENT, Errno::SRCH, Errno::ACCESS, Errno::PERM] {
            assert!(is_hidden(&errno.into()), "{errno}");
        }
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::IO] {
            assert!(!is_hidden(&errno.into()), "{errno}");
        }
        assert!(!is_hidden(&io::ErrorKind::InvalidData.into()));
    }
}
