//! What is wanted of a child, and what it is doing.

use std::fmt;

use serde::Serialize;

/// What is wanted of a child, whatever it is doing right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// It shall run.
    Up,
    /// It shall not run.
    Down,
}

/// What a child is doing, whatever is wanted of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum State {
    /// Nothing of it runs, and nothing will.
    Stopped,
    /// It is being started, or runs and is not ready yet.
    Starting,
    /// It runs, and is ready.
    Running,
    /// It will be started: after a delay, or as soon as the one before it is gone.
    Restarting,
    /// It is being ended, or has ended by itself and what it left behind is being cleared away.
    Stopping,
    /// It will not be started again: it failed too often, or in a way that no restart can mend.
    Failed,
    /// Its leader is dead, but not everything that descends from it, or it cannot be reaped. Nothing is
    /// started in its place before that is gone.
    Zombie,
}

impl State {
    /// The name, in lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Restarting => "restarting",
            Self::Stopping => "stopping",
            Self::Failed => "failed",
            Self::Zombie => "zombie",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
