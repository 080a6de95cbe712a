//! From what was asked for to devices and a session.

use std::{
    error::Error,
    path::{Path, PathBuf},
    time::Duration,
};

use longtake_ffmpeg::{Feature, Ffmpeg, Ffprobe, Input, ToolError};
use longtake_recording::{
    Camera, ChunkOptions, Delivery, Device, EncoderSettings, FakeImu, FrameRate, JsonLines,
    OpenError, SensorSource, SessionOptions, StreamOptions, StreamSpec, VideoEncoder, VideoSource,
    WhenFull,
};
use tracing::info;

use crate::{
    config::{Config, SensorConfig, VideoConfig, WhenFullConfig},
    failure::Failure,
};

/// Chunks below this are mistakes.
const SHORTEST_CHUNK: Duration = Duration::from_millis(100);

/// What a recording is made from.
pub(crate) struct Wiring {
    pub(crate) devices: Vec<Box<dyn Device>>,
    pub(crate) session: SessionOptions,
}

/// Checks everything that was asked for, finds ffmpeg, and makes the devices. Opens nothing yet.
///
/// Ends early, with no devices, when `stopped` says so.
pub(crate) fn wire(config: &Config, stopped: impl Fn() -> bool) -> Result<Wiring, Failure> {
    if config.video.is_empty() && config.sensor.is_empty() {
        return Err(Failure::usage(
            "nothing to record: name a camera with --video NAME=SOURCE or a sensor with --sensor \
             NAME=SOURCE, or both in a config file",
        ));
    }
    check_spans(config)?;
    let mut session = SessionOptions::default()
        .program(concat!("fieldrec ", env!("CARGO_PKG_VERSION")))
        .chunks(chunk_options(config));
    if let Some(size) = config.queue_bytes {
        session = session.queue_bytes(size.0);
    }
    if let Some(duration) = config.duration {
        session = session.max_duration(duration.0);
    }
    let cameras: Vec<_> = config
        .video
        .iter()
        .map(Picture::of)
        .collect::<Result<_, _>>()?;
    let sensors: Vec<_> = config.sensor.iter().map(sensor).collect::<Result<_, _>>()?;

    let mut devices: Vec<Box<dyn Device>> = Vec::new();
    if !cameras.is_empty() {
        let ffmpeg = find_ffmpeg(config)?;
        let ffprobe = find_ffprobe(config, &ffmpeg);
        session = session.ffmpeg(ffmpeg.program());
        for camera in cameras {
            if stopped() {
                return Ok(Wiring {
                    devices: Vec::new(),
                    session,
                });
            }
            camera.check_encoder(&ffmpeg)?;
            camera.check_file(ffprobe.as_ref())?;
            session = session.stream(&camera.spec.name, camera.options.clone());
            devices.push(Box::new(Camera::new(
                camera.spec,
                camera.source,
                camera.delivery,
                ffmpeg.clone(),
            )));
        }
    }
    for (device, name, options) in sensors {
        session = session.stream(name, options);
        devices.push(device);
    }
    Ok(Wiring { devices, session })
}

/// Tells wrong names from devices that do not work.
pub(crate) fn open_failure(error: OpenError) -> Failure {
    match error {
        OpenError::NoDevice | OpenError::DuplicateStream { .. } | OpenError::StreamName { .. } => {
            Failure::usage(error)
        }
        _ => Failure::failed(error),
    }
}

/// One camera that was asked for.
struct Picture {
    spec: StreamSpec,
    source: VideoSource,
    delivery: Delivery,
    options: StreamOptions,
    /// What its pictures are encoded with, if they are.
    encoder: Option<EncoderSettings>,
    /// The user said how.
    has_own_settings: bool,
}

impl Picture {
    fn of(config: &VideoConfig) -> Result<Self, Failure> {
        let name = &config.name;
        let wrong = |error: &dyn Error| Failure::usage(format!("video {name}: {error}"));
        let source: VideoSource = config.source.parse().map_err(|error| wrong(&error))?;
        let source = with_mode(source, config).map_err(|error| wrong(&*error))?;
        let mut spec = StreamSpec::video(name);
        spec.metadata.clone_from(&config.metadata);
        let codec = match config.codec.as_deref() {
            None if source.is_compressed() && !asks_for_encoding(config) => Some("copy"),
            codec => codec,
        };
        let when_full = when_full(config.when_full, matches!(source, VideoSource::File { .. }));
        if codec == Some("copy") {
            if matches!(source, VideoSource::TestPicture { .. }) {
                return Err(Failure::usage(format!(
                    "video {name}: codec=copy needs a source that is encoded already, and \
                     {source} is not; leave codec out"
                )));
            }
            if asks_for_encoding(config) {
                return Err(Failure::usage(format!(
                    "video {name}: codec=copy takes packets as they are, so bitrate, pixel-format, \
                     preset, tune, fps, b_frames and nice mean nothing; leave them out"
                )));
            }
            let options = StreamOptions::default().when_full(when_full);
            return Ok(Self {
                spec,
                source,
                delivery: Delivery::Copied,
                options,
                encoder: None,
                has_own_settings: false,
            });
        }
        let settings = encoder_settings(config, codec).map_err(|error| wrong(&*error))?;
        Ok(Self {
            spec,
            source,
            delivery: Delivery::Decoded {
                pixel_format: settings.input_format().to_owned(),
            },
            encoder: Some(settings.clone()),
            has_own_settings: asks_for_encoding(config),
            options: StreamOptions::default()
                .encoder(settings)
                .when_full(when_full),
        })
    }

