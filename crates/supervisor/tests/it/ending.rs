//! How children end: seen at once, by the ladder, with their whole tree, and never half.

use std::fs;
use std::time::{Duration, Instant};

use longtake_process::{Signal as StopSignal, StopLadder};
use longtake_supervisor::{
    EventKind, Events, Exit, Readiness, State, StdinMode, Stream, Supervisor,
};
use nix::sys::signal::Signal;

use crate::{LONG, end, event, eventually, kill, letter, lives, pid_of, run, sh, state};

/// SIGTERM with this time, then SIGKILL.
fn term(grace: Duration) -> StopLadder {
    StopLadder::kill_only().signal(StopSignal::Term, grace)
}

/// The process ids on the first line of a child's stdout, when they are there.
async fn said_pids(supervisor: &Supervisor, count: usize) -> Vec<u32> {
    let mut pids = Vec::new();
    eventually("the child names its processes", || {
        let log = supervisor.log(Stream::Stdout);
        let words = log.split_whitespace().take(count);
        pids = words.filter_map(|word| word.parse().ok()).collect();
        pids.len() == count
    })
    .await;
    assert!(pids.iter().all(|&pid| lives(pid)), "{pids:?}");
    pids
}

/// The states from now on up to `last`.
async fn states_to(events: &mut Events, last: State) -> Vec<State> {
    let mut states = Vec::new();
    event(events, |event| {
        if let EventKind::State { to, .. } = event.kind {
            states.push(to);
        }
        (states.last() == Some(&last)).then_some(())
    })
    .await;
    states
}

/// The leader is killed while a grandchild holds its pipes: the end of a pipe is not waited for.
#[test]
fn the_leader_is_killed_under_its_grandchild() {
    run(async {
        let supervisor = Supervisor::new(sh("sleep 1000 & echo $!; wait"));
        let mut events = supervisor.events();
        supervisor.start().await.unwrap();
        let mut best = [LONG; 2];
        state(&mut events, State::Running).await;
        for _try in 0..5 {
            let leader = pid_of(&supervisor);
            let [grandchild] = said_pids(&supervisor, 1).await[..] else {
                unreachable!("one was asked for");
            };
            let killed = Instant::now();
            kill(leader, Signal::SIGKILL);
            let reported = event(&mut events, |event| {
                matches!(event.kind, EventKind::Ended(_)).then_some(event.at)
            });
            let reported = reported.await - killed;
            let runs = event(&mut events, |event| match event.kind {
                EventKind::State {
                    to: State::Running, ..
                } => Some(event.at),
                _ => None,
            });
            let runs = runs.await - killed;
            assert!(!lives(grandchild), "it outlived the restart");
            println!("reported after {reported:?}, runs again after {runs:?}");
            best = [best[0].min(reported), best[1].min(runs)];
        }
        let ms = Duration::from_millis;
        assert!(best[0] < ms(50) && best[1] < ms(100), "{best:?}");
        supervisor.stop().await.unwrap();
    });
}

/// A leader, a grandchild in its group and one in a session of its own, all deaf to SIGTERM.
#[test]
fn a_whole_tree_that_does_not_listen_is_stopped() {
    run(async {
        let script = "trap 'echo leader heard it' TERM
            sh -c 'trap \"echo grandchild heard it\" TERM; while :; do sleep 0.05; done' & one=$!
            setsid sh -c 'trap \"\" TERM; echo $0 $1 $$; exec sleep 1000' $$ $one &
            while :; do sleep 0.05; done";
        let grace = Duration::from_millis(700);
        let ladder = term(grace);
        let supervisor = Supervisor::new(sh(script).stop_ladder(ladder.clone()));
        let mut events = supervisor.events();
        let leader = supervisor.start().await.unwrap();
        let pids = said_pids(&supervisor, 3).await;
        assert_eq!(pids[0], leader);
        state(&mut events, State::Running).await;
        let begin = Instant::now();
        supervisor.stop().await.unwrap();
        let took = begin.elapsed();
        assert!(took >= grace && took < ladder.longest(), "{took:?}");
        assert_eq!(letter(leader), None, "it is reaped");
        assert!(!pids.iter().any(|&pid| lives(pid)), "{pids:?}");
        let log = supervisor.log(Stream::Stdout);
        assert!(log.contains("leader heard it"), "{log}");
        assert!(log.contains("grandchild heard it"), "{log}");
        let report = end(&mut events).await;
        assert_eq!(report.exit.and_then(Exit::signal), Some(9));
        state(&mut events, State::Stopped).await;
    });
}

#[test]
fn an_ordinary_stop_has_no_zombie() {
    run(async {
        let supervisor = Supervisor::new(sh("exec sleep 1000"));
        let mut events = supervisor.events();
        let pid = supervisor.start().await.unwrap();
        state(&mut events, State::Running).await;
        supervisor.stop().await.unwrap();
        let states = states_to(&mut events, State::Stopped).await;
        assert_eq!(states, [State::Stopping, State::Stopped]);
        assert_eq!(letter(pid), None, "it is reaped");
    });
}

