//! Raw pictures into ffmpeg's stdin, as an encoder is fed: exact times, every pixel format.

use longtake_matroska::{Block, Muxer, SegmentInfo, Track, uncompressed_fourcc};

use crate::tools::run;

const WIDTH: u32 = 64;
const HEIGHT: u32 = 48;

/// 120 times whose µs fit neither milliseconds nor a frame rate.
fn odd_times() -> impl Iterator<Item = i64> {
    (0..120).map(|n| 12_345_677 + n * 33_331 + (n * n) % 977)
}

/// A stream of pictures of random-looking bytes, a cluster each, with no end known.
fn raw_stream(
    fourcc: [u8; 4],
    picture_bytes: usize,
    times: impl Iterator<Item = i64>,
) -> (Vec<u8>, Vec<Vec<u8>>) {
    let track = Track::uncompressed(1, fourcc, WIDTH, HEIGHT);
    let mut muxer = Muxer::new(SegmentInfo::default(), vec![track]).unwrap();
    let mut stream = muxer.header().to_vec();
    let mut pictures = Vec::new();
    for (n, pts_us) in times.enumerate() {
        let picture: Vec<u8> = (0..picture_bytes)
            .map(|i| u8::try_from((i * 31 + n * 7 + i / 97) % 251).unwrap())
            .collect();
        pictures.push(picture.clone());
        assert!(
            muxer
                .push(Block::new(1, pts_us, picture))
                .unwrap()
                .is_none()
        );
        muxer.flush().unwrap().write_to(&mut stream).unwrap();
    }
    (stream, pictures)
}

#[track_caller]
fn check_exact_times(fourcc: [u8; 4], picture_bytes: usize) {
    let (stream, _) = raw_stream(fourcc, picture_bytes, odd_times());
    let args = "-v warning -xerror -nostdin -probesize 32 -analyzeduration 0 -fpsprobesize 0 -copyts \
        -f matroska -i pipe:0 -map 0 -c:v rawvideo -fps_mode passthrough \
        -enc_time_base 1:1000000 -f framecrc -";
    let said = run(
        "ffmpeg",
        &args.split_whitespace().collect::<Vec<_>>(),
        stream,
    );
    let got: Vec<i64> = said
        .text()
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(',').nth(2).unwrap().trim().parse().unwrap())
        .collect();
    assert!(said.text().contains("#tb 0: 1/1000000"), "{}", said.text());
    assert_eq!(got, odd_times().collect::<Vec<_>>());
}

#[test]
fn times_of_colour_pictures_come_back_to_the_microsecond() {
    check_exact_times(*b"I420", 64 * 48 * 3 / 2);
}

#[test]
fn times_of_depth_pictures_come_back_to_the_microsecond() {
    check_exact_times(*b"Y1\x00\x10", 64 * 48 * 2);
}

#[test]
fn ffmpeg_takes_each_fourcc_for_its_pixel_format() {
    let pixels = 64 * 48;
    for (name, picture_bytes) in [
        ("yuv420p", pixels * 3 / 2),
        ("yuv422p", pixels * 2),
        ("yuyv422", pixels * 2),
        ("nv12", pixels * 3 / 2),
        ("gray", pixels),
        ("gray16le", pixels * 2),
        ("rgb24", pixels * 3),
        ("bgr24", pixels * 3),
        ("bgra", pixels * 4),
        ("rgba", pixels * 4),
    ] {
        let fourcc = uncompressed_fourcc(name).unwrap();
        let (stream, pictures) = raw_stream(fourcc, picture_bytes, [0, 40_000, 80_000].into_iter());

        let args = "-v warning -f matroska -show_entries stream=codec_name,pix_fmt,width,height -of csv=p=0 -";
        let probed = run(
            "ffprobe",
            &args.split_whitespace().collect::<Vec<_>>(),
            stream.clone(),
        );
        assert_eq!(probed.text().trim(), format!("rawvideo,64,48,{name}"));

        let args = "-v warning -xerror -nostdin -f matroska -i - -f rawvideo -";
        let decoded = run(
            "ffmpeg",
            &args.split_whitespace().collect::<Vec<_>>(),
            stream,
        );
        assert_eq!(decoded.stderr, "", "{name}");
        assert!(decoded.stdout == pictures.concat(), "{name}");
    }
}
