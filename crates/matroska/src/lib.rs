//! Matroska writer and reader with microsecond ticks, cluster CRCs and recovery.
//!
//! A [`Muxer`] lays a file out: blocks go in, complete clusters come out, and at the end a
//! [`Trailer`]. A [`Reader`] reads what any program wrote, and stops at the first damage. Both know
//! no file, clock or thread: the writer gives bytes with their offsets, the reader takes any
//! [`Read`](std::io::Read).
//!
//! ```
//! use longtake_matroska::{Block, Muxer, Reader, SegmentInfo, Track};
//!
//! let tracks = vec![Track::video(1, "V_MJPEG", 640, 400).name("rgb"), Track::data(2).name("imu")];
//! let mut muxer = Muxer::new(SegmentInfo::default().title("a test"), tracks)?;
//!
//! let mut file = muxer.header().to_vec();
//! for n in 0..100 {
//!     let picture = Block::new(1, n * 33_333, &b"a picture"[..]);
//!     let reading = Block::new(2, n * 33_333 + 7, &b"{\"gyro\": 0.1}"[..]);
//!     for block in [picture, reading] {
//!         if let Some(cluster) = muxer.push(block)? {
//!             cluster.write_to(&mut file)?;
//!         }
//!     }
//! }
//! let trailer = muxer.finish();
//! file.extend_from_slice(&trailer.bytes);
//! // Here a real file is synced, so that the header never speaks of what is not there.
//! for patch in trailer.patches {
//!     let at = usize::try_from(patch.offset)?;
//!     file[at..at + patch.bytes.len()].copy_from_slice(&patch.bytes);
//! }
//!
//! let mut reader = Reader::new(&file[..])?;
//! let mut packets = 0;
//! while let Some(cluster) = reader.next_cluster()? {
//!     packets += cluster.blocks().count();
//! }
//! assert_eq!(packets, 200);
//! assert!(reader.is_complete());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # After a crash
//!
//! What was written before plays as it is. [`Muxer::resume`] makes it whole: the good clusters are
//! kept, the rest is cut off, and the trailer is written anew.
//!
//! ```
//! # use longtake_matroska::{Block, Muxer, Reader, SegmentInfo, Track};
//! # let mut muxer = Muxer::new(SegmentInfo::default(), vec![Track::data(1)])?;
//! # let mut crashed = muxer.header().to_vec();
//! # for n in 0..10 {
//! #     if let Some(cluster) = muxer.push(Block::new(1, n * 40_000, &b"{}"[..]))? {
//! #         cluster.write_to(&mut crashed)?;
//! #     }
//! # }
//! # crashed.truncate(crashed.len() - 3);
//! let mut reader = Reader::new(&crashed[..])?;
//! let mut muxer = Muxer::resume(reader.header())?;
//! let damage = loop {
//!     match reader.next_cluster() {
//!         Ok(Some(cluster)) => muxer.keep(&cluster)?,
//!         Ok(None) => break None,
//!         Err(damage) => break Some(damage),
//!     }
//! };
//! assert!(damage.is_some_and(|damage| damage.to_string().ends_with("the file ends too early")));
//!
//! let good = usize::try_from(reader.good_until())?;
//! let trailer = muxer.finish();
//! assert_eq!(trailer.offset, reader.good_until());
//! let mut whole = [&crashed[..good], &trailer.bytes].concat();
//! for patch in trailer.patches {
//!     let at = usize::try_from(patch.offset)?;
//!     whole[at..at + patch.bytes.len()].copy_from_slice(&patch.bytes);
//! }
//! # let mut reader = Reader::new(&whole[..])?;
//! # while reader.next_cluster()?.is_some() {}
//! # assert!(reader.is_complete());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The layout, version 1
//!
//! Elements in the order in which they are written; names are those of RFC 8794 and RFC 9559.
//! Numbers take as few bytes as hold them unless said otherwise. "Patched" is what the trailer
//! writes over the header when all else is on disk.
//!
//! | Element | What it holds |
//! |---|---|
//! | EBML | EBMLVersion 1, EBMLReadVersion 1, EBMLMaxIDLength 4, EBMLMaxSizeLength 8, DocType `matroska`, DocTypeVersion 4, DocTypeReadVersion 2 |
//! | Segment | size in 8 bytes: not known; patched to the real one |
//! | · Void | 95 bytes in all; patched to a SeekHead: CRC-32, then Seek for Info, Tags, Tracks and Cues as far as they exist, each with SeekID and SeekPosition of 8 bytes; a Void fills what is left |
//! | · Info | CRC-32 (patched); Void of 11 bytes in all, patched to Duration (float of 8 bytes, from the first block to the end of the last); TimestampScale 1000, so that a tick is 1 µs; DateUTC and Title if given; MuxingApp `longtake-matroska layout 1`; WritingApp |
//! | · Tags | only if there are any: CRC-32; one Tag with empty Targets and a SimpleTag (TagName, TagString) for each |
//! | · Tracks | CRC-32; a TrackEntry for each |
//! | · · TrackEntry | TrackNumber; TrackUID, the same number; TrackType 1 (video), 2 (audio) or 17 (data); FlagLacing 0; FlagDefault 0 for data; DefaultDuration, Name if given; Language; CodecID; CodecPrivate, CodecDelay, SeekPreRoll if given; Video (PixelWidth, PixelHeight, UncompressedFourCC if given) or Audio (SamplingFrequency, Channels, BitDepth if given) |
//! | · Cluster | any number, with nothing between: size in 8 bytes; CRC-32; Timestamp, the earliest of its blocks; blocks in the order in which they came |
//! | · · SimpleBlock | a block without a duration: track number in 1 byte, ticks from Timestamp in 2 bytes, flags 0x80 (keyframe) or 0, payload |
//! | · · BlockGroup | a block with one: Block (as above, flags 0), BlockDuration, and ReferenceBlock 0 if it is no keyframe |
//! | · Cues | at the end, unless there is no keyframe: CRC-32; CuePoint by time: CueTime, and CueTrackPositions (CueTrack, CueClusterPosition) for each track |
//!
//! Why it is so:
//!
//! - **Clusters** span at most 32 ms, because a block counts its ticks from the cluster in 16 bits
//!   with a sign; a block further off begins the next one. They also end before 4 MiB of payload or
//!   500 blocks, unless one block alone is larger. Each is written at once, and its CRC-32 tells one
//!   that was torn from a whole one.
//! - **The patch** is one piece in the first 512 bytes, so that a file is either complete or not,
//!   and a reader can tell. The Segment's size is part of it: players then know where the file ends,
//!   a copy that lost its tail is found out (FFmpeg says so as well), and it is safe, because it
//!   comes after the data are on disk. A crash before it leaves the size unknown, which is legal.
//! - **Durations** of blocks are written only where they are given, because a BlockGroup takes more
//!   bytes. Data blocks need none: FFmpeg and ffprobe read them in silence either way.
//! - **Times** start at zero; a block before it is refused, since clusters have no sign.
//! - **Cues** lead to the keyframes of video, at least 500 ms apart in each track, so that a stream
//!   of keyframes only does not get one a picture. There are never more than 32768: then every
//!   other one is dropped, and the distance doubles. A file without video gets one per track and 5 s.
//! - **Tracks** come last in the header, so that a header which has them was read whole.
//! - **Tags** lie before the clusters, because they are known at the start and a crash must not lose
//!   them.

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
