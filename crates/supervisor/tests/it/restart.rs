//! What ends is started again, as the policy says.

use std::time::{Duration, Instant};

use longtake_process::Command;
use longtake_supervisor::{
    Backoff, Cause, ChildSpec, Event, EventKind, Events, Exhausted, Exit, ExitRules, GaveUp, Heard,
    Intensity, Restart, RestartPolicy, State, Supervisor,
};
use nix::sys::signal::Signal;

use crate::{LONG, end, eventually, kill, lives, pid_of, run, sh, state};

#[test]
fn a_killed_child_is_replaced_at_once() {
    run(async {
        let supervisor = Supervisor::new(sh("exec sleep 1000"));
        let mut events = supervisor.events();
        let first = supervisor.start().await.unwrap();
        state(&mut events, State::Running).await;
        let begin = Instant::now();
        kill(first, Signal::SIGKILL);
        let report = end(&mut events).await;
        assert_eq!(report.pid, Some(first));
        assert_eq!(report.cause, Cause::Exit);
        assert_eq!(report.exit.and_then(Exit::signal), Some(9));
        state(&mut events, State::Running).await;
        println!("replaced after {:?}", begin.elapsed());
        let health = supervisor.health();
        assert_ne!(health.pid, Some(first));
        assert_eq!((health.restart_count, health.failures), (1, 1));
        supervisor.stop().await.unwrap();
        assert!(!lives(health.pid.unwrap()));
    });
}

/// Runs a test whose children cannot be started, on a clock that jumps to whatever is waited for.
fn run_paused(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(test);
}

fn unstartable(policy: RestartPolicy) -> Supervisor {
    let spec = ChildSpec::new("child", || Command::new("/no/such/program"));
    Supervisor::new(spec.policy(policy))
}

/// The next event, however long that takes on a clock that jumps.
async fn next(events: &mut Events) -> Event {
    match events.next().await {
        Some(Heard::Event(event)) => event,
        other => panic!("{other:?}"),
    }
}

/// When each try ended, up to the last one.
async fn tries(events: &mut Events) -> (Vec<Instant>, GaveUp) {
    let mut tries = Vec::new();
    loop {
        let event = next(events).await;
        match event.kind {
            EventKind::Ended(_) => tries.push(event.at),
            EventKind::State {
                gave_up: Some(why), ..
            } => return (tries, why),
            _ => {}
        }
    }
}

fn gaps(moments: &[Instant]) -> Vec<Duration> {
    moments.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[test]
fn ten_restarts_with_the_default_delays() {
    run_paused(async {
        let policy = RestartPolicy::default().backoff(Backoff::default().jitter(0.0));
        let supervisor = unstartable(policy);
        let mut events = supervisor.events();
        let begin = Instant::now();
        drop(supervisor.start().await);
        let (tries, gave_up) = tries(&mut events).await;
        assert_eq!(gave_up, GaveUp::MaxRestarts);
        let wanted = [2, 4, 8, 16, 32, 60, 60, 60, 60, 60].map(Duration::from_secs);
        for (gap, wanted) in gaps(&tries).into_iter().zip(wanted) {
            let late = gap.checked_sub(wanted).unwrap();
            assert!(
                late < Duration::from_secs(1),
                "{gap:?} instead of {wanted:?}"
            );
        }
        assert_eq!(tries.len(), 11);
        assert_eq!(supervisor.health().restart_count, 10);
        assert!(begin.elapsed() < LONG, "no time has really passed");
    });
}

#[test]
fn jitter_shortens_each_delay_by_its_own_part() {
    run_paused(async {
        let supervisor = unstartable(RestartPolicy::default());
        let mut events = supervisor.events();
        drop(supervisor.start().await);
        let (tries, _) = tries(&mut events).await;
        let gaps = gaps(&tries);
        let wanted = [2, 4, 8, 16, 32, 60, 60, 60, 60, 60].map(Duration::from_secs);
        for (gap, whole) in gaps.iter().zip(wanted) {
            assert!(*gap >= whole.mul_f64(0.9), "{gap:?} of {whole:?}");
            assert!(
                *gap < whole + Duration::from_secs(1),
                "{gap:?} of {whole:?}"
            );
        }
        assert!(
            gaps[5..]
                .iter()
                .any(|gap| gap.abs_diff(gaps[5]) > Duration::from_millis(1))
        );
    });
}

#[test]
fn too_many_restarts_within_a_window() {
    run_paused(async {
        let policy = RestartPolicy::default()
            .backoff(Backoff::new(Duration::from_secs(1)).factor(1.0).jitter(0.0))
            .max_restarts(None);
        let minute = Duration::from_secs(60);
        let supervisor = unstartable(policy.clone().intensity(Intensity::new(3, minute)));
        let mut events = supervisor.events();
        drop(supervisor.start().await);
        let (ends, gave_up) = tries(&mut events).await;
        assert_eq!((ends.len(), gave_up), (4, GaveUp::Intensity));

        let cool_down = Exhausted::CoolDown(10 * minute);
        let supervisor = unstartable(policy.intensity(Intensity::new(3, minute).then(cool_down)));
        let mut events = supervisor.events();
        drop(supervisor.start().await);
        let mut ends = Vec::new();
        while ends.len() < 12 {
            let event = next(&mut events).await;
            if let EventKind::Ended(_) = event.kind {
                ends.push(event.at);
            }
        }
        for (number, gap) in (1..).zip(gaps(&ends)) {
            // Every third restart after the first three comes after the cool-down.
            let long = number >= 4 && (number - 4) % 3 == 0;
            assert_eq!(gap > 10 * minute, long, "{number}: {gap:?}");
        }
        supervisor.stop().await.unwrap();
    });
}

#[test]
fn a_crash_loop_follows_its_policy_and_ends() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let starts = dir.path().join("starts");
        // Each child notes its start itself, in nanoseconds.
        let script = format!(
            "date +%s%N >> {}; echo cannot go on; exit 7",
            starts.display()
        );
        let policy = RestartPolicy::default()
            .backoff(Backoff::new(Duration::from_millis(100)))
            .max_restarts(3);
        let supervisor = Supervisor::new(sh(script).policy(policy));
        let mut events = supervisor.events();
        drop(supervisor.start().await);
        for number in 1..=4 {
            let report = end(&mut events).await;
            assert_eq!((report.run, report.exit), (number, Some(Exit::Code(7))));
            assert_eq!(report.last_lines, ["cannot go on"]);
        }
        state(&mut events, State::Failed).await;
        let health = supervisor.health();
        assert_eq!(health.gave_up, Some(GaveUp::MaxRestarts));
        assert_eq!((health.restart_count, health.failures), (3, 4));
        let starts = std::fs::read_to_string(starts).unwrap();
        let starts: Vec<u64> = starts.lines().map(|at| at.parse().unwrap()).collect();
        assert_eq!(starts.len(), 4);
        for (pair, whole) in starts
            .windows(2)
            .zip([100, 200, 400].map(Duration::from_millis))
        {
            let gap = Duration::from_nanos(pair[1] - pair[0]);
            println!("{gap:?} for {whole:?}");
            assert!(gap >= whole.mul_f64(0.9), "{gap:?} for {whole:?}");
            assert!(
                gap < whole + Duration::from_secs(5),
                "{gap:?} for {whole:?}"
            );
        }
    });
}

