//! Many children, to whom everything happens at random for a minute: what must hold, holds.
#![expect(clippy::print_stdout, reason = "shown when the test fails")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use longtake_process::{Command, Signal, StopLadder};
use longtake_supervisor::{
    Backoff, ChildSpec, Event, EventKind, Events, HangPolicy, Heard, Member, Pool, PoolSpec,
    Reaction, RestartPolicy, State, Supervisor,
};
use nix::errno::Errno;
use nix::sys::signal::{Signal as Raw, kill, killpg};
use nix::unistd::Pid;
use tokio::task::JoinSet;

use crate::{LONG, alone, eventually, open_files, raise_open_files, zombies};

const CHILDREN: usize = 200;
const TIME: Duration = Duration::from_secs(60);

/// SplitMix64, <https://prng.di.unimi.it/splitmix64.c>, from a seed that is printed; given in
/// `LONGTAKE_TEST_SEED` it draws the same faults again.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let seed = std::env::var("LONGTAKE_TEST_SEED").map_or_else(
            |_| {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
                u64::try_from(now.as_micros()).unwrap()
            },
            |text| text.parse().unwrap(),
        );
        println!("LONGTAKE_TEST_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % limit as u64).unwrap()
    }
}

fn actor(number: usize, folder: &Path) -> ChildSpec {
    let name = format!("actor-{number}");
    let (folder, its_name) = (folder.to_owned(), name.clone());
    let backoff = Backoff::new(Duration::from_millis(50)).maximum(Duration::from_millis(500));
    // Some fail for good now and then.
    let most = number.is_multiple_of(4).then_some(3);
    let ladder = || StopLadder::kill_only().signal(Signal::Term, Duration::from_millis(300));
    ChildSpec::new(name, move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_supervisor-actor"));
        command.arg(&folder).arg(&its_name);
        command
    })
    .policy(
        RestartPolicy::default()
            .backoff(backoff)
            .max_restarts(most)
            .healthy_after(Duration::from_secs(5)),
    )
    .hang(HangPolicy::default().silence(Duration::from_secs(3), Reaction::Restart))
    .stop_ladder(ladder())
    .restart_ladder(ladder())
}

/// The processes that carry the folder among their arguments.
fn actors(folder: &Path) -> Vec<(u32, String)> {
    let numbers = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let name = entry.ok()?.file_name();
        name.to_str()?.parse().ok()
    });
    numbers
        .filter_map(|pid: u32| Some((pid, arguments(pid)?)))
        .filter(|(_, arguments)| arguments.contains(folder.to_str().unwrap()))
        .collect()
}

fn arguments(pid: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()
}

/// What is known of one child from its events.
#[derive(Debug)]
struct Known {
    state: State,
    starts: u64,
    ends: u64,
}

#[derive(Debug)]
struct Ledger {
    sequence: u64,
    children: BTreeMap<Arc<str>, Known>,
    steps: BTreeMap<String, u64>,
}

impl Ledger {
    fn new(events: &Events) -> Self {
        let known = |state| Known {
            state,
            starts: 0,
            ends: 0,
        };
        let snapshot = events.snapshot().iter();
        Self {
            sequence: 0,
            children: snapshot
                .map(|child| (Arc::clone(&child.child), known(child.state)))
                .collect(),
            steps: BTreeMap::new(),
        }
    }

    fn enter(&mut self, event: &Event) {
        assert_eq!(event.sequence, self.sequence + 1);
        self.sequence = event.sequence;
        let child = self.children.get_mut(&event.child).unwrap();
        match &event.kind {
            EventKind::State { from, to, .. } => {
                assert_eq!(child.state, *from, "{event:?}");
                assert!(is_legal(*from, *to), "{event:?}");
                child.state = *to;
                if *to == State::Starting {
                    assert_eq!(child.starts, child.ends, "{event:?}");
                    child.starts += 1;
                }
                if matches!(to, State::Stopped | State::Failed) {
                    assert_eq!(child.starts, child.ends, "{event:?}");
                }
                *self.steps.entry(format!("{from} -> {to}")).or_default() += 1;
            }
            EventKind::Ended(report) => {
                child.ends += 1;
                assert_eq!(child.ends, report.run, "{event:?}");
                assert_eq!(child.starts, child.ends, "{event:?}");
                let cause = format!("{:?}", report.cause);
                *self.steps.entry(cause).or_default() += 1;
            }
            _ => {}
        }
    }
}

/// The steps that the state of a child can take.
fn is_legal(from: State, to: State) -> bool {
    use State::{Failed, Restarting, Running, Starting, Stopped, Stopping, Zombie};
    match from {
        Stopped => matches!(to, Starting),
        // A start that waits for its turn can be called back.
        Starting => matches!(to, Running | Stopping | Restarting | Stopped),
        Running => matches!(to, Stopping | Restarting),
        Restarting => matches!(to, Starting | Stopping | Stopped | Zombie),
        Stopping | Zombie => to != Running && to != from,
        Failed => matches!(to, Starting | Stopped),
        _ => false,
    }
}

