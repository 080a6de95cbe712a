//! The writer and the reader beside the real ffmpeg and ffprobe, and under damage.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod complete;
mod damage;
mod foreign;
mod limits;
mod memory;
mod raw_input;
mod round_trip;
mod tools;
