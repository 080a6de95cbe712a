//! What a report and the health of a child tell.

use std::os::unix::process::ExitStatusExt;
use std::process;
use std::time::Duration;

use longtake_supervisor::{
    Cause, ChildSpec, Exit, HangPolicy, Reaction, Readiness, Report, StartError, State, Stream,
    Supervisor,
};
use serde_json::{Value, json};

use crate::start_errors::starter;
use crate::{end, event, eventually, run, sh, state};

/// The report of one run of a script.
async fn report_of(script: &str) -> std::sync::Arc<Report> {
    let supervisor = Supervisor::new(sh(script));
    let mut events = supervisor.events();
    drop(supervisor.start().await);
    let report = end(&mut events).await;
    supervisor.stop().await.unwrap();
    report
}

#[test]
fn codes_and_signals() {
    run(async {
        #[track_caller]
        fn check(report: &Report, exit: Exit, success: bool, text: &str) {
            assert_eq!((report.exit, report.success), (Some(exit), success));
            assert_eq!(report.cause, Cause::Exit);
            let told = report.to_string();
            let pid = report.pid.unwrap();
            assert!(
                told.starts_with(&format!("child (pid {pid}) after ")),
                "{told}"
            );
            assert!(told.ends_with(text), "{told}");
        }
        let killed = Exit::Signal {
            number: 9,
            core: false,
        };
        check(
            &*report_of("exit 0").await,
            Exit::Code(0),
            true,
            ": it ended, exit code 0",
        );
        check(
            &*report_of("exit 255").await,
            Exit::Code(255),
            false,
            "exit code 255",
        );
        check(
            &*report_of("kill -9 $$").await,
            killed,
            false,
            "signal 9 (SIGKILL)",
        );
    });
}

#[test]
fn core_dumps() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        for limit in ["0", "unlimited"] {
            let script = format!(
                "cd {}; ulimit -c {limit}; kill -SEGV $$",
                dir.path().display()
            );
            // Whether there is a dump is for the machine to say.
            let same = process::Command::new("/bin/sh")
                .args(["-c", &script])
                .status()
                .unwrap();
            let report = report_of(&script).await;
            assert_eq!(report.core_dumped, same.core_dumped(), "{limit}");
            let exit = Exit::Signal {
                number: 11,
                core: same.core_dumped(),
            };
            assert_eq!(report.exit, Some(exit));
        }
    });
}

#[test]
fn what_a_child_took() {
    run(async {
        let busy = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; exit 1";
        let report = report_of(busy).await;
        assert!(report.cpu_time > Duration::ZERO);
        assert!(report.uptime >= report.cpu_time / 2, "{report:?}");
    });
}

#[test]
fn the_memory_of_a_child_is_its_own() {
    // A process of its own, since the other tests here take memory too.
    let told = starter("memory");
    let peaks: Vec<u64> = told.lines().map(|line| line.parse().unwrap()).collect();
    let [large, small, larger] = peaks[..] else {
        panic!("{told}");
    };
    // What dd takes is its block and little more.
    assert!((150 << 20..170 << 20).contains(&large), "{large}");
    assert_eq!(small, 0, "not known, as it was started by a large one");
    assert!((300 << 20..320 << 20).contains(&larger), "{larger}");
}

#[test]
fn an_ordered_end() {
    run(async {
        let supervisor = Supervisor::new(sh("echo last; exec sleep 1000"));
        let mut events = supervisor.events();
        let pid = supervisor.start().await.unwrap();
        eventually("it has spoken", || {
            supervisor.line_counts(Stream::Stdout).0 == 1
        })
        .await;
        supervisor.stop().await.unwrap();
        let report = end(&mut events).await;
        assert_eq!((report.pid, &report.cause), (Some(pid), &Cause::Ordered));
        assert!(!report.success && report.was_ready);
        assert_eq!(report.exit.and_then(Exit::signal), Some(15));
        assert_eq!(report.last_lines, ["last"]);
        let told = report.to_string();
        assert!(
            told.ends_with(": it was ordered to end, signal 15 (SIGTERM)"),
            "{told}"
        );
        let json = serde_json::to_value(&*report).unwrap();
        assert_eq!(json["cause"], "ordered");
        assert_eq!(json["exit"], "signal 15 (SIGTERM)");
        assert_eq!((&json["run"], &json["pid"]), (&1.into(), &pid.into()));
        assert!(json["uptime_seconds"].as_f64().unwrap() > 0.0);
        assert!(json["cpu_seconds"].as_f64().is_some());
    });
}

