//! Go through the crashes of a simulated disk.

use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::vec;

use super::SimStorage;
use super::disk::Disk;
use super::fate::{Fate, Unsynced};
use super::log::Record;
use super::plan::{Fates, Plan};

/// One crash, and the disk as it is found afterwards.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Crash {
    /// Operations of the log that had been made.
    pub point: usize,
    /// What became of those that had not been synced.
    pub fates: Vec<(Unsynced, Fate)>,
    /// Whether the crashes at this point are all combinations of [`Unsynced::fates`], not a
    /// selection.
    pub exhaustive: bool,
    /// The disk afterwards, without faults, and with an empty log of its own.
    pub storage: SimStorage,
}

/// Says what happened, for the message of a test that fails.
impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "crash after {} operations", self.point)?;
        for (unsynced, fate) in &self.fates {
            let (position, operation) = (unsynced.position(), unsynced.operation());
            match fate {
                Fate::Lost => write!(f, "\n  lost {position}: {operation}")?,
                Fate::Kept => write!(f, "\n  kept {position}: {operation}")?,
                Fate::Torn { blocks, grown } => {
                    let blocks: String = blocks
                        .iter()
                        .map(|kept| if *kept { '+' } else { '-' })
                        .collect();
                    let grown = if *grown { ", grown" } else { "" };
                    write!(f, "\n  torn {position}: {operation} [{blocks}{grown}]")?;
                }
            }
        }
        Ok(())
    }
}

/// The crashes of a [`SimStorage`], from [`SimStorage::crashes`].
#[derive(Debug)]
pub struct Crashes {
    log: Vec<Record>,
    disk: Disk,
    /// The next point to make crashes at, and the one after the last.
    points: std::ops::Range<usize>,
    limit: usize,
    planned: vec::IntoIter<Fates>,
    exhaustive: bool,
}

impl Crashes {
    /// Works on a copy of the log, so that crashes may be looked at while the disk is in use.
    pub(super) fn new(
        log: &[Record],
        start: Disk,
        points: &impl RangeBounds<usize>,
        limit: usize,
    ) -> Self {
        let first = match points.start_bound() {
            Bound::Included(first) => *first,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match points.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => usize::MAX,
        };
        Self {
            log: log.to_vec(),
            disk: start,
            points: first..end.min(log.len() + 1),
            limit,
            planned: Vec::new().into_iter(),
            exhaustive: false,
        }
    }
}

impl Iterator for Crashes {
    type Item = Crash;

    fn next(&mut self) -> Option<Crash> {
        let fates = loop {
            if let Some(fates) = self.planned.next() {
                break fates;
            }
            let point = self.points.next()?;
            self.disk.advance_to(point, &self.log);
            let unsynced: Vec<_> = self.disk.unsynced().collect();
            let plan = Plan::new(&unsynced, self.limit, point as u64);
            self.planned = plan.crashes.into_iter();
            self.exhaustive = plan.exhaustive;
        };

        let mut chosen = fates.iter();
        let tree = self.disk.after_crash(|_| {
            chosen
                .next()
                .cloned()
                .expect("a plan has one fate for each unsynced operation")
        });
        Some(Crash {
            point: self.disk.position(),
            fates: self
                .disk
                .unsynced()
                .cloned()
                .zip(fates.iter().cloned())
                .collect(),
            exhaustive: self.exhaustive,
            storage: SimStorage::from_tree(tree),
        })
    }
}
