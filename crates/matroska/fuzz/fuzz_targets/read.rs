//! Any bytes: the reader never panics, stays inside them, and what it calls good can be gone on with.
//!
//! `cargo +nightly fuzz run read -- -rss_limit_mb=512`, in the folder of the crate.
#![no_main]

use libfuzzer_sys::fuzz_target;
use longtake_matroska::{Muxer, Reader};

fuzz_target!(|file: &[u8]| {
    let Ok(mut reader) = Reader::new(file) else {
        return;
    };
    let mut muxer = Muxer::resume(reader.header()).ok();
    while let Ok(Some(cluster)) = reader.next_cluster() {
        assert!(cluster.offset() + cluster.len() <= reader.good_until());
        for block in cluster.blocks() {
            assert!(block.data.len() <= cluster.raw().len());
        }
        if muxer
            .as_mut()
            .is_some_and(|muxer| muxer.keep(&cluster).is_err())
        {
            muxer = None;
        }
    }
    assert!(reader.good_until() <= file.len() as u64);
    if let Some(muxer) = muxer {
        assert_eq!(muxer.finish().offset, reader.good_until());
    }
});
