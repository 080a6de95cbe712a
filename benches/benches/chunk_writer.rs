//! How fast packets get into chunks, beside a plain loop of writes, the `mcap` crate and
//! `ffmpeg -c copy -f segment`; and how long a stop takes.
//!
//! The disk is that of the temporary folder (`TMPDIR`), the ffmpeg the one in `PATH`. All that is
//! compared takes turns, so that whatever else the machine does hits every one of them.

use std::{
    cell::{LazyCell, OnceCell},
    collections::BTreeMap,
    env,
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use jiff::Timestamp;
use longtake_durable::RealStorage;
use longtake_matroska::{Reader, TrackKind};
use longtake_recording::{
    ChunkEvent, ChunkOptions, ChunkWriter, ClockPair, Codec, CodecParameters, FrameRate, Packet,
    Pts, RecordingFacts, RecordingId, StreamIndex, StreamSpec, VideoParameters,
};
use tempfile::TempDir;

/// How long a chunk is.
const CHUNK: Duration = Duration::from_secs(10);

/// How often each contender has its turn.
const ROUNDS: usize = 20;

/// What a recorder of one camera with a depth picture writes: H.264 and FFV1 (gray16le), 640x400 at
/// 30 frames a second, and a sensor at 100 Hz.
struct Footage {
    packets: Vec<Packet>,
    bytes: u64,
    /// The two video streams, for ffmpeg.
    source: PathBuf,
    /// How often ffmpeg reads it after the first time.
    repeats: u64,
    _folder: TempDir,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Contender {
    PlainLoop,
    ChunkWriter,
    Mcap,
    FfmpegSegment,
    PlainLoopSynced,
    ChunkWriterSynced,
}

criterion_group!(benches, throughput, stop);
criterion_main!(benches);

fn throughput(criterion: &mut Criterion) {
    let (seconds, repeats, rounds) = if is_test() { (1, 0, 1) } else { (5, 5, ROUNDS) };
    let footage = Footage::encode(seconds, repeats);
    let measured = OnceCell::new();
    let mut group = criterion.benchmark_group("chunk_writer");
    // The times are there already when criterion asks for them: it uses each once.
    group
        .throughput(Throughput::Bytes(footage.bytes))
        .sampling_mode(SamplingMode::Flat)
        .sample_size(ROUNDS)
        .warm_up_time(Duration::from_nanos(1))
        .measurement_time(Duration::from_nanos(1));
    for contender in Contender::ALL {
        let mut next = 0;
        group.bench_function(contender.name(), |bencher| {
            let times = &measured.get_or_init(|| take_turns(&footage, rounds))[&contender];
            bencher.iter_custom(|count| {
                let begin = next;
                next += index(count);
                (begin..next).map(|turn| times[turn % times.len()]).sum()
            });
        });
    }
    group.finish();
    if let Some(times) = measured.get().filter(|_| !is_test()) {
        print_ratios(footage.bytes, times);
    }
}

/// The time from the order to stop to the last finished chunk, after ten seconds and after ten
/// minutes of content. Both stop ten seconds after a boundary.
fn stop(criterion: &mut Criterion) {
    let footage = LazyCell::new(|| Footage::encode(5, 1));
    let mut group = criterion.benchmark_group("chunk_writer_stop");
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    let longer = if is_test() { 20 } else { 610 };
    for (name, seconds) in [("10_s", 10), ("10_min", longer)] {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| (0..count).map(|_| time_to_stop(&footage, seconds)).sum());
        });
    }
    group.finish();
}

