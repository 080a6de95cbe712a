//! A child that says much, or takes much. What it does is its first argument:
//!
//! - `lines BYTES` writes lines of 100 bytes to stderr, 640 at once.
//! - `solid BYTES` writes one line to stderr that does not end.
//! - `hold BYTES` fills so much memory, says `ready`, and sleeps.
//! - `burn` computes for ever.

use std::env;
use std::error::Error;
use std::hint::black_box;
use std::io::{self, Write};
use std::thread;
use std::time::Duration;

const LINE_BYTES: usize = 100;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let order = args.next().ok_or("what shall I do?")?;
    let bytes = args.next().map_or(Ok(0), |bytes| bytes.parse())?;
    match order.as_str() {
        "lines" => {
            let line = format!("{}\n", "x".repeat(LINE_BYTES - 1));
            say(line.repeat(640).as_bytes(), bytes)?;
        }
        "solid" => say(&[b'x'; 64_000], bytes)?,
        "hold" => {
            let memory = vec![1_u8; bytes];
            writeln!(io::stdout(), "ready")?;
            thread::sleep(Duration::from_secs(1000));
            drop(black_box(memory));
        }
        "burn" => burn(),
        _ => return Err("unknown order".into()),
    }
    Ok(())
}

fn say(block: &[u8], bytes: usize) -> io::Result<()> {
    let mut left = bytes;
    while left > 0 {
        let now = left.min(block.len());
        io::stderr().write_all(&block[..now])?;
        left -= now;
    }
    Ok(())
}

fn burn() -> ! {
    loop {
        black_box(0);
    }
}
