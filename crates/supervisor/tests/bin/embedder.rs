//! A program with supervised children, made to be killed and measured. What it does is its first argument:
//!
//! - `families` starts children from a worker of a runtime, from `spawn_blocking` and from a runtime of one
//!   thread, all deaf to SIGTERM. Each writes the ids of itself, a grandchild in its group and one in a
//!   session of its own to our stdout, one line each; then we wait to be killed.
//! - `churn` restarts children that end at once, for ever; says `ready` when it goes round.
//! - `starved` starts a child as those of `families`, says the three ids, and stops it by SIGTERM and SIGKILL
//!   while there is no file number left; says how that ended, and `gone` when there are some again and nothing of
//!   the child is left.
//! - `memory COMMAND…` runs a child to its end; says how it ended, how many lines it wrote to stderr, and how
//!   many bytes of memory we took at most.
//! - `idle SCRIPT…` runs children for ever; says whether all live on after 5 s, how much CPU time in
//!   nanoseconds our threads took meanwhile, and how often they woke up.

use std::env;
use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use longtake_process::{Command, Signal, StopLadder};
use longtake_supervisor::{
    Backoff, ChildSpec, EndError, EventKind, Events, Heard, OutputMode, Report, Restart,
    RestartPolicy, State, Stream, Supervisor,
};
use tokio::runtime::{Builder, Handle, Runtime};

type Failure = Box<dyn Error + Send + Sync>;

const FAMILY: &str = "trap '' TERM
    sh -c 'sleep 1000; :' & one=$!
    setsid sh -c 'echo '$$' '$one' $$; exec sleep 1000' & wait";

/// Longer than any stop takes.
const NEVER: Duration = Duration::from_secs(20);

/// How long to idle.
const IDLE: Duration = Duration::from_secs(5);

fn main() -> Result<(), Failure> {
    let mut args = env::args().skip(1);
    let order = args.next().ok_or("what shall I do?")?;
    let argv: Vec<String> = args.collect();
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    match order.as_str() {
        "families" => families(&runtime),
        "churn" => runtime.block_on(churn()),
        "starved" => runtime.block_on(starved()),
        "memory" => runtime.block_on(memory(argv)),
        "idle" => idle(&runtime, argv),
        _ => Err("unknown order".into()),
    }
}

fn families(runtime: &Runtime) -> Result<(), Failure> {
    let family = || {
        let spec = ChildSpec::new("family", || {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", FAMILY]);
            command
        });
        Supervisor::new(spec.stdout(OutputMode::Inherit))
    };
    let start = move || async move {
        let supervisor = family();
        let started = supervisor.start().await;
        started.map(|_pid| supervisor)
    };
    let by_worker = runtime.block_on(runtime.spawn(start()))??;
    let in_between = move || Handle::current().block_on(start());
    let by_blocking = runtime.block_on(runtime.spawn_blocking(in_between))??;
    let single = Builder::new_current_thread().enable_all().build()?;
    let _by_single = single.block_on(start())?;
    single.block_on(std::future::pending::<()>());
    drop((by_worker, by_blocking));
    Ok(())
}

async fn churn() -> Result<(), Failure> {
    let mut supervisors = Vec::new();
    for number in 0..4 {
        let policy = RestartPolicy::default()
            .backoff(Backoff::new(Duration::ZERO))
            .max_restarts(None);
        let spec = ChildSpec::new(format!("{number}"), || {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", "setsid sleep 1000 & exec sleep 0.01"]);
            command
        });
        let supervisor = Supervisor::new(spec.policy(policy));
        let mut events = supervisor.events();
        supervisor.start().await?;
        ended(&mut events).await?;
        supervisors.push(supervisor);
    }
    say("ready")?;
    std::future::pending::<()>().await;
    drop(supervisors);
    Ok(())
}

