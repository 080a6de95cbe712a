//! A child that lives and does nothing: noticed by each of its signs of life, told once, and restarted if
//! that is wanted.

use std::sync::Arc;
use std::time::Duration;

use longtake_supervisor::{
    Cause, ChildSpec, Event, EventKind, Events, HangKind, HangPolicy, Member, OutputMode, Pool,
    PoolSpec, Reaction, Readiness, Restart, RestartPolicy, State, StdinMode, Supervisor, WhenFull,
};
use nix::sys::signal::Signal;
use tokio::io::AsyncReadExt;

use crate::{LONG, end, event, kill, lives, pid_of, run, sh, state};

/// Counts frames, as ffmpeg does.
const FRAMES: &str = "i=0; while :; do i=$((i + 1)); echo frame=$i; sleep 0.02; done";

/// Far more than the children here are silent by themselves, however busy the machine.
const SHORT: Duration = Duration::from_secs(1);

/// Watches nothing.
fn nothing() -> HangPolicy {
    HangPolicy::default().silence(Duration::ZERO, Reaction::Report)
}

/// Reads the frames of [`FRAMES`].
fn with_frames(spec: ChildSpec) -> ChildSpec {
    spec.progress(|| {
        |line: &[u8], report: &mut dyn FnMut(u32, i64)| {
            let text = std::str::from_utf8(line).unwrap();
            let frame = text.strip_prefix("frame=").unwrap().parse();
            report(0, frame.unwrap());
        }
    })
}

/// The next event that tells of a hang or of its end.
async fn told(events: &mut Events) -> EventKind {
    event(events, |event| match &event.kind {
        kind @ (EventKind::Hangs { .. } | EventKind::Recovered { .. }) => Some(kind.clone()),
        _ => None,
    })
    .await
}

fn is_hang(event: &Event) -> bool {
    matches!(event.kind, EventKind::Hangs { .. })
}

/// A child that works, is stopped by a signal, and is replaced by one that works.
fn a_stopped_child_is_replaced(spec: ChildSpec, want: HangKind) {
    run(async move {
        let supervisor = Supervisor::new(spec);
        let mut events = supervisor.events();
        let first = supervisor.start().await.unwrap();
        kill(first, Signal::SIGSTOP);
        let EventKind::Hangs {
            kind,
            lasted,
            reaction,
        } = told(&mut events).await
        else {
            panic!("it recovered");
        };
        assert_eq!((kind, reaction), (want, Reaction::Restart));
        assert!(lasted >= SHORT, "{lasted:?}");
        let report = end(&mut events).await;
        assert_eq!(report.cause, Cause::Hang(want));
        assert!(!report.success);
        state(&mut events, State::Running).await;
        let health = supervisor.health();
        assert!(health.is_healthy(), "{health:?}");
        assert_ne!(health.pid, Some(first));
        assert_eq!((health.restart_count, health.failures), (1, 1));
        assert!(!lives(first));
        supervisor.stop().await.unwrap();
    });
}

#[test]
fn a_stopped_child_is_replaced_for_its_silence() {
    let policy = HangPolicy::default().silence(SHORT, Reaction::Restart);
    a_stopped_child_is_replaced(sh(FRAMES).hang(policy), HangKind::Silence);
}

#[test]
fn a_stopped_child_is_replaced_for_want_of_progress() {
    let policy = nothing().progress(SHORT, Reaction::Restart);
    // It reports before it counts as ready, so the watch has an output to name.
    let spec = with_frames(sh(FRAMES)).hang(policy);
    let first_frame = Readiness::Line(b"frame=".to_vec());
    a_stopped_child_is_replaced(
        spec.readiness(first_frame),
        HangKind::Progress { output: Some(0) },
    );
}

#[test]
fn a_stopped_child_is_replaced_for_idling() {
    let policy = nothing().idle_cpu(SHORT, Reaction::Restart);
    a_stopped_child_is_replaced(sh("while :; do :; done").hang(policy), HangKind::IdleCpu);
}