/// Keeps the ledger until the last event.
async fn keep_ledger(mut events: Events) -> Ledger {
    let mut ledger = Ledger::new(&events);
    while let Some(heard) = events.next().await {
        match heard {
            Heard::Event(event) => ledger.enter(&event),
            other => panic!("{other:?}"),
        }
    }
    ledger
}

/// Does something to a child, or has it done.
fn strike(dice: &mut Dice, target: &Supervisor, folder: &Path, orders: &mut JoinSet<()>) {
    let its_own = |pid: u32| {
        arguments(pid).is_some_and(|arguments| arguments.contains(folder.to_str().unwrap()))
    };
    let leader = target.health().pid.filter(|pid| its_own(*pid));
    let leader = leader.map(|pid| Pid::from_raw(pid.try_into().unwrap()));
    let target = target.clone();
    match (dice.below(9), leader) {
        (0, Some(leader)) => tolerate(kill(leader, Raw::SIGKILL)),
        (1, Some(leader)) => tolerate(kill(leader, Raw::SIGTERM)),
        (2, Some(leader)) => tolerate(killpg(leader, Raw::SIGKILL)),
        (3, Some(leader)) => tolerate(kill(leader, Raw::SIGSTOP)),
        (4, Some(leader)) => tolerate(killpg(leader, Raw::SIGSTOP)),
        (5, _) => drop(orders.spawn(async move { drop(target.start().await) })),
        (6, _) => drop(orders.spawn(async move { drop(target.stop().await) })),
        (7, _) => drop(orders.spawn(async move { drop(target.restart().await) })),
        _ => {
            let kin: Vec<_> = actors(folder)
                .into_iter()
                .filter(|(_, arguments)| arguments.contains("\0kin\0"))
                .collect();
            if !kin.is_empty() {
                let (pid, _) = kin[dice.below(kin.len())];
                tolerate(kill(Pid::from_raw(pid.try_into().unwrap()), Raw::SIGKILL));
            }
        }
    }
}

/// Whoever dies before a signal comes has died of something else.
fn tolerate(sent: nix::Result<()>) {
    assert!(matches!(sent, Ok(()) | Err(Errno::ESRCH)), "{sent:?}");
}

async fn minute_of_faults() {
    let folder = tempfile::tempdir().unwrap();
    let mut dice = Dice::new();
    let members = (0..CHILDREN).map(|number| Member::new(actor(number, folder.path())));
    let pool = Pool::new(members.fold(PoolSpec::default(), PoolSpec::member)).unwrap();
    let ledger = tokio::spawn(keep_ledger(pool.events()));
    let targets: Vec<_> = pool.members().cloned().collect();
    let mut orders = JoinSet::new();
    let all = pool.clone();
    orders.spawn(async move { drop(all.start_all().await) });
    let begin = Instant::now();
    let mut strikes = 0_u64;
    while begin.elapsed() < TIME {
        let target = &targets[dice.below(CHILDREN)];
        strike(&mut dice, target, folder.path(), &mut orders);
        strikes += 1;
        while orders.try_join_next().is_some() {}
        // The pace of the faults.
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(!ledger.is_finished(), "the ledger is broken");
    }
    let begin = Instant::now();
    pool.stop_all().await.unwrap();
    println!("{strikes} faults; all stopped after {:?}", begin.elapsed());
    // Who ordered something has an answer.
    let answered = async { while orders.join_next().await.is_some() {} };
    tokio::time::timeout(LONG, answered).await.unwrap();
    // A start may have come after the stop of all.
    tokio::time::timeout(LONG, pool.stop_all())
        .await
        .unwrap()
        .unwrap();
    let left = actors(folder.path());
    assert!(left.is_empty(), "{left:?}");
    drop((pool, targets));
    let ledger = tokio::time::timeout(LONG, ledger).await.unwrap().unwrap();
    println!("{:#?}", ledger.steps);
    let starts: u64 = ledger.children.values().map(|child| child.starts).sum();
    assert!(starts > 2 * CHILDREN as u64, "{starts}");
    for (name, child) in &ledger.children {
        assert_eq!(child.state, State::Stopped, "{name}");
        assert_eq!(child.starts, child.ends, "{name}");
    }
    let violations = fs::read_to_string(folder.path().join("violations"));
    assert!(violations.is_err(), "{}", violations.unwrap());
}

#[test]
fn invariants_hold() {
    if !alone("random_faults::invariants_hold") {
        return;
    }
    raise_open_files(16 * CHILDREN as u64);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        // What is made once for the process is made now.
        let first = Supervisor::new(crate::sh("exec sleep 1000"));
        first.start().await.unwrap();
        first.stop().await.unwrap();
        drop(first);
        let before = (open_files(), zombies());
        tokio::time::timeout(TIME + 4 * LONG, minute_of_faults())
            .await
            .unwrap();
        eventually("files and zombies are as before", || {
            open_files() <= before.0 && zombies() <= before.1
        })
        .await;
    });
}
