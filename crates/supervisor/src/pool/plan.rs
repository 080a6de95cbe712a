//! Who waits for whom: the order of starts, and of stops in reverse.

use std::sync::Arc;

use super::Condition;

/// Why some children make no pool.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// Two have the same name.
    #[error("two children of the pool are called {name}")]
    Duplicate {
        /// The name.
        name: Arc<str>,
    },
    /// One waits for a child that is not in the pool.
    #[error("child {name} waits for {other}, which is not in the pool")]
    Unknown {
        /// Who waits.
        name: Arc<str>,
        /// For whom.
        other: Arc<str>,
    },
    /// They wait for each other.
    #[error("children wait for each other: {}", names.join(", "))]
    Circle {
        /// Those in the circle, and those that wait for it.
        names: Vec<String>,
    },
}

/// The members by number, and what each waits for.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    after: Vec<Vec<(usize, Condition)>>,
    /// Every member after those it waits for, and otherwise as they were given.
    order: Vec<usize>,
}

type Edges = Vec<(Arc<str>, Vec<(Arc<str>, Condition)>)>;

impl Plan {
    pub(super) fn new(members: Edges) -> Result<Self, PoolError> {
        let index_of = |wanted: &str| members.iter().position(|(name, _)| &**name == wanted);
        for (index, (name, _)) in members.iter().enumerate() {
            if index_of(name) != Some(index) {
                return Err(PoolError::Duplicate {
                    name: Arc::clone(name),
                });
            }
        }
        let mut after = Vec::new();
        for (name, others) in &members {
            let mut numbers = Vec::new();
            for (other, condition) in others {
                let unknown = || PoolError::Unknown {
                    name: Arc::clone(name),
                    other: Arc::clone(other),
                };
                numbers.push((index_of(other).ok_or_else(unknown)?, *condition));
            }
            after.push(numbers);
        }
        let order = order(&after).map_err(|circle| PoolError::Circle {
            names: circle
                .into_iter()
                .map(|index| members[index].0.to_string())
                .collect(),
        })?;
        Ok(Self { after, order })
    }

    /// The members in the order of starts.
    pub(super) fn order(&self) -> &[usize] {
        &self.order
    }

    /// What a member waits for.
    pub(super) fn after(&self, member: usize) -> &[(usize, Condition)] {
        &self.after[member]
    }

    /// Those that wait for a member.
    pub(super) fn before(&self, member: usize) -> impl Iterator<Item = usize> {
        let waiting = self.after.iter().enumerate();
        waiting
            .filter(move |(_, others)| others.iter().any(|(other, _)| *other == member))
            .map(|(index, _)| index)
    }

    /// Of all members, whether this one waits for it, or for somebody who does.
    pub(super) fn needs_of(&self, member: usize) -> Vec<bool> {
        let mut needs = vec![false; self.after.len()];
        let mut look_at = vec![member];
        while let Some(next) = look_at.pop() {
            for &(other, _) in &self.after[next] {
                if !needs[other] {
                    needs[other] = true;
                    look_at.push(other);
                }
            }
        }
        needs
    }

    /// Those that come after a member in the order of starts.
    pub(super) fn rest(&self, member: usize) -> &[usize] {
        let place = self.order.iter().position(|other| *other == member);
        place.map_or(&[], |place| &self.order[place + 1..])
    }
}

/// The first member all of whose others are placed is placed next; whoever cannot be placed is in a circle
/// or waits for one.
fn order(after: &[Vec<(usize, Condition)>]) -> Result<Vec<usize>, Vec<usize>> {
    let mut order = Vec::new();
    let mut left: Vec<usize> = (0..after.len()).collect();
    while !left.is_empty() {
        let free = |member: &usize| {
            after[*member]
                .iter()
                .all(|(other, _)| order.contains(other))
        };
        let Some(place) = left.iter().position(free) else {
            return Err(left);
        };
        order.push(left.remove(place));
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plan(members: &[(&str, &[&str])]) -> Result<Plan, PoolError> {
        let edges = members.iter().map(|(name, others)| {
            let others = others
                .iter()
                .map(|other| (Arc::from(*other), Condition::Ready));
            (Arc::from(*name), others.collect())
        });
        Plan::new(edges.collect())
    }

    #[test]
    fn orders() {
        #[track_caller]
        fn check(members: &[(&str, &[&str])], want: &[usize]) {
            assert_eq!(plan(members).unwrap().order(), want, "{members:?}");
        }
        check(&[], &[]);
        check(&[("a", &[]), ("b", &[]), ("c", &[])], &[0, 1, 2]);
        check(&[("a", &["b"]), ("b", &[])], &[1, 0]);
        check(&[("a", &["c"]), ("b", &[]), ("c", &["b"])], &[1, 2, 0]);
    }

    #[test]
    fn what_is_no_pool() {
        #[track_caller]
        fn check(members: &[(&str, &[&str])], want: &str) {
            assert_eq!(plan(members).unwrap_err().to_string(), want);
        }
        check(
            &[("a", &[]), ("b", &[]), ("a", &["b"])],
            "two children of the pool are called a",
        );
        check(
            &[("a", &["x"])],
            "child a waits for x, which is not in the pool",
        );
        check(&[("a", &["a"])], "children wait for each other: a");
        check(
            &[("a", &["b"]), ("b", &["c"]), ("c", &["b"]), ("d", &[])],
            "children wait for each other: a, b, c",
        );
    }

    #[test]
    fn neighbours() {
        let plan = plan(&[("a", &["c"]), ("b", &["c"]), ("c", &[])]).unwrap();
        assert_eq!(plan.order(), [2, 0, 1]);
        assert_eq!(plan.before(2).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(plan.needs_of(0), [false, false, true]);
        assert_eq!(plan.needs_of(2), [false; 3]);
        assert_eq!(plan.rest(0), [1]);
        assert_eq!(plan.rest(2), [0, 1]);
    }

    proptest! {
        /// Whoever waits only for those given before it makes no circle, and comes after them.
        #[test]
        fn everybody_comes_after_those_it_waits_for(
            members in prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 0..4), 1..20),
        ) {
            let edges = members.iter().enumerate().map(|(index, others)| {
                let others = others.iter().filter(|_| index > 0).map(|other| {
                    (Arc::from(other.index(index).to_string()), Condition::Started)
                });
                (Arc::from(index.to_string()), others.collect())
            });
            let plan = Plan::new(edges.rev().collect()).unwrap();
            for (place, member) in plan.order().iter().enumerate() {
                for (other, _) in plan.after(*member) {
                    prop_assert!(plan.order()[..place].contains(other));
                }
            }
        }
    }
}
