//! The child that the supervisors of the bench `supervisor` keep alive.
//!
//! `supervised JOURNAL ORDERS`: writes a line into the FIFO `JOURNAL` first of all, and then does what it
//! reads from the FIFO `ORDERS`, idle as long as nothing comes: a line `PATTERN BYTES` has it write that
//! much to its stdout. It ends when nobody can give orders any more.

use std::env;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};

use rustix::time::{ClockId, clock_gettime};

/// The length of a line, its end counted.
const LINE: usize = 100;

/// The length of one `write` of the patterns that are not line by line.
const BLOCK: usize = 64_000;

fn main() -> io::Result<()> {
    let began = now_ns();
    let mut paths = env::args_os().skip(1);
    let mut next = || paths.next().ok_or(io::ErrorKind::InvalidInput);
    let mut journal = OpenOptions::new().append(true).open(next()?)?;
    let orders = BufReader::new(File::open(next()?)?);
    // One write: others write into the same FIFO.
    journal.write_all(format!("started {} {began}\n", std::process::id()).as_bytes())?;
    for order in orders.lines() {
        let order = order?;
        let (pattern, bytes) = order.split_once(' ').ok_or(io::ErrorKind::InvalidInput)?;
        let bytes: usize = bytes.parse().map_err(io::Error::other)?;
        let from = now_ns();
        match pattern {
            "bulk" => write(bytes, &lines(), BLOCK)?,
            "single" => write(bytes, &lines(), LINE)?,
            "endless" => write(bytes, &[b'x'; BLOCK], BLOCK)?,
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        }
        journal.write_all(format!("wrote {from} {}\n", now_ns()).as_bytes())?;
    }
    Ok(())
}

/// A block of lines such as ffmpeg prints them, no two of them alike.
fn lines() -> Vec<u8> {
    let lines = (0..BLOCK / LINE).map(|frame| {
        let text = format!("frame={frame:5} fps= 30 q=28.0 size=    2048KiB bitrate=1221.9kbits/s");
        format!("{text:width$}\n", width = LINE - 1)
    });
    lines.collect::<String>().into_bytes()
}

/// Writes so many bytes of this text, over and over, so much in each `write`.
fn write(bytes: usize, text: &[u8], at_once: usize) -> io::Result<()> {
    let mut stdout = File::from(rustix::io::dup(io::stdout())?);
    let pieces = text.chunks(at_once).cycle();
    for piece in pieces.take(bytes.div_ceil(at_once)) {
        stdout.write_all(piece)?;
    }
    Ok(())
}

fn now_ns() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}
