//! Every row of the parse table, and properties over hostile bytes.

use proptest::prelude::*;

use super::*;

/// Pushes `line` in a block of its own; gives the block and the count of malformed values.
fn parse(line: &[u8]) -> (Block, u64) {
    let mut parser = ProgressParser::new();
    let mut blocks = Vec::new();
    parser.push(line, |block| blocks.push(*block));
    parser.push(b"\nprogress=continue\n", |block| blocks.push(*block));
    (blocks[0], parser.malformed())
}

#[track_caller]
fn check(line: &str, want: Block) {
    assert_eq!(parse(line.as_bytes()), (want, 0), "{line}");
}

#[track_caller]
fn check_malformed(line: &str) {
    assert_eq!(parse(line.as_bytes()), (Block::default(), 1), "{line}");
}

fn blocks(chunks: &[&[u8]]) -> (Vec<Block>, u64) {
    let mut parser = ProgressParser::new();
    let mut blocks = Vec::new();
    for chunk in chunks {
        parser.push(chunk, |block| blocks.push(*block));
    }
    (blocks, parser.malformed())
}

const NOTHING: Block = Block {
    frame: None,
    fps: None,
    bits_per_second: None,
    total_bytes: None,
    out_time_us: None,
    dup_frames: None,
    drop_frames: None,
    speed: None,
    end: false,
};

#[test]
fn frames() {
    check(
        "frame=63",
        Block {
            frame: Some(63),
            ..NOTHING
        },
    );
    check(
        "frame=  63",
        Block {
            frame: Some(63),
            ..NOTHING
        },
    );
    check("frame=N/A", NOTHING);
    check_malformed("frame=-1");
}

#[test]
fn the_statistics_line_is_no_progress() {
    check(
        "frame=  120 fps= 30 q=23.0 size=     256kB time=00:00:04.00 bitrate= 524.3kbits/s",
        NOTHING,
    );
}

#[test]
fn fps() {
    check(
        "fps=75.23",
        Block {
            fps: Some(75.23),
            ..NOTHING
        },
    );
    check(
        "fps=0.00",
        Block {
            fps: Some(0.0),
            ..NOTHING
        },
    );
}

#[test]
fn per_stream_values_are_ignored() {
    check("stream_0_0_q=-1.0", NOTHING);
    check("stream_0_0_psnr_y=inf", NOTHING);
}

#[test]
fn bit_rates() {
    check(
        "bitrate= 443.9kbits/s",
        Block {
            bits_per_second: Some(443_900),
            ..NOTHING
        },
    );
    check("bitrate=N/A", NOTHING);
    check(
        "bitrate=9707636.4kbits/s",
        Block {
            bits_per_second: Some(9_707_636_400),
            ..NOTHING
        },
    );
    check_malformed("bitrate=-8kbits/s");
    check_malformed("bitrate=9e99kbits/s");
}

#[test]
fn sizes() {
    check(
        "total_size=262192",
        Block {
            total_bytes: Some(262_192),
            ..NOTHING
        },
    );
    check("total_size=N/A", NOTHING);
    check(
        "total_size=48",
        Block {
            total_bytes: Some(48),
            ..NOTHING
        },
    );
}

#[test]
fn output_time_in_microseconds() {
    check(
        "out_time_us=866732",
        Block {
            out_time_us: Some(866_732),
            ..NOTHING
        },
    );
    check(
        "out_time_us=-66602",
        Block {
            out_time_us: Some(-66_602),
            ..NOTHING
        },
    );
    check("out_time_us=N/A", NOTHING);
    check("out_time_us=-9223372036854775807", NOTHING);
    check("out_time_us=-9223372036854775808", NOTHING);
    check("out_time_us=9223372036854775807", NOTHING);
    check_malformed("out_time_us=not-a-number");
    check_malformed("out_time_us=");
    check_malformed("out_time_us=12345678901234567890");
}

#[test]
fn out_time_ms_lies_and_is_ignored() {
    check("out_time_ms=866732", NOTHING);
}

#[test]
fn output_time_as_a_clock_serves_old_builds_only() {
    check(
        "out_time=00:00:00.866732",
        Block {
            out_time_us: Some(866_732),
            ..NOTHING
        },
    );
    check(
        "out_time=-00:00:00.066602",
        Block {
            out_time_us: Some(-66_602),
            ..NOTHING
        },
    );
    check(
        "out_time=-00:01:30.066602",
        Block {
            out_time_us: Some(-90_066_602),
            ..NOTHING
        },
    );
    check("out_time=-577014:32:22.775807", NOTHING);
    check(
        "out_time=100:00:00.000000",
        Block {
            out_time_us: Some(360_000_000_000),
            ..NOTHING
        },
    );
    check(
        "out_time_us=5\nout_time=00:00:07.000000",
        Block {
            out_time_us: Some(5),
            ..NOTHING
        },
    );
    check("out_time_us=N/A\nout_time=00:00:07.000000", NOTHING);
}

#[test]
fn speeds() {
    let speed = |speed| Block {
        speed: Some(speed),
        ..NOTHING
    };
    check("speed=1.15x", speed(1.15));
    check("speed= 1.1x", speed(1.1));
    check("speed=   0x", speed(0.0));
    check("speed=1.34e+04x", speed(13_400.0));
    check("speed=N/A", NOTHING);
    check_malformed("speed=fast");
}

