//! The kernel calls that have no safe form elsewhere: `posix_spawn`, `ioprio_set`, `wait4`, `getpgid` of
//! processes that have no group here, and `pidfd_send_signal` to a group.
//!
//! `posix_spawn` is `clone(CLONE_VM | CLONE_VFORK)` in glibc and musl: the child runs on our memory
//! until it execs, so that the price does not grow with our size as that of `fork` does. Everything
//! that must happen between the two (files, folder, group, signals) is handed over as data.

#![expect(
    unsafe_code,
    reason = "posix_spawn takes C arrays and fills C structs; the others have no wrapper"
)]

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_short, c_uint};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr;

use rustix::process::Pid;

use crate::signal::Signal;
use crate::usage::Spent;

/// What the child is to be.
#[derive(Debug)]
pub(crate) struct Launch<'a> {
    /// The file to run: no search is made.
    pub(crate) file: &'a CStr,
    pub(crate) argv: &'a [CString],
    pub(crate) envp: &'a [CString],
    pub(crate) cwd: Option<&'a CStr>,
    /// Which of our files the child gets under which number. Every source must lie at
    /// `close_from` or above, so that filling one number never destroys the next source.
    pub(crate) files: &'a [(BorrowedFd<'a>, RawFd)],
    /// Files from this number on are closed in the child, close-on-exec or not: C code in our
    /// process may have opened them without the flag.
    pub(crate) close_from: RawFd,
    /// The signals that the child blocks; all others are unblocked.
    pub(crate) blocked: &'a [Signal],
}

/// Starts a process as the leader of a new process group, with every signal at its default action.
///
/// An error of the child between `clone` and `exec` (folder missing, file not executable) is
/// reported here.
pub(crate) fn posix_spawn(launch: &Launch<'_>) -> io::Result<Pid> {
    let attributes = Attributes::new(launch.blocked)?;
    let mut actions = FileActions::new()?;
    if let Some(cwd) = launch.cwd {
        actions.change_dir(cwd)?;
    }
    for &(source, target) in launch.files {
        actions.duplicate(source, target)?;
    }
    actions.close_from(launch.close_from)?;

    let argv = pointers(launch.argv);
    let envp = pointers(launch.envp);
    let mut pid = 0;
    // SAFETY: all pointers are valid for the call, which copies what it keeps: `file` and the
    // strings behind `argv` and `envp` are nul-terminated and outlive it, both arrays end with a
    // null pointer, and posix_spawn writes to none of them whatever its signature says.
    let errno = unsafe {
        libc::posix_spawn(
            &raw mut pid,
            launch.file.as_ptr(),
            &raw const actions.0,
            &raw const attributes.0,
            argv.as_ptr(),
            envp.as_ptr(),
        )
    };
    check(errno)?;
    Ok(Pid::from_raw(pid).expect("a started process has a pid above 0"))
}

/// Sets the I/O priority of every process in a group.
pub(crate) fn set_group_io_priority(group: Pid, priority: c_int) -> io::Result<()> {
    const IOPRIO_WHO_PGRP: c_int = 2;
    // SAFETY: the call takes three integers and touches no memory of ours.
    let result = unsafe {
        libc::syscall(
            libc::SYS_ioprio_set,
            IOPRIO_WHO_PGRP,
            group.as_raw_nonzero().get(),
            priority,
        )
    };
    done(result)
}

/// Signals the group that the process of a pidfd leads, or led: the pidfd keeps the group's number from
/// meaning another. Since Linux 6.9; `EINVAL` before.
pub(crate) fn signal_group_by_pidfd(pidfd: BorrowedFd<'_>, signal: Signal) -> io::Result<()> {
    const PIDFD_SIGNAL_PROCESS_GROUP: c_uint = 1 << 2;
    // SAFETY: the call takes integers and, as the null says, no siginfo_t.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal.as_raw(),
            ptr::null::<libc::siginfo_t>(),
            PIDFD_SIGNAL_PROCESS_GROUP,
        )
    };
    done(result)
}

/// Reaps a zombie child of ours, and tells what it took.
pub(crate) fn reap(zombie: Pid) -> io::Result<Spent> {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is valid for writing one rusage, and the status may be null.
    let reaped = unsafe {
        libc::wait4(
            zombie.as_raw_nonzero().get(),
            ptr::null_mut(),
            libc::WNOHANG,
            usage.as_mut_ptr(),
        )
    };
    done(reaped.into())?;
    // SAFETY: the struct is plain numbers, of which all zeroes is a valid value.
    Ok(Spent::from_kernel(&unsafe { usage.assume_init() }))
}

/// What this process took so far.
pub(crate) fn spent_by_us() -> Spent {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is valid for writing one rusage.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
    // SAFETY: the struct is plain numbers, of which all zeroes is a valid value.
    Spent::from_kernel(&unsafe { usage.assume_init() })
}

/// What a zombie child of ours took, and what those took that it waited for; it stays a zombie. The
/// library's `waitid` has no place for that, but the kernel's has (`waitid(2)`, "C library/kernel
/// differences").
pub(crate) fn spent_by(zombie: BorrowedFd<'_>) -> io::Result<Spent> {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is valid for writing one rusage, and that to the siginfo may be null.
    let found = unsafe {
        libc::syscall(
            libc::SYS_waitid,
            libc::P_PIDFD,
            zombie.as_raw_fd(),
            ptr::null_mut::<libc::siginfo_t>(),
            libc::WEXITED | libc::WNOHANG | libc::WNOWAIT,
            usage.as_mut_ptr(),
        )
    };
    done(found)?;
    // SAFETY: the struct is plain numbers, of which all zeroes is a valid value.
    Ok(Spent::from_kernel(&unsafe { usage.assume_init() }))
}

