//! What to keep alive, and how: the options of one child.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use longtake_process::{Command, LogLimits, Signal, StopLadder};

use crate::hang::HangPolicy;
use crate::limits::Limits;
use crate::output::{OutputMode, ProgressReader, StdinMode};
use crate::rate::LineRate;
use crate::readiness::Readiness;
use crate::redaction::Redaction;
use crate::restart::RestartPolicy;

/// How a child is started, judged, restarted and ended.
///
/// ```
/// use longtake_process::Command;
/// use longtake_supervisor::{Backoff, ChildSpec, RestartPolicy};
/// use std::time::Duration;
///
/// let policy = RestartPolicy::default().backoff(Backoff::new(Duration::from_millis(100)));
/// let spec = ChildSpec::new("camera", || {
///     let mut command = Command::new("sleep");
///     command.arg("1000");
///     command
/// })
/// .policy(policy);
/// # drop(spec);
/// ```
#[derive(Clone)]
pub struct ChildSpec {
    pub(crate) name: Arc<str>,
    pub(crate) build: Arc<dyn Fn() -> Command + Send + Sync>,
    pub(crate) policy: RestartPolicy,
    pub(crate) readiness: Readiness,
    pub(crate) start_timeout: Option<Duration>,
    pub(crate) grace: Duration,
    pub(crate) hang: HangPolicy,
    pub(crate) progress: Option<ProgressReader>,
    pub(crate) limits: Option<Limits>,
    pub(crate) usage_every: Option<Duration>,
    pub(crate) stop: StopLadder,
    pub(crate) restart_stop: StopLadder,
    pub(crate) stdin: StdinMode,
    pub(crate) stdin_bytes: usize,
    pub(crate) stdout: OutputMode,
    pub(crate) stderr: OutputMode,
    pub(crate) log: LogLimits,
    pub(crate) line_rate: LineRate,
    pub(crate) redaction: Redaction,
}

impl ChildSpec {
    /// A child called `name`, which `build` gives the command of; it is asked anew before every start,
    /// on a thread where it may block.
    ///
    /// The command's stdin, stdout and stderr are set by this spec, not by `build`.
    #[must_use]
    pub fn new(
        name: impl Into<Arc<str>>,
        build: impl Fn() -> Command + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            build: Arc::new(build),
            policy: RestartPolicy::default(),
            readiness: Readiness::Started,
            start_timeout: Some(Duration::from_secs(90)),
            grace: Duration::ZERO,
            hang: HangPolicy::default(),
            progress: None,
            limits: None,
            usage_every: None,
            stop: StopLadder::default(),
            restart_stop: StopLadder::kill_only()
                .signal(Signal::Term, Duration::from_secs(3))
                .kill_within(Duration::from_secs(2)),
            stdin: StdinMode::Null,
            stdin_bytes: 1 << 20,
            stdout: OutputMode::Log,
            stderr: OutputMode::Log,
            log: LogLimits::default().first(20).errors(16).last(50),
            line_rate: LineRate::default(),
            redaction: Redaction::default(),
        }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sets when it is started again.
    #[must_use]
    pub fn policy(mut self, policy: RestartPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Sets when it counts as ready: as soon as it runs, by default.
    #[must_use]
    pub fn readiness(mut self, readiness: Readiness) -> Self {
        self.readiness = readiness;
        self
    }

    /// Sets how long after its start the child may take to be ready, 90 s by default; then it is ended, as
    /// a failure. `None` is for ever.
    #[must_use]
    pub fn start_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.start_timeout = timeout.into();
        self
    }

    /// Sets how long after its start the child is judged neither to hang nor to take too much. None by
    /// default.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Sets when it counts as hanging, and what follows. By default a silence of 60 s is told.
    #[must_use]
    pub fn hang(mut self, hang: HangPolicy) -> Self {
        self.hang = hang;
        self
    }

    /// Sets how its progress is read from what it prints: `make` is called for every start, and what it
    /// gives for every line of the logged outputs, with what that line says of the positions of its outputs.
    ///
    /// ```
    /// # use longtake_process::Command;
    /// # use longtake_supervisor::ChildSpec;
    /// // A program that prints `at 123`.
    /// let spec = ChildSpec::new("copier", || Command::new("copier")).progress(|| {
    ///     |line: &[u8], report: &mut dyn FnMut(u32, i64)| {
    ///         let text = std::str::from_utf8(line).unwrap_or("");
    ///         if let Some(Ok(position)) = text.strip_prefix("at ").map(str::parse) {
    ///             report(0, position);
    ///         }
    ///     }
    /// });
    /// # drop(spec);
    /// ```
    #[must_use]
    pub fn progress<R>(mut self, make: impl Fn() -> R + Send + Sync + 'static) -> Self
    where
        R: FnMut(&[u8], &mut dyn FnMut(u32, i64)) + Send + 'static,
    {
        self.progress = Some(ProgressReader::new(move || Box::new(make())));
        self
    }

    /// Sets how much CPU and memory its tree may take. No limit by default.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// Has the CPU and memory of its tree sampled this often for [`Health`](crate::Health) and the crash
    /// report. By default they are sampled only for limits and hang watches that need them, since a look
    /// at all processes of the system takes about a millisecond.
    #[must_use]
    pub fn usage_every(mut self, time: Duration) -> Self {
        self.usage_every = Some(time.max(Duration::from_millis(100)));
        self
    }

    /// Sets how it is stopped: by default `SIGTERM`, after 5 s `SIGKILL`; 10 s at most in all.
    #[must_use]
    pub fn stop_ladder(mut self, ladder: StopLadder) -> Self {
        self.stop = ladder;
        self
    }

    /// Sets how it is ended before a restart that was ordered, or that a hang or a limit demands: by
    /// default `SIGTERM`, after 3 s `SIGKILL`; 5 s at most in all.
    #[must_use]
    pub fn restart_ladder(mut self, ladder: StopLadder) -> Self {
        self.restart_stop = ladder;
        self
    }

    /// Sets what its stdin is, `/dev/null` by default.
    #[must_use]
    pub fn stdin(mut self, mode: StdinMode) -> Self {
        self.stdin = mode;
        self
    }

    /// Sets how many bytes may wait to be written to its stdin, 1 MiB by default.
    #[must_use]
    pub fn stdin_bytes(mut self, bytes: usize) -> Self {
        self.stdin_bytes = bytes.max(1);
        self
    }

    /// Sets where its stdout goes, into the log by default.
    #[must_use]
    pub fn stdout(mut self, mode: OutputMode) -> Self {
        self.stdout = mode;
        self
    }

    /// Sets where its stderr goes, into the log by default.
    #[must_use]
    pub fn stderr(mut self, mode: OutputMode) -> Self {
        self.stderr = mode;
        self
    }

    /// Sets how many lines of each output are kept: by default the first 20, 16 errors and the last 50.
    #[must_use]
    pub fn log_limits(mut self, limits: LogLimits) -> Self {
        self.log = limits;
        self
    }

    /// Sets how many of its lines that name an error are logged at `warn`: 5 a second by default, 20 at
    /// once.
    #[must_use]
    pub fn line_rate(mut self, rate: LineRate) -> Self {
        self.line_rate = rate;
        self
    }

    /// Sets what is taken out of its lines and arguments before they are shown.
    #[must_use]
    pub fn redaction(mut self, redaction: Redaction) -> Self {
        self.redaction = redaction;
        self
    }
}

/// Shows the name alone: the rest are functions and numbers.
impl fmt::Debug for ChildSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildSpec")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
