//! Several children that belong together: who starts and stops when, and who is there in the end.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use longtake_process::{Command, Signal, StopLadder};
use longtake_supervisor::{
    Backoff, ChildSpec, Condition, EventKind, Events, GaveUp, HangKind, HangPolicy, Heard, Member,
    Pool, PoolError, PoolSpec, Reaction, Readiness, Restart, RestartPolicy, State, Strategy,
};
use nix::sys::signal::Signal as Raw;

use crate::{LONG, eventually, kill, lives, pid_of, run};

/// `/bin/sh -c SCRIPT` called `name`, restarted at once whenever it ends.
fn child(name: &str, script: impl Into<String>) -> ChildSpec {
    let script = script.into();
    ChildSpec::new(name, move || {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &script]);
        command
    })
    .policy(at_once())
}

fn at_once() -> RestartPolicy {
    RestartPolicy::default().backoff(Backoff::new(Duration::ZERO))
}

fn never() -> RestartPolicy {
    RestartPolicy::default().restart(Restart::Never)
}

fn sleeper(name: &str) -> ChildSpec {
    child(name, "exec sleep 1000")
}

/// Writes its comings and goings to a file, a moment late.
fn diarist(name: &str, diary: &Path) -> ChildSpec {
    let diary = diary.display();
    child(
        name,
        format!(
            "trap 'sleep 0.1; echo -{name} >> {diary}; exit 0' TERM
             sleep 0.1; echo +{name} >> {diary}; echo up
             while :; do sleep 0.05; done"
        ),
    )
    .readiness(Readiness::Line("up".into()))
}

fn pool(members: impl IntoIterator<Item = Member>) -> PoolSpec {
    members
        .into_iter()
        .fold(PoolSpec::default(), PoolSpec::member)
}

fn pids(pool: &Pool) -> BTreeMap<String, u32> {
    let members = pool.members();
    members
        .map(|member| (member.name().to_string(), pid_of(member)))
        .collect()
}

async fn all_up(pool: &Pool) {
    eventually("all are running", || {
        pool.members()
            .all(|member| member.state() == State::Running)
    })
    .await;
}

#[test]
fn members_start_in_order_and_stop_in_reverse() {
    let folder = tempfile::tempdir().unwrap();
    let diary = folder.path().join("diary");
    run(async {
        let pool = Pool::new(pool([
            Member::new(diarist("c", &diary)).after("b", Condition::Ready),
            Member::new(diarist("b", &diary)).after("a", Condition::Ready),
            Member::new(diarist("a", &diary)),
        ]))
        .unwrap();
        for _ in 0..2 {
            pool.start_all().await.unwrap();
            assert!(pool.all_healthy());
            pool.stop_all().await.unwrap();
            assert!(!pool.all_healthy());
            let told = fs::read_to_string(&diary).unwrap();
            assert_eq!(told.split_whitespace().collect::<String>(), "+a+b+c-c-b-a");
            fs::remove_file(&diary).unwrap();
        }
    });
}

#[test]
fn every_condition_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let (up, done) = (folder.path().join("up"), folder.path().join("done"));
    let wait = |file: &Path| format!("until [ -e '{}' ]; do sleep 0.02; done", file.display());
    run(async {
        let slow = child("slow", wait(&up) + "; echo up; exec sleep 1000")
            .readiness(Readiness::Line("up".into()));
        let good = child("good", wait(&done)).policy(never());
        let bad = child("bad", wait(&done) + "; exit 3").policy(never());
        let pool = Pool::new(pool([
            Member::new(slow),
            Member::new(good),
            Member::new(bad),
            Member::new(sleeper("started")).after("slow", Condition::Started),
            Member::new(sleeper("ready")).after("slow", Condition::Ready),
            Member::new(sleeper("succeeded")).after("good", Condition::Succeeded),
            Member::new(sleeper("ended")).after("bad", Condition::Ended),
        ]))
        .unwrap();
        let starting = pool.clone();
        let starting = tokio::spawn(async move { starting.start_all().await });
        let state = |name: &str| pool.get(name).unwrap().state();
        eventually("who waits for a start runs", || {
            state("started") == State::Running
        })
        .await;
        assert_eq!(state("slow"), State::Starting);
        for name in ["ready", "succeeded", "ended"] {
            assert_eq!(state(name), State::Stopped, "{name}");
        }
        fs::write(&up, "").unwrap();
        eventually("who waits for readiness runs", || {
            state("ready") == State::Running
        })
        .await;
        for name in ["succeeded", "ended"] {
            assert_eq!(state(name), State::Stopped, "{name}");
        }
        assert!(!starting.is_finished());
        fs::write(&done, "").unwrap();
        let error = starting.await.unwrap().unwrap_err();
        assert_eq!(error.names, ["bad"]);
        for name in ["succeeded", "ended"] {
            assert_eq!(state(name), State::Running, "{name}");
        }
        pool.stop_all().await.unwrap();
    });
}

