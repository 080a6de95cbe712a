//! What all chunks of a recording say of it.

use std::{fmt, time::Duration};

use jiff::Timestamp;

use super::header::{CHUNK_HEADER_VERSION, ChunkHeader, DeclaredStream};
use crate::{
    capture::DeviceSummary, clock::ClockPair, pts::Pts, recording_id::RecordingId,
    stream::StreamSpec,
};

/// What all chunks of a recording say of it, so that each can be understood alone.
pub struct RecordingFacts {
    recording_id: RecordingId,
    started_at: Timestamp,
    clock: Box<dyn Fn() -> ClockPair + Send>,
    devices: Vec<DeviceSummary>,
    host: String,
    program: String,
}

impl RecordingFacts {
    /// A recording that was started at `started_at` by the wall clock. `clock` is asked for both
    /// clocks each time a chunk is opened.
    pub fn new(
        recording_id: RecordingId,
        started_at: Timestamp,
        clock: impl Fn() -> ClockPair + Send + 'static,
    ) -> Self {
        Self {
            recording_id,
            started_at,
            clock: Box::new(clock),
            devices: Vec::new(),
            host: String::new(),
            program: String::new(),
        }
    }

    /// Sets the devices, in the order in which they were given.
    #[must_use]
    pub fn devices(mut self, devices: Vec<DeviceSummary>) -> Self {
        self.devices = devices;
        self
    }

    /// Sets the name of the machine that records.
    #[must_use]
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = host.into();
        self
    }

    /// Sets the name and the version of the program that records.
    #[must_use]
    pub fn program(mut self, program: impl Into<String>) -> Self {
        self.program = program.into();
        self
    }

    /// Both clocks now.
    pub(super) fn clock(&self) -> ClockPair {
        (self.clock)()
    }

    /// The header of the largest size that a chunk of these streams can have.
    pub(super) fn largest_header(&self, streams: &[StreamSpec]) -> ChunkHeader {
        let clock = ClockPair {
            pts_us: Pts(i64::MIN),
            realtime: Timestamp::MIN,
        };
        self.header(u64::MAX, Pts(i64::MIN), clock, Duration::MAX, streams)
    }

    /// The header of the chunk with number `sequence`, which is opened at `clock`.
    pub(super) fn header(
        &self,
        sequence: u64,
        begins: Pts,
        clock: ClockPair,
        length: Duration,
        streams: &[StreamSpec],
    ) -> ChunkHeader {
        ChunkHeader {
            version: CHUNK_HEADER_VERSION,
            recording_id: self.recording_id,
            started_at: self.started_at,
            sequence,
            begins_pts_us: begins,
            chunk_length_us: u64::try_from(length.as_micros()).unwrap_or(u64::MAX),
            clock,
            devices: self.devices.clone(),
            streams: streams.iter().map(DeclaredStream::from).collect(),
            host: self.host.clone(),
            program: self.program.clone(),
        }
    }
}

impl fmt::Debug for RecordingFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordingFacts")
            .field("recording_id", &self.recording_id)
            .field("started_at", &self.started_at)
            .finish_non_exhaustive()
    }
}
