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

use memchr::memmem;

pub(crate) const VARIABLE: &str = "LONGTAKE_CHILD";
pub(crate) const RANDOM_ID: &str = "/proc/sys/kernel/random/uuid";

/// The word of one child: `ID-NUMBER:`, the ID being this process's.
#[derive(Debug)]
pub(crate) struct Marker {
    word: String,
}

impl Marker {
    /// A word that no child had before.
    pub(crate) fn next() -> io::Result<Self> {
        static CHILDREN: AtomicU64 = AtomicU64::new(0);
        let number = CHILDREN.fetch_add(1, Ordering::Relaxed);
        Ok(Self {
            word: format!("{}{number}:", of_this_process()?),
        })
    }

    /// The value of the variable in the child.
    pub(crate) fn value(&self) -> OsString {
        let inherited = env::var_os(VARIABLE);
        let mut value = inherited.as_deref().unwrap_or(OsStr::new("")).to_owned();
        value.push(&self.word);
        value
    }

    /// Whether a process with this `/proc/PID/environ` descends from the child.
    pub(crate) fn is_in(&self, environ: &[u8]) -> bool {
        memmem::find(environ, self.word.as_bytes()).is_some()
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
    fn only_the_whole_word_counts() {
        let marker = Marker {
            word: "b0b5-1:".to_owned(),
        };
        #[track_caller]
        fn check(marker: &Marker, environ: &str, want: bool) {
            assert_eq!(marker.is_in(environ.as_bytes()), want, "{environ:?}");
        }
        check(&marker, "A=1\0LONGTAKE_CHILD=b0b5-1:\0B=2\0", true);
        check(&marker, "LONGTAKE_CHILD=b0b5-1:c0de-7:\0", true);
        check(&marker, "LONGTAKE_CHILD=c0de-7:b0b5-1:\0", true);
        check(&marker, "LONGTAKE_CHILD=b0b5-12:\0", false);
        check(&marker, "LONGTAKE_CHILD=b0b5-0:\0", false);
        check(&marker, "", false);
    }

    #[test]
    fn no_two_children_share_a_word() {
        let (one, other) = (Marker::next().unwrap(), Marker::next().unwrap());
        assert_ne!(one.word, other.word);
        assert!(one.word.starts_with(of_this_process().unwrap()));
        assert!(other.word.starts_with(of_this_process().unwrap()));
    }
}
