//! What to start, and how.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::mem;
use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;

use crate::child::Child;
use crate::spawn::{self, SpawnError};

/// The number of the first file handed over by [`Command::pass_fd`]: 0 to 2 are the standard streams.
pub(crate) const FIRST_PASSED: RawFd = 3;

/// A program to start in a process group of its own, in the manner of [`std::process::Command`].
///
/// Unlike there, stdin is [`Input::Null`] unless said otherwise (ffmpeg takes a `q` typed at our
/// terminal for an order), every signal is at its default action and unblocked in the child, only the
/// files named here are open in it, and it dies with this process.
///
/// ```
/// use longtake_process::{Command, Output};
/// use std::io::Read;
///
/// let mut child = Command::new("echo").arg("hello").stdout(Output::Pipe).spawn()?;
/// let mut said = String::new();
/// child.take_stdout().expect("stdout is a pipe").read_to_string(&mut said)?;
/// assert_eq!(said, "hello\n");
/// assert!(child.wait()?.success());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Command {
    pub(crate) program: OsString,
    pub(crate) args: Vec<OsString>,
    pub(crate) inherit_env: bool,
    /// What differs from the inherited environment; `None` removes.
    pub(crate) env: BTreeMap<OsString, Option<OsString>>,
    pub(crate) cwd: Option<PathBuf>,
    pub(crate) stdin: Input,
    pub(crate) stdout: Output,
    pub(crate) stderr: Output,
    /// In the child they are numbered from [`FIRST_PASSED`] up to `next_fd`.
    pub(crate) passed: Vec<OwnedFd>,
    pub(crate) next_fd: RawFd,
    /// The files that were handed over went to an earlier child.
    pub(crate) spent: bool,
    pub(crate) nice: Option<i32>,
    pub(crate) io_priority: Option<IoPriority>,
    pub(crate) limits: Vec<(Resource, Limit)>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
}

/// Where a child's stdin comes from.
#[derive(Debug)]
#[non_exhaustive]
pub enum Input {
    /// `/dev/null`.
    Null,
    /// Our own stdin. If it is a terminal, the kernel stops a child that reads from it (`SIGTTIN`), as
    /// its group is not the terminal's.
    Inherit,
    /// A new pipe; [`Child::take_stdin`] gives our end.
    Pipe,
    /// A file or the read end of a pipe.
    From(OwnedFd),
}

/// Where a child's stdout or stderr goes.
#[derive(Debug)]
#[non_exhaustive]
pub enum Output {
    /// `/dev/null`.
    Null,
    /// Our own stdout or stderr.
    Inherit,
    /// A new pipe; [`Child::take_stdout`] and [`Child::take_stderr`] give our end.
    Pipe,
    /// A file or the write end of a pipe.
    To(OwnedFd),
}

/// The I/O scheduling class of a group, see `ioprio_set(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IoPriority {
    /// Only while nobody else wants the disk.
    Idle,
    /// The normal class, from 0 (first) to 7 (last); above 7 counts as 7.
    BestEffort(u8),
}

/// What [`Command::limit`] can limit, see `getrlimit(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resource {
    /// Bytes of address space of each process.
    AddressSpace,
    /// Bytes of a core dump.
    CoreBytes,
    /// Seconds of CPU time of each process; `SIGXCPU` at the soft limit, `SIGKILL` at the hard one.
    CpuSeconds,
    /// Bytes of the largest file that may be written; `SIGXFSZ` beyond.
    FileBytes,
    /// Bytes of memory that may be locked.
    LockedBytes,
    /// Open files of each process.
    OpenFiles,
    /// Processes and threads of the child's user.
    Processes,
    /// Bytes of stack of each process.
    StackBytes,
}

/// How far a resource is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Enforced now; the child may raise it up to `hard`. `None` is no limit.
    pub soft: Option<u64>,
    /// The highest value the child may choose. `None` is no limit.
    pub hard: Option<u64>,
}