#[test]
fn a_healthy_time_makes_good_what_was_before() {
    run(async {
        let healthy = Duration::from_millis(300);
        let policy = RestartPolicy::default()
            .backoff(Backoff::new(Duration::ZERO))
            .healthy_after(healthy)
            .max_restarts(1);
        let supervisor = Supervisor::new(sh("exec sleep 1000").policy(policy));
        let mut events = supervisor.events();
        let mut pid = supervisor.start().await.unwrap();
        for _ in 0..3 {
            kill(pid, Signal::SIGKILL);
            end(&mut events).await;
            state(&mut events, State::Running).await;
            pid = pid_of(&supervisor);
            eventually("it is healthy", || supervisor.health().failures == 0).await;
            assert!(supervisor.health().uptime.unwrap() >= healthy);
        }
        // Two in a row, with no healthy time between them, are one too many.
        kill(pid, Signal::SIGKILL);
        state(&mut events, State::Running).await;
        kill(pid_of(&supervisor), Signal::SIGKILL);
        state(&mut events, State::Failed).await;
    });
}

/// How a child that ends with this code ends up: `Running` is for ever again.
#[track_caller]
fn check_end(code: u8, policy: RestartPolicy, wanted: State, wanted_why: Option<GaveUp>) {
    run(async move {
        let policy = policy.backoff(Backoff::new(Duration::ZERO)).max_restarts(5);
        let supervisor = Supervisor::new(sh(format!("exit {code}")).policy(policy));
        let mut events = supervisor.events();
        drop(supervisor.start().await);
        if wanted == State::Running {
            for number in 1..=8 {
                assert_eq!(end(&mut events).await.run, number);
            }
            supervisor.stop().await.unwrap();
            return;
        }
        assert_eq!(end(&mut events).await.exit, Some(Exit::Code(code)));
        state(&mut events, wanted).await;
        let health = supervisor.health();
        assert_eq!((health.gave_up, health.restart_count), (wanted_why, 0));
        assert_eq!(supervisor.last_report().unwrap().run, 1);
    });
}

#[test]
fn what_follows_a_success() {
    let policy = |restart| RestartPolicy::default().restart(restart);
    // Gone before anybody could look, it is the same every time.
    for _ in 0..30 {
        check_end(0, policy(Restart::Never), State::Stopped, None);
        check_end(0, policy(Restart::OnFailure), State::Stopped, None);
    }
    check_end(0, policy(Restart::Always), State::Running, None);
    let rules = ExitRules::default().success([7]);
    let policy = policy(Restart::OnFailure).exits(rules);
    check_end(7, policy, State::Stopped, None);
}

#[test]
fn what_follows_a_failure_that_is_final() {
    let never = RestartPolicy::default().restart(Restart::Never);
    check_end(1, never, State::Failed, Some(GaveUp::Never));
    let rules = ExitRules::default().fatal([3]).prevent([4]);
    let policy = RestartPolicy::default().exits(rules);
    check_end(3, policy.clone(), State::Failed, Some(GaveUp::Fatal));
    check_end(4, policy, State::Stopped, None);
}

#[test]
fn a_clock_that_is_set_does_not_matter() {
    let sources = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![sources];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            files += 1;
            let text = std::fs::read_to_string(&path).unwrap();
            for wall_clock in ["SystemTime", "jiff"] {
                assert!(!text.contains(wall_clock), "{wall_clock} in {path:?}");
            }
        }
    }
    assert!(files > 20);
}
