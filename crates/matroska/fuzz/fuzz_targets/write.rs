//! Any blocks: what the muxer takes comes back as it was, and the file is complete.
//!
//! `cargo +nightly fuzz run write`, in the folder of the crate.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};
use longtake_matroska::{Block, Muxer, Reader, SegmentInfo, Track};

#[derive(Arbitrary, Debug)]
struct Draft {
    track: u8,
    pts_us: i64,
    /// Often the step from the block before matters, and not the time itself.
    is_step: bool,
    duration: Option<Duration>,
    keyframe: bool,
    data: Vec<u8>,
    flush: bool,
}

#[derive(Arbitrary, Debug)]
struct Input {
    title: String,
    tags: Vec<(String, String)>,
    codec_private: Vec<u8>,
    drafts: Vec<Draft>,
}

fuzz_target!(|input: Input| {
    let mut info = SegmentInfo::default().title(input.title);
    for (name, value) in input.tags {
        info = info.tag(name, value);
    }
    let video = Track::video(1, "V_FFV1", 16, 16).codec_private(input.codec_private);
    let Ok(mut muxer) = Muxer::new(info, vec![video, Track::data(2)]) else {
        return;
    };
    let mut file = muxer.header().to_vec();
    let mut written = Vec::new();
    let mut last_us = 0_i64;
    for draft in input.drafts {
        let pts_us = if draft.is_step {
            last_us.saturating_add(draft.pts_us % 100_000)
        } else {
            draft.pts_us
        };
        let block = Block {
            track: u64::from(draft.track),
            pts_us,
            duration: draft.duration.map(whole_us),
            keyframe: draft.keyframe,
            data: draft.data.into(),
        };
        if let Ok(complete) = muxer.push(block.clone()) {
            last_us = pts_us;
            written.push(block);
            let flushed = draft.flush.then(|| muxer.flush()).flatten();
            for cluster in complete.into_iter().chain(flushed) {
                cluster.write_to(&mut file).unwrap();
            }
        }
    }
    let trailer = muxer.finish();
    file.extend_from_slice(&trailer.bytes);
    for patch in trailer.patches {
        let at = patch.offset as usize;
        file[at..at + patch.bytes.len()].copy_from_slice(&patch.bytes);
    }

    let mut reader = Reader::new(&file[..]).unwrap();
    let mut read = Vec::new();
    while let Some(cluster) = reader.next_cluster().unwrap() {
        read.extend(cluster.blocks());
    }
    assert!(reader.is_complete());
    assert_eq!(read, written);
});

fn whole_us(duration: Duration) -> Duration {
    Duration::from_micros(duration.as_micros() as u64)
}
