//! What a child says just before it dies is in its report, always.

use std::sync::Arc;

use longtake_supervisor::{Backoff, Cause, Exit, Report, RestartPolicy, Supervisor};
use std::time::Duration;

use crate::{end, run, sh};

/// Runs a script so many times, each as soon as the one before is gone, and gives each report to `check`.
fn check_runs(script: &str, runs: u64, check: impl Fn(&Report)) {
    run(async {
        let policy = RestartPolicy::default()
            .backoff(Backoff::new(Duration::ZERO))
            .max_restarts(None);
        let supervisor = Supervisor::new(sh(script).policy(policy));
        let mut events = supervisor.events();
        drop(supervisor.start().await);
        for number in 1..=runs {
            let report: Arc<Report> = end(&mut events).await;
            assert_eq!(report.run, number, "each run is reported once, in order");
            check(&report);
        }
        supervisor.stop().await.unwrap();
    });
}

fn check_reason(script: &str, runs: u64) {
    check_runs(script, runs, |report| {
        assert_eq!(report.exit, Some(Exit::Code(1)), "{report}");
        let reason = format!("reason {}", report.pid.unwrap());
        assert_eq!(report.last_lines.last(), Some(&reason), "{report}");
    });
}

#[test]
fn a_reason_is_never_lost() {
    // More than 1024, where a delay of zero times two to the power of that would be no number.
    check_reason("echo \"reason $$\" >&2; exit 1", 1100);
}

#[test]
fn nor_is_one_without_a_line_end() {
    check_reason("printf %s \"reason $$\" >&2; exit 1", 100);
}

#[test]
fn nor_is_one_on_stdout() {
    check_reason("echo \"reason $$\"; exit 1", 100);
}

#[test]
fn nor_is_one_after_all_that_a_pipe_holds() {
    check_reason(
        "yes fillers | head -c 61440 >&2; echo \"reason $$\" >&2; exit 1",
        60,
    );
}

#[test]
fn nor_is_one_after_more_than_a_pipe_holds() {
    check_reason(
        "yes fillers | head -c 204800 >&2; echo \"reason $$\" >&2; exit 1",
        60,
    );
}

#[test]
fn nor_is_one_while_a_descendant_holds_the_pipe() {
    check_reason("setsid sleep 1000 & echo \"reason $$\" >&2; exit 1", 30);
}

#[test]
fn a_child_that_is_gone_at_once_is_reported_once() {
    check_runs("exec true", 200, |report| {
        assert_eq!(
            (&report.cause, report.exit),
            (&Cause::Exit, Some(Exit::Code(0)))
        );
        assert!(report.success && report.was_ready, "{report:?}");
        assert!(report.last_lines.is_empty());
    });
}