/// It prints frames on and on, always the same.
#[test]
fn talk_is_no_progress() {
    run(async {
        let script = "echo frame=1; echo frame=7; while :; do echo frame=7; sleep 0.02; done";
        let policy = nothing()
            .silence(SHORT, Reaction::Report)
            .progress(SHORT, Reaction::Restart);
        let supervisor = Supervisor::new(with_frames(sh(script)).hang(policy));
        let mut events = supervisor.events();
        supervisor.start().await.unwrap();
        let report = end(&mut events).await;
        let want = HangKind::Progress { output: Some(0) };
        assert_eq!(report.cause, Cause::Hang(want));
        supervisor.stop().await.unwrap();
    });
}

/// A child that computes in silence does not idle.
#[test]
fn work_in_silence_is_no_idling() {
    run(async {
        let policy = nothing().idle_cpu(SHORT, Reaction::Restart);
        let script = "i=0; while [ $i -lt 1500000 ]; do i=$((i + 1)); done; exec sleep 1000";
        let supervisor = Supervisor::new(sh(script).hang(policy));
        let mut events = supervisor.events();
        let pid = supervisor.start().await.unwrap();
        let report = end(&mut events).await;
        assert_eq!(report.cause, Cause::Hang(HangKind::IdleCpu));
        assert_eq!(report.pid, Some(pid));
        // It was left alone as long as it worked.
        assert!(
            report.uptime >= report.cpu_time + SHORT,
            "{report} {:?}",
            report.cpu_time
        );
        supervisor.stop().await.unwrap();
    });
}

/// By default a hang is told and no more: once, however often it is looked at meanwhile, and once when it
/// is over.
#[test]
fn a_hang_that_is_only_told() {
    run(async {
        let silence = Duration::from_millis(500);
        let policy = HangPolicy::default()
            .silence(silence, Reaction::default())
            .idle_cpu(4 * silence, Reaction::default());
        let spec = sh(FRAMES)
            .hang(policy)
            .usage_every(Duration::from_millis(100));
        let pool = Pool::new(PoolSpec::default().member(Member::new(spec))).unwrap();
        let mut events = pool.events();
        pool.start_all().await.unwrap();
        assert!(pool.all_healthy());
        let supervisor = pool.get("child").unwrap();
        let pid = pid_of(supervisor);
        event(&mut events, |event| {
            matches!(
                event.kind,
                EventKind::State {
                    to: State::Running,
                    ..
                }
            )
            .then_some(())
        })
        .await;
        kill(pid, Signal::SIGSTOP);
        let mut hangs = Vec::new();
        while !hangs.contains(&HangKind::IdleCpu) {
            match told(&mut events).await {
                EventKind::Hangs { kind, reaction, .. } => {
                    assert_eq!(reaction, Reaction::Report);
                    hangs.push(kind);
                }
                other => panic!("{other:?} after {hangs:?}"),
            }
        }
        // Twenty samples have come meanwhile.
        assert_eq!(hangs, [HangKind::Silence, HangKind::IdleCpu]);
        let health = supervisor.health();
        assert_eq!((health.pid, health.state), (Some(pid), State::Running));
        assert_eq!(health.hangs, hangs);
        assert!(!health.is_healthy() && !pool.all_healthy());

        kill(pid, Signal::SIGCONT);
        let mut recovered = Vec::new();
        while recovered.len() < 2 {
            match told(&mut events).await {
                EventKind::Recovered { kind, lasted } => {
                    assert!(lasted >= silence, "{lasted:?}");
                    recovered.push(kind);
                }
                other => panic!("{other:?} after {recovered:?}"),
            }
        }
        recovered.sort_unstable();
        assert_eq!(recovered, [HangKind::Silence, HangKind::IdleCpu]);
        assert_eq!(supervisor.health().pid, Some(pid));
        assert!(pool.all_healthy());
        pool.stop_all().await.unwrap();
    });
}

/// A progress line that overwrites itself has no `\n` ever.
#[test]
fn a_line_that_overwrites_itself_is_a_sign_of_life() {
    run(async {
        let script = "i=0; while [ $i -lt 60 ]; do i=$((i + 1)); printf 'frame=%d\\r' $i; \
                      sleep 0.05; done";
        let policy = nothing()
            .silence(SHORT, Reaction::Restart)
            .progress(SHORT, Reaction::Restart);
        let spec = with_frames(sh(script))
            .hang(policy)
            .policy(RestartPolicy::default().restart(Restart::Never));
        let supervisor = Supervisor::new(spec);
        let mut events = supervisor.events();
        supervisor.start().await.unwrap();
        let report = event(&mut events, |event| {
            assert!(!is_hang(event), "{event:?}");
            match &event.kind {
                EventKind::Ended(report) => Some(Arc::clone(report)),
                _ => None,
            }
        })
        .await;
        assert!(report.success && report.uptime >= 2 * SHORT, "{report}");
        assert_eq!(report.last_lines.last().unwrap(), "frame=60");
    });
}

