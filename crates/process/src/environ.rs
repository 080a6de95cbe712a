//! The environment of other processes, as they were started with it.

use std::fs::File;
use std::io::{self, Read};

use rustix::io::Errno;
use rustix::process::Pid;

use crate::hidden::is_hidden;

/// Room for the environment of one process after the other.
///
/// An exec in between two reads ends the file early, and hides what had not been read yet. The room is
/// so large that one read is enough for all but extreme environments.
pub(crate) struct Environ(Vec<u8>);

/// What a process shows of its environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown<'a> {
    Variables(&'a [u8]),
    /// None right now: it is in the middle of an exec, or exiting, or has none.
    Nothing,
    /// It is gone, or not ours to look at.
    Refused,
}

impl Default for Environ {
    fn default() -> Self {
        Self(vec![0; 256 << 10])
    }
}

impl Environ {
    /// What this process shows; an error says nothing of it.
    pub(crate) fn of(&mut self, process: Pid) -> io::Result<Shown<'_>> {
        match self.read(process) {
            Ok([]) => Ok(Shown::Nothing),
            Ok(variables) => Ok(Shown::Variables(variables)),
            // How newer kernels say that there is no memory where an environment could be.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::SRCH) => Ok(Shown::Nothing),
            Err(error) if is_hidden(&error) => Ok(Shown::Refused),
            Err(error) => Err(error),
        }
    }

    fn read(&mut self, process: Pid) -> io::Result<&[u8]> {
        let mut file = File::open(format!("/proc/{process}/environ"))?;
        let mut length = 0;
        loop {
            let read = file.read(&mut self.0[length..])?;
            length += read;
            if read == 0 {
                return Ok(&self.0[..length]);
            }
            if length == self.0.len() {
                self.0.resize(2 * length, 0);
            }
        }
    }
}
