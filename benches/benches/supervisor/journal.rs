//! What the children of one contender say, and how they are told what to do.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::time::{ClockId, clock_gettime};

/// After that something has gone wrong.
const LONG: Duration = Duration::from_secs(120);

/// The FIFOs of the children of one contender.
///
/// Who goes by that name in the folder: `journal`, `orders` for the first child and `idle` for all others.
pub(crate) struct Journal {
    entries: Receiver<Entry>,
    orders: File,
    /// Held open as long as the children shall run.
    _idle: File,
}

/// What a child has written.
pub(crate) enum Entry {
    Started { pid: i32, at_ns: i64 },
    Wrote { took: Duration },
}

impl Journal {
    pub(crate) fn create(folder: &Path) -> Self {
        let entries = fifo(&folder.join("journal"));
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(entries).lines() {
                let entry = Entry::parse(&line.expect("a FIFO that we hold open"));
                if sender.send(entry).is_err() {
                    return;
                }
            }
        });
        Self {
            entries: receiver,
            orders: fifo(&folder.join("orders")),
            _idle: fifo(&folder.join("idle")),
        }
    }

    /// Waits until a child has started: its process id, and when its main began.
    pub(crate) fn next_start(&self) -> (i32, i64) {
        match self.entries.recv_timeout(LONG) {
            Ok(Entry::Started { pid, at_ns }) => (pid, at_ns),
            _ => panic!("no child has started"),
        }
    }

    /// Has the first child write, and gives how long that took.
    pub(crate) fn write(&mut self, pattern: &str, bytes: usize) -> Duration {
        let order = format!("{pattern} {bytes}\n");
        let told = self.orders.write_all(order.as_bytes());
        told.expect("a FIFO that we hold open");
        match self.entries.recv_timeout(LONG) {
            Ok(Entry::Wrote { took }) => took,
            _ => panic!("the child has not written"),
        }
    }
}

impl Entry {
    fn parse(line: &str) -> Self {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |word: &str| word.parse::<i64>().expect("a number from our own child");
        match words[..] {
            ["started", pid, at] => Self::Started {
                pid: pid.parse().expect("a process id"),
                at_ns: number(at),
            },
            ["wrote", from, to] => Self::Wrote {
                took: Duration::from_nanos((number(to) - number(from)).unsigned_abs()),
            },
            _ => panic!("not from our own child: {line}"),
        }
    }
}

/// The arguments of a child of the contender in this folder.
pub(crate) fn child_arguments(folder: &Path, index: usize) -> [PathBuf; 2] {
    let orders = if index == 0 { "orders" } else { "idle" };
    [folder.join("journal"), folder.join(orders)]
}

/// The clock by which the children write their times.
pub(crate) fn now_ns() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// Open for both, so that it neither waits for the other end nor ever ends.
fn fifo(path: &Path) -> File {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a new FIFO");
    let file = OpenOptions::new().read(true).write(true).open(path);
    file.expect("the FIFO just made")
}
