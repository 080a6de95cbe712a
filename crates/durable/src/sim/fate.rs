//! What a crash may make of one operation that was not synced.

use super::operation::Operation;

/// An operation that a crash may lose.
#[derive(Debug, Clone)]
pub struct Unsynced {
    pub(super) position: usize,
    pub(super) operation: Operation,
    pub(super) blocks: usize,
    pub(super) grows: bool,
}

/// What a crash makes of an unsynced operation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It never reached the disk.
    Lost,
    /// It reached the disk whole.
    Kept,
    /// Parts of a write reached the disk; for other operations the same as `Lost`.
    Torn {
        /// Which of the 4096-byte blocks that the write touches reached the disk, counted from
        /// its first. Those behind the last one mentioned did not.
        blocks: Vec<bool>,
        /// Whether the file is as long as the write made it even where its last block was lost;
        /// what was never written reads as zeros.
        grown: bool,
    },
}

impl Unsynced {
    /// Position of the operation in the log, counted from 0.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// The operation.
    #[must_use]
    pub fn operation(&self) -> &Operation {
        &self.operation
    }

    /// How many 4096-byte blocks of the file a write touches; 0 for other operations.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// Whether the write made the file longer.
    #[must_use]
    pub fn grows(&self) -> bool {
        self.grows
    }

    /// The fates that a search tries: lost, kept, and for a write up to four ways to be torn. Those
    /// are its first half on the disk, its second half, and, where it made the file longer, the
    /// new length with nothing or the first half in it.
    #[must_use]
    pub fn fates(&self) -> Vec<Fate> {
        let first_half: Vec<_> = (0..self.blocks)
            .map(|block| block < self.blocks / 2)
            .collect();
        let mut fates = vec![Fate::Lost, Fate::Kept];
        if self.grows {
            fates.push(Fate::Torn {
                blocks: Vec::new(),
                grown: true,
            });
        }
        if self.blocks > 1 {
            let second_half = first_half.iter().map(|kept| !kept).collect();
            fates.push(Fate::Torn {
                blocks: first_half.clone(),
                grown: false,
            });
            fates.push(Fate::Torn {
                blocks: second_half,
                grown: false,
            });
            if self.grows {
                fates.push(Fate::Torn {
                    blocks: first_half,
                    grown: true,
                });
            }
        }
        fates
    }
}
