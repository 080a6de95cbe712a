//! Sensor samples from a file, a named pipe or standard input: one JSON object a line.

use std::{
    fs::{File, OpenOptions},
    io::{self, PipeReader, PipeWriter, Read},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::OpenOptionsExt as _,
    },
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
    time::Duration,
};

use bytes::Bytes;
use longtake_process::LineSplitter;
use nix::{
    errno::Errno,
    fcntl::OFlag,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use parking_lot::Mutex;
use tracing::{error, warn};

use crate::{
    clock::Monotonic,
    device::{Device, DeviceFault, Outlet},
    stream::StreamSpec,
};

/// The longest line that is a sample. Longer ones are counted as invalid.
const MAX_LINE_BYTES: usize = 1 << 20;

/// How often a source that nobody records yet looks whether it should stop.
const IDLE_POLL: Duration = Duration::from_millis(20);

/// A sensor whose samples come as lines. Each gets the time at which it arrived.
///
/// Nothing is read before a recording takes it, so that the beginning of a file is not lost. It
/// ends, in order, at the end of the file or when the last writer of the pipe is gone.
#[derive(Debug)]
pub struct JsonLines {
    spec: StreamSpec,
    from: From,
    running: Option<Running>,
}

#[derive(Debug)]
enum From {
    Path(PathBuf),
    StandardInput,
}

#[derive(Debug)]
struct Running {
    outlet: Outlet,
    /// Dropped to stop the thread.
    stop: PipeWriter,
    thread: JoinHandle<()>,
    fault: std::sync::Arc<Mutex<Option<io::Error>>>,
}

impl JsonLines {
    /// Lines from the file or named pipe at `path`.
    pub fn from_path(spec: StreamSpec, path: impl Into<PathBuf>) -> Self {
        Self {
            spec,
            from: From::Path(path.into()),
            running: None,
        }
    }

    /// Lines from standard input.
    pub const fn from_standard_input(spec: StreamSpec) -> Self {
        Self {
            spec,
            from: From::StandardInput,
            running: None,
        }
    }
}

impl Device for JsonLines {
    fn label(&self) -> String {
        self.spec.name.clone()
    }

    fn device_type(&self) -> String {
        "jsonl".into()
    }

    fn streams(&self) -> Vec<StreamSpec> {
        vec![self.spec.clone()]
    }

    fn open(&mut self, mut outlets: Vec<Outlet>) -> Result<(), DeviceFault> {
        let outlet = outlets.pop().ok_or("a source of lines needs one outlet")?;
        let file = match &self.from {
            From::Path(path) => open_without_waiting(path)?,
            From::StandardInput => File::from(io::stdin().as_fd().try_clone_to_owned()?),
        };
        let (stopped, stop) = io::pipe()?;
        let fault = std::sync::Arc::new(Mutex::new(None));
        let to_thread = (outlet.clone(), std::sync::Arc::clone(&fault));
        let thread = thread::Builder::new()
            .name("json-lines".into())
            .spawn(move || {
                let (outlet, fault) = to_thread;
                if let Err(error) = read_lines(file, &stopped, &outlet) {
                    warn!(stream = outlet.spec().name, %error, "a source of lines failed");
                    outlet.fail(&error.to_string());
                    *fault.lock() = Some(error);
                }
            })?;
        self.running = Some(Running {
            outlet,
            stop,
            thread,
            fault,
        });
        Ok(())
    }

    /// A pipe is ready as soon as it is open: nobody can know when its first line will come.
    fn ready(&self) -> bool {
        self.running.is_some()
    }

    fn healthy(&self) -> Result<(), DeviceFault> {
        let Some(running) = &self.running else {
            return Err("it is not open".into());
        };
        if let Some(error) = running.fault.lock().as_ref() {
            return Err(error.to_string().into());
        }
        if running.thread.is_finished() && !running.outlet.ended() {
            return Err("its thread has ended".into());
        }
        Ok(())
    }

    fn close(&mut self) {
        if let Some(running) = self.running.take() {
            drop(running.stop);
            if running.thread.join().is_err() {
                error!(
                    stream = self.spec.name,
                    "the thread of a source of lines panicked"
                );
            }
        }
    }
}

/// Opens a file for reading; a named pipe without waiting for somebody to write into it.
fn open_without_waiting(path: &Path) -> Result<File, DeviceFault> {
    let nonblocking = OFlag::O_NONBLOCK.bits();
    OpenOptions::new()
        .read(true)
        .custom_flags(nonblocking)
        .open(path)
        .map_err(|error| format!("cannot open {}: {error}", path.display()).into())
}

fn read_lines(mut file: File, stopped: &PipeReader, outlet: &Outlet) -> io::Result<()> {
    while !outlet.wait_for_recording(IDLE_POLL) {
        if is_closed(stopped)? {
            return Ok(());
        }
    }
    let mut splitter = LineSplitter::new(MAX_LINE_BYTES);
    let mut piece = vec![0; 64 << 10];
    while wait_for_bytes(file.as_fd(), stopped)? {
        let count = match file.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if is_passing(&error) => continue,
            Err(error) => return Err(error),
        };
        let at = Monotonic::now();
        splitter.push(piece.get(..count).unwrap_or_default(), |line| {
            hand_over(outlet, at, line.bytes(), line.cut_bytes());
        });
    }
    splitter.finish(|line| hand_over(outlet, Monotonic::now(), line.bytes(), line.cut_bytes()));
    outlet.end();
    Ok(())
}

fn hand_over(outlet: &Outlet, at: Monotonic, line: &[u8], cut_bytes: u64) {
    if cut_bytes > 0 {
        outlet.invalid(at);
    } else if !line.trim_ascii().is_empty() {
        outlet.sample(at, Bytes::copy_from_slice(line.trim_ascii()));
    }
}

/// Waits until there is something to read, or the end; false when it should stop.
fn wait_for_bytes(file: BorrowedFd<'_>, stopped: &PipeReader) -> io::Result<bool> {
    loop {
        let mut both = [
            PollFd::new(file, PollFlags::POLLIN),
            PollFd::new(stopped.as_fd(), PollFlags::empty()),
        ];
        match poll(&mut both, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
            Ok(_) if both[1].any().unwrap_or(false) => return Ok(false),
            Ok(_) => return Ok(true),
        }
    }
}

/// Whether the other end of the pipe is gone.
fn is_closed(pipe: &PipeReader) -> io::Result<bool> {
    let mut only = [PollFd::new(pipe.as_fd(), PollFlags::empty())];
    match poll(&mut only, PollTimeout::ZERO) {
        Ok(count) => Ok(count > 0),
        Err(Errno::EINTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
    )
}