#[test]
fn who_waits_for_a_failed_member_stays_down_and_is_named() {
    run(async {
        let hopeless = child("hopeless", "exit 1").policy(at_once().max_restarts(2));
        let pool = Pool::new(pool([
            Member::new(sleeper("last")).after("next", Condition::Ready),
            Member::new(sleeper("next")).after("hopeless", Condition::Succeeded),
            Member::new(hopeless),
            Member::new(sleeper("free")),
        ]))
        .unwrap();
        let mut error = pool.start_all().await.unwrap_err();
        error.names.sort();
        assert_eq!(error.names, ["hopeless", "last", "next"]);
        let health = pool.health_report();
        assert_eq!(health.len(), 4);
        assert_eq!(health["hopeless"].state, State::Failed);
        assert!(matches!(
            health["hopeless"].gave_up,
            Some(GaveUp::MaxRestarts)
        ));
        assert_eq!(health["next"].state, State::Stopped);
        assert_eq!(health["last"].state, State::Stopped);
        assert!(health["free"].is_healthy());
        assert!(!pool.all_healthy());
        pool.stop_all().await.unwrap();
    });
}

/// Which of a, b and c are other processes after b was killed.
async fn replaced(strategy: Strategy) -> Vec<String> {
    let members = ["a", "b", "c"].map(|name| Member::new(sleeper(name)));
    let pool = Pool::new(pool(members).strategy(strategy)).unwrap();
    pool.start_all().await.unwrap();
    let before = pids(&pool);
    let mut events = pool.events();
    kill(before["b"], Raw::SIGKILL);
    let fellows: &[&str] = match strategy {
        Strategy::OneForOne => &["b"],
        Strategy::OneForAll => &["a", "b", "c"],
        Strategy::RestForOne => &["b", "c"],
    };
    // An order that it is ready again, for each.
    let mut up = Vec::new();
    while up.len() < fellows.len() {
        let heard = tokio::time::timeout(LONG, events.next()).await.unwrap();
        if let Some(Heard::Event(event)) = heard
            && let EventKind::State {
                to: State::Running, ..
            } = event.kind
        {
            up.push(event.child);
        }
    }
    all_up(&pool).await;
    assert_eq!(&*up[0], "b", "the others wait for it");
    let after = pids(&pool);
    let mut changed = Vec::new();
    for (name, pid) in &before {
        if after[name] != *pid {
            assert!(!lives(*pid));
            changed.push(name.clone());
        }
    }
    pool.stop_all().await.unwrap();
    changed
}

#[test]
fn strategies_renew_whom_they_say() {
    run(async {
        assert_eq!(replaced(Strategy::OneForOne).await, ["b"]);
        assert_eq!(replaced(Strategy::OneForAll).await, ["a", "b", "c"]);
        assert_eq!(replaced(Strategy::RestForOne).await, ["b", "c"]);
    });
}

#[test]
fn each_has_its_own_time_to_stop_and_all_have_the_pools() {
    let stubborn = |name| {
        child(name, "trap '' TERM; echo up; while :; do sleep 0.05; done")
            .readiness(Readiness::Line("up".into()))
    };
    let ladder = |time| StopLadder::kill_only().signal(Signal::Term, time);
    run(async move {
        let short = Duration::from_millis(200);
        let spec = stubborn("short").stop_ladder(ladder(short));
        let own = Pool::new(pool([Member::new(spec), Member::new(sleeper("tame"))])).unwrap();
        own.start_all().await.unwrap();
        let begin = Instant::now();
        own.stop_all().await.unwrap();
        assert!(begin.elapsed() >= short);
        assert!(begin.elapsed() < Duration::from_secs(10));

        // The other has not even been asked when the time is over.
        let spec = stubborn("long").stop_ladder(ladder(2 * LONG));
        let both = Pool::new(
            pool([
                Member::new(sleeper("server")),
                Member::new(spec).after("server", Condition::Ready),
            ])
            .stop_within(short),
        )
        .unwrap();
        both.start_all().await.unwrap();
        let pids = pids(&both);
        let begin = Instant::now();
        both.stop_all().await.unwrap();
        // A part of the time is for those who are killed.
        assert!(begin.elapsed() >= short / 2);
        assert!(begin.elapsed() < LONG);
        assert!(!pids.values().any(|pid| lives(*pid)));
        assert!(
            both.members()
                .all(|member| member.state() == State::Stopped)
        );
    });
}

