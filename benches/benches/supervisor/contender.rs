//! Who is measured: each runs as a process of its own that keeps some children alive.

use std::env;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::journal::{Journal, child_arguments, now_ns};
use crate::usage::{descendants, lives};

/// The program of the children.
pub(crate) const CHILD: &str = env!("CARGO_BIN_EXE_supervised");

/// How long an end may take before it is made.
const LONG: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Contender {
    Longtake,
    /// A loop of `tokio::process`.
    Floor,
    Supervisord,
    Runit,
}

/// A contender that keeps its children alive.
pub(crate) struct Running {
    pub(crate) journal: Journal,
    /// The processes of its children at the beginning.
    pub(crate) children: Vec<i32>,
    /// From the start of the contender until the last of its children was up.
    pub(crate) up_after: Duration,
    contender: Contender,
    process: Child,
    _folder: TempDir,
}

impl Contender {
    pub(crate) const OURS_AND_FLOOR: [Self; 2] = [Self::Longtake, Self::Floor];
    const PEERS: [(Self, &str); 2] = [
        (Self::Supervisord, "supervisord"),
        (Self::Runit, "runsvdir"),
    ];

    /// Those of the others that are installed.
    pub(crate) fn installed_peers() -> Vec<Self> {
        let path = env::var_os("PATH").unwrap_or_default();
        let is_installed =
            |program: &str| env::split_paths(&path).any(|it| it.join(program).is_file());
        let peers = Self::PEERS.into_iter();
        let installed = peers.filter(|(_, program)| is_installed(program));
        installed.map(|(peer, _)| peer).collect()
    }

    pub(crate) fn all_peers() -> impl Iterator<Item = Self> {
        Self::PEERS.into_iter().map(|(peer, _)| peer)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Longtake => "longtake",
            Self::Floor => "bare loop",
            Self::Supervisord => "supervisord",
            Self::Runit => "runit",
        }
    }

    /// Starts it with so many children, and waits until all of them are up.
    pub(crate) fn start(self, count: usize) -> Running {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let journal = Journal::create(folder.path());
        let mut command = match self {
            Self::Longtake | Self::Floor => {
                let this = env::current_exe().expect("the path of the bench");
                let mut command = Command::new(this);
                command.args(["keep", self.name(), &count.to_string()]);
                command.arg(folder.path());
                command
            }
            Self::Supervisord => supervisord(folder.path(), count),
            Self::Runit => runit(folder.path(), count),
        };
        let log = File::create(folder.path().join("log")).expect("a new file");
        command
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("a file number"))
            .stderr(log);
        let began = now_ns();
        let process = command.spawn().expect("a contender that starts");
        let (children, starts): (Vec<_>, Vec<_>) = (0..count).map(|_| journal.next_start()).unzip();
        let last = starts.into_iter().max().unwrap_or(began);
        Running {
            journal,
            children,
            up_after: Duration::from_nanos((last - began).unsigned_abs()),
            contender: self,
            process,
            _folder: folder,
        }
    }
}

impl Running {
    pub(crate) fn pid(&self) -> i32 {
        self.process.id().cast_signed()
    }
}

/// Ends it as its users would, and kills what is left after a while.
impl Drop for Running {
    fn drop(&mut self) {
        let family = descendants(self.pid());
        drop(self.process.stdin.take());
        let signal = match self.contender {
            Contender::Supervisord => Some(Signal::TERM),
            // It tells its children only when it is told by SIGHUP.
            Contender::Runit => Some(Signal::HUP),
            Contender::Longtake | Contender::Floor => None,
        };
        if let Some(signal) = signal {
            kill_process(Pid::from_child(&self.process), signal).expect("a process of ours");
        }
        let deadline = Instant::now() + LONG;
        let mut ended = false;
        while Instant::now() < deadline && !ended {
            let exited = self
                .process
                .try_wait()
                .expect("a process of ours")
                .is_some();
            ended = exited && family.iter().all(|pid| !lives(*pid));
            thread::sleep(Duration::from_millis(5));
        }
        if !ended {
            for pid in family.into_iter().filter_map(Pid::from_raw) {
                // Most of them are gone.
                kill_process(pid, Signal::KILL).unwrap_or_default();
            }
            drop(self.process.wait());
        }
    }
}

/// Every child is a program with a log of its own, which is restarted at once and for ever.
fn supervisord(folder: &Path, count: usize) -> Command {
    let mut config = format!(
        "[supervisord]\nnodaemon=true\nlogfile={0}/supervisord.log\npidfile={0}/pid\nminfds=20000\n",
        folder.display()
    );
    for index in 0..count {
        let [journal, orders] = child_arguments(folder, index);
        let (journal, orders) = (journal.display(), orders.display());
        let log = folder.join(format!("{index}.log"));
        let program = format!(
            "[program:child-{index}]\ncommand={CHILD} {journal} {orders}\nautorestart=true\n\
             startsecs=0\nstdout_logfile={}\nredirect_stderr=false\nstderr_logfile=NONE\n",
            log.display()
        );
        config.push_str(&program);
    }
    let path = folder.join("supervisord.conf");
    fs::write(&path, config).expect("a new file");
    let mut command = Command::new("supervisord");
    command.arg("-n").arg("-c").arg(path);
    command
}

/// Every child is a service with an `svlogd`.
fn runit(folder: &Path, count: usize) -> Command {
    let services = folder.join("services");
    for index in 0..count {
        let [journal, orders] = child_arguments(folder, index);
        let (journal, orders) = (journal.display(), orders.display());
        let service = services.join(format!("child-{index}"));
        let log = service.join("log");
        fs::create_dir_all(log.join("main")).expect("a new folder");
        script(
            &service.join("run"),
            &format!("exec {CHILD} {journal} {orders}"),
        );
        script(&log.join("run"), "exec svlogd ./main");
    }
    let mut command = Command::new("runsvdir");
    command.arg(services);
    command
}

fn script(path: &Path, line: &str) {
    fs::write(path, format!("#!/bin/sh\n{line}\n")).expect("a new file");
    fs::set_permissions(path, Permissions::from_mode(0o755)).expect("a file of ours");
}
