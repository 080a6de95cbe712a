//! Matroska writer and reader with microsecond ticks, cluster CRCs and recovery.

mod block;
mod ebml;
mod fourcc;
mod ids;
mod muxer;
mod reader;
mod segment;
mod track;

pub use block::{Block, MAX_BLOCK_BYTES, MAX_PTS_US};
pub use fourcc::uncompressed_fourcc;
pub use muxer::cluster::Cluster;
pub use muxer::copy::{CopyError, ResumeError};
pub use muxer::trailer::{Patch, Trailer};
pub use muxer::{BlockError, Muxer, TrackError};
pub use reader::cluster::{Blocks, StoredCluster};
pub use reader::cues::Cue;
pub use reader::damage::{Damage, DamageKind};
pub use reader::header::Header;
pub use reader::{MAX_CLUSTER_BYTES, OpenError, ReadError, Reader};
pub use segment::{SegmentInfo, Tag};
pub use track::{Track, TrackKind};