/// The group of a process; `None` for one that has none in our pid namespace, such as a thread of the
/// kernel. The kernel says 0 then, which `rustix` takes for impossible.
pub(crate) fn group_of(process: Pid) -> io::Result<Option<Pid>> {
    // SAFETY: the call takes one integer and touches no memory of ours.
    let group = unsafe { libc::getpgid(process.as_raw_nonzero().get()) };
    done(group.into())?;
    Ok(Pid::from_raw(group))
}

struct Attributes(libc::posix_spawnattr_t);

impl Attributes {
    fn new(blocked: &[Signal]) -> io::Result<Self> {
        let mut raw = MaybeUninit::uninit();
        // SAFETY: the pointer is valid for writing one attribute object.
        check(unsafe { libc::posix_spawnattr_init(raw.as_mut_ptr()) })?;
        // SAFETY: the call above succeeded, so the object is initialised; it is plain data that
        // may be moved.
        let mut attributes = Self(unsafe { raw.assume_init() });
        let raw = &raw mut attributes.0;

        let mask = signal_set(blocked);
        let default = every_signal();
        let flags = libc::POSIX_SPAWN_SETPGROUP
            | libc::POSIX_SPAWN_SETSIGMASK
            | libc::POSIX_SPAWN_SETSIGDEF;
        let flags = c_short::try_from(flags).expect("the three flags are below 16");
        // SAFETY: `raw` points to an initialised object that lives on.
        check(unsafe { libc::posix_spawnattr_setflags(raw, flags) })?;
        // SAFETY: as above; group 0 means a new group named for the child.
        check(unsafe { libc::posix_spawnattr_setpgroup(raw, 0) })?;
        // SAFETY: as above; the set is initialised and copied.
        check(unsafe { libc::posix_spawnattr_setsigmask(raw, &raw const mask) })?;
        // SAFETY: as above.
        check(unsafe { libc::posix_spawnattr_setsigdefault(raw, &raw const default) })?;
        Ok(attributes)
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: the object was initialised by `new` and is not used again. The result is always 0.
        unsafe { libc::posix_spawnattr_destroy(&raw mut self.0) };
    }
}

struct FileActions(libc::posix_spawn_file_actions_t);

impl FileActions {
    fn new() -> io::Result<Self> {
        let mut raw = MaybeUninit::uninit();
        // SAFETY: the pointer is valid for writing one actions object.
        check(unsafe { libc::posix_spawn_file_actions_init(raw.as_mut_ptr()) })?;
        // SAFETY: the call above succeeded, so the object is initialised; its list lives on the
        // heap, so it may be moved.
        Ok(Self(unsafe { raw.assume_init() }))
    }

    fn change_dir(&mut self, dir: &CStr) -> io::Result<()> {
        // SAFETY: the object is initialised; the string is nul-terminated and copied.
        check(unsafe { libc::posix_spawn_file_actions_addchdir_np(&raw mut self.0, dir.as_ptr()) })
    }

    fn duplicate(&mut self, source: BorrowedFd<'_>, target: RawFd) -> io::Result<()> {
        // SAFETY: the object is initialised; the numbers are only written down here.
        check(unsafe {
            libc::posix_spawn_file_actions_adddup2(&raw mut self.0, source.as_raw_fd(), target)
        })
    }

    #[cfg(target_env = "gnu")]
    fn close_from(&mut self, lowest: RawFd) -> io::Result<()> {
        unsafe extern "C" {
            /// Since glibc 2.34; the `libc` crate does not declare it for Linux.
            fn posix_spawn_file_actions_addclosefrom_np(
                actions: *mut libc::posix_spawn_file_actions_t,
                lowest: c_int,
            ) -> c_int;
        }
        // SAFETY: the object is initialised; the number is only written down here.
        check(unsafe { posix_spawn_file_actions_addclosefrom_np(&raw mut self.0, lowest) })
    }

    /// musl has no such action: there, files opened without close-on-exec are inherited.
    #[cfg(not(target_env = "gnu"))]
    fn close_from(&mut self, _lowest: RawFd) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for FileActions {
    fn drop(&mut self) {
        // SAFETY: the object was initialised by `new` and is not used again. The result is always 0.
        unsafe { libc::posix_spawn_file_actions_destroy(&raw mut self.0) };
    }
}

fn signal_set(signals: &[Signal]) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the pointer is valid for writing one set. The call cannot fail.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    for signal in signals {
        // SAFETY: the set was initialised by sigemptyset; a named signal is in range.
        unsafe { libc::sigaddset(set.as_mut_ptr(), signal.as_raw()) };
    }
    // SAFETY: sigemptyset initialised it.
    unsafe { set.assume_init() }
}

fn every_signal() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the pointer is valid for writing one set. The call cannot fail.
    unsafe { libc::sigfillset(set.as_mut_ptr()) };
    // SAFETY: sigfillset initialised it.
    unsafe { set.assume_init() }
}

fn pointers(strings: &[CString]) -> Vec<*mut c_char> {
    let ends = [ptr::null_mut()];
    strings
        .iter()
        .map(|string| string.as_ptr().cast_mut())
        .chain(ends)
        .collect()
}

/// A system call returns -1 and sets `errno`.
fn done(result: c_long) -> io::Result<()> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// The `posix_spawn` family returns the error number instead of setting `errno`.
fn check(errno: c_int) -> io::Result<()> {
    if errno == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(errno))
    }
}
