//! Keeps children alive, and leaves nothing behind.

mod spec;
mod supervisor;

mod backoff;
mod exit;
mod machine;
mod restart;
mod state;

mod census;
mod driver;
mod ending;
mod reply;
mod run;
mod status;
mod watched;

mod journal;
mod output;
mod rate;
mod redaction;
mod severity;
mod stdin;
mod warnings;

mod hang;
mod limits;
mod reaction;
mod readiness;
mod sampler;

mod event;
mod health;
mod report;

mod pool;

pub use backoff::Backoff;
pub use event::{Event, EventKind, Events, Heard, Snapshot};
pub use exit::{Exit, ExitRules};
pub use hang::{HangKind, HangPolicy};
pub use health::{Health, UsageNow};
pub use limits::{Exceeded, Limits};
pub use output::{Piece, StdinMode, StdoutMode, Stream, Tail, TakenOutput, WhenFull};
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
