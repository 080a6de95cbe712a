//! What is written to a child's stdin: bounded, in order, and nobody else waits for it.

use std::fs;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use longtake_process::StopLadder;
use longtake_supervisor::{ChildSpec, State, StdinError, StdinMode, Supervisor};
use nix::sys::signal::Signal;

use crate::{end, eventually, kill, run, sh, state};

/// More than any pipe takes at once.
const FLOOD: usize = 8 << 20;

fn fed(script: impl Into<String>) -> ChildSpec {
    sh(script).stdin(StdinMode::Control)
}

/// Lets a future begin; whether it is over.
async fn begin<F: Future + Unpin>(future: &mut F) -> bool {
    let mut future = pin!(future);
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await
}

#[test]
fn a_child_that_does_not_read_holds_up_its_writer_alone() {
    run(async {
        let deaf = Supervisor::new(fed("exec sleep 1000").stdin_bytes(FLOOD));
        let other = Supervisor::new(sh("exec sleep 1000"));
        deaf.start().await.unwrap();
        let writer = deaf.clone();
        let write = tokio::spawn(async move { writer.write_stdin(vec![b'x'; FLOOD]).await });
        eventually("the bound is used up", || {
            deaf.try_write_stdin("y") == Err(StdinError::Full)
        })
        .await;
        assert!(!write.is_finished());
        assert!(deaf.health().is_healthy());
        other.start().await.unwrap();
        other.stop().await.unwrap();
        deaf.stop().await.unwrap();
        assert_eq!(write.await.unwrap(), Err(StdinError::Gone));
    });
}

#[test]
fn the_bound_is_kept_to_the_byte_and_freed_with_the_run() {
    run(async {
        let deaf = Supervisor::new(fed("exec sleep 1000").stdin_bytes(FLOOD));
        deaf.start().await.unwrap();
        // The pipe takes some of the first; what it does not take is in the bound, all of it.
        deaf.try_write_stdin(vec![b'x'; FLOOD - 1]).unwrap();
        assert_eq!(deaf.try_write_stdin("yz"), Err(StdinError::Full));
        deaf.try_write_stdin("y").unwrap();
        assert_eq!(deaf.try_write_stdin("z"), Err(StdinError::Full));
        let never = deaf.write_stdin(vec![b'x'; FLOOD + 1]).await;
        assert_eq!(never, Err(StdinError::Full));
        deaf.restart().await.unwrap();
        eventually("there is room again", || {
            deaf.try_write_stdin(vec![b'x'; FLOOD]).is_ok()
        })
        .await;
        deaf.stop().await.unwrap();
    });
}

#[test]
fn empty_writes_are_bounded_too() {
    run(async {
        let deaf = Supervisor::new(fed("exec sleep 1000").stdin_bytes(1 << 17));
        deaf.start().await.unwrap();
        deaf.try_write_stdin(vec![b'x'; (1 << 17) - 1]).unwrap();
        assert_eq!(deaf.try_write_stdin(""), Ok(()));
        assert_eq!(deaf.try_write_stdin(""), Err(StdinError::Full));
        deaf.stop().await.unwrap();
        assert_eq!(deaf.write_stdin("").await, Err(StdinError::Gone));
    });
}

#[test]
fn ten_megabytes_arrive_whole_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy");
    let sent: Vec<u8> = (0..10_u32 << 18).flat_map(u32::to_le_bytes).collect();
    run(async {
        let spec = fed(format!("cat > '{}'; exec sleep 1000", copy.display()));
        let supervisor = Supervisor::new(spec.stdin_bytes(100_000));
        supervisor.start().await.unwrap();
        for piece in sent.chunks(77_777) {
            supervisor.write_stdin(piece.to_vec()).await.unwrap();
            supervisor.write_stdin("").await.unwrap();
        }
        supervisor.close_stdin().await.unwrap();
        let length = || fs::metadata(&copy).map_or(0, |data| data.len());
        eventually("all of it is there", || length() >= sent.len() as u64).await;
        assert!(fs::read(&copy).unwrap() == sent);
        let late = supervisor.write_stdin("late").await;
        assert_eq!(late, Err(StdinError::Closed));
        assert_eq!(supervisor.close_stdin().await, Err(StdinError::Closed));
        supervisor.stop().await.unwrap();
    });
}