impl Command {
    /// A child that runs `program` with no arguments.
    ///
    /// A name without a slash is looked for in the child's `PATH` (ours if it has none). A relative
    /// path starts from this process's folder, whatever [`cwd`](Self::cwd) says.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            inherit_env: true,
            env: BTreeMap::new(),
            cwd: None,
            stdin: Input::Null,
            stdout: Output::Inherit,
            stderr: Output::Inherit,
            passed: Vec::new(),
            next_fd: FIRST_PASSED,
            spent: false,
            nice: None,
            io_priority: None,
            limits: Vec::new(),
            uid: None,
            gid: None,
        }
    }

    /// Adds one argument.
    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args(&mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> &mut Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable.
    pub fn env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        self.env
            .insert(name.as_ref().to_owned(), Some(value.as_ref().to_owned()));
        self
    }

    /// Removes an environment variable.
    pub fn env_remove(&mut self, name: impl AsRef<OsStr>) -> &mut Self {
        self.env.insert(name.as_ref().to_owned(), None);
        self
    }

    /// Inherits nothing, and forgets what was set before.
    ///
    /// The marker `LONGTAKE_CHILD` is set nevertheless: it is how descendants are found.
    pub fn env_clear(&mut self) -> &mut Self {
        self.inherit_env = false;
        self.env.clear();
        self
    }

    /// Sets the folder to start in; otherwise it is ours.
    pub fn cwd(&mut self, dir: impl Into<PathBuf>) -> &mut Self {
        self.cwd = Some(dir.into());
        self
    }

    /// Sets where stdin comes from, [`Input::Null`] by default.
    pub fn stdin(&mut self, input: Input) -> &mut Self {
        self.stdin = input;
        self
    }

    /// Sets where stdout goes, [`Output::Inherit`] by default.
    pub fn stdout(&mut self, output: Output) -> &mut Self {
        self.stdout = output;
        self
    }

    /// Sets where stderr goes, [`Output::Inherit`] by default.
    pub fn stderr(&mut self, output: Output) -> &mut Self {
        self.stderr = output;
        self
    }

    /// Hands a further open file to the child; returns the number it has there: 3, then 4, and so on.
    ///
    /// Our own copy is closed once the child runs, so that the reader of a pipe sees its end when the
    /// child is gone.
    pub fn pass_fd(&mut self, fd: OwnedFd) -> RawFd {
        let number = self.next_fd;
        self.passed.push(fd);
        self.next_fd += 1;
        number
    }

    /// Sets the CPU priority of the whole group, from -20 (first) to 19 (last).
    ///
    /// Set by `setpriority(PRIO_PGRP)` right after the start, so the first instructions run at ours.
    /// It weighs against other programs only because the child stays in our session: the kernel's
    /// autogroups make niceness of different sessions incomparable (`sched(7)`).
    pub fn nice(&mut self, nice: i32) -> &mut Self {
        self.nice = Some(nice);
        self
    }

    /// Sets the I/O priority of the whole group.
    pub fn io_priority(&mut self, priority: IoPriority) -> &mut Self {
        self.io_priority = Some(priority);
        self
    }

    /// Limits a resource of each process of the child, by running it through util-linux `prlimit`.
    pub fn limit(&mut self, resource: Resource, limit: Limit) -> &mut Self {
        self.limits.push((resource, limit));
        self
    }

    /// Runs the child as this user and without supplementary groups, by running it through
    /// util-linux `setpriv`. Needs the capabilities `CAP_SETUID` and `CAP_SETGID`.
    pub fn uid(&mut self, uid: u32) -> &mut Self {
        self.uid = Some(uid);
        self
    }

    /// Runs the child as this group and without supplementary groups, by running it through
    /// util-linux `setpriv`. Needs the capability `CAP_SETGID`.
    pub fn gid(&mut self, gid: u32) -> &mut Self {
        self.gid = Some(gid);
        self
    }

    /// The program and its arguments, for logs. They may hold passwords: see [`redact_args`](crate::redact_args).
    #[must_use]
    pub fn argv(&self) -> Vec<&OsStr> {
        let args = self.args.iter().map(OsString::as_os_str);
        std::iter::once(self.program.as_os_str())
            .chain(args)
            .collect()
    }

    /// The user that the child is to run as, if not as ours.
    #[must_use]
    pub fn user(&self) -> Option<u32> {
        self.uid
    }

    /// Starts the child.
    ///
    /// The command may be used again, unless files were handed over ([`Input::From`],
    /// [`Output::To`], [`pass_fd`](Self::pass_fd)): those went to the first child.
    ///
    /// # Errors
    ///
    /// Each variant of [`SpawnError`] says what stood in the way. Nothing runs then.
    pub fn spawn(&mut self) -> Result<Child, SpawnError> {
        if self.spent {
            return Err(SpawnError::FilesSpent {
                program: self.program.clone(),
            });
        }
        let child = spawn::spawn(self)?;
        self.close_handed_over();
        Ok(child)
    }

    fn close_handed_over(&mut self) {
        let passed = mem::take(&mut self.passed);
        self.spent = !passed.is_empty();
        if matches!(self.stdin, Input::From(_)) {
            self.stdin = Input::Null;
            self.spent = true;
        }
        for output in [&mut self.stdout, &mut self.stderr] {
            if matches!(output, Output::To(_)) {
                *output = Output::Null;
                self.spent = true;
            }
        }
    }
}

/// Shows the program alone: arguments and environment may hold passwords and stream keys.
impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("program", &self.program)
            .field("args", &self.args.len())
            .finish_non_exhaustive()
    }
}

impl IoPriority {
    /// As `ioprio_set(2)` takes it: the class above bit 13, the level below.
    pub(crate) fn as_raw(self) -> i32 {
        const BEST_EFFORT: i32 = 2;
        const IDLE: i32 = 3;
        match self {
            Self::Idle => IDLE << 13,
            Self::BestEffort(level) => (BEST_EFFORT << 13) | i32::from(level.min(7)),
        }
    }
}

impl Resource {
    /// The option of `prlimit(1)` that sets it.
    pub(crate) fn option(self) -> &'static str {
        match self {
            Self::AddressSpace => "--as",
            Self::CoreBytes => "--core",
            Self::CpuSeconds => "--cpu",
            Self::FileBytes => "--fsize",
            Self::LockedBytes => "--memlock",
            Self::OpenFiles => "--nofile",
            Self::Processes => "--nproc",
            Self::StackBytes => "--stack",
        }
    }
}

impl Limit {
    /// The same soft and hard limit.
    #[must_use]
    pub fn both(value: u64) -> Self {
        Self {
            soft: Some(value),
            hard: Some(value),
        }
    }
}

/// As `prlimit(1)` takes it: `SOFT:HARD`.
impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut write = |value: Option<u64>| match value {
            Some(value) => write!(f, "{value}"),
            None => f.write_str("unlimited"),
        };
        write(self.soft)?;
        f.write_str(":")?;
        match self.hard {
            Some(hard) => write!(f, "{hard}"),
            None => f.write_str("unlimited"),
        }
    }
}
