//! Which of the many things a crash can leave are looked at.

use std::collections::HashSet;

use super::fate::{Fate, Unsynced};

/// One fate for each unsynced operation, in the order of the log.
pub(super) type Fates = Vec<Fate>;

/// The crashes to look at where some operations are unsynced.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) crashes: Vec<Fates>,
    /// Whether these are all combinations of [`Unsynced::fates`].
    pub(super) exhaustive: bool,
}

impl Plan {
    /// Makes at most `limit` crashes, at least one, the same ones for the same arguments.
    pub(super) fn new(unsynced: &[&Unsynced], limit: usize, seed: u64) -> Self {
        let choices: Vec<Fates> = unsynced.iter().map(|unsynced| unsynced.fates()).collect();
        if count(&choices).is_some_and(|count| count <= limit) {
            return Self {
                crashes: combinations(&choices),
                exhaustive: true,
            };
        }

        let mut random = Random(seed);
        let mut crashes = Sample::new(limit);
        crashes.add(vec![Fate::Lost; choices.len()]);
        crashes.add(vec![Fate::Kept; choices.len()]);
        let subsets: Vec<Fates> = choices.iter().map(|fates| fates[..2].to_vec()).collect();
        if count(&subsets).is_some_and(|count| count <= limit) {
            combinations(&subsets)
                .into_iter()
                .for_each(|fates| crashes.add(fates));
        } else {
            crashes.add_shuffled(one_out(&subsets, 0), &mut random);
        }
        crashes.add_shuffled(one_out(&choices, 2), &mut random);
        // Drawn at random they may repeat; few operations may have no more to give.
        for _ in 0..limit.saturating_mul(4) {
            if crashes.is_full() {
                break;
            }
            crashes.add(
                unsynced
                    .iter()
                    .map(|unsynced| random.fate(unsynced))
                    .collect(),
            );
        }
        Self {
            crashes: crashes.list,
            exhaustive: false,
        }
    }
}

/// A list without repetitions that is full at some length.
struct Sample {
    list: Vec<Fates>,
    seen: HashSet<Fates>,
    limit: usize,
}

impl Sample {
    fn new(limit: usize) -> Self {
        Self {
            list: Vec::new(),
            seen: HashSet::new(),
            limit: limit.max(1),
        }
    }

    fn add(&mut self, fates: Fates) {
        if !self.is_full() && self.seen.insert(fates.clone()) {
            self.list.push(fates);
        }
    }

    fn add_shuffled(&mut self, mut crashes: Vec<OneOut<'_>>, random: &mut Random) {
        for last in (1..crashes.len()).rev() {
            crashes.swap(last, random.below(last + 1));
        }
        for crash in crashes {
            if self.is_full() {
                return;
            }
            self.add(crash.fates());
        }
    }

    fn is_full(&self) -> bool {
        self.list.len() >= self.limit
    }
}

/// `SplitMix64` (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).expect("64 bits hold every length");
        usize::try_from(self.next() % bound).expect("below a length")
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    fn fate(&mut self, unsynced: &Unsynced) -> Fate {
        let can_tear = unsynced.blocks() > 1 || unsynced.grows();
        match self.below(if can_tear { 3 } else { 2 }) {
            0 => Fate::Lost,
            1 => Fate::Kept,
            _ => Fate::Torn {
                blocks: (0..unsynced.blocks()).map(|_| self.coin()).collect(),
                grown: unsynced.grows() && self.coin(),
            },
        }
    }
}

/// How many combinations there are, if a number can say it.
fn count(choices: &[Fates]) -> Option<usize> {
    choices
        .iter()
        .try_fold(1_usize, |count, fates| count.checked_mul(fates.len()))
}

fn combinations(choices: &[Fates]) -> Vec<Fates> {
    choices.iter().fold(vec![Vec::new()], |begun, fates| {
        let longer = |start: &Fates| {
            let start = start.clone();
            fates
                .iter()
                .map(move |fate| [start.as_slice(), std::slice::from_ref(fate)].concat())
        };
        begun.iter().flat_map(longer).collect()
    })
}

/// A crash in which one operation of `count` has a fate of its own.
struct OneOut<'a> {
    fate: &'a Fate,
    at: usize,
    before: Fate,
    behind: Fate,
    count: usize,
}

impl OneOut<'_> {
    fn fates(&self) -> Fates {
        let mut fates = vec![self.before.clone(); self.at];
        fates.push(self.fate.clone());
        fates.resize(self.count, self.behind.clone());
        fates
    }
}

