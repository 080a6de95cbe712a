//! Read a whole file of bounded size.

use std::io;
use std::path::Path;

use crate::storage::Storage;

/// Reads a whole file that must not be longer than `max_bytes`.
///
/// # Errors
///
/// [`FileTooLarge`](io::ErrorKind::FileTooLarge) when it is longer; else those of the storage.
pub fn read(storage: &dyn Storage, path: &Path, max_bytes: usize) -> io::Result<Vec<u8>> {
    let file = storage.open_read(path)?;
    let mut bytes = Vec::new();
    let mut block = [0; 16 << 10];
    loop {
        let offset = bytes.len() as u64;
        match file.read_at(offset, &mut block) {
            Ok(0) => return Ok(bytes),
            Ok(count) if bytes.len() + count > max_bytes => {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            Ok(count) => bytes.extend_from_slice(&block[..count]),
            Err(error) => return Err(error),
        }
    }
}