impl Contender {
    const ALL: [Self; 6] = [
        Self::PlainLoop,
        Self::ChunkWriter,
        Self::Mcap,
        Self::FfmpegSegment,
        Self::PlainLoopSynced,
        Self::ChunkWriterSynced,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::PlainLoop => "plain_loop",
            Self::ChunkWriter => "longtake",
            Self::Mcap => "mcap",
            Self::FfmpegSegment => "ffmpeg_segment",
            Self::PlainLoopSynced => "plain_loop_synced",
            Self::ChunkWriterSynced => "longtake_synced",
        }
    }

    fn baseline(self) -> Self {
        match self {
            Self::PlainLoopSynced | Self::ChunkWriterSynced => Self::PlainLoopSynced,
            _ => Self::PlainLoop,
        }
    }

    fn run(self, footage: &Footage, folder: &Path) {
        match self {
            Self::PlainLoop => plain_loop(footage, folder, None),
            Self::PlainLoopSynced => plain_loop(footage, folder, Some(Duration::from_secs(1))),
            Self::ChunkWriter => write_chunks(footage, folder, options().never_sync()),
            Self::ChunkWriterSynced => write_chunks(footage, folder, options()),
            Self::Mcap => write_mcap(footage, folder),
            Self::FfmpegSegment => ffmpeg_segment(footage, folder),
        }
    }
}

/// Lets the contenders take turns, each round beginning with another one.
fn take_turns(footage: &Footage, rounds: usize) -> BTreeMap<Contender, Vec<Duration>> {
    let mut times = BTreeMap::<_, Vec<_>>::new();
    for round in 0..rounds {
        let mut order = Contender::ALL;
        order.rotate_left(round % Contender::ALL.len());
        for contender in order {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let started = Instant::now();
            contender.run(footage, folder.path());
            times.entry(contender).or_default().push(started.elapsed());
        }
    }
    times
}

#[expect(clippy::print_stdout, reason = "what a bench is for")]
#[expect(clippy::cast_precision_loss, reason = "a few digits are enough")]
fn print_ratios(bytes: u64, times: &BTreeMap<Contender, Vec<Duration>>) {
    let median = |contender: Contender| {
        let mut sorted = times[&contender].clone();
        sorted.sort_unstable();
        sorted[sorted.len() / 2].as_secs_f64()
    };
    println!(
        "median of {ROUNDS} interleaved rounds of {} MB:",
        bytes / 1_000_000
    );
    for contender in Contender::ALL {
        let rate = bytes as f64 / median(contender) / 1e6;
        let baseline = contender.baseline();
        // Round by round, since the two were measured right after one another.
        let mut ratios: Vec<_> = times[&baseline]
            .iter()
            .zip(&times[&contender])
            .map(|(base, ours)| base.as_secs_f64() / ours.as_secs_f64())
            .collect();
        ratios.sort_unstable_by(f64::total_cmp);
        let ratio = ratios[ratios.len() / 2];
        let (name, base) = (contender.name(), baseline.name());
        println!("  {name:18} {rate:7.0} MB/s  {ratio:.2} x {base}");
    }
}

/// One `write` a packet, and one `fdatasync` an interval of content.
fn plain_loop(footage: &Footage, folder: &Path, sync: Option<Duration>) {
    let mut file = File::create_new(folder.join("all")).expect("a new file");
    let mut synced_until = Pts::ZERO;
    for packet in &footage.packets {
        file.write_all(&packet.data).expect("room on the disk");
        if let Some(interval) = sync
            && packet.pts.since(synced_until) >= interval
        {
            file.sync_data().expect("a disk that works");
            synced_until = packet.pts;
        }
    }
    if sync.is_some() {
        file.sync_data().expect("a disk that works");
    }
}

fn write_chunks(footage: &Footage, folder: &Path, options: ChunkOptions) {
    let started = Instant::now();
    let mut writer = writer(folder, options);
    for packet in &footage.packets {
        writer.write(packet.clone(), started + packet.pts.since(Pts::ZERO));
    }
    let summary = writer.finish(started);
    let written: u64 = summary.streams.iter().map(|it| it.counts.written).sum();
    assert_eq!(written, footage.packets.len() as u64);
}

