//! Reads the chunks of an export in order, those that overlap in time side by side.

use std::vec;

use longtake_durable::Storage;
use longtake_matroska::StoredCluster;

use super::{order::next_of, plan::Plan, source::Source};
use crate::{
    chunk_file::{ChunkFile, ReadChunkError},
    recording_id::RecordingId,
};

/// Clusters of all chunks of a plan, in the order in which they go into the file.
pub(super) struct Interleave<'a> {
    storage: &'a dyn Storage,
    recording: RecordingId,
    plan: &'a Plan,
    streams: Vec<String>,
    /// The chunks that come later.
    waiting: vec::IntoIter<(usize, ChunkFile)>,
    /// The chunk that comes next, with its first cluster.
    upcoming: Option<Source>,
    /// The chunks that are being read, older ones first.
    reading: Vec<Source>,
    /// What could not be read of chunks that are done, in words.
    damage: Vec<String>,
}

/// The next cluster of one of the chunks.
pub(super) struct Taken<'a> {
    pub source: &'a Source,
    pub cluster: StoredCluster,
    /// How many packets of each stream came before it in its chunk.
    pub before: Vec<u64>,
}

impl<'a> Interleave<'a> {
    pub(super) fn new(storage: &'a dyn Storage, recording: RecordingId, plan: &'a Plan) -> Self {
        Self {
            storage,
            recording,
            plan,
            streams: plan.streams.clone(),
            waiting: plan.chunks.clone().into_iter(),
            upcoming: None,
            reading: Vec::new(),
            damage: Vec::new(),
        }
    }

    /// The next cluster; none when all chunks are read.
    pub(super) fn next(&mut self) -> Result<Option<Taken<'_>>, ReadChunkError> {
        self.close_finished();
        self.open_due()?;
        let place = match &self.reading[..] {
            [] => return Ok(None),
            [_] => 0,
            several => {
                let waiting: Vec<_> = several.iter().filter_map(Source::waiting).collect();
                next_of(&waiting)
            }
        };
        let source = &mut self.reading[place];
        let taken = source.take()?;
        Ok(taken.map(|(cluster, before)| Taken {
            source,
            cluster,
            before,
        }))
    }

    /// What could not be read, in words.
    pub(super) fn into_damage(mut self) -> Vec<String> {
        self.reading.extend(self.upcoming.take());
        let open = self.reading.iter().filter_map(Source::damage);
        self.damage.extend(open);
        self.damage
    }

    fn close_finished(&mut self) {
        let damage = &mut self.damage;
        self.reading.retain(|source| {
            let goes_on = source.next_pts().is_some();
            if !goes_on {
                damage.extend(source.damage());
            }
            goes_on
        });
    }

    /// Opens the chunks whose time has come.
    fn open_due(&mut self) -> Result<(), ReadChunkError> {
        loop {
            if self.upcoming.is_none() {
                let Some(file) = self.waiting.next() else {
                    return Ok(());
                };
                let streams = &mut self.streams;
                let source = Source::open(self.storage, self.recording, file, streams)?;
                self.upcoming = source.map(|mut source| {
                    source.numbers = self.plan.numbers(&source);
                    source
                });
                continue;
            }
            let now = self.reading.iter().filter_map(Source::next_pts).min();
            let due = |source: &mut Source| {
                // One without a cluster is opened as well, to be closed again.
                now.is_none_or(|now| source.next_pts().is_none_or(|first| first <= now))
            };
            let Some(upcoming) = self.upcoming.take_if(due) else {
                return Ok(());
            };
            for source in &mut self.reading {
                source.count_left()?;
            }
            if upcoming.next_pts().is_some() {
                self.reading.push(upcoming);
            } else {
                self.damage.extend(upcoming.damage());
            }
        }
    }
}
