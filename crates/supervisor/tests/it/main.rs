//! Children of every kind, kept alive for real.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod death;
mod ending;
mod events;
mod hang;
mod last_words;
mod limits;
mod many;
mod orders;
mod output;
mod pool;
mod pool_faults;
mod random_faults;
mod readiness;
mod report;
mod restart;
mod start_errors;
mod stdin;

use std::fs;
use std::future::Future;
use std::time::{Duration, Instant};

use longtake_process::Command;
use longtake_supervisor::{
    Backoff, ChildSpec, Event, EventKind, Events, Heard, Report, RestartPolicy, State, Supervisor,
};

/// Longer than anything takes here, however busy the machine.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// `/bin/sh -c SCRIPT`, restarted at once whenever it ends.
pub(crate) fn sh(script: impl Into<String>) -> ChildSpec {
    let script = script.into();
    let policy = RestartPolicy::default().backoff(Backoff::new(Duration::ZERO));
    ChildSpec::new("child", move || {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &script]);
        command
    })
    .policy(policy)
}

/// Runs a test on a runtime with two workers, and no longer than a test may take.
pub(crate) fn run(test: impl Future<Output = ()>) {
    run_for(2 * LONG, test);
}

/// Runs a test on a runtime with two workers, and no longer than this.
pub(crate) fn run_for(longest: Duration, test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        tokio::time::timeout(longest, test).await.unwrap();
    });
}

/// Waits for an event, passing over others.
pub(crate) async fn event<T>(
    events: &mut Events,
    mut wanted: impl FnMut(&Event) -> Option<T>,
) -> T {
    let wait = async {
        loop {
            match events.next().await {
                Some(Heard::Event(event)) => {
                    if let Some(found) = wanted(&event) {
                        return found;
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    };
    tokio::time::timeout(LONG, wait).await.unwrap()
}

/// Waits until the child is in this state.
pub(crate) async fn state(events: &mut Events, wanted: State) {
    event(events, |event| match &event.kind {
        EventKind::State { to, .. } if *to == wanted => Some(()),
        _ => None,
    })
    .await;
}

/// Waits for the end of a run.
pub(crate) async fn end(events: &mut Events) -> std::sync::Arc<Report> {
    event(events, |event| match &event.kind {
        EventKind::Ended(report) => Some(std::sync::Arc::clone(report)),
        _ => None,
    })
    .await
}

/// Waits until a fact holds.
pub(crate) async fn eventually(what: &str, mut fact: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !fact() {
        assert!(begin.elapsed() < LONG, "not in {LONG:?}: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The state letter of a process; `None` when there is none of that number.
pub(crate) fn letter(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

pub(crate) fn lives(pid: u32) -> bool {
    letter(pid).is_some_and(|letter| letter != 'Z' && letter != 'X')
}

pub(crate) fn kill(pid: u32, signal: nix::sys::signal::Signal) {
    let pid = nix::unistd::Pid::from_raw(pid.try_into().unwrap());
    nix::sys::signal::kill(pid, signal).unwrap();
}

pub(crate) fn pid_of(supervisor: &Supervisor) -> u32 {
    supervisor.health().pid.unwrap()
}

/// Runs the test of this name in a process of its own, where it may count what is open; true in there.
#[expect(clippy::print_stdout, reason = "shown when the test fails")]
pub(crate) fn alone(test: &str) -> bool {
    const ALONE: &str = "LONGTAKE_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", test, "--nocapture"]).env(ALONE, "1");
    let output = again.output().unwrap();
    println!("{}", String::from_utf8_lossy(&output.stdout));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    false
}

/// How many files this process has open.
pub(crate) fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// How many dead children this process has not reaped.
pub(crate) fn zombies() -> usize {
    let me = std::process::id().to_string();
    let pids = fs::read_dir("/proc").unwrap();
    pids.filter(|entry| {
        let Ok(entry) = entry else { return false };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let mut fields = stat
            .rsplit_once(") ")
            .map_or("", |(_, rest)| rest)
            .split(' ');
        fields.next() == Some("Z") && fields.next() == Some(me.as_str())
    })
    .count()
}

/// Lets this process open so many files.
pub(crate) fn raise_open_files(wanted: u64) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(wanted);
        setrlimit(Resource::Nofile, limit).unwrap();
    }
}
