//! Starting a child: the files, the kernel call, and what is set right after it.

use std::ffi::{CString, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::process::{Pid, WaitOptions};

use crate::child::Child;
use crate::command::{Command, Input, Output};
use crate::family::Kin;
use crate::guardian;
use crate::leader::Leader;
use crate::leftover;
use crate::marker::{self, Marker};
use crate::program::Program;
use crate::sys::{self, Launch};

/// Why a child was not started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// No such program.
    #[error("cannot find program {}", program.display())]
    NotFound {
        /// As the command named it.
        program: OsString,
    },
    /// The program exists, but the kernel does not run it: not executable, not a program, its
    /// interpreter missing, arguments too long.
    #[error("cannot run program {}", program.display())]
    Exec {
        /// As the command named it.
        program: OsString,
        /// The kernel's answer, with its number.
        source: io::Error,
    },
    /// The folder to start in is missing or closed to us.
    #[error("cannot enter folder {} for program {}", path.display(), program.display())]
    CurrentDir {
        /// The folder.
        path: PathBuf,
        /// The program that was to start there.
        program: OsString,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A program, argument, variable or folder has a nul byte in it.
    #[error("nul byte in the command for program {}", program.display())]
    Nul {
        /// As the command named it.
        program: OsString,
    },
    /// Files were handed over to an earlier child of this command and cannot be handed over again.
    #[error("the files handed to program {} went to an earlier child", program.display())]
    FilesSpent {
        /// As the command named it.
        program: OsString,
    },
    /// A tool of util-linux that limits or users need is not installed.
    #[error("cannot find {tool} of util-linux, which limits and user ids are set by")]
    ToolMissing {
        /// `prlimit` or `setpriv`.
        tool: &'static str,
    },
    /// We may not run programs as another user or group.
    #[error("program {} as another user needs CAP_SETUID and CAP_SETGID", program.display())]
    NotPrivileged {
        /// As the command named it.
        program: OsString,
    },
    /// No file descriptor is left, or `/dev/null` cannot be opened.
    #[error("cannot open the files for program {}", program.display())]
    Files {
        /// As the command named it.
        program: OsString,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel has no process or memory left.
    #[error("no resources left to start program {}", program.display())]
    Resources {
        /// As the command named it.
        program: OsString,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The priority is not ours to set. The child was killed again.
    #[error("cannot set the priority of program {}", program.display())]
    Priority {
        /// As the command named it.
        program: OsString,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Without `/bin/sh` nobody would end the child if we were killed.
    #[error("cannot start the guardian by /bin/sh")]
    Guardian {
        /// The kernel's answer.
        source: io::Error,
    },
    /// `/proc` is not there, without which processes cannot be told apart.
    #[error("cannot read {}", path.display())]
    Proc {
        /// The file in `/proc`.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

pub(crate) fn spawn(command: &Command) -> Result<Child, SpawnError> {
    leftover::sweep();
    let marker = Marker::next().map_err(|source| SpawnError::Proc {
        path: marker::RANDOM_ID.into(),
        source,
    })?;
    let program = Program::prepare(command, marker)?;
    let files = |source| SpawnError::Files {
        program: command.program.clone(),
        source,
    };
    let streams = Streams::open(command).map_err(files)?;
    let sources = streams.above_targets(command).map_err(files)?;

    guardian::ensure().map_err(|source| SpawnError::Guardian { source })?;

    let pid = launch(command, &program, &sources)?;
    let leader = Leader::adopt(pid).map_err(|source| {
        discard(pid);
        files(source)
    })?;
    let kin = Kin::new(pid, marker);
    let mut child = Child::new(leader, kin, streams.stdin, streams.stdout, streams.stderr);
    if let Err(source) = prioritise(command, pid) {
        if let Err(error) = child.kill() {
            tracing::warn!(%pid, %error, "half-started child not killed");
        }
        return Err(SpawnError::Priority {
            program: command.program.clone(),
            source,
        });
    }
    Ok(child)
}

fn launch(command: &Command, program: &Program, sources: &[Source]) -> Result<Pid, SpawnError> {
    let nul = |_| SpawnError::Nul {
        program: command.program.clone(),
    };
    let file = CString::new(program.file.as_os_str().as_bytes()).map_err(nul)?;
    let cwd = command
        .cwd
        .as_ref()
        .map(|dir| CString::new(dir.as_os_str().as_bytes()));
    let cwd = cwd.transpose().map_err(nul)?;
    let files: Vec<_> = sources
        .iter()
        .map(|source| (source.file.as_fd(), source.target))
        .collect();
    sys::posix_spawn(&Launch {
        file: &file,
        argv: &program.argv,
        envp: &program.envp,
        cwd: cwd.as_deref(),
        files: &files,
        close_from: command.next_fd,
        blocked: &[],
    })
    .map_err(|source| explain(command, source))
}

/// The kernel answers for the folder and for the program with the same numbers.
fn explain(command: &Command, source: io::Error) -> SpawnError {
    let program = command.program.clone();
    if let Some(path) = &command.cwd
        && let Err(source) = rustix::fs::openat(
            rustix::fs::CWD,
            path,
            rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        )
    {
        return SpawnError::CurrentDir {
            path: path.clone(),
            program,
            source: source.into(),
        };
    }
    match source.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory => {
            SpawnError::Resources { program, source }
        }
        _ => SpawnError::Exec { program, source },
    }
}

fn prioritise(command: &Command, group: Pid) -> io::Result<()> {
    if let Some(nice) = command.nice {
        rustix::process::setpriority_pgrp(Some(group), nice)?;
    }
    if let Some(priority) = command.io_priority {
        sys::set_group_io_priority(group, priority.as_raw())?;
    }
    Ok(())
}

/// Takes back a child that cannot be handed out. It is ours and unreaped, so its number is its own.
fn discard(pid: Pid) {
    if let Err(error) = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL) {
        tracing::warn!(%pid, %error, "half-started child not killed");
    }
    if let Err(error) = rustix::process::waitpid(Some(pid), WaitOptions::empty()) {
        tracing::warn!(%pid, %error, "half-started child not reaped");
    }
}

/// The standard streams: the child's files, and our ends of the pipes among them.
#[derive(Default)]
struct Streams {
    /// One for each of 0 to 2 that is not inherited or handed over.
    made: [Option<OwnedFd>; 3],
    stdin: Option<PipeWriter>,
    stdout: Option<PipeReader>,
    stderr: Option<PipeReader>,
}

impl Streams {
    fn open(command: &Command) -> io::Result<Self> {
        let mut streams = Self::default();
        match command.stdin {
            Input::Null => streams.made[0] = Some(File::open("/dev/null")?.into()),
            Input::Pipe => {
                let (reader, writer) = io::pipe()?;
                streams.made[0] = Some(reader.into());
                streams.stdin = Some(writer);
            }
            Input::Inherit | Input::From(_) => {}
        }
        (streams.made[1], streams.stdout) = sink(&command.stdout)?;
        (streams.made[2], streams.stderr) = sink(&command.stderr)?;
        Ok(streams)
    }

    /// Duplicates every file that the child gets to a number above all that it will have there.
    fn above_targets(&self, command: &Command) -> io::Result<Vec<Source>> {
        let handed = [
            if let Input::From(file) = &command.stdin {
                Some(file)
            } else {
                None
            },
            if let Output::To(file) = &command.stdout {
                Some(file)
            } else {
                None
            },
            if let Output::To(file) = &command.stderr {
                Some(file)
            } else {
                None
            },
        ];
        let standard = handed
            .iter()
            .zip(&self.made)
            .map(|(handed, made)| handed.or(made.as_ref()));
        let passed = command.passed.iter().map(Some);
        let mut sources = Vec::new();
        for (file, target) in standard.chain(passed).zip(0..) {
            if let Some(file) = file {
                sources.push(Source::above(file.as_fd(), command.next_fd, target)?);
            }
        }
        Ok(sources)
    }
}

fn sink(output: &Output) -> io::Result<(Option<OwnedFd>, Option<PipeReader>)> {
    Ok(match output {
        Output::Null => (
            Some(OpenOptions::new().write(true).open("/dev/null")?.into()),
            None,
        ),
        Output::Pipe => {
            let (reader, writer) = io::pipe()?;
            (Some(writer.into()), Some(reader))
        }
        Output::Inherit | Output::To(_) => (None, None),
    })
}

/// A file of ours, and the number that the child is to have it under.
struct Source {
    file: OwnedFd,
    target: RawFd,
}

impl Source {
    fn above(file: BorrowedFd<'_>, lowest: RawFd, target: RawFd) -> io::Result<Self> {
        Ok(Self {
            file: rustix::io::fcntl_dupfd_cloexec(file, lowest)?,
            target,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::io::Errno;

    use super::*;

    /// The program was there when it was looked for, and is not when it is to run.
    #[test]
    fn a_program_that_vanished_in_between() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program");
        fs::copy("/bin/true", &path).unwrap();
        let command = Command::new(&path);
        let program = Program::prepare(&command, Marker::next().unwrap()).unwrap();
        fs::remove_file(&path).unwrap();
        let error = launch(&command, &program, &[]).unwrap_err();
        let SpawnError::Exec { source, .. } = error else {
            panic!("{error:?}");
        };
        assert_eq!(source.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn the_kernels_answers() {
        #[track_caller]
        fn check(errno: Errno, want: &str) {
            let error = explain(Command::new("prog").cwd("/"), errno.into());
            assert_eq!(error.to_string(), want, "{errno:?}");
        }
        check(Errno::AGAIN, "no resources left to start program prog");
        check(Errno::NOMEM, "no resources left to start program prog");
        check(Errno::ACCESS, "cannot run program prog");
        check(Errno::NOENT, "cannot run program prog");
    }
}