/// What is handed in before the close is written before it.
#[test]
fn a_close_does_not_overtake_what_was_handed_in() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        for round in 0..20 {
            let copy = folder.path().join(round.to_string());
            let done = folder.path().join(format!("{round}.done"));
            let spec = fed(format!(
                "cat > '{}'; : > '{}'; exec sleep 1000",
                copy.display(),
                done.display()
            ));
            let supervisor = Supervisor::new(spec);
            supervisor.start().await.unwrap();
            for number in 0..100 {
                supervisor.try_write_stdin(format!("{number}\n")).unwrap();
            }
            supervisor.close_stdin().await.unwrap();
            eventually("the child sees the end", || done.exists()).await;
            let want: String = (0..100).map(|number| format!("{number}\n")).collect();
            assert_eq!(fs::read_to_string(&copy).unwrap(), want, "round {round}");
            supervisor.stop_by(StopLadder::kill_only()).await.unwrap();
        }
    });
}

#[test]
fn a_broken_pipe_is_an_answer() {
    run(async {
        let closer = Supervisor::new(fed("exec <&-; exec sleep 1000").stdin_bytes(FLOOD));
        closer.start().await.unwrap();
        // It may still be open for the first of them, which then waits until it is not.
        let answer = closer.write_stdin(vec![b'x'; FLOOD]).await;
        assert_eq!(answer, Err(StdinError::Closed));
        assert_eq!(closer.write_stdin("y").await, Err(StdinError::Closed));
        assert_eq!(closer.state(), State::Running);
        closer.stop().await.unwrap();

        let dying = Supervisor::new(fed("exec sleep 1000").stdin_bytes(FLOOD));
        let mut events = dying.events();
        let pid = dying.start().await.unwrap();
        let mut write = Box::pin(dying.write_stdin(vec![b'x'; FLOOD]));
        assert!(!begin(&mut write).await);
        kill(pid, Signal::SIGKILL);
        let answer = write.await;
        assert!(matches!(answer, Err(StdinError::Gone | StdinError::Closed)));
        end(&mut events).await;
        dying.stop().await.unwrap();
    });
}

#[test]
fn who_has_no_stdin_says_so() {
    run(async {
        let supervisor = Supervisor::new(sh("exec sleep 1000"));
        assert_eq!(supervisor.write_stdin("x").await, Err(StdinError::NoPipe));
        assert_eq!(supervisor.close_stdin().await, Err(StdinError::NoPipe));
        let supervisor = Supervisor::new(sh("exec sleep 1000").stdin(StdinMode::Data));
        assert_eq!(supervisor.write_stdin("x").await, Err(StdinError::Gone));
        assert_eq!(supervisor.close_stdin().await, Err(StdinError::Gone));
    });
}

/// One write is in the pipe of a run, another waits for room when that run dies, and comes to its turn only
/// when the next one is there.
#[test]
fn what_was_meant_for_a_run_does_not_reach_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let (flag, copy) = (folder.path().join("flag"), folder.path().join("copy"));
    run(async {
        let script = format!(
            "if mkdir '{}'; then exec sleep 1000; else exec cat > '{}'; fi",
            flag.display(),
            copy.display()
        );
        let supervisor = Supervisor::new(fed(script).stdin_bytes(FLOOD));
        let mut events = supervisor.events();
        let first = supervisor.start().await.unwrap();
        eventually("the first run is there", || flag.exists()).await;
        state(&mut events, State::Running).await;
        supervisor.try_write_stdin(vec![b'1'; FLOOD]).unwrap();
        let mut waits = Box::pin(supervisor.write_stdin(vec![b'2'; FLOOD]));
        assert!(!begin(&mut waits).await);
        kill(first, Signal::SIGKILL);
        state(&mut events, State::Running).await;
        assert_eq!(waits.await, Err(StdinError::Gone));
        supervisor.write_stdin("3").await.unwrap();
        let length = || fs::metadata(&copy).map_or(0, |data| data.len());
        eventually("the second run has read", || length() > 0).await;
        assert_eq!(fs::read(&copy).unwrap(), b"3");
        supervisor.stop().await.unwrap();
    });
}
