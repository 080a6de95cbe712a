use proptest::prelude::*;

use super::*;
use crate::backoff::Backoff;
use crate::restart::Restart;

const SECOND: Duration = Duration::from_secs(1);

fn machine(policy: RestartPolicy) -> Machine {
    Machine::new(policy, Some(30 * SECOND), 1)
}

fn policy() -> RestartPolicy {
    RestartPolicy::default().backoff(Backoff::default().jitter(0.0))
}

/// A machine with a child that runs and is ready.
fn running(now: Instant) -> Machine {
    let mut machine = machine(policy());
    assert_eq!(machine.start(), Act::Spawn);
    assert_eq!(machine.spawned(now), Act::Nothing);
    assert_eq!(machine.state(), State::Starting);
    assert_eq!(machine.ready(now), Act::Nothing);
    assert_eq!(machine.state(), State::Running);
    machine
}

#[test]
fn a_crash_is_answered_after_its_delay_and_not_sooner() {
    let now = Instant::now();
    let mut machine = running(now);
    assert_eq!(machine.exited(Verdict::Failure, now), Act::End(Way::Sweep));
    assert_eq!(machine.state(), State::Stopping);
    machine.left(&[7, 8]);
    assert_eq!(
        (machine.state(), machine.zombies()),
        (State::Zombie, &[7, 8][..])
    );
    assert_eq!(machine.gone(now), Act::Nothing);
    assert_eq!(machine.state(), State::Restarting);
    assert_eq!(machine.deadline(), Some(now + 2 * SECOND));
    assert_eq!(machine.due(now + SECOND), Act::Nothing);
    assert_eq!(machine.due(now + 2 * SECOND), Act::Spawn);
    assert_eq!(machine.state(), State::Starting);
}

#[test]
fn a_stop_whenever() {
    let now = Instant::now();
    let mut child = running(now);
    assert_eq!(child.stop(), Act::End(Way::Stop));
    assert_eq!(child.state(), State::Stopping);
    assert_eq!(child.stop(), Act::Hasten, "twice");
    assert_eq!(child.gone(now), Act::Nothing);
    assert_eq!(
        (child.state(), child.order()),
        (State::Stopped, Order::Down)
    );
    assert_eq!(child.stop(), Act::Nothing, "once more");

    let mut child = running(now);
    let _swept = child.exited(Verdict::Failure, now);
    let _waits = child.gone(now);
    assert_eq!(child.state(), State::Restarting);
    assert_eq!(child.stop(), Act::Nothing, "during the delay");
    assert_eq!((child.state(), child.deadline()), (State::Stopped, None));
    assert_eq!(child.due(now + 60 * SECOND), Act::Nothing);

    let mut child = machine(policy());
    assert_eq!(child.start(), Act::Spawn);
    assert_eq!(child.stop(), Act::Nothing, "while it is being started");
    assert_eq!(child.spawned(now), Act::End(Way::Stop));
    let mut child = machine(policy());
    assert_eq!(child.start(), Act::Spawn);
    assert_eq!(child.stop(), Act::Nothing);
    assert_eq!(child.not_spawned(now), Act::Nothing);
    assert_eq!(child.state(), State::Stopped);
}

/// A start that waited for its turn is called back by a stop, and wanted again before that is told.
#[test]
fn a_start_that_was_called_back_is_no_failure() {
    let now = Instant::now();
    let mut child = machine(policy().max_restarts(0));
    assert_eq!(child.start(), Act::Spawn);
    assert_eq!(child.stop(), Act::Nothing);
    assert_eq!(child.called_back(now), Act::Nothing);
    assert_eq!(child.state(), State::Stopped);
    assert_eq!(child.start(), Act::Spawn);
    assert_eq!(child.stop(), Act::Nothing);
    assert_eq!(child.start(), Act::Nothing);
    assert_eq!(child.called_back(now), Act::Spawn);
    assert_eq!(child.failures(now), 0);
}

#[test]
fn a_restart_whenever() {
    let now = Instant::now();
    let mut child = running(now);
    assert_eq!(child.restart(now), Act::End(Way::Restart));
    assert_eq!(child.state(), State::Restarting);
    assert_eq!(child.restart(now), Act::Nothing, "twice");
    assert_eq!(child.gone(now), Act::Spawn);

    let mut child = running(now);
    let _swept = child.exited(Verdict::Failure, now);
    let _waits = child.gone(now);
    assert_eq!(child.restart(now), Act::Spawn, "during the delay");
    assert_eq!(
        child.due(now + 60 * SECOND),
        Act::Nothing,
        "and no second one after it"
    );

    let mut child = running(now);
    assert_eq!(child.stop(), Act::End(Way::Stop));
    assert_eq!(child.restart(now), Act::Nothing, "during a stop");
    assert_eq!(child.gone(now), Act::Spawn);

    assert_eq!(
        machine(policy()).restart(now),
        Act::Spawn,
        "of a stopped one"
    );
}

