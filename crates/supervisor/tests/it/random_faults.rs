//! Two hundred children, a minute of everything at once.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use longtake_process::{Command, Signal, StopLadder};
use longtake_supervisor::{
    Backoff, ChildSpec, EventKind, Events, Exhausted, HangPolicy, Heard, Intensity, Member, Pool,
    PoolSpec, Reaction, RestartPolicy, State, StdinMode,
};

use crate::run_for;

const CHILDREN: usize = 200;
const LASTING: Duration = Duration::from_secs(60);

fn spec(index: usize, folder: &Path, seed: u64) -> ChildSpec {
    let (name, folder) = (format!("actor{index}"), folder.to_owned());
    let policy = RestartPolicy::default()
        .backoff(
            Backoff::new(Duration::from_millis(20 * (index as u64 % 5)))
                .maximum(Duration::from_millis(300)),
        )
        .max_restarts(if index.is_multiple_of(7) {
            Some(5)
        } else {
            None
        })
        .intensity(
            Intensity::new(200, Duration::from_secs(10))
                .then(Exhausted::CoolDown(Duration::from_millis(100))),
        );
    let soon = Duration::from_millis(100);
    ChildSpec::new(name.clone(), move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_supervisor-actor"));
        command
            .arg(&folder)
            .arg(&name)
            .arg(seed.to_string())
            .env("RUST_BACKTRACE", "0");
        command
    })
    .policy(policy)
    .hang(HangPolicy::default().silence(Duration::from_secs(2), Reaction::Restart))
    .stdin(StdinMode::Control)
    .stop_ladder(StopLadder::kill_only().signal(Signal::Term, soon))
    .restart_ladder(
        StopLadder::kill_only()
            .stdin("q", soon)
            .signal(Signal::Int, soon),
    )
}

/// What the events said of one child.
#[derive(Default)]
struct Seen {
    state: Option<State>,
    starts: u64,
    ends: u64,
}

fn is_legal(from: State, to: State) -> bool {
    use State::{Failed, Restarting, Running, Starting, Stopped, Stopping, Zombie};
    match from {
        Stopped | Failed => matches!(to, Starting | Stopped),
        Starting => to != Starting,
        Running => matches!(to, Stopping | Restarting | Zombie),
        Stopping | Zombie | Restarting => to != Running,
        _ => false,
    }
}

/// Checks all events until the pool is gone.
async fn watch(mut events: Events) -> BTreeMap<Arc<str>, Seen> {
    let mut children: BTreeMap<Arc<str>, Seen> = BTreeMap::new();
    for snapshot in events.snapshot() {
        assert_eq!(snapshot.state, State::Stopped);
    }
    let mut sequence = 0;
    while let Some(heard) = events.next().await {
        let Heard::Event(event) = heard else {
            panic!("{heard:?}");
        };
        sequence += 1;
        assert_eq!(event.sequence, sequence);
        let seen = children.entry(Arc::clone(&event.child)).or_default();
        match event.kind {
            EventKind::State { from, to, .. } => {
                assert_eq!(seen.state.unwrap_or(State::Stopped), from);
                assert!(is_legal(from, to), "{}: {from} to {to}", event.child);
                seen.state = Some(to);
                if to == State::Starting {
                    seen.starts += 1;
                    assert_eq!(seen.starts, seen.ends + 1, "{} has two runs", event.child);
                }
            }
            EventKind::Ended(report) => {
                seen.ends += 1;
                assert_eq!(report.run, seen.ends, "{report}");
                assert_eq!(seen.starts, seen.ends, "{report}");
            }
            _ => {}
        }
    }
    children
}