/// Each operation in each of its fates from the `skip`th on: all others kept, all others lost, and
/// those before it kept and those behind it lost.
fn one_out(choices: &[Fates], skip: usize) -> Vec<OneOut<'_>> {
    let around = [
        (Fate::Kept, Fate::Kept),
        (Fate::Lost, Fate::Lost),
        (Fate::Kept, Fate::Lost),
    ];
    let mut crashes = Vec::new();
    for (at, fates) in choices.iter().enumerate() {
        for fate in &fates[skip..] {
            crashes.extend(around.clone().map(|(before, behind)| OneOut {
                fate,
                at,
                before,
                behind,
                count: choices.len(),
            }));
        }
    }
    crashes
}

#[cfg(test)]
mod tests {
    use super::{Fate, Plan, Unsynced};
    use crate::sim::Operation;
    use std::collections::HashSet;

    fn name() -> Unsynced {
        unsynced(0, false)
    }

    fn unsynced(blocks: usize, grows: bool) -> Unsynced {
        Unsynced {
            position: 0,
            operation: Operation::Create("file".into()),
            blocks,
            grows,
        }
    }

    #[track_caller]
    fn check(unsynced: &[Unsynced], limit: usize, want_count: usize, want_exhaustive: bool) {
        let unsynced: Vec<_> = unsynced.iter().collect();
        let plan = Plan::new(&unsynced, limit, 7);
        assert_eq!(
            (plan.crashes.len(), plan.exhaustive),
            (want_count, want_exhaustive)
        );
        let different: HashSet<_> = plan.crashes.iter().collect();
        assert_eq!(different.len(), want_count, "the same crash twice");
        assert!(
            plan.crashes
                .iter()
                .all(|fates| fates.len() == unsynced.len())
        );
        assert_eq!(
            Plan::new(&unsynced, limit, 7).crashes,
            plan.crashes,
            "not deterministic"
        );
    }

    #[test]
    fn few_operations_are_combined_in_every_way() {
        check(&[], 1, 1, true);
        check(&vec![name(); 4], 16, 16, true);
        check(&[name(), unsynced(1, true)], 6, 6, true);
        check(
            &[name(), unsynced(3, false), unsynced(3, true)],
            2 * 4 * 6,
            48,
            true,
        );
    }

    #[test]
    fn many_operations_stay_below_the_limit() {
        check(&vec![name(); 4], 15, 15, false);
        check(&vec![unsynced(9, true); 40], 64, 64, false);
        check(&vec![unsynced(9, true); 2000], 32, 32, false);
        check(&vec![unsynced(9, true); 8], 1, 1, false);
        check(&vec![name(); 4], 0, 1, false);
    }

    #[test]
    fn where_tears_are_too_many_every_subset_is_still_there() {
        let unsynced = vec![unsynced(2, true); 6];
        let plan = Plan::new(&unsynced.iter().collect::<Vec<_>>(), 100, 1);
        let is_torn = |fate: &Fate| matches!(fate, Fate::Torn { .. });
        let untorn = plan
            .crashes
            .iter()
            .filter(|fates| !fates.iter().any(is_torn))
            .count();
        assert!(untorn >= 64, "only {untorn} of 64 subsets");
        assert_eq!(plan.crashes.len(), 100);
    }

    #[test]
    fn where_subsets_are_too_many_each_operation_is_still_the_odd_one_out() {
        let unsynced = vec![unsynced(2, true); 30];
        let plan = Plan::new(&unsynced.iter().collect::<Vec<_>>(), 100, 1);
        for at in 0..30 {
            for (usual, odd) in [(Fate::Kept, Fate::Lost), (Fate::Lost, Fate::Kept)] {
                let mut want = vec![usual; 30];
                want[at] = odd;
                assert!(plan.crashes.contains(&want), "{at}");
            }
            let prefix = [vec![Fate::Kept; at], vec![Fate::Lost; 30 - at]].concat();
            assert!(plan.crashes.contains(&prefix), "{at}");
        }
    }

    #[test]
    fn random_crashes_leave_any_blocks() {
        let unsynced = vec![unsynced(5, true); 30];
        let plan = Plan::new(&unsynced.iter().collect::<Vec<_>>(), 2000, 1);
        let torn: HashSet<_> = plan
            .crashes
            .iter()
            .flatten()
            .filter_map(|fate| match fate {
                Fate::Torn { blocks, grown } if blocks.len() == 5 => Some((blocks, *grown)),
                _ => None,
            })
            .collect();
        assert_eq!(torn.len(), 2 * 32);
    }
}
