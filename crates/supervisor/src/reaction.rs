//! What is done about a child that misbehaves.

/// What is done about a child that hangs or uses too much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reaction {
    /// It is told, in events and in health, and the child runs on.
    #[default]
    Report,
    /// It is told, and the child is stopped and started again as after a failure.
    Restart,
}
