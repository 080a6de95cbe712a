//! The reader against streams made here, which have what ffmpeg 5.1 does not write too. Real ones are
//! read in the integration tests.

use proptest::prelude::*;

use super::*;

/// Writes NUT.
#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
}

fn number(value: u64) -> Vec<u8> {
    let mut bytes = vec![(value & 0x7F).to_le_bytes()[0]];
    let mut rest = value >> 7;
    while rest > 0 {
        bytes.insert(0, 0x80 | (rest & 0x7F).to_le_bytes()[0]);
        rest >>= 7;
    }
    bytes
}

fn signed(value: i64) -> Vec<u8> {
    number(value.unsigned_abs() * 2 - u64::from(value > 0))
}

fn text(text: &str) -> Vec<u8> {
    [number(text.len() as u64), text.into()].concat()
}

fn numbers(values: &[u64]) -> Vec<u8> {
    values.iter().copied().flat_map(number).collect()
}

fn with_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = crc32(&bytes);
    bytes.extend_from_slice(&crc.to_be_bytes());
    bytes
}

impl Writer {
    fn begun() -> Self {
        let mut writer = Self::default();
        writer.bytes.extend_from_slice(FILE_ID);
        writer
    }

    fn packet(&mut self, startcode: [u8; 8], payload: &[u8]) -> &mut Self {
        let payload = with_checksum(payload.to_vec());
        let mut head = [&startcode[..], &number(payload.len() as u64)].concat();
        if payload.len() > 4096 {
            head = with_checksum(head);
        }
        self.bytes.extend([head, payload].concat());
        self
    }

    /// Two streams: video in microseconds, text in ticks of 1/90000 s. Every frame has all fields
    /// and codes its flags; code 2 has a timestamp of the last plus 33333 and a size of 5.
    fn headers(&mut self) -> &mut Self {
        let coded = numbers(&[4096, 6, 0, 1, 0, 0, 0, 2]);
        let short = [numbers(&[1, 6]), signed(33_333), numbers(&[6, 0, 5, 0, 1])].concat();
        let rest = numbers(&[8192, 6, 0, 1, 0, 0, 0, 252]);
        let main = [
            numbers(&[4, 1, 2, 65536, 2, 1, 1_000_000, 1, 90_000]),
            [coded, short, rest].concat(),
            numbers(&[1, 3]),
            b"abc".to_vec(),
            numbers(&[0, 77]),
        ]
        .concat();
        let video = [
            numbers(&[0, 0]),
            text("H264"),
            numbers(&[0, 14, 1_000_000, 1, 0]),
            text("extra"),
            numbers(&[64, 48, 1, 1, 0]),
        ]
        .concat();
        let subtitle = [
            numbers(&[1, 2]),
            text("UT"),
            numbers(&[1, 7, 90_000, 0, 0]),
            text(""),
        ]
        .concat();
        self.packet(MAIN, &main)
            .packet(STREAM, &video)
            .packet(STREAM, &subtitle)
    }

    fn syncpoint(&mut self, ticks: i64, time_base: u64) -> &mut Self {
        let coded = ticks.cast_unsigned().wrapping_mul(2) + time_base;
        self.packet(SYNCPOINT, &numbers(&[coded, 0]))
    }

    /// A frame with `fields` between its flags and its bytes; with a checksum if the flags say so.
    fn frame(&mut self, flags: u64, fields: &[Vec<u8>], body: &[u8]) -> &mut Self {
        let head = [vec![0], number(flags), fields.concat()].concat();
        let head = if flags & 64 != 0 {
            with_checksum(head)
        } else {
            head
        };
        self.bytes.extend(head);
        self.bytes.extend_from_slice(body);
        self
    }
}

