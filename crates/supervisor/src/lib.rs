//! Keeps children alive, and leaves nothing behind.

mod backoff;
mod exit;
mod machine;
mod restart;
mod state;

pub use backoff::Backoff;
pub use exit::{Exit, ExitRules};
pub use restart::{Exhausted, GaveUp, Intensity, Restart, RestartPolicy};
pub use state::{Order, State};
