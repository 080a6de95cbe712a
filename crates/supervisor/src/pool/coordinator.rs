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

/// What is to be done next. When it is done, all that came of it at once is told, and then that it is
/// [`done`](Coordinator::done).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Step {
    Start(usize),
    Stop(usize),
}

#[derive(Clone, Debug)]
struct Slot {
    state: State,
    wanted: bool,
    todo: Todo,
    /// It was started since it was last wanted anew.
    started: bool,
    /// It was ready since then, even if it is not now.
    was_ready: bool,
    /// It ended by itself, and with a success.
    ended: Option<bool>,
    /// It failed, and it is not known yet whether it will be started again.
    fell: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Todo {
    Nothing,
    Start,
    Stop,
    /// Stop it, and start it when this other one is back, or will not come back.
    Renew(usize),
    /// Start it when this other one is back, or will not come back.
    Await(usize),
}

impl Coordinator {
    pub(super) fn new(plan: Plan, strategy: Strategy) -> Self {
        let slot = Slot {
            state: State::Stopped,
            wanted: false,
            todo: Todo::Nothing,
            started: false,
            was_ready: false,
            ended: None,
            fell: false,
        };
        Self {
            slots: vec![slot; plan.order().len()],
            plan,
            strategy,
        }
    }

    pub(super) fn start_all(&mut self) {
        for slot in &mut self.slots {
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
        slot.started |= matches!(state, State::Starting | State::Running);
        slot.was_ready |= state == State::Running;
        match state {
            State::Running | State::Stopped | State::Failed => {
                slot.fell = false;
                for slot in &mut self.slots {
                    if slot.todo == Todo::Await(member) {
                        slot.todo = Todo::Start;
                    }
                }
            }
            State::Restarting | State::Starting if slot.fell => {
                slot.fell = false;
                self.renew_fellows_of(member);
            }
            _ => {}
        }
    }

    /// A run of a member ended; the state that follows tells whether it comes back.
    pub(super) fn on_end(&mut self, member: usize, ordered: bool, success: bool) {
        let slot = &mut self.slots[member];
        if !ordered {
            slot.ended = Some(success);
            slot.fell = !success;
        }
    }

    /// What can be done now, if anything can. Ask again until nothing can.
    pub(super) fn next_step(&mut self) -> Option<Step> {
        for place in (0..self.slots.len()).rev() {
            let member = self.plan.order()[place];
            let after = match self.slots[member].todo {
                Todo::Stop => Todo::Nothing,
                Todo::Renew(other) if self.is_settled(other) => Todo::Start,
                Todo::Renew(other) => Todo::Await(other),
                _ => continue,
            };
            if self.may_stop(member) {
                self.slots[member].todo = after;
                return Some(Step::Stop(member));
            }
        }
        for place in 0..self.slots.len() {
            let member = self.plan.order()[place];
            if self.slots[member].todo == Todo::Start && self.may_start(member) {
                self.slots[member].todo = Todo::Nothing;
                return Some(Step::Start(member));
            }
        }
        None
    }

    /// A step is done, and all that came of it at once was told. A member that runs already was not
    /// changed by the order to start it.
    pub(super) fn done(&mut self, step: Step) {
        if let Step::Start(member) = step {
            let slot = &mut self.slots[member];
            slot.started = true;
            slot.was_ready |= slot.state == State::Running;
        }
    }

    /// Those that do not run, once it is settled who does; `None` before. A member that was ready and is
    /// being restarted is not waited for once more.
    pub(super) fn all_started(&self) -> Option<Vec<usize>> {
        let never = self.never_started();
        let mut not_running = Vec::new();
        for (member, slot) in self.slots.iter().enumerate() {
            let is_up = match (slot.todo, slot.state) {
                (Todo::Start, _) if never[member] => false,
                (Todo::Start | Todo::Await(_) | Todo::Renew(_), _) => return None,
                (_, State::Failed) => false,
                (_, State::Stopped) => slot.ended == Some(true),
                _ if slot.was_ready => true,
                _ => return None,
            };
            if !is_up {
                not_running.push(member);
            }
        }
        Some(not_running)
    }

    /// Whether nothing runs, and nothing is about to.
    pub(super) fn all_stopped(&self) -> bool {
        let mut slots = self.slots.iter();
        slots.all(|slot| slot.state == State::Stopped && slot.todo == Todo::Nothing)
    }

    /// Those that run, or have anything left.
    pub(super) fn not_stopped(&self) -> impl Iterator<Item = usize> {
        let slots = self.slots.iter().enumerate();
        slots
            .filter(|(_, slot)| slot.state != State::Stopped)
            .map(|(member, _)| member)
    }

    /// A member that failed is being started again: those that are to fall with it are renewed.
    fn renew_fellows_of(&mut self, member: usize) {
        let part_of_another = matches!(self.slots[member].todo, Todo::Renew(_) | Todo::Await(_));
        if part_of_another || !self.slots[member].wanted {
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
        // Those that it waits for could not be stopped without stopping it as well.
        let needs = self.plan.needs_of(member);
        for fellow in fellows.into_iter().filter(|fellow| !needs[*fellow]) {
            let slot = &mut self.slots[fellow];
            let runs = !matches!(slot.state, State::Stopped | State::Failed);
            if slot.wanted && slot.todo == Todo::Nothing && runs {
                slot.todo = Todo::Renew(member);
            }
        }
    }

    /// Whether it is back, or will not come back by itself.
    fn is_settled(&self, member: usize) -> bool {
        matches!(
            self.slots[member].state,
            State::Running | State::Stopped | State::Failed
        )
    }

    fn may_start(&self, member: usize) -> bool {
        let mut others = self.plan.after(member).iter();
        others.all(|(other, condition)| {
            let other = &self.slots[*other];
            // Who is about to be stopped is nobody to build on.
            if matches!(other.todo, Todo::Stop | Todo::Renew(_)) {
                return false;
            }
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

    /// Whether all that wait for it are gone.
    fn may_stop(&self, member: usize) -> bool {
        self.plan.before(member).all(|other| {
            let slot = &self.slots[other];
            matches!(slot.state, State::Stopped | State::Failed)
                && !matches!(slot.todo, Todo::Stop | Todo::Renew(_))
        })
    }

    /// Of each member, whether it is to be started and waits for something that will not come by itself.
    fn never_started(&self) -> Vec<bool> {
        let mut never = vec![false; self.slots.len()];
        for &member in self.plan.order() {
            if self.slots[member].todo != Todo::Start {
                continue;
            }
            never[member] = self.plan.after(member).iter().any(|(other, condition)| {
                let slot = &self.slots[*other];
                if slot.todo != Todo::Nothing {
                    return never[*other];
                }
                let at_rest = matches!(slot.state, State::Stopped | State::Failed);
                at_rest
                    && match condition {
                        Condition::Started => !slot.started,
                        Condition::Ready => true,
                        Condition::Succeeded => slot.ended != Some(true),
                        Condition::Ended => slot.ended.is_none(),
                    }
            });
        }
        never
    }
}

#[cfg(test)]
mod tests;