#[test]
fn health_in_json() {
    run(async {
        let script = "for i in 1 2 3 4 5 6 7; do echo line $i >&2; done; exec sleep 1000";
        let supervisor = Supervisor::new(sh(script));
        let health = || serde_json::to_value(supervisor.health()).unwrap();
        let before = health();
        assert_eq!(
            (&before["pid"], &before["state"]),
            (&Value::Null, &"stopped".into())
        );
        assert_eq!(before["uptime_seconds"], 0.0);
        assert_eq!(before["last_activity_ago"], Value::Null);
        let pid = supervisor.start().await.unwrap();
        eventually("it has spoken", || {
            supervisor.line_counts(Stream::Stderr).0 == 7
        })
        .await;
        let running = health();
        assert_eq!(
            (&running["pid"], &running["state"]),
            (&pid.into(), &"running".into())
        );
        assert!(running["uptime_seconds"].as_f64().unwrap() > 0.0);
        assert_eq!(running["restart_count"], 0);
        assert!(running["last_activity_ago"].as_f64().unwrap() >= 0.0);
        let lines = ["line 3", "line 4", "line 5", "line 6", "line 7"];
        assert_eq!(running["recent_errors"], json!(lines));
        assert!(supervisor.health().is_healthy());
        supervisor.stop().await.unwrap();
        let stopped = health();
        assert_eq!(
            (&stopped["pid"], &stopped["state"]),
            (&Value::Null, &"stopped".into())
        );
        assert_eq!(stopped["uptime_seconds"], 0.0);
        assert_eq!(stopped["recent_errors"], json!(lines));
        assert_eq!(stopped["exits"], json!(["signal 15 (SIGTERM)"]));
        assert!(!supervisor.health().is_healthy());
    });
}

/// A child that says a line and runs on, whatever its reader of progress does.
fn talker() -> ChildSpec {
    let hang = HangPolicy::default().progress(Duration::from_millis(300), Reaction::Restart);
    sh("echo one; echo two; exec sleep 1000").hang(hang)
}

async fn check_unharmed(spec: ChildSpec) {
    let supervisor = Supervisor::new(spec);
    let pid = supervisor.start().await.unwrap();
    eventually("it has spoken", || {
        supervisor.line_counts(Stream::Stdout).0 == 2
    })
    .await;
    assert_eq!(supervisor.log(Stream::Stdout), "one\ntwo\n");
    // A child that is told to hang because its reader is gone would be ended by now.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let health = supervisor.health();
    assert_eq!((health.pid, health.restart_count), (Some(pid), 0));
    assert!(health.is_healthy(), "{health:?}");
    supervisor.stop().await.unwrap();
}

#[test]
fn a_reader_of_progress_that_panics_does_not_harm() {
    run(check_unharmed(talker().progress(|| {
        |_: &[u8], _: &mut dyn FnMut(u32, i64)| panic!("cannot read")
    })));
}

#[test]
fn nor_does_one_that_cannot_be_made() {
    fn make() -> impl FnMut(&[u8], &mut dyn FnMut(u32, i64)) + Send + 'static {
        if std::hint::black_box(true) {
            panic!("cannot be made");
        }
        |_: &[u8], _: &mut dyn FnMut(u32, i64)| {}
    }
    run(check_unharmed(talker().progress(make)));
}

#[test]
fn ready_by_a_line() {
    run(async {
        let script = "read -r word; echo now $word; exec sleep 1000";
        let spec = sh(script)
            .stdin(longtake_supervisor::StdinMode::Control)
            .readiness(Readiness::Line(b"now ready".to_vec()));
        let supervisor = Supervisor::new(spec);
        let mut events = supervisor.events();
        let starting = supervisor.clone();
        let starting = tokio::spawn(async move { starting.start().await });
        eventually("it runs", || supervisor.health().pid.is_some()).await;
        assert_eq!(supervisor.state(), State::Starting);
        supervisor.write_stdin("ready\n").await.unwrap();
        let pid = starting.await.unwrap().unwrap();
        assert_eq!(supervisor.health().pid, Some(pid));
        state(&mut events, State::Running).await;
        supervisor.stop().await.unwrap();
        assert!(end(&mut events).await.was_ready);
    });
}

#[test]
fn never_ready() {
    run(async {
        let spec = sh("echo something else; exec sleep 1000")
            .readiness(Readiness::Line(b"ready".to_vec()))
            .start_timeout(Duration::from_millis(200));
        let supervisor = Supervisor::new(spec);
        let mut events = supervisor.events();
        let started = supervisor.start().await;
        let Err(StartError::Failed(report)) = started else {
            panic!("{started:?}");
        };
        assert_eq!(report.cause, Cause::NotReady);
        assert!(!report.was_ready && !report.success);
        assert!(report.uptime >= Duration::from_millis(200));
        event(&mut events, |event| (event.sequence > 5).then_some(())).await;
        assert_eq!(supervisor.health().failures, 1);
        supervisor.stop().await.unwrap();
    });
}

#[test]
fn an_end_before_it_is_ready_is_no_success() {
    run(async {
        let spec = sh("exit 0").readiness(Readiness::Line(b"ready".to_vec()));
        let supervisor = Supervisor::new(spec);
        let started = supervisor.start().await;
        let Err(StartError::Failed(report)) = started else {
            panic!("{started:?}");
        };
        assert_eq!(report.exit, Some(Exit::Code(0)));
        assert!(!report.success && !report.was_ready);
        supervisor.stop().await.unwrap();
    });
}