async fn starved() -> Result<(), Failure> {
    let supervisor = Supervisor::new(ChildSpec::new("starved", || {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", FAMILY]);
        command
    }));
    supervisor.start().await?;
    let pids = loop {
        let log = supervisor.log(Stream::Stdout);
        if let Some((pids, _)) = log.split_once('\n') {
            break pids.to_owned();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    say(&pids)?;
    let stdin = io::stdin();
    let more = || stdin.as_fd().try_clone_to_owned().ok();
    let taken: Vec<OwnedFd> = std::iter::from_fn(more).collect();
    let ladder = StopLadder::kill_only()
        .signal(Signal::Term, Duration::from_millis(100))
        .kill_within(Duration::from_secs(1));
    let answer = tokio::time::timeout(NEVER, supervisor.stop_by(ladder)).await;
    say(match answer {
        Ok(Ok(())) => "stopped",
        Ok(Err(EndError::StillAlive { .. })) => "still alive",
        Ok(Err(_)) => "other error",
        Err(_) => "no answer",
    })?;
    drop(taken);
    supervisor.wait_for(State::Stopped).await?;
    say("gone")
}

async fn memory(argv: Vec<String>) -> Result<(), Failure> {
    let policy = RestartPolicy::default().restart(Restart::Never);
    let supervisor = Supervisor::new(child(argv).policy(policy));
    let mut events = supervisor.events();
    supervisor.start().await?;
    let report = ended(&mut events).await?;
    supervisor.wait_for(State::Stopped).await?;
    let (lines, _dropped) = supervisor.line_counts(Stream::Stderr);
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|peak| peak.trim().strip_suffix(" kB"));
    let peak: u64 = peak.ok_or("no VmHWM")?.parse()?;
    say(&format!("{} {lines} {}", report.success, peak * 1024))
}

/// How the next run ended.
async fn ended(events: &mut Events) -> Result<Arc<Report>, Failure> {
    while let Some(heard) = events.next().await {
        if let Heard::Event(event) = heard
            && let EventKind::Ended(report) = event.kind
        {
            return Ok(report);
        }
    }
    Err("the supervisor is gone".into())
}

fn idle(runtime: &Runtime, scripts: Vec<String>) -> Result<(), Failure> {
    let shell = |script| child(vec!["/bin/sh".to_owned(), "-c".to_owned(), script]);
    let supervisors = runtime.block_on(async {
        let supervisors = scripts
            .into_iter()
            .map(|script| Supervisor::new(shell(script)));
        let supervisors: Vec<_> = supervisors.collect();
        for supervisor in &supervisors {
            supervisor.start().await?;
        }
        Ok::<_, Failure>(supervisors)
    })?;
    // A second to settle.
    thread::sleep(Duration::from_secs(1));
    let (cpu_before, wakeups_before) = taken_by_others()?;
    thread::sleep(IDLE);
    let (cpu_after, wakeups_after) = taken_by_others()?;
    let mut healths = supervisors.iter().map(Supervisor::health);
    let all_live = healths.all(|health| health.is_healthy() && health.restart_count == 0);
    let (cpu_ns, wakeups) = (cpu_after - cpu_before, wakeups_after - wakeups_before);
    say(&format!("{all_live} {cpu_ns} {wakeups}"))
}

/// The CPU time in nanoseconds of all our threads but this one, and how often they slept.
fn taken_by_others() -> Result<(u64, u64), Failure> {
    let this = fs::read_link("/proc/thread-self")?;
    let (mut cpu_ns, mut sleeps) = (0, 0);
    for task in fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        if task.file_name() == this.file_name() {
            continue;
        }
        let schedstat = fs::read_to_string(task.join("schedstat"))?;
        cpu_ns += number(schedstat.split(' ').next())?;
        let status = fs::read_to_string(task.join("status"))?;
        let mut lines = status.lines();
        sleeps += number(lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")))?;
    }
    Ok((cpu_ns, sleeps))
}

fn number(text: Option<&str>) -> Result<u64, Failure> {
    Ok(text.ok_or("no number")?.trim().parse()?)
}

fn child(argv: Vec<String>) -> ChildSpec {
    ChildSpec::new("child", move || {
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]);
        command
    })
}

fn say(line: &str) -> Result<(), Failure> {
    Ok(writeln!(io::stdout(), "{line}")?)
}
