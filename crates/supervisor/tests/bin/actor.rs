//! A child that misbehaves at random: `actor FOLDER NAME SEED`.
//!
//! It ignores `SIGTERM` or not, starts grandchildren in its group or in sessions of their own, talks, floods,
//! stands still, and ends with some code or by `SIGKILL`. All processes of one tree hold a shared lock on
//! `FOLDER/NAME`; the leader first asks for it alone. If somebody of an earlier tree lives, it is refused, and the
//! leader writes that into `FOLDER/violations`.

use std::env;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::process::{self, Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{self, SigHandler, Signal};

const FOREVER: Duration = Duration::from_secs(1000);

fn main() -> io::Result<ExitCode> {
    let args: Vec<_> = env::args().collect();
    let [_, folder, name, seed, rest @ ..] = &args[..] else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let mut random = Random(seed.parse().unwrap_or(0) ^ (u64::from(process::id()) << 20));
    if random.one_in(3) {
        ignore_term()?;
    }
    let file = File::options()
        .create(true)
        .append(true)
        .open(Path::new(folder).join(name))?;
    if let [own_session] = rest {
        if own_session == "own-session" {
            nix::unistd::setsid()?;
        }
        let _shared = Flock::lock(file, FlockArg::LockShared).map_err(|(_, errno)| errno)?;
        thread::sleep(FOREVER);
        return Ok(ExitCode::SUCCESS);
    }
    let alone = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(alone) => alone,
        Err((_, Errno::EWOULDBLOCK)) => {
            let path = Path::new(folder).join("violations");
            let mut file = OpenOptions::new().create(true).append(true).open(path)?;
            writeln!(file, "{name} lives twice")?;
            return Ok(ExitCode::from(9));
        }
        Err((_, errno)) => return Err(errno.into()),
    };
    let shared = alone;
    shared.relock(FlockArg::LockShared)?;
    for _ in 0..random.below(3) {
        let session = if random.one_in(2) {
            "own-session"
        } else {
            "same-session"
        };
        // Nobody waits for it: it outlives us.
        Command::new(env::current_exe()?)
            .args([folder, name, seed, session])
            .stdin(Stdio::null())
            .spawn()
            .map(drop)?;
    }
    act(&mut random)
}

fn act(random: &mut Random) -> io::Result<ExitCode> {
    let me = nix::unistd::Pid::this();
    loop {
        thread::sleep(Duration::from_millis(random.below(400)));
        match random.below(14) {
            0..5 => writeln!(io::stdout(), "here I am")?,
            5 => writeln!(io::stderr(), "error: nothing works")?,
            6 => io::stdout().write_all(&b"flood\n".repeat(50_000))?,
            7 => write!(io::stderr(), "half a line")?,
            8 => signal::kill(me, Signal::SIGSTOP)?,
            9 => signal::kill(me, Signal::SIGKILL)?,
            10 => return Ok(ExitCode::from(u8::try_from(random.below(4)).unwrap_or(1))),
            11 => panic!("no more"),
            _ => thread::sleep(Duration::from_millis(random.below(3000))),
        }
    }
}

#[expect(unsafe_code, reason = "signal(2) has no safe form")]
fn ignore_term() -> io::Result<()> {
    // SAFETY: ignoring a signal installs no handler.
    unsafe { signal::signal(Signal::SIGTERM, SigHandler::SigIgn) }?;
    Ok(())
}

/// Marsaglia's xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 |= 1;
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }
}
