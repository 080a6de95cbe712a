//! Options of one input, one output or the whole command.

use std::ffi::{OsStr, OsString};

/// Named options in the order given, then raw arguments.
#[derive(Clone, Default)]
pub(crate) struct Options {
    named: Vec<(OsString, OsString)>,
    raw: Vec<OsString>,
}

impl Options {
    /// Adds the option `name`, given without its dash.
    ///
    /// Some options may stand several times, such as `-metadata`; of the others ffmpeg takes the
    /// last.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.named.push((format!("-{name}").into(), value.into()));
    }

    pub(crate) fn extend<A: Into<OsString>>(&mut self, args: impl IntoIterator<Item = A>) {
        self.raw.extend(args.into_iter().map(Into::into));
    }

    /// The names with their dash; every raw argument counts as one.
    pub(crate) fn names(&self) -> impl Iterator<Item = &OsStr> {
        let named = self.named.iter().map(|(name, _)| name.as_os_str());
        named.chain(self.raw.iter().map(OsString::as_os_str))
    }

    pub(crate) fn push_to(&self, args: &mut Vec<OsString>) {
        for (name, value) in &self.named {
            args.push(name.clone());
            args.push(value.clone());
        }
        args.extend_from_slice(&self.raw);
    }
}
