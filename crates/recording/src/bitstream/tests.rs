//! Parameter sets in and out of packets. Whole streams of ffmpeg's are in the integration tests.

use proptest::prelude::*;

use super::*;
use crate::pts::Pts;

/// x264, 64x48 and 100x50.
const AVC_SPS: [&[u8]; 2] = [
    b"\x67\x64\x00\x0a\xac\xb4\x23\xd8\x08\x80\x00\x00\x03\x00\x80\x00\x00\x1e\x47\x89\x13\x50",
    b"\x67\x64\x00\x0a\xac\xb4\x39\x3c\xf1\x18\x08\x80\x00\x00\x03\x00\x80\x00\x00\x1e\x47\x89\x13\x50",
];
const AVC_PPS: &[u8] = b"\x68\xef\x0f\xcb";
const OTHER_AVC_PPS: &[u8] = b"\x68\xef\x0f\xcc";
const AVC_IDR: &[u8] = b"\x65picture";
const AVC_OTHER: &[u8] = b"\x41picture";

/// x265, 100x50.
const HEVC_VPS: &[u8] =
    b"\x40\x01\x0c\x01\xff\xff\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\x03\x00\x1e\x95\x94\x09";
const HEVC_SPS: &[u8] = b"\x42\x01\x01\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\x03\x00\x1e\xa0\x34\x83\x9d\xc9\x96\x56\x5b\x93\x0b\xc0\x5a\x02\x00\x00\x03\x00\x02\x00\x00\x03\x00\x3c\x10";
const HEVC_PPS: &[u8] = b"\x44\x01\xc1\x73\xc1\x89";
const HEVC_CRA: &[u8] = b"\x2a\x01picture";

fn annex_b(units: &[&[u8]]) -> Bytes {
    let coded: Vec<u8> = units
        .iter()
        .flat_map(|unit| [&[0, 0, 0, 1], *unit].concat())
        .collect();
    Bytes::from(coded)
}

fn lengths(units: &[&[u8]]) -> Bytes {
    Bytes::from(with_lengths(units).unwrap())
}

fn stream(fourcc: &[u8; 4], extradata: Bytes) -> NutStream {
    NutStream {
        kind: NutKind::Video {
            width: 640,
            height: 400,
        },
        fourcc: *fourcc,
        extradata,
        frame_rate: None,
    }
}

fn frame(keyframe: bool, data: Bytes) -> NutFrame {
    NutFrame {
        stream: 0,
        pts: Pts::ZERO,
        keyframe,
        data,
        new_extradata: None,
    }
}

fn size(parameters: &CodecParameters) -> (u32, u32) {
    let video = parameters.video.unwrap();
    (video.width, video.height)
}

#[test]
fn h264_with_its_sets_in_extradata() {
    let extradata = annex_b(&[AVC_SPS[1], AVC_PPS]);
    let mut packager = Packager::new(&stream(b"H264", extradata)).unwrap();
    let parameters = Arc::clone(packager.parameters().unwrap());
    assert_eq!(size(&parameters), (100, 50));
    let record = [
        &[1, 0x64, 0, 0x0A, 0xFF, 0xE1, 0, 24][..],
        AVC_SPS[1],
        &[1, 0, 4],
        AVC_PPS,
        &[0xFD, 0xF8, 0xF8, 0],
    ];
    assert_eq!(parameters.codec_private, record.concat());
    let packet = packager
        .package(frame(true, annex_b(&[b"\x09\x10", AVC_IDR, b"\x65more"])))
        .unwrap()
        .unwrap();
    assert_eq!(packet.data, lengths(&[b"\x09\x10", AVC_IDR, b"\x65more"]));
    assert!(packet.keyframe);
    assert!(
        Arc::ptr_eq(&packet.parameters, &parameters),
        "nothing changed"
    );
}

