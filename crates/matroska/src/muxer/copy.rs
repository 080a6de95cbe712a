//! Clusters that exist already: kept where they are, or copied as they are.

use crate::{
    block::{Block, MAX_PTS_US},
    muxer::{Muxer, cluster::Cluster},
    reader::{cluster::StoredCluster, header::Header},
};

/// Why a file cannot be written on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// The header has no room for what completes a file where this crate would write it.
    #[error("the header was not laid out by this crate")]
    Foreign,
}

/// Why a cluster cannot be kept or copied. The muxer is as if it had not been given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// Blocks are held back that belong before the cluster: [`Muxer::flush`] comes first.
    #[error("blocks are held back that belong before the cluster")]
    NotFlushed,
    /// The cluster counts time in other ticks, or holds what depends on its place; push its blocks
    /// one by one.
    #[error("the cluster at byte {offset} is not of the kind that can be copied")]
    Foreign {
        /// Where the cluster lies in its own file.
        offset: u64,
    },
    /// A block names a track that the file does not have; push the blocks with other numbers.
    #[error("the cluster has a block for track {track}, which the file does not have")]
    UnknownTrack {
        /// The number that the block gives.
        track: u64,
    },
    /// A cluster that is kept must begin where the one before it ends.
    #[error("the cluster begins at byte {offset}, and {expected} was expected")]
    OutOfPlace {
        /// Where the cluster begins.
        offset: u64,
        /// Where the one before it ends.
        expected: u64,
    },
}

impl Muxer {
    /// Goes on with a file that exists, whose header is `header`.
    ///
    /// Give each cluster that stays to [`keep`](Self::keep), cut the file behind the last, and write on
    /// or [`finish`](Self::finish) as usual: that is how a recording is made whole after a crash. A file
    /// that is complete may be gone on with as well; its old Cues are then cut off.
    ///
    /// # Errors
    ///
    /// If another program laid out the header.
    pub fn resume(header: &Header) -> Result<Self, ResumeError> {
        let bytes = header.resumable.clone().ok_or(ResumeError::Foreign)?;
        super::check_tracks(&header.tracks).map_err(|_| ResumeError::Foreign)?;
        Ok(Self::with_header(bytes, &header.tracks))
    }

    /// Takes note of a cluster that stays where it lies in the file, for cues and duration.
    ///
    /// # Errors
    ///
    /// If the cluster does not follow the one before it, or is not of this file.
    pub fn keep(&mut self, stored: &StoredCluster) -> Result<(), CopyError> {
        let (offset, expected) = (stored.offset(), self.position);
        if offset != expected {
            return Err(CopyError::OutOfPlace { offset, expected });
        }
        self.adopt(stored)
    }

    /// Takes a cluster of another file as it is, at disk speed: its bytes, checksum and timestamps stay.
    ///
    /// # Errors
    ///
    /// If blocks are held back, or the cluster does not fit the file; its blocks can then be
    /// [`push`](Self::push)ed.
    pub fn copy(&mut self, stored: &StoredCluster) -> Result<Cluster, CopyError> {
        let offset = self.position;
        self.adopt(stored)?;
        Ok(Cluster::copied(stored, offset))
    }

    /// Places the cluster at `position`.
    fn adopt(&mut self, stored: &StoredCluster) -> Result<(), CopyError> {
        if !self.pending.is_empty() {
            return Err(CopyError::NotFlushed);
        }
        let is_in_time = stored.first_pts_us() >= 0 && stored.last_pts_us() <= MAX_PTS_US;
        if !stored.can_be_copied() || !is_in_time {
            let offset = stored.offset();
            return Err(CopyError::Foreign { offset });
        }
        for Block { track, .. } in stored.blocks() {
            if self.track_use(track).is_none() {
                return Err(CopyError::UnknownTrack { track });
            }
        }
        for block in stored.blocks() {
            if let Some(track) = self.track_use(block.track) {
                self.note(track, &block);
            }
        }
        self.position += stored.len();
        Ok(())
    }
}
