//! Recordings on real files, real ffmpeg processes, and a simulated disk.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bitstream;
mod capture;
mod chunks;
mod chunks_after_power_loss;
mod chunks_on_bad_disks;
mod damage;
mod encoder;
mod encoder_bench;
mod encoder_faults;
mod export;
mod ffmpeg;
mod footage;
mod inspect;
mod manifest;
mod nut;
mod recover;
mod rtsp;
mod session;
mod session_faults;
mod sources;
