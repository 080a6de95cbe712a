//! How fast ffmpeg's progress and log are read, beside the `ffmpeg-sidecar` crate on the same bytes.
//!
//! The bytes come from one run of the real ffmpeg, repeated. A log with everything in it (statistics
//! line, messages and progress blocks) is what `-progress pipe:2` gives; what has no level is handed
//! on to our parser of progress.

use std::hint::black_box;
use std::io::Cursor;
use std::process::{Command, Stdio};
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ffmpeg_sidecar::event::FfmpegEvent;
use ffmpeg_sidecar::log_parser::FfmpegLogParser;
use longtake_ffmpeg::{LogLine, LogTail, ProgressParser};
use longtake_process::LineSplitter;

/// What is parsed in one go.
const LOG_BYTES: usize = 4 << 20;

/// What one read of a pipe gives at most.
const READ_BYTES: usize = 64 << 10;

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(3));
    targets = parse
}
criterion_main!(benches);

fn parse(criterion: &mut Criterion) {
    let mixed = repeat(&real_log());
    let progress = repeat(&only_progress(&mixed));

    let mut group = criterion.benchmark_group("progress_only");
    group.throughput(Throughput::Elements(count_lines(&progress)));
    group.bench_function("longtake", |bencher| {
        bencher.iter(|| read_progress(&progress));
    });
    group.bench_function("ffmpeg_sidecar", |bencher| {
        bencher.iter(|| sidecar(&progress));
    });
    group.finish();

    let mut group = criterion.benchmark_group("mixed_log");
    group.throughput(Throughput::Elements(count_lines(&mixed)));
    group.bench_function("longtake", |bencher| {
        bencher.iter(|| read_mixed(&mixed));
    });
    group.bench_function("ffmpeg_sidecar", |bencher| bencher.iter(|| sidecar(&mixed)));
    group.finish();

    let mut group = criterion.benchmark_group("kept_log");
    group.throughput(Throughput::Elements(count_lines(&mixed)));
    group.bench_function("longtake", |bencher| bencher.iter(|| keep_log(&mixed)));
    group.finish();
}

/// The sum of all positions, so that nothing is optimized away.
fn read_progress(log: &[u8]) -> i64 {
    let mut parser = ProgressParser::new();
    let mut sum = 0;
    for bytes in log.chunks(READ_BYTES) {
        parser.push(bytes, |block| sum += block.out_time_us.unwrap_or(0));
    }
    sum
}

/// The lines that have a level, and the sum of the positions in the others.
fn read_mixed(log: &[u8]) -> (usize, i64) {
    let (mut splitter, mut parser) = (LineSplitter::default(), ProgressParser::new());
    let (mut levels, mut sum) = (0, 0);
    for bytes in log.chunks(READ_BYTES) {
        splitter.push(bytes, |line| {
            match LogLine::parse(black_box(line.bytes())).level {
                Some(_) => levels += 1,
                None => {
                    let block = parser.push_line(line.bytes());
                    sum += block.and_then(|block| block.out_time_us).unwrap_or(0);
                }
            }
        });
    }
    (levels, sum)
}

/// What the runner does with a log: read it and keep a bounded part.
fn keep_log(log: &[u8]) -> u64 {
    let (mut splitter, mut kept) = (LineSplitter::default(), LogTail::new());
    for bytes in log.chunks(READ_BYTES) {
        splitter.push(bytes, |line| {
            kept.push(line);
        });
    }
    kept.dropped_lines()
}

fn sidecar(log: &[u8]) -> u64 {
    let mut parser = FfmpegLogParser::new(Cursor::new(log));
    let mut events = 0;
    while !matches!(parser.parse_next_event(), Ok(FfmpegEvent::LogEOF)) {
        events += 1;
    }
    events
}

/// Statistics, messages and progress of one encoding, a hundred times a second.
fn real_log() -> Vec<u8> {
    let done = Command::new("ffmpeg")
        .args([
            "-hide_banner",
            "-nostdin",
            "-loglevel",
            "level+info",
            "-stats",
        ])
        .args(["-stats_period", "0.01", "-progress", "pipe:2"])
        .args([
            "-f",
            "lavfi",
            "-i",
            "testsrc2=size=320x240:rate=30:duration=20",
        ])
        .args(["-c:v", "libx264", "-preset", "medium", "-f", "null", "-"])
        .stdin(Stdio::null())
        .output()
        .expect("ffmpeg is installed");
    assert!(
        done.status.success(),
        "ffmpeg failed: {}",
        String::from_utf8_lossy(&done.stderr)
    );
    done.stderr
}

/// The lines of the log that are part of a progress block.
fn only_progress(log: &[u8]) -> Vec<u8> {
    let is_progress = |line: &&[u8]| {
        let key = line.split(|byte| *byte == b'=').next().unwrap_or_default();
        let is_key =
            |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_';
        key.len() < line.len() && key.iter().all(is_key)
    };
    log.split_inclusive(|byte| *byte == b'\n')
        .filter(is_progress)
        .flatten()
        .copied()
        .collect()
}

fn repeat(log: &[u8]) -> Vec<u8> {
    log.repeat(LOG_BYTES.div_ceil(log.len()))
}

fn count_lines(log: &[u8]) -> u64 {
    log.split(|byte| *byte == b'\n').count() as u64
}
