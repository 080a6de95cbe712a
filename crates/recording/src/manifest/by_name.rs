//! Streams in order, as a JSON object whose keys are their names.

use std::fmt;

use serde::{
    Deserializer, Serializer,
    de::{Error, MapAccess, Visitor},
};

use super::ManifestStream;

/// As many as a Matroska file may have tracks.
const MAX_STREAMS: usize = 126;

pub(super) fn serialize<S: Serializer>(
    streams: &[ManifestStream],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(streams.iter().map(|stream| (&stream.name, stream)))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<ManifestStream>, D::Error> {
    deserializer.deserialize_map(StreamsByName)
}

struct StreamsByName;

impl<'de> Visitor<'de> for StreamsByName {
    type Value = Vec<ManifestStream>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a member for each stream")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut streams: Self::Value = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if streams.iter().any(|stream| stream.name == name) {
                return Err(A::Error::custom(format!("two streams are called {name:?}")));
            }
            if streams.len() == MAX_STREAMS {
                return Err(A::Error::custom(format!("more than {MAX_STREAMS} streams")));
            }
            let stream = map.next_value::<ManifestStream>()?;
            streams.push(ManifestStream { name, ..stream });
        }
        Ok(streams)
    }
}
