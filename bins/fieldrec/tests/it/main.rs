//! The program as a user runs it: the real fieldrec, the real ffmpeg, real signals.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod commands;
mod crash;
mod disk;
mod faults;
mod listeners;
mod record;
mod soak;
mod support;
