use std::sync::Arc;

use proptest::prelude::*;
use proptest::strategy::Strategy as Generator;

use super::Step::{Start, Stop};
use super::*;
use crate::pool::Strategy;

type Edge = (usize, Condition);

fn coordinator(after: &[&[Edge]], strategy: Strategy) -> Coordinator {
    let name = |index: usize| -> Arc<str> { Arc::from(index.to_string()) };
    let edges = after.iter().enumerate().map(|(index, others)| {
        let others = others
            .iter()
            .map(|(other, condition)| (name(*other), *condition));
        (name(index), others.collect())
    });
    Coordinator::new(Plan::new(edges.collect()).unwrap(), strategy)
}

/// The steps that can be taken now, with what comes of each at once.
fn steps(pool: &mut Coordinator) -> Vec<Step> {
    let mut steps = Vec::new();
    while let Some(step) = pool.next_step() {
        let (Start(member) | Stop(member)) = step;
        let follows = match (step, pool.slots[member].state) {
            (Start(_), State::Stopped | State::Failed) => Some(State::Starting),
            (Start(_), State::Stopping) => Some(State::Restarting),
            (Stop(_), State::Failed) => Some(State::Stopped),
            (Stop(_), State::Starting | State::Running | State::Restarting) => {
                Some(State::Stopping)
            }
            _ => None,
        };
        if let Some(state) = follows {
            pool.on_state(member, state);
        }
        pool.done(step);
        steps.push(step);
    }
    steps
}

#[track_caller]
fn check(coordinator: &mut Coordinator, want: &[Step]) {
    assert_eq!(steps(coordinator), want);
}

fn all(coordinator: &mut Coordinator, members: &[usize], state: State) {
    for &member in members {
        coordinator.on_state(member, state);
    }
}

#[test]
fn each_as_soon_as_its_conditions_hold() {
    let after: [&[Edge]; 4] = [
        &[],
        &[(0, Condition::Started)],
        &[(0, Condition::Ready)],
        &[(2, Condition::Ready)],
    ];
    let mut pool = coordinator(&after, Strategy::OneForOne);
    pool.start_all();
    check(&mut pool, &[Start(0), Start(1)]);
    assert_eq!(pool.all_started(), None);
    pool.on_state(0, State::Running);
    check(&mut pool, &[Start(2)]);
    all(&mut pool, &[1, 2], State::Running);
    check(&mut pool, &[Start(3)]);
    assert_eq!(pool.all_started(), None, "the last one is on its way");
    pool.on_state(3, State::Running);
    assert_eq!(pool.all_started(), Some(vec![]));
}

/// Members that come and go are not waited for until all happen to be up at once.
#[test]
fn who_was_ready_once_is_started() {
    let mut pool = coordinator(&[&[], &[]], Strategy::OneForOne);
    pool.start_all();
    check(&mut pool, &[Start(0), Start(1)]);
    all(&mut pool, &[0], State::Running);
    pool.on_end(0, false, false);
    all(&mut pool, &[0], State::Restarting);
    assert_eq!(pool.all_started(), None);
    all(&mut pool, &[1], State::Running);
    assert_eq!(pool.all_started(), Some(vec![]));
}

#[test]
fn a_task_that_must_have_succeeded() {
    #[track_caller]
    fn check_one(condition: Condition, success: bool, want: Option<&[Step]>) {
        let after: [&[Edge]; 2] = [&[], &[(0, condition)]];
        let mut pool = coordinator(&after, Strategy::OneForOne);
        pool.start_all();
        check(&mut pool, &[Start(0)]);
        all(&mut pool, &[0], State::Running);
        check(&mut pool, &[]);
        pool.on_end(0, false, success);
        check(&mut pool, &[]);
        pool.on_state(
            0,
            if success {
                State::Stopped
            } else {
                State::Failed
            },
        );
        check(&mut pool, want.unwrap_or(&[]));
        if want.is_none() {
            assert_eq!(pool.all_started(), Some(vec![0, 1]), "{condition:?}");
        }
    }
    check_one(Condition::Succeeded, true, Some(&[Start(1)]));
    check_one(Condition::Succeeded, false, None);
    check_one(Condition::Ended, true, Some(&[Start(1)]));
    check_one(Condition::Ended, false, Some(&[Start(1)]));
}

