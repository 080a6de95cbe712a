//! Whom of a pool to start or stop next.

use super::plan::Plan;
use super::{Condition, Strategy};
use crate::state::State;

/// What the members are doing, what is wanted of them, and what is to be done about it.
///
/// Like the machine of a child it knows neither processes nor time.
#[derive(Debug)]
pub(super) struct Coordinator {
    plan: Plan,
    strategy: Strategy,
    slots: Vec<Slot>,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Order {
    Start(usize),
    Stop(usize),
}

#[derive(Clone, Debug)]
struct Slot {
    state: State,
    wanted: bool,
    todo: Todo,
    /// It was ordered to start, and no state has come of that yet.
    ordered: bool,
    /// It was started since it was last wanted anew.
    started: bool,
    /// It was ready since then, even if it is not now.
    was_ready: bool,
    /// It ended by itself, and with a success.
    ended: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Todo {
    Nothing,
    Start,
    Stop,
    /// Stop it, and start it when this other one is ready again.
    Renew(usize),
    /// Start it when this other one is ready again.
    Await(usize),
}

impl Coordinator {
    pub(super) fn new(plan: Plan, strategy: Strategy) -> Self {
        let slot = Slot {
            state: State::Stopped,
            wanted: false,
            todo: Todo::Nothing,
            ordered: false,
            started: false,
            was_ready: false,
            ended: None,
        };
        Self {
            slots: vec![slot; plan.order().len()],
            plan,
            strategy,
        }
    }

    pub(super) fn start_all(&mut self) {
        for slot in &mut self.slots {
            let runs = !matches!(slot.state, State::Stopped | State::Failed | State::Stopping);
            if slot.wanted && runs {
                continue;
            }
            slot.wanted = true;
            slot.todo = Todo::Start;
            slot.started = false;
            slot.was_ready = false;
            slot.ended = None;
        }
    }

    pub(super) fn stop_all(&mut self) {
        for slot in &mut self.slots {
            slot.wanted = false;
            slot.todo = Todo::Stop;
        }
    }

    /// A member is in another state.
    pub(super) fn on_state(&mut self, member: usize, state: State) {
        let slot = &mut self.slots[member];
        slot.state = state;
        slot.ordered = false;
        slot.started |= matches!(state, State::Starting | State::Running);
        slot.was_ready |= state == State::Running;
        match state {
            State::Running => {
                for slot in &mut self.slots {
                    if slot.todo == Todo::Await(member) {
                        slot.todo = Todo::Start;
                    }
                }
            }
            // Who cannot come back is waited for no more.
            State::Failed => {
                for slot in &mut self.slots {
                    if slot.todo == Todo::Await(member) {
                        slot.todo = Todo::Nothing;
                    }
                }
            }
            _ => {}
        }
    }

    /// A run of a member ended.
    pub(super) fn on_end(&mut self, member: usize, ordered: bool, success: bool) {
        if ordered {
            return;
        }
        self.slots[member].ended = Some(success);
        let part_of_another = matches!(self.slots[member].todo, Todo::Renew(_) | Todo::Await(_));
        if success || part_of_another || !self.slots[member].wanted {
            return;
        }
        let fellows = match self.strategy {
            Strategy::OneForOne => Vec::new(),
            Strategy::OneForAll => {
                let all = self.plan.order().iter().copied();
                all.filter(|other| *other != member).collect()
            }
            Strategy::RestForOne => self.plan.rest(member).to_vec(),
        };
        for fellow in fellows {
            let slot = &mut self.slots[fellow];
            if slot.wanted && slot.todo != Todo::Start {
                slot.todo = Todo::Renew(member);
            }
        }
    }

    /// What can be done now, if anything can. Ask again until nothing can.
    pub(super) fn next_order(&mut self) -> Option<Order> {
        let order = self.plan.order().to_vec();
        for &member in order.iter().rev() {
            let todo = self.slots[member].todo;
            let after = match todo {
                Todo::Stop => Todo::Nothing,
                Todo::Renew(other) => Todo::Await(other),
                _ => continue,
            };
            if !self.may_stop(member) {
                continue;
            }
            let slot = &mut self.slots[member];
            slot.todo = after;
            if slot.state != State::Stopped || slot.ordered {
                return Some(Order::Stop(member));
            }
        }
        for &member in &order {
            if self.slots[member].todo == Todo::Start && self.may_start(member) {
                let slot = &mut self.slots[member];
                slot.todo = Todo::Nothing;
                slot.ordered = true;
                return Some(Order::Start(member));
            }
        }
        None
    }

    /// Those that do not run, once it is settled who does; `None` before. A member that was ready and is
    /// being restarted is not waited for once more.
    pub(super) fn all_started(&self) -> Option<Vec<usize>> {
        let mut not_running = Vec::new();
        for (member, slot) in self.slots.iter().enumerate() {
            let settled = match (slot.todo, slot.state) {
                (Todo::Start, _) => self.never_starts(member),
                (_, State::Failed) => !slot.ordered,
                (_, State::Stopped) => !slot.ordered && (slot.ended.is_some() || !slot.wanted),
                _ => slot.was_ready && !slot.ordered,
            };
            if !settled {
                return None;
            }
            let fine = match slot.state {
                State::Failed => false,
                State::Stopped => slot.ended == Some(true),
                _ => true,
            };
            if !fine || slot.todo == Todo::Start {
                not_running.push(member);
            }
        }
        Some(not_running)
    }

    /// Whether nothing runs, and nothing is about to.
    pub(super) fn all_stopped(&self) -> bool {
        let mut slots = self.slots.iter();
        slots.all(|slot| slot.state == State::Stopped && !slot.ordered && slot.todo != Todo::Stop)
    }

    fn may_start(&self, member: usize) -> bool {
        let mut others = self.plan.after(member).iter();
        others.all(|(other, condition)| {
            let other = &self.slots[*other];
            match condition {
                Condition::Started => other.started,
                Condition::Ready => other.state == State::Running,
                Condition::Succeeded => other.state == State::Stopped && other.ended == Some(true),
                Condition::Ended => {
                    matches!(other.state, State::Stopped | State::Failed) && other.ended.is_some()
                }
            }
        })
    }

    /// Whether it waits for something that will not come by itself.
    fn never_starts(&self, member: usize) -> bool {
        self.plan.after(member).iter().any(|(other, condition)| {
            let slot = &self.slots[*other];
            if slot.todo == Todo::Start {
                return self.never_starts(*other);
            }
            let at_rest = matches!(slot.state, State::Stopped | State::Failed) && !slot.ordered;
            match condition {
                Condition::Started => at_rest && !slot.started,
                Condition::Ready => at_rest,
                Condition::Succeeded => at_rest && slot.ended != Some(true),
                Condition::Ended => at_rest && slot.ended.is_none(),
            }
        })
    }

    /// Whether all that wait for it are gone.
    fn may_stop(&self, member: usize) -> bool {
        self.plan.before(member).all(|other| {
            let slot = &self.slots[other];
            matches!(slot.state, State::Stopped | State::Failed)
                && !slot.ordered
                && !matches!(slot.todo, Todo::Stop | Todo::Renew(_))
        })
    }
}

#[cfg(test)]
mod tests;
