//! A child that does not want to go, with a grandchild in a session of its own: how it is stopped, and what
//! that tells.
//!
//! ```text
//! cargo run --example process_stop
//! ```

use std::error::Error;
use std::io::{self, Read, Write};
use std::time::Duration;

use longtake_process::{BoundedLog, Command, LineSplitter, Output, Signal, StopLadder};

/// Says goodbye at SIGTERM, but exits only at the second one; its background job exits at none.
const STUBBORN: &str = r#"
    setsid sh -c 'trap "" TERM; echo "background job runs"; exec sleep 1000' &
    asked=0
    trap 'asked=$((asked + 1)); echo "asked to go: $asked"; [ $asked -lt 2 ] || exit 3' TERM
    echo "waiting"
    while :; do sleep 0.1; done
"#;

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout().lock();
    let mut child = Command::new("/bin/sh")
        .args(["-c", STUBBORN])
        .stdout(Output::Pipe)
        .stderr(Output::Null)
        .nice(5)
        .spawn()?;
    writeln!(out, "started process {}", child.pid())?;

    // Whoever takes a pipe must read it to its end: a child blocks when nobody does.
    let mut stdout = child.take_stdout().expect("stdout is a pipe");
    let (mut splitter, mut log) = (LineSplitter::default(), BoundedLog::default());
    let mut buffer = [0; 4096];
    while log.total_lines() < 2 {
        let read = stdout.read(&mut buffer)?;
        splitter.push(&buffer[..read], |line| log.push(line));
    }
    let usage = child.usage()?;
    writeln!(
        out,
        "{} processes in its group, {} KiB resident, {:?} of CPU time",
        usage.processes,
        usage.resident_bytes >> 10,
        usage.cpu_time()
    )?;

    let reader = std::thread::spawn(move || -> io::Result<BoundedLog> {
        loop {
            match stdout.read(&mut buffer)? {
                0 => break,
                read => splitter.push(&buffer[..read], |line| log.push(line)),
            }
        }
        splitter.finish(|line| log.push(line));
        Ok(log)
    });

    let ladder = StopLadder::kill_only()
        .signal(Signal::Term, Duration::from_millis(300))
        .signal(Signal::Term, Duration::from_millis(300));
    writeln!(out, "stopping, in {:?} at most", ladder.longest())?;
    let stopped = child.stop(&ladder)?;
    writeln!(out, "stopped by {:?}, {}", stopped.by, stopped.status)?;
    writeln!(out, "killed at the end: {:?}", stopped.killed)?;

    let log = reader.join().expect("the reader does not panic")?;
    writeln!(out, "it said:\n{log}")?;
    Ok(())
}