/// The leader obeys, its grandchild does not: what is left is shown as long as it lives.
#[test]
fn what_is_left_of_a_tree_is_a_zombie() {
    run(async {
        let script = "sh -c 'trap \"\" TERM; echo $$; while :; do sleep 0.05; done' & wait";
        let spec = sh(script).restart_ladder(term(Duration::from_millis(1500)));
        let supervisor = Supervisor::new(spec);
        let mut events = supervisor.events();
        let leader = supervisor.start().await.unwrap();
        let grandchild = said_pids(&supervisor, 1).await[0];
        state(&mut events, State::Running).await;
        let (restarted, left) = tokio::join!(supervisor.restart(), async {
            let left = event(&mut events, |event| match &event.kind {
                EventKind::State {
                    to: State::Running, ..
                } => panic!("it is not gone"),
                EventKind::State {
                    to: State::Zombie,
                    left,
                    ..
                } => Some(left.clone()),
                _ => None,
            })
            .await;
            let health = supervisor.health();
            assert_eq!(health.state, State::Zombie);
            assert!(!health.is_healthy());
            assert_ne!(letter(leader), Some('S'));
            left
        });
        assert!(
            left.contains(&grandchild) && !left.contains(&leader),
            "{left:?}"
        );
        assert_ne!(restarted.unwrap(), leader);
        assert!(!lives(grandchild));
        let states = states_to(&mut events, State::Running).await;
        assert_eq!(states, [State::Starting, State::Running]);
        assert!(supervisor.health().left.is_empty());
        supervisor.stop().await.unwrap();
    });
}

#[test]
fn an_order_on_stdin_ends_the_child() {
    run(async {
        let spec = sh("echo ready; read order; echo got $order; exit 7")
            .readiness(Readiness::Line(b"ready".to_vec()))
            .stdin(StdinMode::Control)
            .stop_ladder(StopLadder::kill_only().stdin("q\n", LONG));
        let supervisor = Supervisor::new(spec);
        let mut events = supervisor.events();
        supervisor.start().await.unwrap();
        supervisor.stop().await.unwrap();
        let report = end(&mut events).await;
        assert_eq!(report.exit, Some(Exit::Code(7)));
        assert_eq!(report.last_lines, ["ready", "got q"]);
    });
}

/// Where stdin carries data, the same step closes it, whichever stop brings it.
#[test]
fn nothing_is_added_to_data_on_stdin() {
    #[track_caller]
    fn check(stops: &'static [StopLadder], script: &str) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("data");
        let script = format!("{script} exec cat >'{}'", file.display());
        run(async move {
            let supervisor = Supervisor::new(sh(script).stdin(StdinMode::Data));
            let mut events = supervisor.events();
            supervisor.start().await.unwrap();
            supervisor.write_stdin("every byte\n").await.unwrap();
            eventually("the data has arrived", || {
                fs::read(&file).is_ok_and(|data| data == b"every byte\n")
            })
            .await;
            state(&mut events, State::Running).await;
            let (last, before) = stops.split_last().unwrap();
            for ladder in before {
                let supervisor = supervisor.clone();
                tokio::spawn(async move { supervisor.stop_by(ladder.clone()).await });
                state(&mut events, State::Stopping).await;
            }
            supervisor.stop_by(last.clone()).await.unwrap();
            let report = end(&mut events).await;
            assert_eq!(report.exit, Some(Exit::Code(0)), "its stdin has ended");
            assert_eq!(fs::read(&file).unwrap(), b"every byte\n");
        });
    }
    let quit = || StopLadder::kill_only().stdin("q", LONG);
    check(vec![quit()].leak(), "");
    check(vec![term(LONG), quit()].leak(), "trap '' TERM;");
}

#[test]
fn a_child_that_says_much_on_its_way_out_is_heard() {
    run(async {
        let script = "trap 'head -c 1000000 /dev/zero; exit 5' TERM
            echo ready; while :; do sleep 0.05; done";
        let spec = sh(script)
            .readiness(Readiness::Line(b"ready".to_vec()))
            .stop_ladder(term(LONG));
        let supervisor = Supervisor::new(spec);
        let mut events = supervisor.events();
        supervisor.start().await.unwrap();
        supervisor.stop().await.unwrap();
        let report = end(&mut events).await;
        assert_eq!(report.exit, Some(Exit::Code(5)));
        assert_eq!(supervisor.line_counts(Stream::Stdout).0, 2);
    });
}

#[test]
fn a_child_that_is_halted_is_stopped_politely() {
    run(async {
        let supervisor = Supervisor::new(sh("exec sleep 1000").stop_ladder(term(LONG)));
        let mut events = supervisor.events();
        let pid = supervisor.start().await.unwrap();
        kill(pid, Signal::SIGSTOP);
        eventually("the child is halted", || letter(pid) == Some('T')).await;
        supervisor.stop().await.unwrap();
        let report = end(&mut events).await;
        assert_eq!(report.exit.and_then(Exit::signal), Some(15));
    });
}

#[test]
fn a_second_stop_hastens_the_first() {
    run(async {
        let script = "trap '' TERM; echo ready; while :; do sleep 0.05; done";
        let spec = sh(script)
            .readiness(Readiness::Line(b"ready".to_vec()))
            .stop_ladder(term(100 * LONG));
        let supervisor = Supervisor::new(spec);
        let mut events = supervisor.events();
        let pid = supervisor.start().await.unwrap();
        state(&mut events, State::Running).await;
        let harsh = async {
            state(&mut events, State::Stopping).await;
            supervisor.stop_by(StopLadder::kill_only()).await
        };
        let (polite, harsh) = tokio::join!(supervisor.stop(), harsh);
        polite.unwrap();
        harsh.unwrap();
        assert_eq!(letter(pid), None);
        let report = end(&mut events).await;
        assert_eq!(report.exit.and_then(Exit::signal), Some(9));
    });
}