fn write_mcap(footage: &Footage, folder: &Path) {
    let file = File::create_new(folder.join("all.mcap")).expect("a new file");
    let options = mcap::WriteOptions::new().compression(None);
    let mut writer = mcap::Writer::with_options(BufWriter::new(file), options).expect("a writer");
    let channels: Vec<_> = ["rgb", "depth", "imu"]
        .map(|name| writer.add_channel(0, name, "application/octet-stream", &BTreeMap::new()))
        .into_iter()
        .map(|channel| channel.expect("a channel"))
        .collect();
    for (sequence, packet) in (0..).zip(&footage.packets) {
        let time = packet.pts.micros().unsigned_abs() * 1000;
        let header = mcap::records::MessageHeader {
            channel_id: channels[packet.stream.0],
            sequence,
            log_time: time,
            publish_time: time,
        };
        let written = writer.write_to_known_channel(&header, &packet.data);
        written.expect("room on the disk");
    }
    writer.finish().expect("room on the disk");
}

fn ffmpeg_segment(footage: &Footage, folder: &Path) {
    let status = Command::new("ffmpeg")
        .args([
            "-nostdin",
            "-v",
            "error",
            "-stream_loop",
            &footage.repeats.to_string(),
        ])
        .arg("-i")
        .arg(&footage.source)
        .args(["-map", "0", "-c", "copy", "-f", "segment", "-segment_time"])
        .arg(CHUNK.as_secs().to_string())
        .arg(folder.join("%05d.mkv"))
        .stdout(Stdio::null())
        .status();
    assert!(status.expect("ffmpeg in PATH").success());
}

/// Records `seconds` of content, and gives the time from the order to stop until all is safe.
fn time_to_stop(footage: &Footage, seconds: u64) -> Duration {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let started = Instant::now();
    // A recorder has these ten seconds of content behind it when the last chunk began.
    let mut writer = writer(folder.path(), options().length(Duration::from_secs(20)));
    let length = Duration::from_secs(10);
    let mut open = 0;
    let mut now = started;
    for (round, packet) in (0..seconds / length.as_secs())
        .flat_map(|round| footage.packets.iter().map(move |packet| (round, packet)))
        .filter(|(_, packet)| packet.stream != StreamIndex(1))
    {
        let pts = packet.pts + length * u32::try_from(round).expect("a short time");
        now = started + pts.since(Pts::ZERO);
        writer.write(
            Packet {
                pts,
                ..packet.clone()
            },
            now,
        );
        open += opened_less_finished(&mut writer);
    }
    // Content comes faster here than a recorder gets it: let the disk catch up.
    let deadline = Instant::now() + Duration::from_secs(60);
    while open > 1 {
        assert!(Instant::now() < deadline, "chunks are not finished");
        thread::yield_now();
        writer.tick(now);
        open += opened_less_finished(&mut writer);
    }
    let stopped = Instant::now();
    let summary = writer.finish(now);
    let took = stopped.elapsed();
    let is_finished = |event: &ChunkEvent| matches!(event, ChunkEvent::Finished(_));
    assert!(summary.events.iter().any(is_finished));
    took
}

fn opened_less_finished(writer: &mut ChunkWriter) -> i32 {
    let mut open = 0;
    while let Some(event) = writer.next_event() {
        match event {
            ChunkEvent::Opened { .. } => open += 1,
            ChunkEvent::Finished(_) => open -= 1,
            _ => {}
        }
    }
    open
}

fn options() -> ChunkOptions {
    ChunkOptions::default().length(CHUNK)
}

fn writer(folder: &Path, options: ChunkOptions) -> ChunkWriter {
    let started_at = Timestamp::now();
    let clock = move || ClockPair {
        pts_us: Pts::ZERO,
        realtime: started_at,
    };
    let recording = RecordingFacts::new(RecordingId::new(started_at), started_at, clock);
    let streams = vec![
        StreamSpec::video("rgb"),
        StreamSpec::video("depth"),
        StreamSpec::data("imu"),
    ];
    let storage = Arc::new(RealStorage);
    ChunkWriter::create(storage, folder, recording, streams, options).expect("a writer")
}

