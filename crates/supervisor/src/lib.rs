//! Keeps children alive, and leaves nothing behind.

mod spec;
mod supervisor;

mod exit;
mod restart;
mod backoff;
mod state;
mod machine;

mod driver;
mod run;
mod watched;
mod ending;
mod census;
mod status;

mod output;
mod journal;
mod severity;
mod warnings;
mod rate;
mod redaction;
mod stdin;

mod readiness;
mod hang;
mod limits;
mod reaction;
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
pub use pool::{
    Condition, Member, NotAllStarted, Pool, PoolError, PoolSpec, Strategy,
};
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