#[test]
fn repeated_and_left_out_frames() {
    check(
        "dup_frames=0",
        Block {
            dup_frames: Some(0),
            ..NOTHING
        },
    );
    check(
        "drop_frames=138",
        Block {
            drop_frames: Some(138),
            ..NOTHING
        },
    );
}

#[test]
fn every_progress_line_closes_the_block() {
    let frame = |frame, end| Block {
        frame: Some(frame),
        end,
        ..NOTHING
    };
    let text = b"frame=1\nprogress=continue\nframe=2\nprogress=foo\nframe=3\nprogress=end\n";
    assert_eq!(
        blocks(&[text]).0,
        [frame(1, false), frame(2, false), frame(3, true)]
    );
}

#[test]
fn unknown_keys_and_other_text_are_ignored() {
    check("elapsed=0:00:00.13", NOTHING);
    check("key=value", NOTHING);
    check("no equals sign", NOTHING);
    check("=", NOTHING);
    check("", NOTHING);
}

#[test]
fn an_audio_job_has_no_frames() {
    let text = b"bitrate=  64.1kbits/s\ntotal_size=8192\nout_time_us=1000000\nspeed=  20x\nprogress=continue\n";
    let want = Block {
        bits_per_second: Some(64_100),
        total_bytes: Some(8192),
        out_time_us: Some(1_000_000),
        speed: Some(20.0),
        ..NOTHING
    };
    assert_eq!(blocks(&[text]).0, [want]);
}

#[test]
fn a_block_without_its_end_is_dropped() {
    assert_eq!(
        blocks(&[b"frame=1\nout_time_us=5\nprogress=contin"]),
        (vec![], 0)
    );
}

#[test]
fn values_do_not_leak_into_the_next_block() {
    let got =
        blocks(&[b"out_time_us=5\nprogress=continue\nout_time=00:00:07.0\nprogress=continue\n"]).0;
    assert_eq!(
        got.iter()
            .map(|block| block.out_time_us)
            .collect::<Vec<_>>(),
        [Some(5), Some(7_000_000)]
    );
}

#[test]
fn carriage_returns_and_hostile_bytes() {
    assert_eq!(
        blocks(&[b"frame=7\r\nprogress=end\r\n"]).0,
        [Block {
            frame: Some(7),
            end: true,
            ..NOTHING
        }]
    );
    assert_eq!(
        blocks(&[b"\0\xff\xfe=\0\nframe=\xff\nprogress=\0\n"]),
        (vec![NOTHING], 1)
    );
}

#[test]
fn an_endless_line_costs_no_memory() {
    let mut parser = ProgressParser::new();
    for _ in 0..160 {
        parser.push(&[b'x'; 65_536], |_| panic!("no block was closed"));
    }
    assert!(parser.partial.capacity() <= 2 * MAX_LINE);
    let mut seen = 0;
    parser.push(b"\nframe=1\nprogress=continue\n", |block| {
        assert_eq!(block.frame, Some(1));
        seen += 1;
    });
    assert_eq!((seen, parser.malformed()), (1, 1));
}

/// Two real blocks of ffmpeg 5.1, with an overlong line and a foreign one between them.
fn sample() -> Vec<u8> {
    let block = "frame=60\nfps=0.00\nstream_0_0_q=-1.0\nbitrate= 368.0kbits/s\ntotal_size=92933\n\
        out_time_us=2020136\nout_time_ms=2020136\nout_time=00:00:02.020136\ndup_frames=0\n\
        drop_frames=0\nspeed=12.5x\n";
    format!(
        "{block}progress=continue\n{}\nframe=x\n{block}progress=end\n",
        "y".repeat(MAX_LINE + 1)
    )
    .into_bytes()
}

#[test]
fn a_split_at_any_byte_gives_the_same() {
    let sample = sample();
    let whole = blocks(&[&sample]);
    assert_eq!((whole.0.len(), whole.1), (2, 2));
    for at in 0..=sample.len() {
        let (head, tail) = sample.split_at(at);
        assert_eq!(blocks(&[head, tail]), whole, "split at {at}");
    }
}

#[test]
fn lines_give_the_same_as_bytes() {
    let sample = sample();
    let mut parser = ProgressParser::new();
    let lines = sample.split(|&byte| byte == b'\n');
    let closed: Vec<_> = lines.filter_map(|line| parser.push_line(line)).collect();
    assert_eq!((closed, parser.malformed()), blocks(&[&sample]));
}

proptest! {
    #[test]
    fn any_splits_give_the_same(mut cuts in prop::collection::vec(0..5000_usize, 0..40)) {
        let sample = sample();
        cuts.extend([0, sample.len()]);
        cuts.iter_mut().for_each(|cut| *cut = (*cut).min(sample.len()));
        cuts.sort_unstable();
        let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &sample[pair[0]..pair[1]]).collect();
        prop_assert_eq!(blocks(&chunks), blocks(&[&sample]));
    }

    #[test]
    fn any_splits_of_any_bytes_give_the_same(
        pieces in prop::collection::vec(
            prop_oneof![
                "(frame|fps|bitrate|total_size|out_time_us|out_time|speed|dup_frames|progress)=[ -]?[0-9a-zN/A:.]{0,9}\n",
                "\\PC{0,12}",
                Just("\n".to_owned()),
            ].prop_map(String::into_bytes).boxed()
            .prop_union(prop::collection::vec(any::<u8>(), 0..12).boxed()),
            0..20,
        )
    ) {
        let all = pieces.concat();
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        prop_assert_eq!(blocks(&pieces), blocks(&[&all]));
    }
}
