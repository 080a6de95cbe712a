//! Orders that meet each other, a delay, a start or an end.

use std::fs;
use std::path::Path;
use std::time::Duration;

use longtake_process::{Signal, StopLadder};
use longtake_supervisor::{
    Backoff, Cause, ChildSpec, EndError, GaveUp, Order, RestartPolicy, StartError, State,
    Supervisor,
};
use nix::sys::signal::Signal as Sent;
use tokio::time::{sleep, timeout};

use crate::{LONG, end, eventually, kill, lives, run, sh, state};

/// Long enough that an order comes in time, short enough to see what happens after it.
const DELAY: Duration = Duration::from_millis(700);

fn delayed(spec: ChildSpec) -> ChildSpec {
    spec.policy(RestartPolicy::default().backoff(Backoff::new(DELAY).jitter(0.0)))
}

/// A child that notes its process id and fails the first time; then it runs on.
fn fails_once(dir: &Path) -> ChildSpec {
    let pids = dir.join("pids").display().to_string();
    delayed(sh(format!(
        "echo $$ >> {pids}; [ $(wc -l < {pids}) -ge 2 ] && exec sleep 1000; exit 1"
    )))
}

fn runs_on(dir: &Path) -> ChildSpec {
    sh(format!(
        "echo $$ >> {}/pids; exec sleep 1000",
        dir.display()
    ))
}

/// The children that have started, in order.
fn started(dir: &Path) -> Vec<u32> {
    let text = fs::read_to_string(dir.join("pids")).unwrap_or_default();
    text.lines().map(|pid| pid.parse().unwrap()).collect()
}

#[test]
fn a_restart_in_a_delay_starts_one_child_at_once() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let supervisor = Supervisor::new(fails_once(dir.path()));
        let mut events = supervisor.events();
        drop(supervisor.start().await);
        state(&mut events, State::Restarting).await;
        let pid = supervisor.restart().await.unwrap();
        assert!(supervisor.health().next_start.is_none());
        // The delay would be over twice.
        sleep(2 * DELAY).await;
        assert_eq!(supervisor.health().pid, Some(pid));
        assert_eq!(started(dir.path()).len(), 2);
        assert_eq!(supervisor.health().restart_count, 1);
        supervisor.stop().await.unwrap();
    });
}

#[test]
fn a_stop_in_a_delay_is_final() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let supervisor = Supervisor::new(fails_once(dir.path()));
        let mut events = supervisor.events();
        drop(supervisor.start().await);
        state(&mut events, State::Restarting).await;
        let health = supervisor.health();
        assert!(health.next_start.unwrap() <= DELAY);
        assert_eq!((health.order, health.pid), (Order::Up, None));
        supervisor.stop().await.unwrap();
        let health = supervisor.health();
        assert_eq!((health.order, health.state), (Order::Down, State::Stopped));
        assert!(health.next_start.is_none());
        sleep(2 * DELAY).await;
        assert_eq!(supervisor.last_report().unwrap().run, 1);
        assert_eq!(started(dir.path()).len(), 1);
    });
}

#[test]
fn starts_of_one_child_have_one_answer() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let supervisor = Supervisor::new(runs_on(dir.path()));
        let (one, two) = tokio::join!(supervisor.start(), supervisor.start());
        let three = supervisor.start().await.unwrap();
        assert_eq!((one.unwrap(), two.unwrap()), (three, three));
        supervisor.stop().await.unwrap();
        assert_eq!(supervisor.last_report().unwrap().run, 1);
        assert_eq!(supervisor.health().restart_count, 0);
    });
}

#[test]
fn stops_of_one_child_are_all_answered() {
    run(async {
        let ladder = StopLadder::kill_only().signal(Signal::Term, Duration::from_millis(200));
        let script = "trap '' TERM; echo deaf; while :; do sleep 1000; done";
        let supervisor = Supervisor::new(sh(script).stop_ladder(ladder));
        let mut events = supervisor.events();
        let pid = supervisor.start().await.unwrap();
        let deaf = || {
            supervisor
                .log(longtake_supervisor::Stream::Stdout)
                .contains("deaf")
        };
        eventually("the child is deaf to SIGTERM", deaf).await;
        let other = supervisor.clone();
        let stops = tokio::join!(supervisor.stop(), other.stop(), supervisor.stop());
        stops.0.unwrap();
        stops.1.unwrap();
        stops.2.unwrap();
        assert!(!lives(pid));
        let report = end(&mut events).await;
        assert_eq!(report.cause, Cause::Ordered);
        assert_eq!(report.exit.and_then(|exit| exit.signal()), Some(9));
        supervisor.stop().await.unwrap();
    });
}

