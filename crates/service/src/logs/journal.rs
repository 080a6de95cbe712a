//! Standard error as systemd's journal.

use std::{env, fmt, fs::File, io, os::fd::AsFd as _, os::unix::fs::MetadataExt as _};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

/// Puts the journal's priority before each line, `<4>` for a warning; the journal takes it off again.
/// See `SyslogLevelPrefix=` in systemd.exec(5).
pub(super) struct Prioritized<F>(pub(super) F);

impl<S, N, F> FormatEvent<S, N> for Prioritized<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'w> FormatFields<'w> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            _ => 7,
        };
        write!(writer, "<{priority}>")?;
        self.0.format_event(context, writer, event)
    }
}

/// Whether standard error is the journal.
///
/// `JOURNAL_STREAM` alone does not tell: a child inherits it, but may have its output elsewhere. So
/// systemd puts the journal's device and inode into it. See systemd.exec(5).
pub(super) fn is_stderr() -> bool {
    let stderr = || -> io::Result<String> {
        let file = File::from(io::stderr().as_fd().try_clone_to_owned()?).metadata()?;
        Ok(format!("{}:{}", file.dev(), file.ino()))
    };
    env::var("JOURNAL_STREAM").is_ok_and(|journal| stderr().is_ok_and(|stderr| stderr == journal))
}
