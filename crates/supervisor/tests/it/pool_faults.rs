//! Members of a pool that somebody starts or stops singly, that fail for good, or do not stop.

use std::time::{Duration, Instant};

use longtake_process::{Command, Signal, StopLadder};
use longtake_supervisor::{
    Backoff, ChildSpec, Condition, EndError, ExitRules, Member, Pool, PoolSpec, Readiness,
    RestartPolicy, State, Strategy,
};

use crate::{LONG, eventually, kill, lives, pid_of, run};

fn child(name: &str, script: &str) -> ChildSpec {
    let script = script.to_owned();
    ChildSpec::new(name, move || {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &script]);
        command
    })
    .policy(policy())
}

fn policy() -> RestartPolicy {
    RestartPolicy::default().backoff(Backoff::new(Duration::ZERO))
}

fn sleeper(name: &str) -> ChildSpec {
    child(name, "exec sleep 1000")
}

/// Ignores `SIGTERM`, is ready when it does, and would be given an hour.
fn stubborn(name: &str) -> ChildSpec {
    child(name, "trap '' TERM; echo deaf; exec sleep 1000")
        .readiness(Readiness::Line(b"deaf".to_vec()))
        .stop_ladder(StopLadder::kill_only().signal(Signal::Term, Duration::from_secs(3600)))
}

fn pid(pool: &Pool, name: &str) -> u32 {
    pid_of(pool.get(name).unwrap())
}

#[test]
fn a_member_that_runs_already_is_left_as_it_is() {
    run(async {
        let spec = PoolSpec::default()
            .member(Member::new(sleeper("a")))
            .member(Member::new(sleeper("b")).after("a", Condition::Started));
        let pool = Pool::new(spec).unwrap();
        let first = pool.get("a").unwrap().start().await.unwrap();
        pool.start_all().await.unwrap();
        assert_eq!(pid(&pool, "a"), first);
        assert_eq!(pool.get("b").unwrap().state(), State::Running);
        pool.stop_all().await.unwrap();
    });
}

#[test]
fn a_member_that_is_stopped_meanwhile_is_named() {
    run(async {
        let never_ready = sleeper("b").readiness(Readiness::Line(b"never".to_vec()));
        let spec = PoolSpec::default()
            .member(Member::new(sleeper("a")))
            .member(Member::new(never_ready))
            .member(Member::new(sleeper("c")).after("b", Condition::Ready));
        let pool = Pool::new(spec).unwrap();
        let starting = tokio::spawn({
            let pool = pool.clone();
            async move { pool.start_all().await }
        });
        let b = pool.get("b").unwrap();
        b.wait_for(State::Starting).await.unwrap();
        pool.get("a")
            .unwrap()
            .wait_for(State::Running)
            .await
            .unwrap();
        pool.get("a").unwrap().stop().await.unwrap();
        b.stop().await.unwrap();
        assert_eq!(starting.await.unwrap().unwrap_err().names, ["a", "b", "c"]);
        pool.stop_all().await.unwrap();
    });
}

#[test]
fn a_member_that_is_prevented_takes_nobody_down() {
    run(async {
        let once = child("a", "read _; exit 7");
        let once = once
            .stdin(longtake_supervisor::StdinMode::Control)
            .policy(policy().exits(ExitRules::default().prevent([7])));
        let spec = PoolSpec::default()
            .strategy(Strategy::OneForAll)
            .member(Member::new(once))
            .member(Member::new(sleeper("b")));
        let pool = Pool::new(spec).unwrap();
        pool.start_all().await.unwrap();
        let (a, b) = (pool.get("a").unwrap(), pid(&pool, "b"));
        a.close_stdin().await.unwrap();
        a.wait_for(State::Stopped).await.unwrap();
        // It answers when it has heard of that.
        assert_eq!(pool.start_all().await.map_err(|error| error.names), Ok(()));
        assert_eq!(pid(&pool, "b"), b);
        pool.stop_all().await.unwrap();
    });
}

#[test]
fn one_for_all_renews_all() {
    run(async {
        let spec = PoolSpec::default()
            .strategy(Strategy::OneForAll)
            .member(Member::new(sleeper("a")))
            .member(Member::new(sleeper("b")))
            .member(Member::new(sleeper("c")).after("b", Condition::Ready));
        let pool = Pool::new(spec).unwrap();
        pool.start_all().await.unwrap();
        let before = ["a", "b", "c"].map(|name| pid(&pool, name));
        kill(before[0], nix::sys::signal::Signal::SIGKILL);
        eventually("all are others", || {
            let mut members = pool.members().zip(before);
            members.all(|(member, before)| {
                let health = member.health();
                health.state == State::Running && health.pid != Some(before)
            })
        })
        .await;
        pool.stop_all().await.unwrap();
    });
}

#[test]
fn a_start_of_all_ends_a_stop_of_all() {
    run(async {
        let pool = Pool::new(PoolSpec::default().member(Member::new(stubborn("a")))).unwrap();
        pool.start_all().await.unwrap();
        let old = pid(&pool, "a");
        let stopping = tokio::spawn({
            let pool = pool.clone();
            async move { pool.stop_all_within(LONG).await }
        });
        let a = pool.get("a").unwrap();
        a.wait_for(State::Stopping).await.unwrap();
        let starting = tokio::spawn({
            let pool = pool.clone();
            async move { pool.start_all().await }
        });
        let ended = stopping.await.unwrap();
        assert!(
            matches!(ended, Err(EndError::StartedAgain { .. })),
            "{ended:?}"
        );
        kill(old, nix::sys::signal::Signal::SIGKILL);
        starting.await.unwrap().unwrap();
        assert_ne!(pid(&pool, "a"), old);
        pool.stop_all_within(Duration::from_millis(200))
            .await
            .unwrap();
    });
}

#[test]
fn a_stop_that_nobody_waits_for_kills_in_time() {
    run(async {
        let pool = Pool::new(PoolSpec::default().member(Member::new(stubborn("a")))).unwrap();
        pool.start_all().await.unwrap();
        let old = pid(&pool, "a");
        let stop = pool.stop_all_within(Duration::from_secs(1));
        // The order is given, and the future is dropped.
        let dropped = tokio::time::timeout(Duration::from_millis(1), stop).await;
        assert!(dropped.is_err());
        pool.get("a")
            .unwrap()
            .wait_for(State::Stopped)
            .await
            .unwrap();
        assert!(!lives(old));
    });
}

#[test]
fn the_kill_is_within_the_time() {
    run(async {
        let spec = PoolSpec::default()
            .member(Member::new(stubborn("a")))
            .member(Member::new(stubborn("b")).after("a", Condition::Ready));
        let pool = Pool::new(spec).unwrap();
        pool.start_all().await.unwrap();
        let begin = Instant::now();
        pool.stop_all_within(LONG / 3).await.unwrap();
        assert!(begin.elapsed() < LONG / 3, "{:?}", begin.elapsed());
        assert!(
            pool.members()
                .all(|member| member.state() == State::Stopped)
        );
    });
}
