//! The environment variable by which descendants are known wherever they went.
//!
//! A process can leave its group (`setsid`) and its parent (by a double fork), but it keeps the
//! environment it was started with, readable in `/proc/PID/environ`. So every child gets a word of its
//! own in `LONGTAKE_CHILD`, and whoever carries the word descends from it. Not found: processes that
//! threw their environment away as well, and those that we may not read (of another user, or not
//! dumpable).
//!
//! The variable is a list. When a child of ours embeds this crate too, its children carry our word for
//! it first and its word for them second, so that either of us finds them.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use memchr::{memchr, memmem};

pub(crate) const VARIABLE: &str = "LONGTAKE_CHILD";
pub(crate) const RANDOM_ID: &str = "/proc/sys/kernel/random/uuid";

/// The word of one child: `ID-NUMBER:`, the ID being this process's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Marker {
    /// `ID-`.
    id: &'static str,
    number: u64,
}

impl Marker {
    /// A word that no child had before.
    pub(crate) fn next() -> io::Result<Self> {
        static CHILDREN: AtomicU64 = AtomicU64::new(0);
        Ok(Self {
            id: of_this_process()?,
            number: CHILDREN.fetch_add(1, Ordering::Relaxed),
        })
    }

    /// The value of the variable in the child.
    pub(crate) fn value(self) -> OsString {
        let inherited = env::var_os(VARIABLE);
        let mut value = inherited.as_deref().unwrap_or(OsStr::new("")).to_owned();
        value.push(format!("{}{}:", self.id, self.number));
        value
    }

    /// The words of children of this process, this one or another, in a `/proc/PID/environ`: the process
    /// descends from all of them.
    pub(crate) fn siblings_in(self, environ: &[u8]) -> impl Iterator<Item = Self> {
        memmem::find_iter(environ, self.id).filter_map(move |begin| {
            let rest = &environ[begin + self.id.len()..];
            let digits = &rest[..memchr(b':', rest)?];
            let number = digits.iter().all(u8::is_ascii_digit).then_some(digits)?;
            let number = str::from_utf8(number).ok()?.parse().ok()?;
            Some(Self { number, ..self })
        })
    }
}

/// What the words of all children of this process begin with, and of no other process: `ID-`.
pub(crate) fn of_this_process() -> io::Result<&'static str> {
    static ID: OnceLock<String> = OnceLock::new();
    if let Some(id) = ID.get() {
        return Ok(id);
    }
    let random = fs::read_to_string(Path::new(RANDOM_ID))?;
    Ok(ID.get_or_init(|| format!("{}-", random.trim_end())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_whole_word_of_this_process_counts() {
        #[track_caller]
        fn check(environ: &str, want: &[u64]) {
            let marker = Marker {
                id: "b0b5-",
                number: 7,
            };
            let found = marker.siblings_in(environ.as_bytes());
            let numbers: Vec<u64> = found.map(|marker| marker.number).collect();
            assert_eq!(numbers, want, "{environ:?}");
        }
        check("A=1\0LONGTAKE_CHILD=b0b5-1:\0B=2\0", &[1]);
        check("LONGTAKE_CHILD=b0b5-1:c0de-7:\0", &[1]);
        check("LONGTAKE_CHILD=c0de-7:b0b5-12:\0", &[12]);
        check("LONGTAKE_CHILD=b0b5-1:b0b5-7:\0", &[1, 7]);
        check("LONGTAKE_CHILD=b0b5-1\0B=2:\0", &[]);
        check("LONGTAKE_CHILD=b0b5-1", &[]);
        check("LONGTAKE_CHILD=b0b5-:b0b5-+1:b0b5-x:", &[]);
        check("LONGTAKE_CHILD=b0b5-99999999999999999999:", &[]);
        check("", &[]);
    }

    #[test]
    fn no_two_children_share_a_word() {
        let (one, other) = (Marker::next().unwrap(), Marker::next().unwrap());
        assert_ne!(one, other);
        for marker in [one, other] {
            let value = marker.value().into_encoded_bytes();
            let found: Vec<_> = marker.siblings_in(&value).collect();
            assert_eq!(found, [marker]);
        }
    }
}
