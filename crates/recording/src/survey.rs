//! What chunks a recording's folder holds, from their headers alone.

use std::path::Path;

use longtake_durable::Storage;

use crate::{
    chunk::ChunkHeader,
    chunk_file::{BrokenChunk, ChunkFile, Opened, ReadChunkError},
    clock::ClockPair,
    pts::Pts,
    recording_id::RecordingId,
    wall_clock::WallClock,
};

/// The chunks of a recording, in order.
#[derive(Debug)]
pub(crate) struct Survey {
    /// The header of the first chunk, for what all chunks of a recording share.
    pub header: Option<ChunkHeader>,
    pub chunks: Vec<SurveyedChunk>,
    pub broken: Vec<BrokenChunk>,
}

/// What the header of one chunk says of its place. Kept small: a recording may have many chunks.
#[derive(Debug, Clone)]
pub(crate) struct SurveyedChunk {
    pub file: ChunkFile,
    pub sequence: u64,
    pub begins: Pts,
    pub clock: ClockPair,
}

impl Survey {
    /// Reads the headers of all chunks in `folder` that belong to `recording`, or if that is not
    /// known, to the same recording as the first.
    pub(crate) fn read(
        storage: &dyn Storage,
        folder: &Path,
        mut recording: Option<RecordingId>,
    ) -> Result<Self, ReadChunkError> {
        let mut survey = Self {
            header: None,
            chunks: Vec::new(),
            broken: Vec::new(),
        };
        for file in ChunkFile::list(storage, folder)? {
            match file.open(storage, recording)? {
                Opened::Chunk(chunk) => {
                    recording = Some(chunk.header.recording_id);
                    survey.chunks.push(SurveyedChunk {
                        file: chunk.file,
                        sequence: chunk.header.sequence,
                        begins: chunk.header.begins_pts_us,
                        clock: chunk.header.clock,
                    });
                    let first = survey.header.as_ref();
                    if first.is_none_or(|first| chunk.header.sequence < first.sequence) {
                        survey.header = Some(chunk.header);
                    }
                }
                Opened::Stranger => {}
                Opened::Broken(broken) => survey.broken.push(broken),
            }
        }
        survey.chunks.sort_by_key(|chunk| chunk.sequence);
        Ok(survey)
    }

    /// What the wall clock said all through the recording.
    pub(crate) fn wall_clock(&self) -> WallClock {
        WallClock::new(self.chunks.iter().map(|chunk| chunk.clock))
    }
}
