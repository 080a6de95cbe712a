//! What happens is told in order, and a slow listener misses a counted part of it.

use std::time::Duration;

use longtake_supervisor::{
    Backoff, Event, EventKind, Events, Heard, RestartPolicy, State, Supervisor,
};

use crate::{LONG, end, event, eventually, run, sh, state};

async fn next(events: &mut Events) -> Heard {
    let heard = tokio::time::timeout(LONG, events.next()).await;
    heard.unwrap().unwrap()
}

async fn next_event(events: &mut Events) -> Event {
    match next(events).await {
        Heard::Event(event) => event,
        other => panic!("{other:?}"),
    }
}

/// What an event is, in short.
fn gist(event: &Event) -> String {
    match &event.kind {
        EventKind::State { to, .. } => to.to_string(),
        EventKind::Ended(report) => format!("end {}", report.run),
        other => format!("{other:?}"),
    }
}

#[test]
fn an_end_is_told_before_the_state_that_follows() {
    run(async {
        let policy = RestartPolicy::default()
            .backoff(Backoff::new(Duration::from_millis(1)))
            .max_restarts(1);
        let supervisor = Supervisor::new(sh("exit 7").policy(policy));
        let mut events = supervisor.events();
        drop(supervisor.start().await);
        let mut told = Vec::new();
        while told.last().is_none_or(|last| last != "failed") {
            let event = next_event(&mut events).await;
            assert_eq!(event.sequence, told.len() as u64 + 1);
            told.push(gist(&event));
        }
        // It may be dead before it was seen to run.
        told.retain(|gist| gist != "running");
        let want = [
            "starting",
            "end 1",
            "stopping",
            "restarting",
            "starting",
            "end 2",
            "stopping",
            "failed",
        ];
        assert_eq!(told, want);
    });
}

#[test]
fn an_ordered_end_is_told_between_stopping_and_stopped() {
    run(async {
        let supervisor = Supervisor::new(sh("exec sleep 1000"));
        let mut events = supervisor.events();
        supervisor.start().await.unwrap();
        state(&mut events, State::Running).await;
        supervisor.stop().await.unwrap();
        let mut told = Vec::new();
        while told.last().is_none_or(|last| last != "stopped") {
            told.push(gist(&next_event(&mut events).await));
        }
        // What is left of it may be seen before it is reaped.
        told.retain(|gist| gist != "zombie");
        assert_eq!(told, ["stopping", "end 1", "stopped"]);
    });
}

#[test]
fn a_slow_listener_misses_a_counted_number_and_nobody_else_does() {
    const RUNS: u64 = 600;
    run(async {
        let policy = RestartPolicy::default()
            .backoff(Backoff::new(Duration::ZERO))
            .max_restarts(None);
        let supervisor = Supervisor::new(sh("exit 1").policy(policy));
        let mut slow = supervisor.events();
        let mut quick = supervisor.events();
        drop(supervisor.start().await);
        let last = event(&mut quick, {
            let mut before = 0;
            move |event| {
                assert_eq!(event.sequence, before + 1);
                before = event.sequence;
                let EventKind::Ended(report) = &event.kind else {
                    return None;
                };
                (report.run == RUNS).then_some(event.sequence)
            }
        })
        .await;
        supervisor.stop().await.unwrap();
        let Heard::Missed(missed) = next(&mut slow).await else {
            panic!("{RUNS} runs have more events than are kept");
        };
        let first = next_event(&mut slow).await;
        assert_eq!(first.sequence, missed + 1);
        assert!(first.sequence < last);
        // From there on it hears everything again, up to the last.
        let mut before = first;
        while gist(&before) != "stopped" {
            let event = next_event(&mut slow).await;
            assert_eq!(event.sequence, before.sequence + 1);
            before = event;
        }
        let mut new = supervisor.events();
        assert_eq!(new.snapshot()[0].state, State::Stopped);
        drop(supervisor.start().await);
        assert_eq!(next_event(&mut new).await.sequence, before.sequence + 1);
        end(&mut new).await;
        supervisor.stop().await.unwrap();
    });
}

#[test]
fn the_last_event_is_followed_by_the_end() {
    run(async {
        let supervisor = Supervisor::new(sh("exec sleep 1000"));
        let mut events = supervisor.events();
        let pid = supervisor.start().await.unwrap();
        drop(supervisor);
        while let Some(heard) = tokio::time::timeout(LONG, events.next()).await.unwrap() {
            assert!(matches!(heard, Heard::Event(_)), "{heard:?}");
        }
        eventually("nothing is left", || !crate::lives(pid)).await;
    });
}