    /// Finds out now whether this ffmpeg has the encoder and takes its settings, rather than at the
    /// first frame.
    fn check_encoder(&self, ffmpeg: &Ffmpeg) -> Result<(), Failure> {
        let Some(settings) = &self.encoder else {
            return Ok(());
        };
        let (stream, name) = (&self.spec.name, settings.encoder().name());
        if !ffmpeg
            .supports(Feature::Encoder(name))
            .map_err(Failure::failed)?
        {
            return Err(Failure::failed(format!(
                "video {stream}: {} was built without {name}; install a full ffmpeg or choose \
                 another codec",
                ffmpeg.program().display()
            )));
        }
        settings.try_out(ffmpeg).map_err(|error| {
            let error = longtake_service::with_sources(&error);
            let message = format!("video {stream}: {error}");
            // Our own defaults are not the user's fault.
            if self.has_own_settings {
                Failure::usage(message)
            } else {
                Failure::failed(message)
            }
        })
    }

    /// Finds out now whether a file holds video, rather than when the other devices are open.
    fn check_file(&self, ffprobe: Result<&Ffprobe, &ToolError>) -> Result<(), Failure> {
        let VideoSource::File { path } = &self.source else {
            return Ok(());
        };
        let name = &self.spec.name;
        let ffprobe = ffprobe.map_err(|error| {
            let error = longtake_service::with_sources(error);
            Failure::failed(format!("{error}; --ffprobe PATH names another one"))
        })?;
        let found = ffprobe.probe(&Input::file(path)).map_err(|error| {
            let path = path.display();
            let error = longtake_service::with_sources(&error);
            Failure::failed(format!("video {name}: cannot use {path}: {error}"))
        })?;
        if found.video().is_none() {
            let path = path.display();
            return Err(Failure::failed(format!(
                "video {name}: there is no video in {path}"
            )));
        }
        Ok(())
    }
}

/// Asks a V4L2 camera for what the config says.
fn with_mode(source: VideoSource, config: &VideoConfig) -> Result<VideoSource, Box<dyn Error>> {
    let asked = [&config.input_size, &config.input_fps, &config.input_format];
    if asked.iter().all(|text| text.is_none()) {
        return Ok(source);
    }
    let VideoSource::V4l2 { path, mut mode } = source else {
        return Err(
            format!("input-size, input-fps and input-format are for v4l2, not {source}").into(),
        );
    };
    if let Some(size) = &config.input_size {
        let sides = size
            .split_once('x')
            .and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
        let (width, height) =
            sides.ok_or_else(|| format!("{size:?} is no size; write it as 1280x720"))?;
        mode = mode.size(width, height);
    }
    if let Some(fps) = &config.input_fps {
        mode = mode.fps(frame_rate(fps)?);
    }
    if let Some(format) = &config.input_format {
        mode = mode.format(format);
    }
    Ok(VideoSource::V4l2 { path, mode })
}

fn frame_rate(text: &str) -> Result<FrameRate, String> {
    FrameRate::parse(text)
        .ok_or_else(|| format!("{text:?} is no frame rate; write it as 15 or 30000/1001"))
}

fn asks_for_encoding(config: &VideoConfig) -> bool {
    let texts = [
        &config.bitrate,
        &config.pixel_format,
        &config.preset,
        &config.tune,
        &config.fps,
    ];
    texts.iter().any(|text| text.is_some()) || config.b_frames.is_some() || config.nice.is_some()
}