#[test]
fn a_start_during_a_stop_follows_it() {
    let now = Instant::now();
    let mut child = running(now);
    assert_eq!(child.stop(), Act::End(Way::Stop));
    assert_eq!(child.start(), Act::Nothing);
    assert_eq!(child.gone(now), Act::Spawn);
    assert_eq!(child.start(), Act::Nothing, "twice");
}

#[test]
fn a_failed_one_is_started_by_order_alone() {
    let now = Instant::now();
    let mut child = machine(policy().max_restarts(0));
    assert_eq!(child.start(), Act::Spawn);
    assert_eq!(child.not_spawned(now), Act::Nothing);
    assert_eq!(child.state(), State::Failed);
    assert_eq!(child.gave_up(), Some(GaveUp::MaxRestarts));
    assert_eq!(child.order(), Order::Up);
    assert_eq!(child.due(now + 600 * SECOND), Act::Nothing);
    assert_eq!(child.start(), Act::Spawn);
    assert_eq!((child.state(), child.gave_up()), (State::Starting, None));
}

#[test]
fn ordered_restarts_use_up_nothing() {
    let now = Instant::now();
    let mut child = machine(policy().max_restarts(1));
    assert_eq!(child.start(), Act::Spawn);
    for _ in 0..50 {
        let _runs = child.spawned(now);
        let _ready = child.ready(now);
        assert_eq!(child.restart(now), Act::End(Way::Restart));
        assert_eq!(child.gone(now), Act::Spawn);
    }
    let _runs = child.spawned(now);
    let _ready = child.ready(now);
    let _swept = child.exited(Verdict::Failure, now);
    assert_eq!(child.gone(now), Act::Nothing);
    assert_eq!(
        child.state(),
        State::Restarting,
        "the first failure is still free"
    );
    assert_eq!(child.failures(now), 1);
}

/// A healthy time counts although an order ended it.
#[test]
fn an_ordered_restart_forgets_no_healthy_time() {
    let now = Instant::now();
    let mut child = running(now);
    let _swept = child.exited(Verdict::Failure, now);
    let _waits = child.gone(now);
    let _started = child.restart(now);
    let _runs = child.spawned(now);
    let _ready = child.ready(now);
    assert_eq!(child.failures(now), 1);
    assert_eq!(child.restart(now + 700 * SECOND), Act::End(Way::Restart));
    assert_eq!(child.failures(now + 700 * SECOND), 0);
}

#[test]
fn what_is_never_ready_is_a_failure() {
    let now = Instant::now();
    let mut child = machine(policy());
    assert_eq!(child.start(), Act::Spawn);
    let _runs = child.spawned(now);
    assert_eq!(child.deadline(), Some(now + 30 * SECOND));
    assert_eq!(child.due(now + 30 * SECOND), Act::End(Way::Restart));
    assert_eq!(child.gone(now + 31 * SECOND), Act::Nothing);
    assert_eq!(child.failures(now), 1);

    let mut child = machine(policy().restart(Restart::OnFailure));
    assert_eq!(child.start(), Act::Spawn);
    let _runs = child.spawned(now);
    let _swept = child.exited(Verdict::Success, now);
    let _waits = child.gone(now);
    assert_eq!(
        child.state(),
        State::Restarting,
        "a success before it is ready is none"
    );
}

#[test]
fn what_hangs_is_ended_and_counted() {
    let now = Instant::now();
    let mut child = running(now);
    assert_eq!(child.faulty(now), Act::End(Way::Restart));
    assert_eq!(child.faulty(now), Act::Nothing, "twice");
    assert_eq!(
        child.exited(Verdict::Success, now),
        Act::Nothing,
        "it is being ended already"
    );
    let _waits = child.gone(now);
    assert_eq!((child.state(), child.failures(now)), (State::Restarting, 1));
}

