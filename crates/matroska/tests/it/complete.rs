//! Files of this crate in ffmpeg and ffprobe: exact times, no complaint, seeking by the cues.

use std::time::Duration;

use longtake_matroska::{Block, Muxer, Reader, SegmentInfo, Track};

use crate::tools::{File, Packet, ffmpeg, ffprobe_packets, file_of, made_by_ffmpeg, read, run};

/// Where the recording begins in its own time: far from zero and on no millisecond.
const START_US: i64 = 600_300_001;

/// Ten seconds of H.264 with B-frames, a keyframe a second, beside FFV1 depth that starts 1.3 s later
/// and JSON at 100 Hz; with all blocks in the order in which they would come.
fn recording() -> (Muxer, Vec<Block>) {
    let rgb = made_by_ffmpeg(
        "-f lavfi -i testsrc2=s=64x48:r=20:d=10 -c:v libx264 -g 20 -keyint_min 20 -sc_threshold 0 \
         -bf 2 -pix_fmt yuv420p",
    );
    let depth = made_by_ffmpeg("-f lavfi -i testsrc2=s=64x48:r=20:d=8 -c:v ffv1 -pix_fmt gray16le");
    let mut tracks = Vec::new();
    // Each with the time at which it comes: B-frames come after what they are shown before.
    let mut blocks: Vec<(i64, Block)> = Vec::new();
    for (number, name, media, start_us) in [(1, "rgb", rgb, 0), (2, "depth", depth, 1_300_000)] {
        let mut track = Reader::new(&media[..]).unwrap().header().tracks[0].clone();
        track.number = number;
        tracks.push(track.name(name));
        let mut comes_us = 0;
        for (n, mut block) in (0..).zip(read(&media).blocks()) {
            block.track = number;
            // Off every millisecond, and never by the same distance.
            block.pts_us += START_US + start_us + n * 7 % 13;
            comes_us = block.pts_us.max(comes_us);
            blocks.push((comes_us, block));
        }
    }
    tracks.push(Track::data(3).name("imu"));
    for n in 0..1000 {
        let json = format!("{{\"n\":{n}}}\n");
        let pts_us = START_US + n * 10_000 + n % 7;
        blocks.push((pts_us, Block::new(3, pts_us, json)));
    }
    blocks.sort_by_key(|(comes_us, _)| *comes_us);
    let blocks = blocks.into_iter().map(|(_, block)| block).collect();
    let muxer = Muxer::new(SegmentInfo::default().tag("RECORDING_ID", "x"), tracks).unwrap();
    (muxer, blocks)
}

#[test]
fn ffmpeg_reads_every_block_at_its_time_without_a_message() {
    let (muxer, blocks) = recording();
    let file = File::new(&file_of(muxer, blocks.clone()));
    let packets = ffprobe_packets(file.path(), "");
    assert_eq!(packets, blocks.iter().map(Packet::of).collect::<Vec<_>>());

    ffmpeg(file.path(), "-xerror -i FILE -map 0 -c:s copy -f null -");
    ffmpeg(file.path(), "-xerror -i FILE -map 0 -c copy -f null -");
    let sensor = ffmpeg(file.path(), "-xerror -i FILE -map 0:s -c copy -f data -");
    let readings = blocks.iter().filter(|block| block.track == 3);
    let want: Vec<u8> = readings.flat_map(|block| block.data.to_vec()).collect();
    assert!(sensor == want);
}

#[test]
fn a_crashed_file_plays_as_it_is() {
    let (mut muxer, blocks) = recording();
    let mut file = muxer.header().to_vec();
    for block in blocks.clone() {
        if let Some(cluster) = muxer.push(block).unwrap() {
            cluster.write_to(&mut file).unwrap();
        }
    }
    let written = read(&file).blocks().len();
    assert!(written > 1000);
    let file = File::new(&file);
    let packets = ffprobe_packets(file.path(), "");
    let want: Vec<_> = blocks[..written].iter().map(Packet::of).collect();
    assert_eq!(packets, want);
    ffmpeg(file.path(), "-xerror -i FILE -map 0 -c:s copy -f null -");
}

#[test]
fn ffmpeg_notices_that_a_complete_file_lost_its_tail() {
    let (muxer, blocks) = recording();
    let mut bytes = file_of(muxer, blocks);
    bytes.truncate(bytes.len() / 2);
    let file = File::new(&bytes);
    let args = [
        "-v",
        "warning",
        "-nostdin",
        "-i",
        file.path(),
        "-c",
        "copy",
        "-f",
        "null",
        "-",
    ];
    let said = run("ffmpeg", &args, Vec::new());
    assert!(said.stderr.contains("File ended prematurely"), "{said:?}");
}

#[test]
fn ffmpeg_seeks_by_the_cues_to_the_keyframe_before() {
    let (muxer, blocks) = recording();
    let mut bytes = file_of(muxer, blocks.clone());
    let found = read(&bytes);
    let keyframes: Vec<i64> = blocks
        .iter()
        .filter(|block| block.track == 1 && block.keyframe)
        .map(|block| block.pts_us)
        .collect();
    assert_eq!(keyframes.len(), 10);
    let cues = found.cues.iter().filter(|cue| cue.track == 1);
    assert_eq!(cues.map(|cue| cue.pts_us).collect::<Vec<_>>(), keyframes);

    // Nothing is left between the first second and the keyframe, so only a cue can lead there.
    let target = keyframes[7];
    let holds = |pts_us: i64| {
        let mut clusters = found.clusters.iter();
        let is_it = |block: Block| block.track == 1 && block.pts_us == pts_us;
        let cluster = clusters
            .find(|cluster| cluster.blocks().any(is_it))
            .unwrap();
        usize::try_from(cluster.offset()).unwrap()
    };
    bytes[holds(keyframes[2])..holds(target)].fill(0);
    let file = File::new(&bytes);
    let seconds = Duration::from_micros((target + 400_000).unsigned_abs()).as_secs_f64();
    let options = format!("-select_streams v:0 -read_intervals {seconds}%+#1");
    let packets = ffprobe_packets(file.path(), &options);
    assert_eq!(packets.len(), 1);
    assert_eq!((packets[0].pts_us, packets[0].keyframe), (target, true));
}

#[test]
fn duration_and_start_are_those_of_the_blocks() {
    let track = Track::uncompressed(1, *b"Y800", 16, 16);
    let track = track.default_duration(Duration::from_millis(40));
    let muxer = Muxer::new(SegmentInfo::default(), vec![track]).unwrap();
    let blocks = (0..50).map(|n| Block::new(1, START_US + n * 40_000, vec![7; 256]));
    let bytes = file_of(muxer, blocks);
    let header = Reader::new(&bytes[..]).unwrap().header().clone();
    assert_eq!(header.duration, Some(Duration::from_secs(2)));

    let file = File::new(&bytes);
    let args = "-v warning -show_entries format=start_time,duration -of csv=p=0";
    let args: Vec<&str> = args.split_whitespace().chain([file.path()]).collect();
    let said = run("ffprobe", &args, Vec::new());
    assert_eq!(said.text().trim(), "600.300001,2.000000");
}
