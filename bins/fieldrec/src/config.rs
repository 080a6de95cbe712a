//! What is to be recorded: the TOML file, and the flags over it.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;

use crate::{
    cli::RecordArgs,
    units::{Size, Span},
};

/// The config file, and after [`Config::with_flags`] everything that was asked for.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// The folder that gets one folder a recording.
    pub(crate) output: Option<PathBuf>,
    /// How long a chunk is.
    pub(crate) chunk_length: Option<Span>,
    /// When to stop by itself.
    pub(crate) duration: Option<Span>,
    /// How much may wait in memory, for each stream.
    pub(crate) queue_bytes: Option<Size>,
    /// How long the devices may take to deliver.
    pub(crate) ready_timeout: Option<Span>,
    /// At most this long between two syncs of a chunk to the disk.
    pub(crate) sync_interval: Option<Span>,
    /// The ffmpeg to run.
    pub(crate) ffmpeg: Option<PathBuf>,
    /// The ffprobe to run.
    pub(crate) ffprobe: Option<PathBuf>,
    /// Cameras.
    pub(crate) video: Vec<VideoConfig>,
    /// Sensors.
    pub(crate) sensor: Vec<SensorConfig>,
}

/// One camera.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VideoConfig {
    /// The stream's name.
    pub(crate) name: String,
    /// Where it comes from.
    pub(crate) source: String,
    /// The size that a V4L2 camera is asked for, such as 1280x720.
    #[serde(default)]
    pub(crate) input_size: Option<String>,
    /// The rate that a V4L2 camera is asked for.
    #[serde(default)]
    pub(crate) input_fps: Option<String>,
    /// The form in which a V4L2 camera sends its pictures, by ffmpeg's name: mjpeg, yuyv422, h264.
    #[serde(default)]
    pub(crate) input_format: Option<String>,
    /// libx264, libx265, ffv1, mjpeg or copy.
    #[serde(default)]
    pub(crate) codec: Option<String>,
    /// As ffmpeg takes it: 2M, 800k.
    #[serde(default)]
    pub(crate) bitrate: Option<String>,
    /// What is encoded, such as yuv420p or gray16le.
    #[serde(default)]
    pub(crate) pixel_format: Option<String>,
    /// The encoder's preset.
    #[serde(default)]
    pub(crate) preset: Option<String>,
    /// The encoder's tune.
    #[serde(default)]
    pub(crate) tune: Option<String>,
    /// The rate that is encoded.
    #[serde(default)]
    pub(crate) fps: Option<String>,
    /// B-frames between two others, 0 unless given: they cost latency, and so more is lost in a
    /// crash.
    #[serde(default)]
    pub(crate) b_frames: Option<u32>,
    /// The CPU priority of the encoder, from -20 (first) to 19 (last).
    #[serde(default)]
    pub(crate) nice: Option<i8>,
    /// What happens when the queue is full: drop-newest, drop-oldest or block.
    #[serde(default)]
    pub(crate) when_full: Option<WhenFullConfig>,
    /// What is to be remembered with the stream.
    #[serde(default)]
    pub(crate) metadata: BTreeMap<String, String>,
}

/// One sensor.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SensorConfig {
    /// The stream's name.
    pub(crate) name: String,
    /// Where it comes from.
    pub(crate) source: String,
    /// What happens when the queue is full.
    #[serde(default)]
    pub(crate) when_full: Option<WhenFullConfig>,
    /// What is to be remembered with the stream.
    #[serde(default)]
    pub(crate) metadata: BTreeMap<String, String>,
}

/// What happens when a queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum WhenFullConfig {
    DropNewest,
    DropOldest,
    Block,
}

impl VideoConfig {
    pub(crate) fn new(name: &str, source: &str) -> Self {
        Self {
            name: name.to_owned(),
            source: source.to_owned(),
            input_size: None,
            input_fps: None,
            input_format: None,
            codec: None,
            bitrate: None,
            pixel_format: None,
            preset: None,
            tune: None,
            fps: None,
            b_frames: None,
            nice: None,
            when_full: None,
            metadata: BTreeMap::new(),
        }
    }
}

impl SensorConfig {
    pub(crate) fn new(name: &str, source: &str) -> Self {
        Self {
            name: name.to_owned(),
            source: source.to_owned(),
            when_full: None,
            metadata: BTreeMap::new(),
        }
    }
}

impl Config {
    /// Lays the flags over the file. A stream that both name is the flags' one.
    pub(crate) fn with_flags(mut self, flags: RecordArgs) -> Self {
        self.output = flags.output.or(self.output);
        self.chunk_length = flags.chunk_length.or(self.chunk_length);
        self.duration = flags.duration.or(self.duration);
        self.queue_bytes = flags.queue_bytes.or(self.queue_bytes);
        self.ffmpeg = flags.programs.ffmpeg.or(self.ffmpeg);
        self.ffprobe = flags.programs.ffprobe.or(self.ffprobe);
        // Two flags with one name stay, and are refused.
        let is_named = |name: &str| flags.video.iter().any(|video| video.name == name);
        self.video.retain(|video| !is_named(&video.name));
        self.video.extend(flags.video);
        let is_named = |name: &str| flags.sensor.iter().any(|sensor| sensor.name == name);
        self.sensor.retain(|sensor| !is_named(&sensor.name));
        self.sensor.extend(flags.sensor);
        self
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _, path::Path};

    use super::*;

    /// Everything in the documentation's config is known, and everything that is known is there.
    #[test]
    fn the_documented_config_has_every_key() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/fieldrec.md");
        let page = fs::read_to_string(page).unwrap();
        let (_, text) = page.split_once("```toml\n").unwrap();
        let (text, _) = text.split_once("```").unwrap();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let config: Config = longtake_service::read_config(file.path()).unwrap();
        let without_streams = Config {
            video: Vec::new(),
            sensor: Vec::new(),
            ..config.clone()
        };
        for told in [
            format!("{without_streams:?}"),
            format!("{:?}", config.video[0]),
            format!("{:?}", config.sensor[0]),
        ] {
            assert!(!told.contains("None"), "{told}");
        }
    }
}