#[test]
fn a_stop_in_the_middle_of_a_start() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let supervisor = Supervisor::new(runs_on(dir.path()));
        for round in 0..80_u64 {
            let starting = tokio::spawn({
                let supervisor = supervisor.clone();
                async move { supervisor.start().await }
            });
            // From before the start to well after it, in no order.
            sleep(Duration::from_micros(round * 7919 % 80 * 100)).await;
            let stopped = supervisor.stop().await;
            match starting.await.unwrap() {
                Ok(_) | Err(StartError::Stopped { .. }) => {}
                Err(error) => panic!("{error}"),
            }
            match stopped {
                Ok(()) => {}
                // The stop came first.
                Err(EndError::StartedAgain { .. }) => {}
                Err(error) => panic!("{error}"),
            }
            supervisor.stop().await.unwrap();
            assert_eq!(supervisor.state(), State::Stopped, "round {round}");
            let health = supervisor.health();
            assert_eq!((health.pid, health.failures), (None, 0));
        }
        for pid in started(dir.path()) {
            assert!(!lives(pid), "{pid}");
        }
    });
}

#[test]
fn a_start_in_the_middle_of_a_stop() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let supervisor = Supervisor::new(runs_on(dir.path()));
        for round in 0..40_u64 {
            let first = supervisor.start().await.unwrap();
            let stopping = tokio::spawn({
                let supervisor = supervisor.clone();
                async move { supervisor.stop().await }
            });
            sleep(Duration::from_micros(round * 7919 % 40 * 100)).await;
            let second = supervisor.start().await;
            match stopping.await.unwrap() {
                Ok(()) | Err(EndError::StartedAgain { .. }) => {}
                Err(error) => panic!("{error}"),
            }
            match second {
                Ok(pid) if pid == first => assert!(!lives(pid), "its stop came later"),
                Ok(pid) => assert!(lives(pid)),
                Err(StartError::Stopped { .. }) => {}
                Err(error) => panic!("{error}"),
            }
            supervisor.stop().await.unwrap();
        }
    });
}

#[test]
fn many_restarts_at_once_never_run_two_children() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().display();
        // The lock is held by the open file that sleep inherits.
        let supervisor = Supervisor::new(sh(format!(
            "exec 9>>{folder}/lock
            flock -n 9 || {{ echo $$ >> {folder}/doubles; exit 1; }}
            echo $$ >> {folder}/pids
            exec sleep 1000"
        )));
        supervisor.start().await.unwrap();
        for _ in 0..5 {
            let restarts: Vec<_> = (0..20)
                .map(|_| {
                    let supervisor = supervisor.clone();
                    tokio::spawn(async move { supervisor.restart().await })
                })
                .collect();
            for restart in restarts {
                restart.await.unwrap().unwrap();
            }
        }
        assert_eq!(supervisor.state(), State::Running);
        supervisor.stop().await.unwrap();
        assert!(!dir.path().join("doubles").exists());
        let all_gone = || started(dir.path()).into_iter().all(|pid| !lives(pid));
        assert!(all_gone());
        assert_eq!(supervisor.health().failures, 0);
    });
}

#[test]
fn restarts_are_counted_and_use_up_nothing() {
    run(async {
        let policy = RestartPolicy::default().max_restarts(1);
        let supervisor = Supervisor::new(sh("exec sleep 1000").policy(policy));
        let mut last = supervisor.start().await.unwrap();
        for restarts in 1..=5 {
            let pid = supervisor.restart().await.unwrap();
            assert_ne!(pid, last);
            assert!(!lives(last));
            last = pid;
            let health = supervisor.health();
            assert_eq!((health.restart_count, health.failures), (restarts, 0));
            assert!(health.last_restart.unwrap() < LONG);
            assert_eq!(supervisor.last_report().unwrap().cause, Cause::Ordered);
        }
        supervisor.stop().await.unwrap();
    });
}