/// A stream with everything that NUT has.
fn sample() -> Writer {
    let full = |pts: u64| number(pts + (1 << 14));
    let side = [
        number(3),
        text("Extradata"),
        signed(-2),
        text("bin"),
        text("new"),
        text("SkipStart"),
        signed(7),
        text("r"),
        signed(-9),
        signed(-1),
        number(2),
        text("title"),
        signed(-1),
        text("x"),
        text("t"),
        signed(-4),
        number(300),
    ]
    .concat();
    let mut writer = Writer::begun();
    writer
        .headers()
        .packet(INFO, &[numbers(&[0, 0, 0, 0, 1]), text("Encoder"), signed(-1), text("me")].concat())
        .packet(
            INFO,
            &[
                numbers(&[1, 0, 0, 0, 2]),
                text("n"),
                signed(-3),
                signed(-5),
                text("r_frame_rate"),
                signed(-1),
                text("30000/1001"),
            ]
            .concat(),
        )
        .packet(INFO, &numbers(&[9, 9, 9, 9, 9]))
        .syncpoint(-67_549, 0)
        // Keyframe, whole timestamp, size, checksum; the jump is large.
        .frame(1 | 8 | 32 | 64, &[full(5_000_000), number(3)], b"one")
        // Only the lowest bits of the timestamp, backwards; reserved fields and a match time.
        .frame(
            8 | 32 | 128 | 2048,
            &[number(4_999_999 % (1 << 14)), number(3), signed(-3), number(2), numbers(&[1, 300])],
            b"two",
        )
        // The beginning `abc` is left out.
        .frame(32 | 1024, &[number(5), number(1)], b"de")
        .packet(*b"NZfuture", b"whatever");
    // The short form: flags, size and time from the table.
    writer.bytes.extend(b"\x02-----");
    writer
        .headers()
        .packet(INFO, &vec![0; 5000])
        .syncpoint(450_001, 1)
        // The other stream, 9 ticks or 100 µs after the syncpoint.
        .frame(1 | 8 | 16 | 32, &[number(1), number((450_010) % 128), number(4)], b"text")
        // Its end of relevance.
        .frame(1 | 2 | 8 | 16, &[number(1), number(450_020 % 128)], b"")
        .frame(256 | 8 | 32, &[number(5_000_011 % (1 << 14)), number(side.len() as u64 + 4)], &[side, b"side".to_vec()].concat());
    writer
}

fn frames_of(pieces: &[&[u8]]) -> (Vec<NutFrame>, Result<(), NutError>) {
    let mut reader = NutReader::new();
    let mut frames = Vec::new();
    for piece in pieces {
        reader.push(piece);
        loop {
            match reader.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(reader.next_frame(), Err(error.clone()), "asked again");
                    return (frames, Err(error));
                }
            }
        }
    }
    (frames, reader.finish())
}

#[test]
fn everything_that_nut_has() {
    let (frames, end) = frames_of(&[&sample().bytes]);
    assert_eq!(end, Ok(()));
    let told: Vec<_> = frames
        .iter()
        .map(|frame| (frame.stream, frame.pts.0, frame.keyframe, &frame.data[..]))
        .collect();
    assert_eq!(
        told,
        [
            (0, 5_000_000, true, &b"one"[..]),
            (0, 4_999_999, false, b"two"),
            (0, 4_999_999, false, b"abcde"),
            (0, 5_033_332, true, b"-----"),
            (1, 5_000_111, true, b"text"),
            (0, 5_000_011, false, b"side"),
        ]
    );
    assert_eq!(frames[5].new_extradata.as_deref(), Some(&b"new"[..]));
}

#[test]
fn streams_are_known_with_the_first_frame() {
    let mut reader = NutReader::new();
    reader.push(&sample().bytes);
    assert_eq!(reader.streams(), []);
    reader.next_frame().unwrap().unwrap();
    let [video, text] = reader.streams() else {
        panic!("{:?}", reader.streams());
    };
    assert_eq!(
        *video,
        NutStream {
            kind: NutKind::Video {
                width: 64,
                height: 48
            },
            fourcc: *b"H264",
            extradata: Bytes::from_static(b"extra"),
            frame_rate: FrameRate::new(30_000, 1001),
        }
    );
    assert_eq!((text.kind, text.fourcc), (NutKind::Subtitle, *b"UT\0\0"));
}

#[track_caller]
fn check_error(bytes: &[u8], want: NutError) {
    assert_eq!(frames_of(&[bytes]).1, Err(want));
}

#[test]
fn damage_has_a_place_and_a_name() {
    let truncated = |offset| NutError::Truncated { offset };
    let damaged = |offset, fault| NutError::Damaged { offset, fault };
    check_error(b"", truncated(0));
    check_error(b"nut/", truncated(0));
    check_error(b"nut!", NutError::NotNut);
    check_error(b"\x1A\x45\xDF\xA3", NutError::NotNut);
    check_error(FILE_ID, truncated(25));

    let mut early = Writer::begun();
    early.frame(0, &[], b"");
    check_error(
        &early.bytes,
        damaged(25, "a frame comes before the headers"),
    );

    let mut version = Writer::begun();
    version.packet(MAIN, &numbers(&[5]));
    check_error(&version.bytes, NutError::Version { version: 5 });

    let mut short = Writer::begun();
    short.packet(MAIN, &numbers(&[3, 1, 0]));
    check_error(&short.bytes, damaged(25, "a packet ends inside a field"));

    let mut flipped = sample().bytes;
    flipped[60] ^= 1;
    check_error(&flipped, damaged(25, "a packet has a wrong checksum"));

    let mut jump = Writer::begun();
    let at = jump.headers().syncpoint(0, 0).bytes.len() as u64;
    jump.frame(8, &[number(1_000_001 + (1 << 14))], b"");
    check_error(
        &jump.bytes,
        damaged(at, "a timestamp jumps without a checksum"),
    );
}