/// What may happen to a child, from outside and by itself.
#[derive(Clone, Copy, Debug)]
enum Happens {
    Start,
    Stop,
    Restart,
    /// What was begun is done: a start, an end.
    Done,
    DoneBadly,
    Ready,
    Exits(Verdict),
    Faulty,
    Left,
    Time(u64),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        1 => Just(Happens::Start),
        1 => Just(Happens::Stop),
        1 => Just(Happens::Restart),
        6 => Just(Happens::Done),
        1 => Just(Happens::DoneBadly),
        3 => Just(Happens::Ready),
        3 => Just(Happens::Exits(Verdict::Failure)),
        1 => Just(Happens::Exits(Verdict::Success)),
        1 => Just(Happens::Exits(Verdict::Fatal)),
        1 => Just(Happens::Faulty),
        1 => Just(Happens::Left),
        4 => (0_u64..40_000).prop_map(Happens::Time),
    ]
}

/// The world around a machine: whether something of the child is there, and what the driver is doing.
#[derive(Debug, Default)]
struct World {
    starting: bool,
    alive: bool,
    ending: bool,
    hastened: bool,
}

impl World {
    fn obey(&mut self, act: Act) {
        self.hastened = false;
        match act {
            Act::Nothing => {}
            Act::Spawn => {
                assert!(!self.starting && !self.alive, "a double start");
                self.starting = true;
            }
            Act::End(_) => {
                assert!(
                    self.alive && !self.ending,
                    "nothing to end, or it is being ended"
                );
                self.ending = true;
            }
            Act::Hasten => {
                assert!(self.alive && self.ending);
                self.hastened = true;
            }
        }
    }
}

proptest! {
    /// Whatever happens in whatever order: never two at once, nothing ended that is not there, and the
    /// state tells what is there.
    #[test]
    fn one_at_most_and_no_lie(
        history in prop::collection::vec(happens(), 1..120),
        max_restarts in 0_u32..4,
        restart in prop_oneof![Just(Restart::Never), Just(Restart::OnFailure), Just(Restart::Always)],
    ) {
        let policy = policy().restart(restart).max_restarts(max_restarts).healthy_after(20 * SECOND);
        let mut child = machine(policy);
        let mut world = World::default();
        let mut now = Instant::now();
        for happens in history {
            let act = match happens {
                Happens::Start => child.start(),
                Happens::Stop => child.stop(),
                Happens::Restart => child.restart(now),
                Happens::Done if world.starting => {
                    (world.starting, world.alive) = (false, true);
                    child.spawned(now)
                }
                Happens::Done if world.ending => {
                    (world.ending, world.alive) = (false, false);
                    child.gone(now)
                }
                Happens::DoneBadly if world.starting => {
                    world.starting = false;
                    child.not_spawned(now)
                }
                Happens::Ready if world.alive => child.ready(now),
                Happens::Exits(verdict) if world.alive => child.exited(verdict, now),
                Happens::Faulty if world.alive => child.faulty(now),
                Happens::Left if world.ending => {
                    child.left(&[1]);
                    prop_assert_eq!(child.state(), State::Zombie);
                    Act::Nothing
                }
                Happens::Time(ms) => {
                    now += Duration::from_millis(ms);
                    child.due(now)
                }
                _ => continue,
            };
            world.obey(act);
            let state = child.state();
            match state {
                State::Stopped | State::Failed => {
                    prop_assert!(!world.alive && !world.starting);
                    prop_assert_eq!(child.deadline(), None);
                }
                State::Running => prop_assert!(world.alive && !world.ending),
                State::Starting => prop_assert!(world.alive != world.starting && !world.ending),
                State::Stopping | State::Zombie => prop_assert!(world.ending),
                State::Restarting => prop_assert!(world.ending != child.next_start().is_some()),
            }
            if child.order() == Order::Down {
                prop_assert!(matches!(state, State::Stopped | State::Stopping | State::Starting | State::Zombie));
                prop_assert!(state != State::Starting || world.starting);
            }
        }
        // Left alone it comes to rest, or runs.
        for _ in 0..10 {
            if world.starting {
                (world.starting, world.alive) = (false, true);
                let act = child.spawned(now);
                world.obey(act);
                let _ready = child.ready(now);
            }
            if world.ending {
                (world.ending, world.alive) = (false, false);
                let act = child.gone(now);
                world.obey(act);
            }
            now += 120 * SECOND;
            let act = child.due(now);
            world.obey(act);
        }
        prop_assert!(matches!(child.state(), State::Running | State::Stopped | State::Failed));
        prop_assert_eq!(child.state() == State::Running, world.alive);
    }
}
