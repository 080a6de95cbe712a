//! Writes packets that a program has encoded by itself into crash-safe chunks: no device, no ffmpeg,
//! no session. Here they are tiny JPEGs that grow brighter, and temperatures.
#![expect(clippy::print_stdout, reason = "a program tells what it did")]

use std::{error::Error, sync::Arc, time::Duration, time::Instant};

use bytes::Bytes;
use jiff::Timestamp;
use longtake_durable::RealStorage;
use longtake_recording::{
    ChunkEvent, ChunkOptions, ChunkWriter, ClockPair, Codec, CodecParameters, FrameRate, Monotonic,
    Packet, Pts, RecordingFacts, RecordingId, StreamIndex, StreamSpec, VideoParameters,
};

fn main() -> Result<(), Box<dyn Error>> {
    let output = tempfile::tempdir()?;
    let now = Timestamp::now();
    let (recording_id, folder) = RecordingId::claim(&RealStorage, output.path(), now)?;
    let zero = Monotonic::now();
    let mut writer = ChunkWriter::create(
        Arc::new(RealStorage),
        &folder,
        RecordingFacts::new(recording_id, now, move || ClockPair::now(zero)),
        vec![StreamSpec::video("light"), StreamSpec::data("temperature")],
        ChunkOptions::default().length(Duration::from_secs(2)),
    )?;

    let jpeg = Arc::new(CodecParameters {
        codec: Codec::Mjpeg,
        codec_private: Bytes::new(),
        video: Some(VideoParameters {
            width: 8,
            height: 8,
            fps: FrameRate::new(10, 1),
        }),
    });
    let json = Arc::new(CodecParameters::json());
    let started = Instant::now();
    for step in 0..60 {
        // A recorder stamps a packet when its picture was captured, hands it over when it is encoded,
        // and calls `tick` when nothing comes for a while.
        let captured = Duration::from_millis(100 * step);
        let packet = |stream, parameters: &Arc<CodecParameters>, data| Packet {
            stream: StreamIndex(stream),
            pts: Pts::ZERO + captured,
            duration: None,
            keyframe: true,
            data,
            parameters: Arc::clone(parameters),
        };
        let light = packet(0, &jpeg, picture(64 + u8::try_from(step)?));
        let celsius = format!(r#"{{"celsius":{}}}"#, 20 + step / 10);
        writer.write(light, started + captured);
        writer.write(packet(1, &json, celsius.into()), started + captured);
    }
    let summary = writer.finish(Instant::now());
    for event in summary.events {
        if let ChunkEvent::Finished(chunk) = event {
            println!("{}: {:?} packets", chunk.file, chunk.packets);
        }
    }
    println!("{} pictures written", summary.streams[0].counts.written);
    Ok(())
}

/// A grey JPEG of 8x8 pixels, 64 to 127 steps brighter than medium grey.
fn picture(brightness: u8) -> Bytes {
    let light = [brightness, 0x7F, 0xFF, 0xFF, 0xFF, 0xD9];
    [START, &[8; 64], CODES, &light].concat().into()
}

/// What a JPEG begins with, up to its 64 quantisation steps.
const START: &[u8] = b"\xFF\xD8\xFF\xDB\0\x43\0";
/// The size, a code for brightness, and one for no detail.
const CODES: &[u8] = b"\xFF\xC0\0\x0B\x08\0\x08\0\x08\x01\x01\x11\0\
    \xFF\xC4\0\x14\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x07\
    \xFF\xC4\0\x14\x10\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\
    \xFF\xDA\0\x08\x01\x01\0\0\x3F\0";