#[test]
fn h264_with_its_sets_in_packets() {
    let mut packager = Packager::new(&stream(b"H264", Bytes::new())).unwrap();
    let mut package = |key, units: &[&[u8]]| packager.package(frame(key, annex_b(units))).unwrap();
    assert_eq!(package(false, &[AVC_OTHER]), None);
    assert_eq!(package(true, &[AVC_IDR]), None, "its sets are not known");
    let first = package(true, &[AVC_SPS[0], AVC_PPS, AVC_IDR]).unwrap();
    assert_eq!(size(&first.parameters), (64, 48));
    assert_eq!(
        first.data,
        lengths(&[AVC_SPS[0], AVC_PPS, AVC_IDR]),
        "the sets stay in the packet"
    );
    let repeated = package(true, &[AVC_SPS[0], AVC_PPS, AVC_IDR]).unwrap();
    assert!(Arc::ptr_eq(&repeated.parameters, &first.parameters));

    let before_key = package(false, &[OTHER_AVC_PPS, AVC_OTHER]).unwrap();
    assert!(
        Arc::ptr_eq(&before_key.parameters, &first.parameters),
        "a file can only begin at a keyframe"
    );
    let after_key = package(true, &[AVC_IDR]).unwrap();
    assert!(
        after_key
            .parameters
            .codec_private
            .ends_with(&[&[1, 0, 4], OTHER_AVC_PPS, &[0xFD, 0xF8, 0xF8, 0]].concat())
    );

    let larger = package(true, &[AVC_SPS[1], AVC_PPS, AVC_IDR]).unwrap();
    assert_eq!(size(&larger.parameters), (100, 50));
    let back = package(true, &[AVC_SPS[0], AVC_PPS, AVC_IDR]).unwrap();
    assert_eq!(back.parameters, first.parameters);
}

#[test]
fn h264_as_in_mp4_passes_through() {
    let mut source = Packager::new(&stream(b"H264", annex_b(&[AVC_SPS[0], AVC_PPS]))).unwrap();
    let mut record = source.parameters().unwrap().codec_private.to_vec();
    record[4] = 0xFC | 1;
    let record = Bytes::from(record);
    let mut packager = Packager::new(&stream(b"avc1", record.clone())).unwrap();
    assert_eq!(packager.parameters().unwrap().codec_private, record);
    let data = Bytes::from_static(b"\x00\x02\x65x\x00\x01\x0c");
    let packet = packager
        .package(frame(true, data.clone()))
        .unwrap()
        .unwrap();
    assert_eq!((packet.data, packet.keyframe), (data, true));

    let changed = [&[0, 24], AVC_SPS[1], &[0, 2, 0x65, 0x78]].concat();
    let packet = packager
        .package(frame(true, changed.into()))
        .unwrap()
        .unwrap();
    assert_eq!(size(&packet.parameters), (100, 50));
    assert_eq!(
        packet.parameters.codec_private[4],
        0xFC | 1,
        "lengths of 2 bytes"
    );

    let malformed = packager.package(frame(true, Bytes::from_static(b"\x00\x09\x65")));
    assert_eq!(malformed, Err(PackageError::Packet { codec: Codec::H264 }));
    let other_form = source.package(frame(true, Bytes::from_static(b"\x00\x02\x65x")));
    assert_eq!(other_form, Err(PackageError::Packet { codec: Codec::H264 }));
}

#[test]
fn keyframes_of_h264_are_idr_pictures_where_it_has_them() {
    let extradata = annex_b(&[AVC_SPS[0], AVC_PPS]);
    let mut packager = Packager::new(&stream(b"H264", extradata)).unwrap();
    let mut is_key = |key, unit| {
        let packet = packager.package(frame(key, annex_b(&[unit])));
        packet.unwrap().unwrap().keyframe
    };
    assert!(is_key(true, AVC_OTHER), "it refreshes bit by bit");
    assert!(!is_key(false, AVC_IDR));
    assert!(!is_key(true, AVC_OTHER), "it has IDR pictures after all");
    assert!(is_key(true, AVC_IDR));
}

#[test]
fn h265_with_its_sets_in_extradata() {
    let extradata = annex_b(&[HEVC_VPS, HEVC_SPS, HEVC_PPS, b"\x4e\x01SEI"]);
    let mut packager = Packager::new(&stream(b"HEVC", extradata)).unwrap();
    let parameters = Arc::clone(packager.parameters().unwrap());
    assert_eq!(size(&parameters), (100, 50));
    let record = [
        b"\x01\x01\x60\x00\x00\x00\x90\x00\x00\x00\x00\x00\x1e\xf0\x00\xfc\xfd\xf8\xf8\x00\x00\x0f\x03",
        &b"\x20\x00\x01\x00\x18"[..],
        HEVC_VPS,
        b"\x21\x00\x01\x00\x2a",
        HEVC_SPS,
        b"\x22\x00\x01\x00\x06",
        HEVC_PPS,
    ];
    assert_eq!(parameters.codec_private, record.concat());
    let packet = packager
        .package(frame(true, annex_b(&[HEVC_CRA])))
        .unwrap()
        .unwrap();
    assert_eq!((packet.data, packet.keyframe), (lengths(&[HEVC_CRA]), true));

    let again = Packager::new(&stream(b"hvc1", parameters.codec_private.clone())).unwrap();
    assert_eq!(again.parameters(), Some(&parameters));
}