#[test]
fn a_cut_stream_gives_its_frames_up_to_the_cut() {
    let whole = sample().bytes;
    let (all, _) = frames_of(&[&whole]);
    for len in 0..whole.len() {
        let (frames, end) = frames_of(&[&whole[..len]]);
        assert!(all.starts_with(&frames));
        match end {
            Ok(()) => {}
            Err(NutError::Truncated { offset }) => assert!(offset <= len as u64),
            Err(error) => panic!("{error} in a stream that was only cut"),
        }
    }
    let (frames, end) = frames_of(&[&whole[..whole.len() - 1]]);
    assert!(end.is_err());
    assert_eq!(frames, all[..all.len() - 1]);
}

#[test]
fn no_packet_is_larger_than_the_limit() {
    for (bytes, fits) in [(1000, true), (1001, false)] {
        let mut writer = Writer::begun();
        let offset = writer.headers().syncpoint(0, 0).bytes.len() as u64;
        writer.frame(32, &[number(bytes)], &vec![7; 1001]);
        let mut reader = NutReader::new().max_packet_bytes(1000);
        reader.push(&writer.bytes);
        let want = NutError::TooLarge {
            offset,
            bytes,
            max_bytes: 1000,
        };
        match reader.next_frame() {
            Ok(Some(frame)) => assert!(fits && frame.data.len() == 1000),
            result => assert_eq!((result, fits), (Err(want), false)),
        }
    }
}

#[test]
fn timestamps_in_other_ticks_are_rounded_to_the_nearest_microsecond() {
    let time_base = |numerator, denominator| TimeBase {
        numerator,
        denominator,
    };
    for (base, ticks, want) in [
        (time_base(1, 1_000_000), i64::MAX, Some(i64::MAX)),
        (time_base(1, 1_000_000), -67_549, Some(-67_549)),
        (time_base(1, 90_000), 1, Some(11)),
        (time_base(1, 90_000), 4, Some(44)),
        (time_base(1, 90_000), 5, Some(56)),
        (time_base(1, 90_000), -1, Some(-11)),
        (time_base(1001, 30_000), 1, Some(33_367)),
        (time_base(1, 1), i64::MAX, None),
    ] {
        assert_eq!(base.micros(ticks), want, "{ticks} in {base:?}");
    }
}

#[test]
fn the_lowest_bits_of_a_timestamp_find_the_nearest_one() {
    let state = StreamState {
        time_base: TimeBase {
            numerator: 1,
            denominator: 1_000_000,
        },
        lsb_bits: 14,
        max_pts_step: 1_000_000,
        last_pts: 600_300_000,
    };
    for step in -8191_i64..=8192 {
        let pts = 600_300_000 + step;
        let coded = (pts & 0x3FFF).cast_unsigned();
        assert_eq!(state.pts_from_coded(coded), Some(pts));
    }
    assert_eq!(state.pts_from_coded(1 << 14), Some(0));
    assert_eq!(state.pts_from_coded(u64::MAX), None);
}

proptest! {
    #[test]
    fn any_split_gives_the_same_frames(cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12)) {
        let bytes = sample().bytes;
        let mut ends: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        ends.sort_unstable();
        ends.push(bytes.len());
        let mut begin = 0;
        let pieces: Vec<_> = ends
            .iter()
            .map(|&end| &bytes[std::mem::replace(&mut begin, end)..end])
            .collect();
        prop_assert_eq!(frames_of(&pieces), frames_of(&[&bytes]));
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        after in prop::sample::select(vec![0_usize, 1, 2, 3]),
    ) {
        let mut writer = Writer::default();
        if after > 0 { writer.bytes.extend_from_slice(FILE_ID) }
        if after > 1 { writer.headers(); }
        if after > 2 { writer.syncpoint(0, 0); }
        writer.bytes.extend(bytes);
        drop(frames_of(&[&writer.bytes]));
    }

    #[test]
    fn arbitrary_headers_with_right_checksums_never_panic(
        payload in prop::collection::vec(any::<u8>(), 0..100),
        startcode in prop::sample::select(vec![MAIN, STREAM, SYNCPOINT, INFO]),
        after_headers in any::<bool>(),
    ) {
        let mut writer = Writer::begun();
        if after_headers { writer.headers(); }
        writer.packet(startcode, &payload).syncpoint(5, 1).frame(8 | 32, &[number(7), number(1)], b"x");
        drop(frames_of(&[&writer.bytes]));
    }

    #[test]
    fn damage_never_panics_and_never_adds_frames(
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = sample().bytes;
        for (at, mask) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= mask;
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        let (frames, _) = frames_of(&[&bytes]);
        prop_assert!(frames.iter().map(|frame| frame.data.len()).sum::<usize>() <= bytes.len() + 3 * frames.len());
    }
}
