//! Any packets of any codec: the packager never panics, and what it gives in place of a byte stream
//! is what it takes as units with lengths.
//!
//! `cargo +nightly fuzz run package`, in the folder of the crate.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};
use longtake_recording::{Codec, NutFrame, NutKind, NutStream, Packager, Pts};

#[derive(Arbitrary, Debug, Clone, Copy)]
enum Kind {
    H264,
    H265,
    Ffv1,
}

#[derive(Arbitrary, Debug)]
struct Input {
    kind: Kind,
    extradata: Vec<u8>,
    packets: Vec<Packet>,
}

#[derive(Arbitrary, Debug)]
struct Packet {
    keyframe: bool,
    /// Written with a startcode before each.
    units: Vec<Vec<u8>>,
    raw: Option<Vec<u8>>,
    new_extradata: Option<Vec<u8>>,
}

fuzz_target!(|input: Input| {
    let fourcc = match input.kind {
        Kind::H264 => *b"H264",
        Kind::H265 => *b"HEVC",
        Kind::Ffv1 => *b"FFV1",
    };
    let stream = |extradata: Bytes| NutStream {
        kind: NutKind::Video {
            width: 64,
            height: 48,
        },
        fourcc,
        extradata,
        frame_rate: None,
    };
    let Ok(mut packager) = Packager::new(&stream(input.extradata.into())) else {
        return;
    };
    for packet in input.packets {
        let startcode: &[u8] = &[0, 0, 1];
        let units = packet
            .units
            .iter()
            .flat_map(|unit| [startcode, unit].concat());
        let data = packet.raw.unwrap_or_else(|| units.collect());
        let frame = |data: Bytes| NutFrame {
            stream: 0,
            pts: Pts(0),
            keyframe: packet.keyframe,
            data,
            new_extradata: None,
        };
        let Ok(Some(packed)) = packager.package(NutFrame {
            new_extradata: packet.new_extradata.map(Bytes::from),
            ..frame(data.into())
        }) else {
            continue;
        };
        let parameters = &packed.parameters;
        if matches!(parameters.codec, Codec::H264 | Codec::H265) {
            let stored = stream(parameters.codec_private.clone());
            let mut again = Packager::new(&stored).expect("the record was written here");
            let passed = again
                .package(frame(packed.data.clone()))
                .expect("so was the packet");
            assert_eq!(passed.map(|passed| passed.data), Some(packed.data));
        }
    }
});
