//! Files that an output would replace though it is not written beside its place.
//!
//! ffmpeg does not look after these: muxers of several files replace them even with `-n`, and
//! `-y`, which our own parts need, holds for every output of a command.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::error::RunError;
use super::staged::parent;
use crate::command::{FfmpegCommand, Target};

/// Fails when an output would replace a file and may not.
pub(super) fn refuse(command: &FfmpegCommand) -> Result<(), RunError> {
    if command.overwrites() {
        return Ok(());
    }
    for output in command.outputs() {
        let found = match output.target() {
            Target::Pattern(pattern) => first_match(pattern)?,
            Target::Url(url) => Some(file_of(url)).filter(|path| path.is_file()),
            Target::File(_) | Target::Stdout | Target::Null => None,
        };
        if let Some(path) = found {
            return Err(RunError::OutputExists { path });
        }
    }
    Ok(())
}

/// The path in `file:PATH` or in an address without a scheme.
fn file_of(url: &OsStr) -> PathBuf {
    let url = url.as_bytes();
    let path = url.strip_prefix(b"file:").unwrap_or(url);
    PathBuf::from(OsStr::from_bytes(path))
}

/// The file of just that name, or some file of that name with a number in it.
fn first_match(pattern: &Path) -> Result<Option<PathBuf>, RunError> {
    if pattern.is_file() {
        return Ok(Some(pattern.to_owned()));
    }
    let Some(names) = pattern.file_name() else {
        return Ok(None);
    };
    let failed = |source| RunError::Output {
        path: pattern.to_owned(),
        source,
    };
    let folder = match fs::read_dir(parent(pattern)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        folder => folder.map_err(failed)?,
    };
    for entry in folder {
        let name = entry.map_err(failed)?.file_name();
        if is_name_of(names.as_bytes(), name.as_bytes()) {
            return Ok(Some(pattern.with_file_name(name)));
        }
    }
    Ok(None)
}

/// Whether a muxer may make `name` of `pattern`: some number stands for `%d` or `%03d`, and `%%` for
/// a percent sign.
fn is_name_of(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], _) => name.is_empty(),
        ([b'%', b'%', pattern @ ..], [b'%', name @ ..]) => is_name_of(pattern, name),
        ([b'%', number @ ..], _) if let Some(pattern) = after_number(number) => {
            let digits = name.iter().take_while(|byte| byte.is_ascii_digit()).count();
            (1..=digits).any(|digits| is_name_of(pattern, &name[digits..]))
        }
        ([wanted, pattern @ ..], [byte, name @ ..]) => wanted == byte && is_name_of(pattern, name),
        (_, []) => false,
    }
}

/// What follows the `03d` of `%03d`.
fn after_number(pattern: &[u8]) -> Option<&[u8]> {
    let width = pattern.iter().take_while(|byte| byte.is_ascii_digit());
    pattern[width.count()..].strip_prefix(b"d")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, name: &str, want: bool) {
        let got = is_name_of(pattern.as_bytes(), name.as_bytes());
        assert_eq!(got, want, "{pattern} {name}");
    }

    #[test]
    fn names_of_a_pattern() {
        check("frame%03d.jpg", "frame001.jpg", true);
        check("frame%03d.jpg", "frame12345.jpg", true);
        check("frame%d.jpg", "frame7.jpg", true);
        check("%d0.jpg", "100.jpg", true);
        check("%d-%d.ts", "1-22.ts", true);
        check("50%%-%d.ts", "50%-1.ts", true);
        check("a.m3u8", "a.m3u8", true);
        check("frame%03d.jpg", "frame.jpg", false);
        check("frame%03d.jpg", "frame001.png", false);
        check("frame%03d.jpg", "frame001.jpg~", false);
        check("frame%03d.jpg", "frame%03d.jpg", false);
        check("%d-%d.ts", "12.ts", false);
        check("50%%-%d.ts", "50%%-1.ts", false);
        check("%Y%m%d.ts", "20261121.ts", false);
        check("%", "", false);
    }
}