fn encoder_settings(
    config: &VideoConfig,
    codec: Option<&str>,
) -> Result<EncoderSettings, Box<dyn Error>> {
    let encoder: VideoEncoder = codec.unwrap_or("libx264").parse()?;
    let mut settings = EncoderSettings::new(encoder);
    if let Some(bitrate) = &config.bitrate {
        settings = settings.bitrate(bitrate.parse()?);
    }
    if let Some(pixel_format) = &config.pixel_format {
        settings = settings.pixel_format(pixel_format)?;
    }
    if let Some(preset) = &config.preset {
        settings = settings.preset(preset);
    }
    if let Some(tune) = &config.tune {
        settings = settings.tune(tune);
    }
    if let Some(fps) = &config.fps {
        settings = settings.fps(frame_rate(fps)?);
    }
    if let Some(b_frames) = config.b_frames {
        settings = settings.b_frames(b_frames);
    }
    if let Some(nice) = config.nice {
        if !(-20..=19).contains(&nice) {
            return Err(format!("nice is from -20 to 19, not {nice}").into());
        }
        settings = settings.nice(nice.into());
    }
    Ok(settings)
}

fn sensor(config: &SensorConfig) -> Result<(Box<dyn Device>, &str, StreamOptions), Failure> {
    let source: SensorSource = config
        .source
        .parse()
        .map_err(|error| Failure::usage(format!("sensor {}: {error}", config.name)))?;
    let mut spec = StreamSpec::data(&config.name);
    spec.metadata.clone_from(&config.metadata);
    let can_wait = !matches!(source, SensorSource::FakeImu { .. });
    let device: Box<dyn Device> = match source {
        SensorSource::FakeImu { hz } => Box::new(FakeImu::new(spec, hz)),
        SensorSource::JsonLines { path } => Box::new(JsonLines::from_path(spec, path)),
        SensorSource::JsonStandardInput => Box::new(JsonLines::from_standard_input(spec)),
        other => {
            let message = format!("sensor {}: {other} is not known here", config.name);
            return Err(Failure::usage(message));
        }
    };
    let options = StreamOptions::default().when_full(when_full(config.when_full, can_wait));
    Ok((device, &config.name, options))
}

/// A source that can wait does, unless told otherwise; a live one loses what is newest.
fn when_full(asked: Option<WhenFullConfig>, can_wait: bool) -> WhenFull {
    match asked {
        Some(WhenFullConfig::DropNewest) => WhenFull::DropNewest,
        Some(WhenFullConfig::DropOldest) => WhenFull::DropOldest,
        Some(WhenFullConfig::Block) => WhenFull::Block,
        None if can_wait => WhenFull::Block,
        None => WhenFull::DropNewest,
    }
}

fn check_spans(config: &Config) -> Result<(), Failure> {
    if config.duration.is_some_and(|span| span.0.is_zero()) {
        return Err(Failure::usage("a duration of nothing records nothing"));
    }
    if config
        .chunk_length
        .is_some_and(|span| span.0 < SHORTEST_CHUNK)
    {
        return Err(Failure::usage(format!(
            "a chunk has at least {SHORTEST_CHUNK:?}: each is a file of its own"
        )));
    }
    Ok(())
}

fn chunk_options(config: &Config) -> ChunkOptions {
    let mut chunks = ChunkOptions::default();
    if let Some(length) = config.chunk_length {
        chunks = chunks.length(length.0);
    }
    if let Some(interval) = config.sync_interval {
        chunks = chunks.sync_every(interval.0);
    }
    chunks
}

/// Finds ffmpeg, and says in the log which one it is.
fn find_ffmpeg(config: &Config) -> Result<Ffmpeg, Failure> {
    let found = match &config.ffmpeg {
        Some(path) => Ffmpeg::at(path),
        None => Ffmpeg::find(),
    };
    let ffmpeg = found.map_err(|error| {
        Failure::failed(format!(
            "{}; --ffmpeg PATH names another one",
            longtake_service::with_sources(&error)
        ))
    })?;
    info!(version = %ffmpeg.version(), path = %place_of(ffmpeg.program()).display(), "ffmpeg found");
    Ok(ffmpeg)
}

/// Finds ffprobe, and says in the log which one it is. Only files need it.
fn find_ffprobe(config: &Config, ffmpeg: &Ffmpeg) -> Result<Ffprobe, ToolError> {
    let candidates = match &config.ffprobe {
        Some(path) => vec![Ffprobe::at(path)],
        None => vec![Ffprobe::beside(ffmpeg.program()), Ffprobe::find()],
    };
    let mut missing = None;
    for ffprobe in candidates {
        match ffprobe.version() {
            Ok(version) => {
                info!(%version, path = %place_of(ffprobe.program()).display(), "ffprobe found");
                return Ok(ffprobe);
            }
            Err(error) => missing = Some(error),
        }
    }
    Err(missing.expect("there is always a candidate"))
}

/// Where a program lies that was named as a shell would find it.
fn place_of(program: &Path) -> PathBuf {
    which::which(program).unwrap_or_else(|_| program.to_owned())
}
