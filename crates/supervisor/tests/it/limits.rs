//! How much children take: sampled where somebody asks, limited where somebody says so.

use std::process;
use std::time::Duration;

use longtake_process::{Command, IoPriority, Limit, Resource, Signal as StopSignal, StopLadder};
use longtake_supervisor::{
    Backoff, Cause, ChildSpec, EventKind, Events, Exceeded, Limits, Reaction, RestartPolicy, State,
    Stream, Supervisor,
};
use nix::sys::signal::Signal;

use crate::{end, event, eventually, kill, pid_of, run, sh, state};

const TALKER: &str = env!("CARGO_BIN_EXE_supervisor-talker");

/// How much memory the children here take, and how much they may.
const HELD: u64 = 80 << 20;
const ALLOWED: u64 = 40 << 20;

const SAMPLES: Duration = Duration::from_millis(100);
const OVER_FOR: Duration = Duration::from_millis(500);

fn limits() -> Limits {
    Limits::default()
        .sample_every(SAMPLES)
        .resident_over_for(OVER_FOR)
        .cpu_over_for(OVER_FOR)
}

async fn exceeds(events: &mut Events) -> Exceeded {
    event(events, |event| match event.kind {
        EventKind::Exceeds(exceeded) => Some(exceeded),
        _ => None,
    })
    .await
}

/// A child that takes too much is told and ended for that reason, and another one is started.
#[track_caller]
fn a_greedy_child_is_restarted(script: &str, limits: Limits, is_wanted: fn(Exceeded) -> bool) {
    let script = script.replace("TALKER", TALKER);
    run(async move {
        let limits = limits.reaction(Reaction::Restart);
        let policy = RestartPolicy::default().backoff(Backoff::new(OVER_FOR));
        let supervisor = Supervisor::new(sh(script).limits(limits).policy(policy));
        let mut events = supervisor.events();
        let first = supervisor.start().await.unwrap();
        let told = exceeds(&mut events).await;
        assert!(is_wanted(told), "{told}");
        let report = end(&mut events).await;
        let Cause::Limit(exceeded) = report.cause else {
            panic!("{report}");
        };
        assert_eq!(exceeded, told);
        assert_eq!(report.pid, Some(first));
        assert!(!report.success && report.uptime >= OVER_FOR, "{report}");
        state(&mut events, State::Restarting).await;
        let health = supervisor.health();
        assert!(health.usage.is_none() && !health.over_limit, "{health:?}");
        state(&mut events, State::Running).await;
        assert_eq!(supervisor.health().failures, 1);
        supervisor.stop().await.unwrap();
    });
}

fn too_much_memory(exceeded: Exceeded) -> bool {
    matches!(exceeded, Exceeded::ResidentBytes { value, limit, over_for }
        if value >= HELD && limit == ALLOWED && over_for >= OVER_FOR)
}

#[test]
fn memory_over_the_limit() {
    let limits = limits().resident_bytes(ALLOWED);
    let script = format!("exec TALKER hold {HELD}");
    a_greedy_child_is_restarted(&script, limits, too_much_memory);
}

/// A grandchild that left the group and the session belongs to the tree all the same.
#[test]
fn memory_of_a_grandchild_elsewhere_over_the_limit() {
    let limits = limits().resident_bytes(ALLOWED);
    let script = format!("setsid TALKER hold {HELD} & exec sleep 1000");
    a_greedy_child_is_restarted(&script, limits, too_much_memory);
}

#[test]
fn cpu_time_over_the_limit() {
    let limits = limits().cpu_percent(5.0);
    a_greedy_child_is_restarted("exec TALKER burn", limits, |exceeded| {
        matches!(exceeded, Exceeded::CpuPercent { value, limit, over_for }
            if value > limit && over_for >= OVER_FOR)
    });
}

/// By default an exceeded limit is told, once, and the child runs on.
#[test]
fn a_limit_that_is_only_told() {
    run(async {
        let limits = limits().resident_bytes(ALLOWED);
        let script = format!("{TALKER} hold {HELD} & echo $!; wait; exec sleep 1000");
        let supervisor = Supervisor::new(sh(script).limits(limits));
        let mut events = supervisor.events();
        let pid = supervisor.start().await.unwrap();
        assert!(too_much_memory(exceeds(&mut events).await));
        let health = supervisor.health();
        assert_eq!((health.state, health.pid), (State::Running, Some(pid)));
        assert!(health.over_limit && !health.is_healthy(), "{health:?}");
        let usage = health.usage.unwrap();
        assert!(usage.resident_bytes >= HELD, "{usage:?}");
        assert_eq!(usage.processes, 2);

        let log = supervisor.log(Stream::Stdout);
        let grandchild = log.lines().find_map(|line| line.parse().ok());
        kill(grandchild.unwrap(), Signal::SIGKILL);
        eventually("it is within its limits", || {
            !supervisor.health().over_limit
        })
        .await;
        let health = supervisor.health();
        assert!(health.is_healthy(), "{health:?}");
        assert_eq!(health.pid, Some(pid));
        supervisor.stop().await.unwrap();
    });
}

