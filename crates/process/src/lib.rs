//! One child process on Linux: own group, dies with its parent, bounded output, stop cascade, resource usage.
//!
//! ```
//! use longtake_process::{BoundedLog, Command, LineSplitter, Output, Signal, StopLadder};
//! use std::{io::Read, time::Duration};
//!
//! let mut child = Command::new("sh")
//!     .args(["-c", "echo starting; sleep 1000"])
//!     .stdout(Output::Pipe)
//!     .nice(10)
//!     .spawn()?;
//!
//! let mut stdout = child.take_stdout().expect("stdout is a pipe");
//! let (mut splitter, mut log) = (LineSplitter::default(), BoundedLog::default());
//! let mut buffer = [0; 8192];
//! while log.total_lines() == 0 {
//!     let read = stdout.read(&mut buffer)?;
//!     splitter.push(&buffer[..read], |line| log.push(line));
//! }
//! assert_eq!(log.to_string(), "starting\n");
//!
//! // SIGTERM to the shell and its sleep; SIGKILL if anything lives on after 5 s.
//! let ladder = StopLadder::kill_only().signal(Signal::Term, Duration::from_secs(5));
//! let stopped = child.stop(&ladder)?;
//! assert!(stopped.killed.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How a child starts
//!
//! By `posix_spawn`, which shares our memory with the child until it execs: its price does not grow with
//! our size, as that of `fork` does. The child leads a process group of its own, in our session. Every
//! signal is at its default and unblocked, and no file is open but those the [`Command`] names.
//! Resource limits and other users are set by running it through `prlimit` and `setpriv`, which exec it
//! in the same process.
//!
//! # Who belongs to a child
//!
//! Its *group*: a signal to a group reaches all its processes at once, however fast they fork. And its
//! *strays*, descendants that left the group: every child has a word of its own in the environment
//! variable `LONGTAKE_CHILD`, which descendants inherit and which can be read in `/proc`. Only a
//! descendant that left the group *and* threw away its environment gets away, or one that became another
//! user whom we may neither look at nor signal.
//!
//! # How a child ends
//!
//! [`Child::stop`] walks down a [`StopLadder`], at whose end stands `SIGKILL`, and returns when nothing is
//! left. Three rules of the kernel shape it:
//!
//! - A number stays taken as long as any process uses it, as its process id or as its group. The leader
//!   is therefore left a zombie until its group is empty, and reaped last: a signal to the group never
//!   reaches a stranger. Single processes are signalled by pidfd, which names a process for ever.
//! - A stopped process acts on no signal but `SIGKILL` and `SIGCONT`, so every signal is followed by
//!   `SIGCONT`.
//! - A writer blocks when its pipe is full (64 KiB), also a child that is about to exit. Our ends that
//!   nobody took are read away during a stop; whoever takes one must read it or drop it.
//!
//! A [`Child`] that is dropped is killed with its family and reaped.
//!
//! An event loop drives the same descent by a [`Stopping`], which never blocks, and serves any number of
//! children by one [`Census`], a look through `/proc`.
//!
//! # If we die
//!
//! With the first child a *guardian* is started: `/bin/sh`, in a group of its own, deaf to polite
//! signals, which knows all groups and reads a pipe that only we can write to. When we die, by whatever
//! signal, the kernel closes the pipe; the guardian kills the groups, then the strays, and exits. It is
//! replaced if it dies before us. A process that forks without exec shares the pipe with its copy, so
//! become a daemon before the first spawn.
//!
//! `PR_SET_PDEATHSIG` would not do: it fires when the thread that started the child ends, grandchildren
//! do not inherit it, and it needs code between `fork` and `exec`.
//!
//! # What it needs
//!
//! Linux 5.4, glibc 2.34 (with musl, files that others opened without close-on-exec are inherited),
//! `/proc`, and `/bin/sh` and `grep` for the guardian. `SIGCHLD` must not be ignored, and nobody may call
//! `waitpid(-1)`.

mod command;
mod program;
mod spawn;
mod sys;

mod child;
mod leader;
mod signal;

mod census;
mod environ;
mod family;
mod hidden;
mod marker;

mod descent;
mod ladder;
mod poll;
mod stop;
mod stopping;

mod guardian;
mod leftover;

mod lines;
mod log;
mod redact;

mod stat;
mod usage;

pub use census::Census;
pub use child::{Child, Killer, SignalError, WaitError, set_nonblocking};
pub use command::{Command, Input, IoPriority, Limit, Output, Resource};
pub use family::Kin;
pub use ladder::StopLadder;
pub use lines::{Line, LineSplitter};
pub use log::{BoundedLog, KeptLine, LogLimits};
pub use redact::{mask, redact, redact_args, redact_args_with, secret_ranges};
pub use signal::Signal;
pub use spawn::SpawnError;
pub use stop::{StopError, Stopped, StoppedBy};
pub use stopping::{Stopping, Wait};
pub use usage::{IoUsage, Spent, Usage, UsageError};