#[test]
fn a_write_to_stdin_is_no_sign_of_life() {
    run(async {
        let policy = HangPolicy::default().silence(SHORT, Reaction::Report);
        let spec = sh("exec sleep 1000").stdin(StdinMode::Control).hang(policy);
        let supervisor = Supervisor::new(spec);
        let mut events = supervisor.events();
        supervisor.start().await.unwrap();
        let write = async {
            let mut interval = tokio::time::interval(SHORT / 20);
            loop {
                interval.tick().await;
                supervisor.write_stdin("hello\n").await.unwrap();
            }
        };
        tokio::select! {
            () = write => {}
            told = told(&mut events) => {
                assert!(matches!(told, EventKind::Hangs { kind: HangKind::Silence, .. }), "{told:?}");
            }
        }
        assert!(!supervisor.health().is_healthy());
        supervisor.stop().await.unwrap();
    });
}

#[test]
fn nothing_is_told_in_the_time_of_grace() {
    run(async {
        let grace = 2 * SHORT;
        let policy = HangPolicy::default().silence(SHORT / 10, Reaction::Restart);
        let supervisor = Supervisor::new(sh("exec sleep 1000").hang(policy).grace(grace));
        let mut events = supervisor.events();
        supervisor.start().await.unwrap();
        let report = end(&mut events).await;
        assert_eq!(report.cause, Cause::Hang(HangKind::Silence));
        assert!(report.uptime >= grace, "{report}");
        supervisor.stop().await.unwrap();
    });
}

/// Whoever took an output reads it in the child's favour, and the hang that he caused by a pause is over
/// when he reads again.
#[test]
fn output_that_somebody_took_counts() {
    run(async {
        let policy = HangPolicy::default().silence(SHORT, Reaction::Report);
        let spec = sh(FRAMES).stdout(OutputMode::Take).hang(policy);
        let supervisor = Supervisor::new(spec);
        let mut events = supervisor.events();
        supervisor.start().await.unwrap();
        let mut stdout = supervisor.take_stdout().await.unwrap();
        let reading = tokio::time::Instant::now();
        let mut buffer = [0; 32];
        while reading.elapsed() < 2 * SHORT {
            assert_ne!(stdout.read(&mut buffer).await.unwrap(), 0);
        }
        assert!(supervisor.health().is_healthy());
        let paused = told(&mut events).await;
        assert!(matches!(paused, EventKind::Hangs { .. }), "{paused:?}");
        assert!(!supervisor.health().is_healthy());
        assert_ne!(stdout.read(&mut buffer).await.unwrap(), 0);
        let read = told(&mut events).await;
        assert!(matches!(read, EventKind::Recovered { .. }), "{read:?}");
        assert!(supervisor.health().is_healthy());
        supervisor.stop().await.unwrap();
    });
}

/// A slow listener who makes the child wait is no fault of the child's.
#[test]
fn a_child_that_is_made_to_wait_does_not_hang() {
    run(async {
        let policy = HangPolicy::default().silence(SHORT, Reaction::Restart);
        let supervisor = Supervisor::new(sh("while :; do echo frame; done").hang(policy));
        let mut tail = supervisor.tail(WhenFull::Block).await;
        let mut events = supervisor.events();
        let pid = supervisor.start().await.unwrap();
        let hang = event(&mut events, |event| is_hang(event).then_some(()));
        let waited = tokio::time::timeout(3 * SHORT, hang).await;
        assert!(waited.is_err());
        assert_eq!(supervisor.health().pid, Some(pid));
        tokio::time::timeout(LONG, tail.next())
            .await
            .unwrap()
            .unwrap();
        supervisor.stop().await.unwrap();
    });
}