#[test]
fn a_failed_child_is_started_or_stopped_by_order() {
    run(async {
        let policy = RestartPolicy::default()
            .backoff(Backoff::new(Duration::ZERO))
            .max_restarts(1);
        let supervisor = Supervisor::new(sh("exit 1").policy(policy));
        for _ in 0..2 {
            let mut events = supervisor.events();
            drop(supervisor.start().await);
            for _ in 0..2 {
                assert_eq!(end(&mut events).await.exit.unwrap().code(), Some(1));
            }
            state(&mut events, State::Failed).await;
            let health = supervisor.health();
            assert_eq!(health.gave_up, Some(GaveUp::MaxRestarts));
            assert_eq!((health.order, health.failures), (Order::Up, 2));
        }
        supervisor.stop().await.unwrap();
        let health = supervisor.health();
        assert_eq!((health.state, health.gave_up), (State::Stopped, None));
        assert_eq!(health.order, Order::Down);
    });
}

#[test]
fn when_the_last_handle_is_dropped_the_child_is_stopped() {
    run(async {
        let supervisor = Supervisor::new(sh("sleep 1000 & exec sleep 1000"));
        let mut events = supervisor.events();
        let pid = supervisor.start().await.unwrap();
        let other = supervisor.clone();
        drop(supervisor);
        assert!(lives(pid));
        assert_eq!(other.state(), State::Running);
        drop(other);
        let report = end(&mut events).await;
        assert_eq!((report.pid, &report.cause), (Some(pid), &Cause::Ordered));
        state(&mut events, State::Stopped).await;
        assert!(!lives(pid));
        let over = timeout(LONG, events.next()).await.unwrap();
        assert!(over.is_none(), "{over:?}");
    });
}

#[test]
fn when_a_failed_child_is_dropped_nothing_waits() {
    run(async {
        let policy = RestartPolicy::default().max_restarts(0);
        let supervisor = Supervisor::new(sh("exit 1").policy(policy));
        let mut events = supervisor.events();
        drop(supervisor.start().await);
        state(&mut events, State::Failed).await;
        drop(supervisor);
        assert!(timeout(LONG, events.next()).await.unwrap().is_none());
    });
}

#[test]
fn when_the_runtime_ends_so_does_the_child() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let supervisor = runtime.block_on(async {
        Supervisor::new(sh(
            "sleep 1000 & echo $!; setsid sleep 1000 & echo $!; wait",
        ))
    });
    let pids = runtime.block_on(async {
        let leader = supervisor.start().await.unwrap();
        let said = || supervisor.log(longtake_supervisor::Stream::Stdout);
        eventually("the child has started two", || said().lines().count() == 2).await;
        let mut pids: Vec<u32> = said().lines().map(|pid| pid.parse().unwrap()).collect();
        pids.push(leader);
        pids
    });
    let mut events = supervisor.events();
    drop(runtime);
    for pid in pids {
        assert!(!lives(pid), "{pid}");
    }
    let health = supervisor.health();
    assert_eq!((health.order, health.state), (Order::Down, State::Stopped));
    assert_eq!(health.pid, None);
    run(async move {
        state(&mut events, State::Stopped).await;
        assert!(matches!(
            supervisor.start().await,
            Err(StartError::Gone { .. })
        ));
        assert!(matches!(
            supervisor.stop().await,
            Err(EndError::Gone { .. })
        ));
        let wait = timeout(LONG, supervisor.wait_for(State::Failed)).await;
        assert!(matches!(wait, Ok(Err(StartError::Gone { .. }))), "{wait:?}");
        assert!(!supervisor.signal(Signal::Term).await);
    });
}

#[test]
fn when_the_runtime_ends_in_a_start_nothing_is_left() {
    for round in 0..20_u64 {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let supervisor = runtime.block_on(async { Supervisor::new(runs_on(dir.path())) });
        let starting = supervisor.clone();
        let task = runtime.spawn(async move { starting.start().await });
        let pause = Duration::from_micros(round * 7919 % 20 * 200);
        runtime.block_on(async { sleep(pause).await });
        drop(runtime);
        drop(task);
        for pid in started(dir.path()) {
            assert!(!lives(pid), "{pid}");
        }
    }
}

#[test]
fn states_are_waited_for() {
    run(async {
        let supervisor = Supervisor::new(delayed(sh("exec sleep 1000")));
        supervisor.wait_for(State::Stopped).await.unwrap();
        let waiting = supervisor.clone();
        let waiting = tokio::spawn(async move { waiting.wait_for(State::Restarting).await });
        let pid = supervisor.start().await.unwrap();
        supervisor.wait_for(State::Running).await.unwrap();
        kill(pid, Sent::SIGKILL);
        waiting.await.unwrap().unwrap();
        supervisor.stop().await.unwrap();
        supervisor.wait_for(State::Stopped).await.unwrap();
    });
}