#[test]
fn stopped_in_reverse_each_when_those_that_wait_for_it_are_gone() {
    let after: [&[Edge]; 3] = [&[], &[(0, Condition::Ready)], &[(0, Condition::Ready)]];
    let mut pool = coordinator(&after, Strategy::OneForOne);
    pool.start_all();
    check(&mut pool, &[Start(0)]);
    all(&mut pool, &[0], State::Running);
    check(&mut pool, &[Start(1), Start(2)]);
    all(&mut pool, &[1, 2], State::Running);
    pool.stop_all();
    check(&mut pool, &[Stop(2), Stop(1)]);
    all(&mut pool, &[2, 1], State::Stopping);
    check(&mut pool, &[]);
    pool.on_state(1, State::Stopped);
    check(&mut pool, &[]);
    pool.on_state(2, State::Stopped);
    check(&mut pool, &[Stop(0)]);
    assert!(!pool.all_stopped());
    pool.on_state(0, State::Stopped);
    assert!(pool.all_stopped());
}

#[test]
fn a_stop_of_what_was_never_started_is_done() {
    let mut pool = coordinator(&[&[], &[]], Strategy::OneForOne);
    pool.stop_all();
    assert!(!pool.all_stopped(), "they may have been started singly");
    check(&mut pool, &[Stop(1), Stop(0)]);
    assert!(pool.all_stopped());
}

#[test]
fn a_stop_of_what_has_only_just_been_started() {
    let mut pool = coordinator(&[&[]], Strategy::OneForOne);
    pool.start_all();
    check(&mut pool, &[Start(0)]);
    pool.on_state(0, State::Starting);
    pool.stop_all();
    check(&mut pool, &[Stop(0)]);
    assert!(!pool.all_stopped());
    pool.on_state(0, State::Stopping);
    pool.on_state(0, State::Stopped);
    assert!(pool.all_stopped());
}

fn three_running(strategy: Strategy) -> Coordinator {
    let mut pool = coordinator(&[&[], &[], &[]], strategy);
    pool.start_all();
    check(&mut pool, &[Start(0), Start(1), Start(2)]);
    all(&mut pool, &[0, 1, 2], State::Running);
    assert_eq!(pool.all_started(), Some(vec![]));
    pool
}

#[test]
fn one_for_one() {
    let mut pool = three_running(Strategy::OneForOne);
    pool.on_end(1, false, false);
    pool.on_state(1, State::Restarting);
    check(&mut pool, &[]);
}

#[test]
fn one_for_all() {
    let mut pool = three_running(Strategy::OneForAll);
    pool.on_end(1, false, false);
    pool.on_state(1, State::Restarting);
    check(&mut pool, &[Stop(2), Stop(0)]);
    pool.on_end(2, true, false);
    all(&mut pool, &[2, 0], State::Stopped);
    check(&mut pool, &[]);
    pool.on_state(1, State::Starting);
    check(&mut pool, &[]);
    pool.on_state(1, State::Running);
    check(&mut pool, &[Start(0), Start(2)]);
}

#[test]
fn rest_for_one() {
    let mut pool = three_running(Strategy::RestForOne);
    pool.on_end(1, false, false);
    pool.on_state(1, State::Restarting);
    check(&mut pool, &[Stop(2)]);
    pool.on_state(2, State::Stopped);
    pool.on_state(1, State::Running);
    check(&mut pool, &[Start(2)]);
}

#[test]
fn an_ordered_end_and_a_success_move_nobody() {
    for (ordered, success) in [(true, false), (false, true)] {
        let mut pool = three_running(Strategy::OneForAll);
        pool.on_end(1, ordered, success);
        check(&mut pool, &[]);
    }
}

/// Two that die together do not wait for each other for ever.
#[test]
fn two_die_together() {
    let mut pool = three_running(Strategy::OneForAll);
    pool.on_end(0, false, false);
    pool.on_end(1, false, false);
    all(&mut pool, &[0, 1], State::Restarting);
    check(&mut pool, &[Stop(2), Stop(1)]);
    all(&mut pool, &[2, 1], State::Stopped);
    pool.on_state(0, State::Running);
    check(&mut pool, &[Start(1), Start(2)]);
}

/// Who does not come back takes nobody along, whatever kept it: the policy, its exit code, an order.
#[test]
fn one_that_does_not_come_back_takes_nobody_along() {
    for rest in [State::Failed, State::Stopped] {
        let mut pool = three_running(Strategy::OneForAll);
        pool.on_end(0, false, false);
        pool.on_state(0, State::Stopping);
        pool.on_state(0, rest);
        check(&mut pool, &[]);
    }
}

