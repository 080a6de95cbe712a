//! One child process on Linux: own group, dies with its parent, bounded output, stop cascade, resource usage.

mod child;
mod command;
mod family;
mod guardian;
mod ladder;
mod leader;
mod leftover;
mod lines;
mod log;
mod marker;
mod poll;
mod program;
mod signal;
mod spawn;
mod stat;
mod stop;
mod sys;
mod usage;

pub use child::{Child, Killer, SignalError, WaitError, set_nonblocking};
pub use command::{Command, Input, IoPriority, Limit, Output, Resource};
pub use ladder::StopLadder;
pub use lines::{Line, LineSplitter};
pub use log::{BoundedLog, KeptLine, LogLimits};
pub use signal::Signal;
pub use spawn::SpawnError;
pub use stop::{StopError, Stopped, StoppedBy};
pub use usage::{IoUsage, Usage, UsageError};
