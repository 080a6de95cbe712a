//! A thousand children at once.

use std::time::{Duration, Instant};

use longtake_process::Command;
use longtake_supervisor::{
    Backoff, ChildSpec, HangPolicy, Member, OutputMode, Pool, PoolSpec, Reaction, RestartPolicy,
    State, Supervisor,
};
use nix::sys::signal::Signal;

use crate::{
    alone, eventually, kill, lives, open_files, pid_of, raise_open_files, run, sh, zombies,
};

const CHILDREN: usize = 1000;

fn sleeper(number: usize) -> ChildSpec {
    ChildSpec::new(format!("sleeper-{number}"), || {
        let mut command = Command::new("sleep");
        command.arg("1000");
        command
    })
    .stdout(OutputMode::Null)
    .policy(RestartPolicy::default().backoff(Backoff::new(Duration::ZERO)))
    .hang(HangPolicy::default().silence(Duration::ZERO, Reaction::Report))
}

#[test]
fn a_thousand_are_up_killed_back_and_stopped() {
    if !alone("many::a_thousand_are_up_killed_back_and_stopped") {
        return;
    }
    raise_open_files(16 * CHILDREN as u64);
    run(async {
        // What is made once for the process is made now.
        let first = Supervisor::new(sh("exec sleep 1000"));
        first.start().await.unwrap();
        first.stop().await.unwrap();
        drop(first);
        let before = (open_files(), zombies());

        let members = (0..CHILDREN).map(|number| Member::new(sleeper(number)));
        let pool = Pool::new(members.fold(PoolSpec::default(), PoolSpec::member)).unwrap();
        let begin = Instant::now();
        pool.start_all().await.unwrap();
        println!("{CHILDREN} up after {:?}", begin.elapsed());
        assert!(pool.all_healthy());

        let killed: Vec<_> = pool.members().map(pid_of).collect();
        let begin = Instant::now();
        for pid in &killed {
            kill(*pid, Signal::SIGKILL);
        }
        eventually("all are back", || {
            pool.members().zip(&killed).all(|(member, killed)| {
                let health = member.health();
                health.state == State::Running && health.pid != Some(*killed)
            })
        })
        .await;
        println!("all back after {:?}", begin.elapsed());
        let back: Vec<_> = pool.members().map(pid_of).collect();
        assert!(
            pool.members()
                .all(|member| member.health().restart_count == 1)
        );

        let begin = Instant::now();
        pool.stop_all().await.unwrap();
        println!("all stopped after {:?}", begin.elapsed());
        assert!(!killed.iter().chain(&back).any(|pid| lives(*pid)));
        drop(pool);
        eventually("files and zombies are as before", || {
            open_files() <= before.0 && zombies() <= before.1
        })
        .await;
    });
}
