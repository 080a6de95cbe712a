//! A child that does something at random: `actor FOLDER NAME`.
//!
//! As long as it lives it holds a lock on `NAME.leader` in the folder, and everybody whom it starts a shared
//! one on `NAME.kin`. Whoever finds somebody of another life there writes that to `violations`.

use std::env;
use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigHandler, Signal, signal};
use nix::unistd::setsid;

fn main() -> io::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [folder, name] => Actor::new(folder, name)?.act(),
        [folder, name, "kin", leader] => be_kin(folder.as_ref(), name, leader),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

struct Actor {
    folder: PathBuf,
    name: String,
    _leader: File,
}

impl Actor {
    fn new(folder: &str, name: &str) -> io::Result<Self> {
        let folder = PathBuf::from(folder);
        let mut leader = open(&folder, name, "leader")?;
        if leader.try_lock().is_err() {
            violation(&folder, name, "another leader lives");
        }
        leader.set_len(0)?;
        write!(leader, "{}", process::id())?;
        if open(&folder, name, "kin")?.try_lock().is_err() {
            violation(&folder, name, "kin of another leader lives");
        }
        Ok(Self {
            folder,
            name: name.to_owned(),
            _leader: leader,
        })
    }

    fn act(&self) -> io::Result<()> {
        let dice = RandomState::new().hash_one(process::id());
        for _ in 0..dice % 3 {
            self.start_kin()?;
        }
        let some_time = Duration::from_millis(dice >> 8 & 0xfff);
        match dice >> 32 & 0xf {
            // Ends, well or badly, at once or later.
            0 => process::exit(0),
            1 => process::exit(3),
            2 => {
                thread::sleep(some_time);
                process::exit(0);
            }
            3 => {
                thread::sleep(some_time);
                process::abort();
            }
            4 | 5 => flood()?,
            6 | 7 => ignore_term()?,
            // Hangs.
            8 => thread::sleep(Duration::MAX),
            _ => {}
        }
        loop {
            writeln!(io::stdout(), "at {some_time:?}")?;
            thread::sleep(Duration::from_millis(300));
        }
    }

    /// Nobody waits for them: they outlive this process.
    fn start_kin(&self) -> io::Result<()> {
        let me = process::id().to_string();
        Command::new(env::current_exe()?)
            .arg(&self.folder)
            .args([&self.name, "kin", &me])
            .spawn()
            .map(drop)
    }
}

fn be_kin(folder: &Path, name: &str, leader: &str) -> io::Result<()> {
    let mine = open(folder, name, "kin")?;
    // The leader holds it for a moment when it begins.
    mine.lock_shared()?;
    let mut now = String::new();
    let mut file = open(folder, name, "leader")?;
    file.rewind()?;
    file.read_to_string(&mut now)?;
    // It is empty while the next leader writes, who must not be there either.
    if now != leader {
        violation(folder, name, "lives under another leader");
    }
    let dice = RandomState::new().hash_one(process::id());
    if dice & 1 == 0 {
        setsid()?;
    }
    if dice & 2 == 0 {
        ignore_term()?;
    }
    thread::sleep(Duration::MAX);
    Ok(())
}

fn open(folder: &Path, name: &str, what: &str) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(folder.join(format!("{name}.{what}")))
}

fn violation(folder: &Path, name: &str, what: &str) {
    let line = format!("{name} {}: {what}\n", process::id());
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(folder.join("violations"));
    let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
    written.expect("the test looks into this file");
}

fn flood() -> io::Result<()> {
    let line = [b'x'; 1 << 10];
    for _ in 0..1 << 10 {
        io::stderr().write_all(&line)?;
        io::stderr().write_all(b"\n")?;
    }
    Ok(())
}

#[expect(unsafe_code, reason = "signal has no safe form")]
fn ignore_term() -> io::Result<()> {
    // SAFETY: to ignore a signal runs no code of ours.
    unsafe { signal(Signal::SIGTERM, SigHandler::SigIgn) }?;
    Ok(())
}