#[test]
fn new_extradata_replaces_the_parameters() {
    let extradata = annex_b(&[AVC_SPS[0], AVC_PPS]);
    let mut packager = Packager::new(&stream(b"H264", extradata)).unwrap();
    let packet = packager.package(NutFrame {
        new_extradata: Some(annex_b(&[AVC_SPS[1], AVC_PPS])),
        ..frame(true, annex_b(&[AVC_IDR]))
    });
    assert_eq!(size(&packet.unwrap().unwrap().parameters), (100, 50));
}

#[test]
fn parameters_never_outlive_the_framing_that_they_tell() {
    let source = Packager::new(&stream(b"H264", annex_b(&[AVC_SPS[0], AVC_PPS]))).unwrap();
    let mut record = source.parameters().unwrap().codec_private.to_vec();
    record[4] = 0xFC | 1;
    let mut packager = Packager::new(&stream(b"H264", record.into())).unwrap();
    let packet = packager.package(NutFrame {
        new_extradata: Some(Bytes::new()),
        ..frame(false, annex_b(&[AVC_OTHER]))
    });
    assert_eq!(
        packet,
        Ok(None),
        "two bytes of length are told, four are written"
    );
    let packet = packager.package(frame(true, annex_b(&[AVC_SPS[0], AVC_PPS, AVC_IDR])));
    let parameters = packet.unwrap().unwrap().parameters;
    assert_eq!(parameters.codec_private[4], 0xFF);
}

#[test]
fn other_codecs_stay_as_they_are() {
    let data = Bytes::from_static(b"whatever");
    for (fourcc, codec) in [(b"FFV1", Codec::Ffv1), (b"MJPG", Codec::Mjpeg)] {
        let extradata = Bytes::from_static(b"record");
        let mut packager = Packager::new(&stream(fourcc, extradata.clone())).unwrap();
        let packet = packager
            .package(frame(false, data.clone()))
            .unwrap()
            .unwrap();
        assert_eq!((&packet.data, packet.keyframe), (&data, true));
        assert_eq!(packet.parameters.codec, codec);
        assert_eq!(packet.parameters.codec_private, extradata);
        assert_eq!(size(&packet.parameters), (640, 400));
    }
}

#[test]
fn what_cannot_be_recorded_says_so() {
    let error = Packager::new(&stream(b"mp4v", Bytes::new())).unwrap_err();
    assert_eq!(
        error.to_string(),
        "codec \"mp4v\" cannot be recorded as it is, only H.264, H.265, FFV1 and MJPEG"
    );
    let sound = NutStream {
        kind: NutKind::Audio {
            sampling_hz: 48_000.0,
            channels: 2,
        },
        ..stream(b"mp4a", Bytes::new())
    };
    assert_eq!(Packager::new(&sound).unwrap_err(), PackageError::NotVideo);
    let record = Bytes::from_static(&[1, 0x64, 0, 10, 0xFF, 0xE1, 0, 99]);
    assert_eq!(
        Packager::new(&stream(b"H264", record)).unwrap_err(),
        PackageError::Configuration { codec: Codec::H264 }
    );
}

/// Bytes that look like units more often than arbitrary ones.
fn pieces() -> impl Strategy<Value = Bytes> {
    let known = [
        AVC_SPS[0],
        AVC_PPS,
        AVC_IDR,
        HEVC_VPS,
        HEVC_SPS,
        HEVC_PPS,
        HEVC_CRA,
        &[0, 0, 1],
        &[0, 0, 0, 2],
    ];
    let piece = prop_oneof![
        prop::sample::select(known.map(<[u8]>::to_vec).to_vec()),
        prop::collection::vec(any::<u8>(), 0..20),
    ];
    let damaged = (piece, any::<prop::sample::Index>(), any::<Option<u8>>()).prop_map(
        |(mut piece, at, byte)| {
            if let Some(byte) = byte
                && !piece.is_empty()
            {
                let at = at.index(piece.len());
                piece[at] = byte;
            }
            piece
        },
    );
    prop::collection::vec(damaged, 0..8).prop_map(|pieces| Bytes::from(pieces.concat()))
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(
        fourcc in prop::sample::select(vec![*b"H264", *b"HEVC", *b"FFV1"]),
        extradata in pieces(),
        packets in prop::collection::vec((any::<bool>(), pieces(), prop::option::of(pieces())), 0..6),
    ) {
        let Ok(mut packager) = Packager::new(&stream(&fourcc, extradata)) else { return Ok(()) };
        for (key, data, new_extradata) in packets {
            let nut = NutFrame { new_extradata, ..frame(key, data) };
            if let Ok(Some(packet)) = packager.package(nut) {
                prop_assert!(packet.parameters.video.unwrap().width > 0);
            }
        }
    }
}
