//! What chunks a recording's folder holds, from their headers alone.

use std::{collections::BTreeSet, path::Path};

use longtake_durable::Storage;

use crate::{
    chunk::ChunkHeader,
    chunk_file::{BrokenChunk, Chunk, ChunkFile, Opened, ReadChunkError},
    clock::ClockPair,
    manifest::Manifest,
    pts::Pts,
    wall_clock::WallClock,
};

/// The chunks of a recording, in order.
#[derive(Debug)]
pub(crate) struct Survey {
    /// The header of the first chunk, for what all chunks of a recording share.
    pub header: Option<ChunkHeader>,
    pub chunks: Vec<SurveyedChunk>,
    /// Files that hold a chunk which another file holds as well.
    pub doubles: Vec<SurveyedChunk>,
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
    /// Reads the headers of all chunks in `folder` that belong to the recording of `manifest`, or if
    /// there is none, to the same recording as the first.
    ///
    /// Of several files with the same chunk, such as a copy that a user has made, the finished one
    /// counts, and of those the one that the manifest lists.
    pub(crate) fn read(
        storage: &dyn Storage,
        folder: &Path,
        manifest: Option<&Manifest>,
    ) -> Result<Self, ReadChunkError> {
        let mut recording = manifest.map(|manifest| manifest.recording_id);
        let mut survey = Self {
            header: None,
            chunks: Vec::new(),
            doubles: Vec::new(),
            broken: Vec::new(),
        };
        for file in ChunkFile::list(storage, folder)? {
            match file.open(storage, recording)? {
                Opened::Chunk(chunk) => {
                    recording = Some(chunk.header.recording_id);
                    survey.add(*chunk);
                }
                Opened::Stranger => {}
                Opened::Broken(broken) => survey.broken.push(broken),
            }
        }
        survey.sort(manifest);
        Ok(survey)
    }

    /// What the wall clock said all through the recording.
    pub(crate) fn wall_clock(&self) -> WallClock {
        WallClock::new(self.chunks.iter().map(|chunk| chunk.clock))
    }

    fn add(&mut self, chunk: Chunk) {
        let Chunk { file, header, .. } = chunk;
        self.chunks.push(SurveyedChunk {
            file,
            sequence: header.sequence,
            begins: header.begins_pts_us,
            clock: header.clock,
        });
        let first = self.header.as_ref();
        if first.is_none_or(|first| header.sequence < first.sequence) {
            self.header = Some(header);
        }
    }

    /// Puts the chunks in order, and those aside that are there already.
    fn sort(&mut self, manifest: Option<&Manifest>) {
        let chunks = manifest.iter().flat_map(|manifest| &manifest.chunks);
        let listed: BTreeSet<_> = chunks.map(|chunk| chunk.file.as_str()).collect();
        self.chunks.sort_by_cached_key(|chunk| {
            let name = chunk.file.name.clone();
            let is_listed = listed.contains(name.as_str());
            (
                chunk.sequence,
                chunk.file.is_open(),
                !is_listed,
                name.len(),
                name,
            )
        });
        let mut before = None;
        let is_double =
            |chunk: &mut SurveyedChunk| before.replace(chunk.sequence) == Some(chunk.sequence);
        self.doubles = self.chunks.extract_if(.., is_double).collect();
    }
}
