//! A process with children, made to be killed.
//!
//! Takes orders on stdin, one a line, and answers each with one line on stdout:
//!
//! - `family` starts a child from a thread that ends at once, with a grandchild in its group that has no
//!   environment and one in a session of its own that has, all deaf to SIGTERM; names the three.
//! - `orphans` starts a child that is gone, with a grandchild without an environment in its group, another
//!   such in a session whose leader lives, and one that has one in a session whose leader is gone; names the
//!   three.
//! - `churn N` runs N children that end by themselves.
//! - `crowd N` starts N children, every fourth with a grandchild in a session of its own; names all.
//! - `eat N` takes N MiB of memory, page by page, so that the kernel does not use huge ones.
//! - `time` starts a child that ends by itself; tells how many nanoseconds the start took.
//! - `user` runs a child as another user, `urgent` one at a high priority: tells the error.
//! - `hoard` starts children until there is an error; tells it.
//! - `stop N` stops the child that was started last, by SIGTERM and then SIGKILL, while there are N file numbers
//!   left; tells whether that worked, or the error.
//! - `steal` reaps a child behind its owner's back; tells what the owner notices.
//! - `exit` leaves at once, without cleaning up.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use longtake_process::{Child, Command, Input, Output, Signal, SignalError, StopError, StopLadder};
use rustix::process::WaitOptions;

const FAMILY: &str = "trap '' TERM
    env -i sleep 1000 & one=$!
    setsid sh -c 'echo '$one' $$; exec sleep 1000' & wait";

const ORPHANS: &str = r#"
    env -i sleep 1000 &
    setsid sh -c '
        env -i sleep 1000 & two=$!
        setsid sh -c "sleep 1000 & echo \$0 \$1 \$!" "$0" "$two"
        exec sleep 1000' "$!" &"#;

const PLAIN: &str = "echo $$; exec sleep 1000";

const LOOSE: &str = "setsid sh -c 'echo '$$' $$; exec sleep 1000' & exec sleep 1000";

fn main() -> ExitCode {
    match obey() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _unheard = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn obey() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut children = Vec::new();
    let mut pages: Vec<Box<[u8; 4096]>> = Vec::new();
    for line in io::stdin().lines() {
        let line = line?;
        let (order, count) = line.split_once(' ').unwrap_or((&line, ""));
        let answer = match order {
            "family" => {
                let started = thread::spawn(start_family)
                    .join()
                    .expect("the thread returns errors");
                let (child, pids) = started?;
                children.push(child);
                pids
            }
            "orphans" => {
                let (child, pids) = start(ORPHANS)?;
                children.push(child);
                pids
            }
            "churn" => {
                for _ in 0..count.parse()? {
                    Command::new("/bin/true").spawn()?.wait()?;
                }
                "done".to_owned()
            }
            "crowd" => {
                let mut all = Vec::new();
                for number in 0..count.parse()? {
                    let script = if number % 4 == 0 { LOOSE } else { PLAIN };
                    let (child, pids) = start(script)?;
                    children.push(child);
                    all.push(pids);
                }
                all.join(" ")
            }
            "eat" => {
                pages.extend((0..count.parse::<usize>()? * 256).map(|_| Box::new([1; 4096])));
                "done".to_owned()
            }
            "time" => {
                let begin = Instant::now();
                let mut child = Command::new("/bin/true").spawn()?;
                let taken = begin.elapsed();
                child.wait()?;
                taken.as_nanos().to_string()
            }
            "user" => match Command::new("/bin/true").uid(65534).gid(65534).spawn() {
                Ok(_) => "started".to_owned(),
                Err(error) => error.to_string(),
            },
            "urgent" => match Command::new("/bin/sleep").arg("1000").nice(-5).spawn() {
                Ok(_) => "started".to_owned(),
                Err(error) => error.to_string(),
            },
            "hoard" => hoard(&mut children),
            "stop" => {
                let child = children.last_mut().ok_or("there is no child")?;
                stop(child, count.parse()?)
            }
            "steal" => steal()?,
            "exit" => leave(),
            _ => return Err(format!("unknown order {order:?}").into()),
        };
        writeln!(io::stdout(), "{answer}")?;
    }
    Ok(())
}

fn start_family() -> Result<(Child, String), Box<dyn Error + Send + Sync>> {
    let (child, pids) = start(FAMILY)?;
    let pids = format!("{} {pids}", child.pid());
    Ok((child, pids))
}

/// Starts the script, and returns the first line that it says.
fn start(script: &str) -> Result<(Child, String), Box<dyn Error + Send + Sync>> {
    let mut command = Command::new("/bin/sh");
    let mut child = command.args(["-c", script]).stdout(Output::Pipe).spawn()?;
    let mut said = String::new();
    BufReader::new(child.take_stdout().expect("stdout is a pipe")).read_line(&mut said)?;
    Ok((child, said.trim().to_owned()))
}

/// Starts children until there is an error.
fn hoard(children: &mut Vec<Child>) -> String {
    loop {
        let mut command = Command::new("/bin/sleep");
        command
            .arg("1000")
            .stdin(Input::Pipe)
            .stdout(Output::Pipe)
            .stderr(Output::Pipe);
        match command.spawn() {
            Ok(child) => children.push(child),
            Err(error) => return error.to_string(),
        }
    }
}

/// Stops the child while only so many file numbers are left.
fn stop(child: &mut Child, files: usize) -> String {
    let stdin = io::stdin();
    let more = || stdin.as_fd().try_clone_to_owned().ok();
    let mut taken: Vec<OwnedFd> = std::iter::from_fn(more).collect();
    taken.truncate(taken.len().saturating_sub(files));
    let ladder = StopLadder::kill_only()
        .signal(Signal::Term, Duration::from_millis(100))
        .kill_within(Duration::from_secs(1));
    match child.stop(&ladder) {
        Ok(_) => "stopped".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// Reaps a child behind its owner's back.
fn steal() -> Result<String, Box<dyn Error + Send + Sync>> {
    let mut child = Command::new("/bin/true").spawn()?;
    rustix::process::wait(WaitOptions::empty())?;
    let lost = |lost: bool| if lost { "lost" } else { "not lost" };
    let wait = lost(child.wait().is_err());
    let signal = child.signal_group(Signal::Kill);
    let signal = if matches!(signal, Err(SignalError::Gone { .. })) {
        "gone"
    } else {
        "not gone"
    };
    let stop = lost(matches!(child.kill(), Err(StopError::StatusLost { .. })));
    Ok(format!("wait: {wait}, signal: {signal}, stop: {stop}"))
}

#[expect(clippy::exit, reason = "the point is that nothing is dropped")]
fn leave() -> ! {
    std::process::exit(0)
}
