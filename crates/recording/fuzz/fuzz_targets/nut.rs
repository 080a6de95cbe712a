//! Any bytes after the beginning of a real stream: the reader never panics, gives no more than went
//! in, and does not care how it went in.
//!
//! `cargo +nightly fuzz run nut -- -rss_limit_mb=512`, in the folder of the crate.
#![no_main]

use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};
use longtake_recording::{NutFrame, NutReader};

/// A main header, a stream header and a syncpoint as ffmpeg 5.1 writes them for Motion JPEG in
/// microseconds.
const HEADERS: &[u8] = include_bytes!("headers.nut");

#[derive(Arbitrary, Debug)]
struct Input {
    after_headers: bool,
    bytes: Vec<u8>,
    piece: u8,
}

fuzz_target!(|input: Input| {
    let headers = if input.after_headers { HEADERS } else { &[] };
    let stream = [headers, &input.bytes].concat();
    let frames = frames(&stream, stream.len().max(1));
    let bytes: usize = frames.iter().map(|frame| frame.data.len()).sum();
    // Each frame can leave out a beginning of up to 255 bytes.
    assert!(bytes <= stream.len() + 255 * frames.len());
    assert_eq!(
        frames,
        self::frames(&stream, usize::from(input.piece).max(1))
    );
});

fn frames(stream: &[u8], piece: usize) -> Vec<NutFrame> {
    let mut reader = NutReader::new().max_packet_bytes(1 << 16);
    let mut frames = Vec::new();
    for piece in stream.chunks(piece) {
        reader.push(piece);
        loop {
            match reader.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(_) => return frames,
            }
        }
    }
    frames
}