#[test]
fn what_is_no_pool_is_refused() {
    run(async {
        let twice = Pool::new(pool(["a", "a"].map(|name| Member::new(sleeper(name)))));
        assert!(matches!(twice, Err(PoolError::Duplicate { name }) if &*name == "a"));
        let unknown = Member::new(sleeper("a")).after("b", Condition::Ready);
        assert!(matches!(
            Pool::new(pool([unknown])),
            Err(PoolError::Unknown { .. })
        ));
        let circle = [("a", "b"), ("b", "a")]
            .map(|(name, other)| Member::new(sleeper(name)).after(other, Condition::Started));
        assert!(matches!(
            Pool::new(pool(circle)),
            Err(PoolError::Circle { .. })
        ));
    });
}

#[test]
fn health_is_that_of_all() {
    run(async {
        let empty = Pool::new(PoolSpec::default()).unwrap();
        empty.start_all().await.unwrap();
        assert!(!empty.all_healthy());
        empty.stop_all().await.unwrap();

        let chatty = child("chatty", "while :; do echo; sleep 0.05; done")
            .hang(HangPolicy::default().silence(Duration::from_secs(2), Reaction::Report));
        let slow_again =
            sleeper("slow again").policy(RestartPolicy::default().backoff(Backoff::new(10 * LONG)));
        let task = child("task", "exit 0").policy(never());
        let members = [chatty, slow_again, task].map(Member::new);
        let pool = Pool::new(pool(members)).unwrap();
        pool.start_all().await.unwrap();
        let task = pool.get("task").unwrap();
        eventually("the task has ended", || task.state() == State::Stopped).await;
        assert!(pool.all_healthy());

        let hung = pid_of(pool.get("chatty").unwrap());
        kill(hung, Raw::SIGSTOP);
        eventually("a hung member is not healthy", || !pool.all_healthy()).await;
        assert_eq!(pool.health_report()["chatty"].hangs, [HangKind::Silence]);
        assert_eq!(pool.health_report()["chatty"].state, State::Running);
        kill(hung, Raw::SIGCONT);
        eventually("it recovers", || pool.all_healthy()).await;

        kill(pid_of(pool.get("slow again").unwrap()), Raw::SIGKILL);
        eventually("a member in a delay is not healthy", || {
            let health = &pool.health_report()["slow again"];
            health.state == State::Restarting && health.next_start.is_some()
        })
        .await;
        assert!(!pool.all_healthy());
        pool.stop_all().await.unwrap();
    });
}

/// Someone has started a member alone before all are started.
#[test]
fn a_member_that_runs_already_holds_up_nobody() {
    run(async {
        let pool = Pool::new(pool([
            Member::new(sleeper("a")),
            Member::new(sleeper("b")).after("a", Condition::Started),
        ]))
        .unwrap();
        let pid = pool.get("a").unwrap().start().await.unwrap();
        let started = tokio::time::timeout(LONG, pool.start_all()).await;
        started.unwrap().unwrap();
        assert_eq!(pids(&pool)["a"], pid);
        pool.stop_all().await.unwrap();
    });
}

/// Follows the events from a snapshot until all are at rest, and gives the states that it then knows.
async fn follow(mut events: Events) -> (BTreeMap<Arc<str>, State>, u64) {
    let snapshot = events.snapshot().iter();
    let mut states: BTreeMap<_, _> = snapshot
        .map(|child| (Arc::clone(&child.child), child.state))
        .collect();
    let mut last = None;
    let mut heard = 0;
    while heard == 0 || states.values().any(|state| *state != State::Stopped) {
        let next = tokio::time::timeout(LONG, events.next()).await.unwrap();
        let Some(Heard::Event(event)) = next else {
            panic!("{next:?}");
        };
        assert_eq!(event.sequence, last.unwrap_or(event.sequence - 1) + 1);
        last = Some(event.sequence);
        heard += 1;
        if let EventKind::State { from, to, .. } = event.kind {
            // What was known is what it came from.
            let before = states.insert(Arc::clone(&event.child), to);
            assert_eq!(before, Some(from), "{}", event.child);
        }
    }
    (states, heard)
}

#[test]
fn who_joins_in_the_middle_sees_what_all_see() {
    run(async {
        let names = ["a", "b", "c", "d", "e"];
        let policy = || at_once().max_restarts(None);
        let pool =
            Pool::new(pool(names.map(|name| {
                Member::new(child(name, "exec sleep 0.01").policy(policy()))
            })))
            .unwrap();
        let mut listeners = vec![tokio::spawn(follow(pool.events()))];
        // Each is up only for a moment, which is success enough here.
        pool.start_all().await.unwrap();
        for _ in 0..50 {
            listeners.push(tokio::spawn(follow(pool.events())));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(pool.members().all(|member| member.last_report().is_some()));
        pool.stop_all().await.unwrap();
        for listener in listeners {
            let (states, heard) = listener.await.unwrap();
            assert_eq!(states.len(), names.len());
            assert!(heard > 0);
        }
    });
}