/// Does something to some child, again and again.
async fn disturb(pool: &Pool, random: &mut impl FnMut(u64) -> u64, until: Instant) {
    while Instant::now() < until {
        let name = format!("actor{}", random(CHILDREN as u64));
        let child = pool.get(&name).unwrap().clone();
        match random(16) {
            0 | 1 => drop(tokio::spawn(async move { child.stop().await })),
            2..6 => drop(tokio::spawn(async move { child.start().await })),
            6 => drop(tokio::spawn(async move { child.restart().await })),
            7 | 8 => drop(child.signal(Signal::Kill).await),
            9 | 10 => drop(child.signal(Signal::Stop).await),
            11 => drop(child.signal(Signal::Cont).await),
            12 => drop(child.try_write_stdin(vec![b'x'; 1000])),
            13 => drop(tokio::spawn(async move {
                child.stop_by(StopLadder::kill_only()).await
            })),
            _ => kill_a_grandchild(&name, random),
        }
        tokio::time::sleep(Duration::from_millis(random(6))).await;
    }
}

/// The processes whose arguments hold these words.
fn processes(words: &[&str]) -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap();
    let pids = entries.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        let cmdline = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let args: Vec<_> = cmdline.split(|byte| *byte == 0).collect();
        words.iter().all(|word| args.contains(&word.as_bytes()))
    })
    .collect()
}

fn kill_a_grandchild(name: &str, random: &mut impl FnMut(u64) -> u64) {
    let grandchildren = processes(&[name, "own-session"]);
    if !grandchildren.is_empty() {
        let chosen = grandchildren[usize::try_from(random(grandchildren.len() as u64)).unwrap()];
        let pid = nix::unistd::Pid::from_raw(chosen.try_into().unwrap());
        match nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL) {
            // It may have gone meanwhile.
            Ok(()) | Err(_) => {}
        }
    }
}

fn files() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

fn zombies_of_ours() -> usize {
    let parent = format!("PPid:\t{}\n", std::process::id());
    let entries = fs::read_dir("/proc").unwrap();
    let statuses =
        entries.filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("status")).ok());
    statuses
        .filter(|status| status.contains(&parent) && status.contains("State:\tZ"))
        .count()
}

/// Never two live trees for one name, every end reported once, nothing left at the end.
#[test]
fn two_hundred_children_and_a_minute_of_faults() {
    let seed = env::var("LONGTAKE_TEST_SEED").map_or_else(
        |_| RandomState::new().hash_one("seed"),
        |seed| seed.parse().unwrap(),
    );
    println!("LONGTAKE_TEST_SEED={seed}");
    run_for(3 * LASTING, async {
        let folder = tempfile::tempdir().unwrap();
        let files_before = files();
        let members = (0..CHILDREN).map(|index| Member::new(spec(index, folder.path(), seed)));
        let pool = Pool::new(members.fold(PoolSpec::default(), PoolSpec::member)).unwrap();
        let watched = tokio::spawn(watch(pool.events()));
        // Some fail before they are ready, which is their way.
        drop(pool.start_all().await);

        let mut state = seed | 1;
        let mut random = move |bound| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) % bound
        };
        disturb(&pool, &mut random, Instant::now() + LASTING).await;

        pool.stop_all().await.unwrap();
        for (name, health) in pool.health_report() {
            assert_eq!(health.state, State::Stopped, "{name}");
        }
        assert_eq!(
            processes(&[folder.path().to_str().unwrap()]),
            [0; 0],
            "nothing is left"
        );
        assert_eq!(zombies_of_ours(), 0);
        drop(pool);
        let seen = watched.await.unwrap();
        assert_eq!(seen.len(), CHILDREN);
        assert!(seen.values().all(|seen| seen.starts == seen.ends));
        let runs: u64 = seen.values().map(|seen| seen.ends).sum();
        println!("{runs} runs");
        assert!(runs > 10 * CHILDREN as u64, "{runs}");
        let violations = fs::read_to_string(folder.path().join("violations")).unwrap_or_default();
        assert_eq!(violations, "");
        // What stays are the guardian's pipe and pidfd, and what the runtime keeps.
        let files_after = files();
        assert!(
            files_after <= files_before + 8,
            "{files_before} files before, {files_after} after"
        );
    });
}
