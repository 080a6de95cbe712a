//! A chunk that is read cluster by cluster while others are, too.

use std::{collections::BTreeMap, io::Read, sync::Arc};

use longtake_durable::{Storage, StoredFile};
use longtake_matroska::{Damage, DamageKind, Reader, StoredCluster, Track};

use super::order::Waiting;
use crate::{
    chunk_file::{Chunk, ChunkFile, FileReader, Next, Opened, ReadChunkError, next_cluster},
    pts::Pts,
    recording_id::RecordingId,
};

/// A chunk that is being read, with the cluster that comes next.
#[derive(Debug)]
pub(super) struct Source {
    /// Its place among the chunks of the recording.
    pub place: usize,
    /// The number in the file of each track number; tracks that are not wanted are absent.
    pub numbers: BTreeMap<u64, u64>,
    file: ChunkFile,
    /// What has ended the reading too early.
    damage: Option<Damage>,
    stored: Arc<dyn StoredFile>,
    reader: Reader<FileReader>,
    /// The place of the stream of each track number.
    stream_places: Vec<(u64, usize)>,
    /// How many packets of each stream were taken so far.
    taken: Vec<u64>,
    next: Option<StoredCluster>,
    /// The streams in `next`.
    next_streams: Vec<usize>,
    /// How many packets of each stream are left, once they were counted.
    left: Option<Vec<u64>>,
}

impl Source {
    /// Opens a chunk and reads its first cluster; none if the file is no chunk of the recording any
    /// more. A stream's place is that of its name in `streams`, where new names are put behind.
    pub(super) fn open(
        storage: &dyn Storage,
        recording: RecordingId,
        (place, file): (usize, ChunkFile),
        streams: &mut Vec<String>,
    ) -> Result<Option<Self>, ReadChunkError> {
        let Opened::Chunk(chunk) = file.open(storage, Some(recording))? else {
            return Ok(None);
        };
        let Chunk {
            file,
            stored,
            reader,
            ..
        } = *chunk;
        let tracks = reader.header().tracks.iter();
        let stream_places: Vec<_> = tracks
            .map(|track| (track.number, place_of(&track.name, streams)))
            .collect();
        let mut source = Self {
            place,
            numbers: BTreeMap::new(),
            file,
            damage: None,
            stored,
            reader,
            taken: vec![0; streams.len()],
            stream_places,
            next: None,
            next_streams: Vec::new(),
            left: None,
        };
        source.read_next()?;
        Ok(Some(source))
    }

    pub(super) fn tracks(&self) -> &[Track] {
        &self.reader.header().tracks
    }

    /// The length of the file.
    pub(super) fn bytes(&self) -> Result<u64, ReadChunkError> {
        self.stored.len().map_err(|source| ReadChunkError::Io {
            path: self.file.path.clone(),
            source,
        })
    }

    /// The place of the stream that the track of this number belongs to.
    pub(super) fn stream_of(&self, track: u64) -> Option<usize> {
        let mut places = self.stream_places.iter();
        let found = places.find(|(number, _)| *number == track);
        found.map(|(_, place)| *place)
    }

    /// The earliest time in the next cluster; none at the end.
    pub(super) fn next_pts(&self) -> Option<Pts> {
        self.next
            .as_ref()
            .map(|cluster| Pts(cluster.first_pts_us()))
    }

    /// The next cluster, and how many packets of each stream were taken before it.
    pub(super) fn take(&mut self) -> Result<Option<(StoredCluster, Vec<u64>)>, ReadChunkError> {
        let Some(cluster) = self.next.take() else {
            return Ok(None);
        };
        let before = self.taken.clone();
        for block in cluster.blocks() {
            let Some(stream) = self.stream_of(block.track) else {
                continue;
            };
            self.taken[stream] += 1;
            if let Some(left) = &mut self.left {
                left[stream] = left[stream].saturating_sub(1);
            }
        }
        self.read_next()?;
        Ok(Some((cluster, before)))
    }

    /// Counts what is left of each stream, by reading ahead. Needed as soon as a newer chunk is read
    /// beside this one, and only of what lies beside it.
    pub(super) fn count_left(&mut self) -> Result<(), ReadChunkError> {
        let (None, Some(next)) = (&self.left, &self.next) else {
            return Ok(());
        };
        let mut left = vec![0; self.taken.len()];
        let header = FileReader::new(Arc::clone(&self.stored)).take(self.reader.header().len);
        let rest = FileReader::starting_at(Arc::clone(&self.stored), next.offset());
        if let Ok(mut ahead) = Reader::new(header.chain(rest)) {
            while let Next::Cluster(cluster) = next_cluster(&mut ahead, &self.file.path)? {
                for block in cluster.blocks() {
                    if let Some(stream) = self.stream_of(block.track) {
                        left[stream] += 1;
                    }
                }
            }
        }
        self.left = Some(left);
        Ok(())
    }

    /// What the order of several chunks is decided by; none at the end.
    pub(super) fn waiting(&self) -> Option<Waiting<'_>> {
        Some(Waiting {
            pts: self.next_pts()?,
            streams: &self.next_streams,
            left: self.left.as_deref().unwrap_or_default(),
        })
    }

    /// What has ended the reading too early, in words. A chunk that is still being written ends where it
    /// is; that is no damage.
    pub(super) fn damage(&self) -> Option<String> {
        let damage = self.damage?;
        let is_growing = self.file.is_open() && damage.kind == DamageKind::Torn;
        (!is_growing).then(|| format!("{}: {damage}", self.file.name))
    }

    fn read_next(&mut self) -> Result<(), ReadChunkError> {
        match next_cluster(&mut self.reader, &self.file.path)? {
            Next::Cluster(cluster) => {
                self.next_streams.clear();
                for block in cluster.blocks() {
                    if let Some(stream) = self.stream_of(block.track)
                        && !self.next_streams.contains(&stream)
                    {
                        self.next_streams.push(stream);
                    }
                }
                self.next = Some(cluster);
            }
            Next::End => {}
            Next::Damaged(damage) => self.damage = Some(damage),
        }
        Ok(())
    }
}

fn place_of(name: &str, streams: &mut Vec<String>) -> usize {
    let known = streams.iter().position(|stream| stream == name);
    known.unwrap_or_else(|| {
        streams.push(name.to_owned());
        streams.len() - 1
    })
}
