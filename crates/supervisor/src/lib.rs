//! Keeps children alive, and leaves nothing behind.
//!
//! ```
//! use longtake_process::{Command, Signal};
//! use longtake_supervisor::{
//!     Backoff, ChildSpec, EventKind, HangPolicy, Heard, Reaction, RestartPolicy, Supervisor,
//! };
//! use std::time::Duration;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let policy = RestartPolicy::default()
//!     .backoff(Backoff::new(Duration::from_millis(50)))
//!     .max_restarts(3);
//! let supervisor = Supervisor::new(
//!     ChildSpec::new("camera", || {
//!         let mut command = Command::new("sh");
//!         command.args(["-c", "echo recording; exec sleep 1000"]);
//!         command
//!     })
//!     .policy(policy)
//!     .hang(HangPolicy::default().silence(Duration::from_secs(30), Reaction::Restart)),
//! );
//! let mut events = supervisor.events();
//! let first = supervisor.start().await?;
//!
//! // Whoever kills it sees another one in its place.
//! supervisor.signal(Signal::Kill).await;
//! while let Some(Heard::Event(event)) = events.next().await {
//!     if let EventKind::Ended(report) = event.kind {
//!         assert_eq!(report.pid, Some(first));
//!         println!("{report}"); // camera (pid 4711) after 2.0ms: it ended, signal 9 (SIGKILL)
//!         break;
//!     }
//! }
//! supervisor.start().await?;
//! assert_eq!(supervisor.health().restart_count, 1);
//! supervisor.stop().await?;
//! # Ok::<(), Box<dyn std::error::Error>>(()) })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it promises
//!
//! - **One at most.** Nothing is started before everything of the run before is gone: the leader, its group,
//!   and descendants that left the group. As long as somebody of them lives the child is a
//!   [`State::Zombie`].
//! - **An end is seen when it comes,** by an event of the kernel, whatever descendants do with the pipes; and
//!   reported once, with the last words ([`Report`]).
//! - **A crash loop ends as the policy says** ([`RestartPolicy`]): only a healthy time resets what is
//!   counted.
//! - **A child that is alive and does nothing is noticed** ([`HangPolicy`]): by its silence, by positions that
//!   do not advance, by CPU time it does not use.
//! - **A stop always ends** (`StopLadder`), reaches the whole tree, and says if somebody is left.
//! - **Our death is theirs.** Whatever kills this process, its children go within milliseconds; see
//!   `longtake_process`.
//! - **Nobody waits for a child:** not for its stdin, not for its output, not for its death. One task owns
//!   it, and nothing wakes while nothing happens.
//!
//! # Where things are
//!
//! [`Supervisor`] keeps one child, described by a [`ChildSpec`]; [`Pool`] keeps several that wait for each
//! other. [`Health`] tells how one is doing, [`Events`] what happens. The decisions are pure and know no
//! clock: restarts (`restart.rs`), order and state (`machine.rs`), hangs, limits, and the order of a pool.
//!
//! # What it needs
//!
//! A tokio runtime with I/O and time enabled, of either kind. Children are started on the runtime's blocking
//! threads, four at once. One thread more looks through the processes of the system when somebody
//! asks.

mod spec;
mod supervisor;

mod driver;
mod ending;
mod run;

mod backoff;
mod exit;
mod machine;
mod restart;
mod state;

mod hang;
mod limits;
mod reaction;
mod readiness;
mod sampler;

mod journal;
mod last_output;
mod output;
mod rate;
mod redaction;
mod severity;
mod stdin;
mod warnings;

mod event;
mod health;
mod report;
mod status;

mod pool;

mod census;
mod reply;
mod watched;

pub use backoff::Backoff;
pub use event::{Event, EventKind, Events, Heard, Snapshot};
pub use exit::{Exit, ExitRules};
pub use hang::{HangKind, HangPolicy};
pub use health::{Health, UsageNow};
pub use limits::{Exceeded, Limits};
pub use output::{OutputMode, Piece, StdinMode, Stream, Tail, TakenOutput, WhenFull};
pub use pool::{Condition, Member, NotAllStarted, Pool, PoolError, PoolSpec, Strategy};
pub use rate::LineRate;
pub use reaction::Reaction;
pub use readiness::Readiness;
pub use redaction::{PatternError, Redaction};
pub use report::{Cause, Report};
pub use restart::{Exhausted, GaveUp, Intensity, Restart, RestartPolicy};
pub use spec::ChildSpec;
pub use state::{Order, State};
pub use stdin::StdinError;
pub use supervisor::{EndError, StartError, Supervisor};
