//! Complete files in ffmpeg and ffprobe.

use std::time::Duration;

use longtake_matroska::{Block, Muxer, SegmentInfo, Track};

use crate::tools::{file_of, run};

#[test]
fn duration_and_start_are_those_of_the_blocks() {
    let track =
        Track::uncompressed(1, *b"Y800", 16, 16).default_duration(Duration::from_millis(40));
    let muxer = Muxer::new(SegmentInfo::default().tag("RECORDING_ID", "x"), vec![track]).unwrap();
    let blocks = (0..50).map(|n| Block::new(1, 600_000_001 + n * 40_000, vec![7; 256]));
    let file = file_of(muxer, blocks);
    let args = "-v warning -f matroska -show_entries format=start_time,duration -of csv=p=0 -";
    let said = run(
        "ffprobe",
        &args.split_whitespace().collect::<Vec<_>>(),
        file,
    );
    assert_eq!(said.text().trim(), "600.000001,2.000000");
}