impl Footage {
    /// Encodes `seconds` of two test pictures with a little noise, and adds them `repeats` times to
    /// themselves.
    fn encode(seconds: u64, repeats: u64) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let source = folder.path().join("source.mkv");
        let picture = format!("testsrc2=size=640x400:rate=30:duration={seconds}");
        let status = Command::new("ffmpeg")
            .args(["-nostdin", "-v", "error", "-f", "lavfi", "-i"])
            .arg(format!("{picture},noise=alls=12:allf=t"))
            .args(["-f", "lavfi", "-i"])
            .arg(format!("{picture},noise=alls=2:allf=t"))
            .args(["-map", "0", "-c:v:0", "libx264", "-preset", "superfast"])
            .args(["-tune", "zerolatency", "-g", "30", "-b:v:0", "2M"])
            .args(["-pix_fmt:v:0", "yuv420p", "-map", "1", "-c:v:1", "ffv1"])
            .args(["-level", "3", "-pix_fmt:v:1", "gray16le"])
            .arg(&source)
            .status();
        assert!(status.expect("ffmpeg in PATH").success());
        let once = Self::read(&source).expect("what ffmpeg has just written");
        let packets: Vec<_> = (0..=repeats)
            .flat_map(|round| {
                let later = Duration::from_secs(round * seconds);
                once.iter().map(move |packet| Packet {
                    pts: packet.pts + later,
                    ..packet.clone()
                })
            })
            .collect();
        Self {
            bytes: packets.iter().map(|packet| packet.data.len() as u64).sum(),
            packets,
            source,
            repeats,
            _folder: folder,
        }
    }

    /// The video packets of a file, and samples between them.
    fn read(source: &Path) -> io::Result<Vec<Packet>> {
        let mut reader = Reader::new(File::open(source)?).map_err(io::Error::other)?;
        let parameters: Vec<_> = reader.header().tracks.iter().map(parameters_of).collect();
        let mut packets = Vec::new();
        let mut frames = [0; 2];
        while let Some(cluster) = reader.next_cluster().map_err(io::Error::other)? {
            for block in cluster.blocks() {
                let stream = index(block.track) - 1;
                packets.push(Packet {
                    stream: StreamIndex(stream),
                    // The file counts in milliseconds.
                    pts: Pts(frames[stream] * 1_000_000 / 30),
                    duration: None,
                    keyframe: block.keyframe,
                    // Not a part of its cluster: an encoder gives each packet by itself.
                    data: Bytes::copy_from_slice(&block.data),
                    parameters: Arc::clone(&parameters[stream]),
                });
                frames[stream] += 1;
            }
        }
        let json = Arc::new(CodecParameters::json());
        let samples = (0..frames[0] * 100 / 30).map(|number| Packet {
            stream: StreamIndex(2),
            pts: Pts(number * 10_000 + 3),
            duration: None,
            keyframe: true,
            data: format!(r#"{{"n":{number},"gyro":[0.01,-0.02,0.03],"acc":[0.1,0.2,9.81]}}"#)
                .into(),
            parameters: Arc::clone(&json),
        });
        packets.extend(samples);
        packets.sort_by_key(|packet| packet.pts);
        Ok(packets)
    }
}

fn parameters_of(track: &longtake_matroska::Track) -> Arc<CodecParameters> {
    let TrackKind::Video { width, height, .. } = track.kind else {
        panic!("a track that is no video")
    };
    let private = &track.codec_private;
    let (codec, codec_private) = match Codec::from_matroska_id(&track.codec_id) {
        Some(codec) => (codec, private.clone()),
        // ffmpeg 5 puts FFV1 behind a Windows bitmap header of 40 bytes.
        None => (Codec::Ffv1, private.slice(40..)),
    };
    Arc::new(CodecParameters {
        codec,
        codec_private,
        video: Some(VideoParameters {
            width,
            height,
            fps: FrameRate::new(30, 1),
        }),
    })
}

fn is_test() -> bool {
    env::args().any(|argument| argument == "--test")
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("a small number")
}