/// Its leader ends as told and its greedy grandchild does not: that is sampled on until it is gone.
#[test]
fn what_a_dead_child_took_is_no_news_of_the_next() {
    run(async {
        let limits = limits().resident_bytes(ALLOWED).reaction(Reaction::Restart);
        let script = format!(
            "sh -c 'trap \"\" TERM; {TALKER} hold {HELD}; while :; do sleep 0.05; done' & wait"
        );
        let ladder = StopLadder::kill_only().signal(StopSignal::Term, 4 * OVER_FOR);
        let policy = RestartPolicy::default().backoff(Backoff::new(OVER_FOR));
        let supervisor = Supervisor::new(
            sh(script)
                .limits(limits)
                .policy(policy)
                .restart_ladder(ladder),
        );
        let mut events = supervisor.events();
        supervisor.start().await.unwrap();
        end(&mut events).await;
        state(&mut events, State::Zombie).await;
        state(&mut events, State::Restarting).await;
        let health = supervisor.health();
        assert!(health.usage.is_none() && !health.over_limit, "{health:?}");
        supervisor.stop().await.unwrap();
    });
}

#[test]
fn usage_is_sampled_only_for_those_who_ask() {
    run(async {
        let asks = Supervisor::new(sh("exec sleep 1000").usage_every(SAMPLES));
        let does_not = Supervisor::new(sh("exec sleep 1000"));
        asks.start().await.unwrap();
        does_not.start().await.unwrap();
        eventually("it is sampled twice", || {
            let usage = asks.health().usage;
            usage.is_some_and(|usage| usage.cpu_percent.is_some())
        })
        .await;
        let usage = asks.health().usage.unwrap();
        assert_eq!(usage.processes, 1);
        assert!(usage.resident_bytes > 0, "{usage:?}");
        assert!(does_not.health().usage.is_none());
        asks.stop().await.unwrap();
        does_not.stop().await.unwrap();
        assert!(asks.health().usage.is_none());
    });
}

/// What stands in a file of `/proc` on a child.
fn proc(pid: u32, file: &str) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default()
}

/// What the command says holds in the child, at every start.
#[test]
fn what_the_command_says_holds() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().canonicalize().unwrap();
    let cwd = folder.clone();
    let is_root = nix::unistd::geteuid().is_root();
    let spec = ChildSpec::new("child", move || {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", "pwd; ulimit -n; id -u; env; exec sleep 1000"])
            .cwd(&cwd)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("NAME", "value")
            .nice(7)
            .io_priority(IoPriority::Idle)
            .limit(Resource::OpenFiles, Limit::both(77));
        if is_root {
            command.uid(65534).gid(65534);
        }
        command
    });
    if is_root {
        // Its owner alone may enter what `tempdir` makes.
        let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&folder, everybody).unwrap();
    }
    let policy = RestartPolicy::default().backoff(Backoff::new(Duration::ZERO));
    run(async move {
        let supervisor = Supervisor::new(spec.policy(policy));
        let mut events = supervisor.events();
        let user = if is_root {
            65534
        } else {
            nix::unistd::geteuid().as_raw()
        };
        let first = supervisor.start().await.unwrap();
        for run in 1..=2 {
            state(&mut events, State::Running).await;
            eventually("it sleeps", || {
                let pid = supervisor.health().pid;
                pid.is_some_and(|pid| proc(pid, "comm") == "sleep\n")
            })
            .await;
            let pid = pid_of(&supervisor);
            let said = supervisor.log(Stream::Stdout);
            let mut lines: Vec<&str> = said.lines().collect();
            let mut env = lines.split_off(3);
            env.retain(|line| !line.starts_with("LONGTAKE_") && !line.starts_with("PWD="));
            env.sort_unstable();
            let user = user.to_string();
            assert_eq!(lines, [folder.to_str().unwrap(), "77", &user], "{said}");
            assert_eq!(env, ["NAME=value", "PATH=/usr/bin:/bin"]);
            eventually("it is nice", || {
                let stat = proc(pid, "stat");
                let fields = stat.rsplit_once(") ").map(|(_, fields)| fields);
                fields.and_then(|fields| fields.split(' ').nth(16)) == Some("7")
            })
            .await;
            let ionice = process::Command::new("ionice")
                .args(["-p", &pid.to_string()])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8_lossy(&ionice.stdout), "idle\n");
            if run == 1 {
                kill(first, Signal::SIGKILL);
            }
        }
        supervisor.stop().await.unwrap();
    });
}