/// It gave up after the others had been stopped for it: they come back without it.
#[test]
fn one_that_gives_up_frees_those_that_wait() {
    let mut pool = three_running(Strategy::OneForAll);
    pool.on_end(0, false, false);
    pool.on_state(0, State::Restarting);
    check(&mut pool, &[Stop(2), Stop(1)]);
    all(&mut pool, &[2, 1], State::Stopped);
    check(&mut pool, &[]);
    pool.on_state(0, State::Failed);
    check(&mut pool, &[Start(1), Start(2)]);
    all(&mut pool, &[1, 2], State::Running);
    assert_eq!(pool.all_started(), Some(vec![0]));
}

/// The one that fell is back before those that fall with it are down.
#[test]
fn one_that_is_back_early_is_not_waited_for() {
    let after: [&[Edge]; 3] = [&[], &[], &[(1, Condition::Ready)]];
    let mut pool = coordinator(&after, Strategy::OneForAll);
    pool.start_all();
    check(&mut pool, &[Start(0), Start(1)]);
    all(&mut pool, &[0, 1], State::Running);
    check(&mut pool, &[Start(2)]);
    all(&mut pool, &[2], State::Running);
    pool.on_end(0, false, false);
    pool.on_state(0, State::Restarting);
    check(&mut pool, &[Stop(2)]);
    pool.on_state(2, State::Stopping);
    pool.on_state(0, State::Running);
    check(&mut pool, &[]);
    pool.on_state(2, State::Stopped);
    // It is started as soon as it is gone.
    check(&mut pool, &[Stop(1), Start(1)]);
    all(&mut pool, &[1], State::Starting);
    check(&mut pool, &[]);
    all(&mut pool, &[1], State::Running);
    check(&mut pool, &[Start(2)]);
}

/// They could not be stopped without the one that needs them, and that is on its way already.
#[test]
fn those_that_the_fallen_one_needs_run_on() {
    let after: [&[Edge]; 4] = [&[], &[(0, Condition::Ready)], &[(1, Condition::Ready)], &[]];
    let mut pool = coordinator(&after, Strategy::OneForAll);
    pool.start_all();
    let _started = steps(&mut pool);
    all(&mut pool, &[0, 3], State::Running);
    let _started = steps(&mut pool);
    all(&mut pool, &[1], State::Running);
    let _started = steps(&mut pool);
    all(&mut pool, &[2], State::Running);
    pool.on_end(2, false, false);
    pool.on_state(2, State::Restarting);
    check(&mut pool, &[Stop(3)]);
    pool.on_state(3, State::Stopped);
    pool.on_state(2, State::Running);
    check(&mut pool, &[Start(3)]);
    pool.on_state(3, State::Running);
    assert_eq!(pool.all_started(), Some(vec![]));
}

#[test]
fn members_that_were_started_or_stopped_singly() {
    let after: [&[Edge]; 3] = [&[], &[(0, Condition::Started)], &[]];
    let mut pool = coordinator(&after, Strategy::OneForOne);
    all(&mut pool, &[0], State::Running);
    pool.start_all();
    // The first one runs already: nothing comes of the order.
    check(&mut pool, &[Start(0), Start(1), Start(2)]);
    all(&mut pool, &[1], State::Running);
    assert_eq!(pool.all_started(), None);
    all(&mut pool, &[2], State::Starting);
    pool.on_end(1, true, false);
    all(&mut pool, &[1], State::Stopped);
    all(&mut pool, &[2], State::Running);
    assert_eq!(
        pool.all_started(),
        Some(vec![1]),
        "somebody stopped it meanwhile"
    );
}

#[test]
fn a_start_in_the_middle_of_a_stop() {
    let mut pool = three_running(Strategy::OneForOne);
    pool.stop_all();
    check(&mut pool, &[Stop(2), Stop(1), Stop(0)]);
    all(&mut pool, &[2, 1, 0], State::Stopping);
    pool.start_all();
    check(&mut pool, &[Start(0), Start(1), Start(2)]);
    all(&mut pool, &[0, 1, 2], State::Restarting);
    assert_eq!(pool.all_started(), None);
    all(&mut pool, &[0, 1, 2], State::Starting);
    assert_eq!(pool.all_started(), None);
    all(&mut pool, &[0, 1, 2], State::Running);
    assert_eq!(pool.all_started(), Some(vec![]));
}

