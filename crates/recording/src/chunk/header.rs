//! What each chunk says about itself and its recording, so that it can be understood alone.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    capture::DeviceSummary,
    clock::ClockPair,
    pts::Pts,
    recording_id::RecordingId,
    stream::{StreamKind, StreamSpec},
};

/// The Matroska tag that holds a [`ChunkHeader`] as JSON.
pub const CHUNK_TAG: &str = "LONGTAKE";

/// The version of [`ChunkHeader`] that this crate writes, and the newest that it reads.
pub const CHUNK_HEADER_VERSION: u32 = 1;

/// What each chunk says about itself and its recording. It stands as JSON in the Matroska tag
/// [`CHUNK_TAG`], ahead of the first cluster.
///
/// It repeats what all chunks of a recording share, so that a manifest can be built anew from any
/// subset of them. Fields that a reader does not know are passed over; a change that would mislead
/// such a reader comes with a new version, which an older reader refuses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChunkHeader {
    /// The version of the format: 1.
    pub version: u32,
    /// The recording's name.
    pub recording_id: RecordingId,
    /// What the wall clock said when the recording was started.
    pub started_at: Timestamp,
    /// The number of the chunk in its recording: 1 for the first that was opened.
    pub sequence: u64,
    /// Session time from which on streams go to this chunk, each at its first keyframe.
    ///
    /// Packets before it are here all the same where a keyframe is followed by pictures that are
    /// shown before it, and where a stream had to enter ahead of the others.
    pub begins_pts_us: Pts,
    /// The length of a chunk in µs. Its multiples in session time are the boundaries.
    pub chunk_length_us: u64,
    /// Both clocks at the moment the chunk was opened.
    pub clock: ClockPair,
    /// The devices, in the order in which they were given.
    pub devices: Vec<DeviceSummary>,
    /// All streams of the recording in the order of their track numbers, from 1 on; also those
    /// that have no packet here.
    pub streams: Vec<DeclaredStream>,
    /// The machine that recorded.
    pub host: String,
    /// The program that recorded, and its version.
    pub program: String,
}

/// A stream as a recording declared it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeclaredStream {
    /// Its name.
    pub name: String,
    /// What it carries.
    pub kind: StreamKind,
    /// What the user wanted to be remembered with it.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

/// Why a tag is no header of a chunk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChunkHeaderError {
    /// A newer program wrote it.
    #[error(
        "the chunk has version {version}, and this program reads versions up to \
         {CHUNK_HEADER_VERSION}: use a newer one"
    )]
    Newer {
        /// Its version.
        version: u64,
    },
    /// It is not what this crate writes.
    #[error("the chunk's tag {CHUNK_TAG} is malformed")]
    Malformed(#[source] serde_json::Error),
}

/// What every version has.
#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

impl ChunkHeader {
    /// The value of the tag.
    ///
    /// # Panics
    ///
    /// Never: strings, numbers and times always serialise.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings, numbers and times serialise")
    }

    /// Reads the value of the tag.
    ///
    /// # Errors
    ///
    /// It is not what this crate writes, or has a newer version.
    pub fn from_json(json: &str) -> Result<Self, ChunkHeaderError> {
        let Versioned { version } =
            serde_json::from_str(json).map_err(ChunkHeaderError::Malformed)?;
        if version > u64::from(CHUNK_HEADER_VERSION) {
            return Err(ChunkHeaderError::Newer { version });
        }
        serde_json::from_str(json).map_err(ChunkHeaderError::Malformed)
    }
}

impl From<&StreamSpec> for DeclaredStream {
    fn from(spec: &StreamSpec) -> Self {
        Self {
            name: spec.name.clone(),
            kind: spec.kind,
            metadata: spec.metadata.clone(),
        }
    }
}

impl From<DeclaredStream> for StreamSpec {
    fn from(declared: DeclaredStream) -> Self {
        Self {
            name: declared.name,
            kind: declared.kind,
            metadata: declared.metadata,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITTEN: &str = concat!(
        r#"{"version":1,"recording_id":"20260904T120314.123Z","#,
        r#""started_at":"2026-09-04T12:03:14.123Z","sequence":3,"begins_pts_us":4000000,"#,
        r#""chunk_length_us":2000000,"#,
        r#""clock":{"pts_us":4012345,"realtime":"2026-09-04T12:03:18.135345Z"},"#,
        r#""devices":[{"label":"front","type":"v4l2"}],"#,
        r#""streams":[{"name":"rgb","kind":"video","metadata":{"lens":"wide"}},"#,
        r#"{"name":"imu","kind":"data","metadata":{}}],"#,
        r#""host":"box","program":"fieldrec 0.1.0"}"#,
    );

    #[test]
    fn the_written_form_stays_as_documented() {
        let header = ChunkHeader::from_json(WRITTEN).unwrap();
        assert_eq!(header.sequence, 3);
        assert_eq!(header.begins_pts_us, Pts(4_000_000));
        assert_eq!(header.streams[0].metadata["lens"], "wide");
        assert_eq!(header.to_json(), WRITTEN);
    }

    #[test]
    fn unknown_fields_are_passed_over() {
        let with_more = WRITTEN.replacen('{', r#"{"operator":"Ada","#, 1);
        let header = ChunkHeader::from_json(&with_more).unwrap();
        assert_eq!(header.to_json(), WRITTEN);
    }

    #[test]
    fn a_newer_version_is_refused_whatever_else_it_holds() {
        let error = ChunkHeader::from_json(r#"{"version":2,"streams":"elsewhere"}"#).unwrap_err();
        assert!(
            matches!(error, ChunkHeaderError::Newer { version: 2 }),
            "{error:?}"
        );
        assert!(error.to_string().contains("use a newer one"), "{error}");
    }

    #[test]
    fn anything_else_is_malformed() {
        for json in [
            "",
            "1",
            "{}",
            r#"{"version":-1}"#,
            r#"{"version":1}"#,
            &WRITTEN[..200],
            &WRITTEN.replace("20260904T120314.123Z", "../../etc"),
        ] {
            let read = ChunkHeader::from_json(json);
            assert!(
                matches!(read, Err(ChunkHeaderError::Malformed(_))),
                "{json:?}"
            );
        }
    }
}
