//! The processes of two contenders: the supervisor, and the bare loop.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use longtake_process::Command;
use longtake_supervisor::{Backoff, ChildSpec, RestartPolicy, Supervisor};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::runtime;
use tokio::sync::oneshot;

use crate::contender::CHILD;
use crate::journal::child_arguments;

/// How many lines the bare loop keeps, as the supervisor does.
const KEPT_LINES: usize = 50;

/// Keeps so many children alive until stdin ends.
pub(crate) fn keep(who: &str, count: &str, folder: &Path) {
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files).expect("a limit within the hard one");
    let count: usize = count.parse().expect("the bench's own argument");
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        // So that the thread of the last start is gone when idle time is measured.
        .thread_keep_alive(Duration::from_millis(200))
        .build();
    runtime.expect("a runtime").block_on(async {
        match who {
            "longtake" => supervise(count, folder).await,
            _ => loop_bare(count, folder).await,
        }
    });
}

/// All options of the supervisor are at their defaults, but for the delay before a restart.
async fn supervise(count: usize, folder: &Path) {
    let at_once = RestartPolicy::default()
        .backoff(Backoff::new(Duration::ZERO))
        .max_restarts(None);
    let mut supervisors = Vec::new();
    for index in 0..count {
        let arguments = child_arguments(folder, index);
        let spec = ChildSpec::new(format!("child-{index}"), move || {
            let mut command = Command::new(CHILD);
            command.args(&arguments);
            command
        });
        let supervisor = Supervisor::new(spec.policy(at_once.clone()));
        supervisors.push(supervisor);
    }
    let starts: Vec<_> = supervisors
        .iter()
        .cloned()
        .map(|supervisor| tokio::spawn(async move { supervisor.start().await }))
        .collect();
    for start in starts {
        start.await.expect("no panic").expect("a child that starts");
    }
    stdin_ends().await;
}

/// What one would write without a supervisor: start it, read its lines, wait for it, start it again.
async fn loop_bare(count: usize, folder: &Path) {
    for index in 0..count {
        let arguments = child_arguments(folder, index);
        tokio::spawn(async move {
            loop {
                let mut child = tokio::process::Command::new(CHILD)
                    .args(&arguments)
                    .stdin(Stdio::null())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::null())
                    .kill_on_drop(true)
                    .spawn()
                    .expect("a child that starts");
                let stdout = child.stdout.take().expect("stdout is a pipe");
                keep_last_lines(stdout).await.expect("a pipe that works");
                child.wait().await.expect("a child of ours");
            }
        });
    }
    stdin_ends().await;
}

async fn keep_last_lines(stdout: tokio::process::ChildStdout) -> io::Result<()> {
    let mut stdout = BufReader::with_capacity(64 << 10, stdout);
    let mut kept: VecDeque<Vec<u8>> = VecDeque::new();
    loop {
        let mut line = if kept.len() == KEPT_LINES {
            kept.pop_front().unwrap_or_default()
        } else {
            Vec::new()
        };
        line.clear();
        if stdout.read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        kept.push_back(line);
    }
}

/// Waits for the end of stdin on a thread that does nothing else: the runtime has nothing to do with it.
async fn stdin_ends() {
    let (ended, end) = oneshot::channel::<()>();
    thread::spawn(move || {
        // Whatever comes is the end.
        let read = io::stdin().read(&mut [0]);
        drop((read, ended));
    });
    assert!(end.await.is_err(), "nobody sends anything");
}