/// What members do, by number.
#[derive(Clone, Copy, Debug)]
enum Happens {
    StartAll,
    StopAll,
    /// Whatever a member is doing leads to its next state.
    Moves(usize),
    Dies(usize),
    GivesUp(usize),
    /// Somebody else starts or stops it.
    StartedSingly(usize),
    StoppedSingly(usize),
}

fn happens() -> impl Generator<Value = Happens> {
    prop_oneof![
        1 => Just(Happens::StartAll),
        1 => Just(Happens::StopAll),
        12 => (0_usize..5).prop_map(Happens::Moves),
        2 => (0_usize..5).prop_map(Happens::Dies),
        1 => (0_usize..5).prop_map(Happens::GivesUp),
        1 => (0_usize..5).prop_map(Happens::StartedSingly),
        1 => (0_usize..5).prop_map(Happens::StoppedSingly),
    ]
}

proptest! {
    /// Members that obey: nobody is started before those it waits for are ready, nobody is stopped before
    /// those that wait for it are gone, and after the last word everything comes to what was wanted.
    #[test]
    fn the_order_holds(
        history in prop::collection::vec(happens(), 1..80),
        strategy in prop_oneof![
            Just(Strategy::OneForOne), Just(Strategy::OneForAll), Just(Strategy::RestForOne)
        ],
        last_word: bool,
    ) {
        let ready = Condition::Ready;
        let after: [&[Edge]; 5] = [&[], &[(0, ready)], &[(0, ready)], &[(1, ready), (2, ready)], &[]];
        let mut pool = coordinator(&after, strategy);
        let mut states = [State::Stopped; 5];
        let steps = history.into_iter().chain([if last_word { Happens::StartAll } else { Happens::StopAll }]);
        let rest = (0..60).map(|step| Happens::Moves(step % 5));
        for step in steps.chain(rest) {
            match step {
                Happens::StartAll => pool.start_all(),
                Happens::StopAll => pool.stop_all(),
                Happens::Moves(member) => {
                    let next = match states[member] {
                        State::Starting | State::Restarting => State::Running,
                        State::Stopping => State::Stopped,
                        other => other,
                    };
                    if next != states[member] {
                        states[member] = next;
                        pool.on_state(member, next);
                    }
                }
                Happens::Dies(member) if states[member] == State::Running => {
                    pool.on_end(member, false, false);
                    states[member] = State::Restarting;
                    pool.on_state(member, State::Restarting);
                }
                Happens::GivesUp(member) if states[member] == State::Restarting => {
                    states[member] = State::Failed;
                    pool.on_state(member, State::Failed);
                }
                Happens::StartedSingly(member)
                    if matches!(states[member], State::Stopped | State::Failed) =>
                {
                    states[member] = State::Starting;
                    pool.on_state(member, State::Starting);
                }
                Happens::StoppedSingly(member) if states[member] == State::Running => {
                    pool.on_end(member, true, false);
                    states[member] = State::Stopping;
                    pool.on_state(member, State::Stopping);
                }
                _ => {}
            }
            while let Some(step) = pool.next_step() {
                match step {
                    Start(member) => {
                        for (other, _) in after[member] {
                            prop_assert_eq!(states[*other], State::Running, "{} too early", member);
                        }
                        if matches!(states[member], State::Stopped | State::Failed | State::Stopping) {
                            states[member] = State::Starting;
                            pool.on_state(member, State::Starting);
                        }
                    }
                    Stop(member) => {
                        for (waiting, others) in after.iter().enumerate() {
                            if others.iter().any(|(other, _)| *other == member) {
                                let down = matches!(states[waiting], State::Stopped | State::Failed);
                                prop_assert!(down, "{} before {}", member, waiting);
                            }
                        }
                        let next = match states[member] {
                            State::Running | State::Starting => State::Stopping,
                            _ => State::Stopped,
                        };
                        if states[member] != next {
                            states[member] = next;
                            pool.on_state(member, next);
                        }
                    }
                }
                pool.done(step);
            }
        }
        if last_word {
            prop_assert_eq!(states, [State::Running; 5]);
            prop_assert_eq!(pool.all_started(), Some(vec![]));
        } else {
            prop_assert_eq!(states, [State::Stopped; 5]);
            prop_assert!(pool.all_stopped());
        }
    }
}
