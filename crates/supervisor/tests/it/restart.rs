//! What ends is started again, as the policy says.

use std::time::{Duration, Instant};

use longtake_supervisor::{
    Backoff, Cause, Exit, GaveUp, Restart, RestartPolicy, StartError, State, Stream, Supervisor,
};
use nix::sys::signal::Signal;

use crate::{end, event, kill, lives, run, sh, state};

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
