//! A good file, cut and bent: all clusters before the first change come out as they were.
//!
//! `cargo +nightly fuzz run damage`, in the folder of the crate.
#![no_main]

use std::sync::LazyLock;

use bytes::Bytes;
use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};
use longtake_matroska::{Block, Muxer, Reader, SegmentInfo, StoredCluster, Track};

#[derive(Arbitrary, Debug)]
struct Damage {
    cut: Option<u16>,
    bent: Vec<(u16, u8)>,
    appended: Vec<u8>,
}

static GOOD: LazyLock<(Vec<u8>, Vec<StoredCluster>)> = LazyLock::new(|| {
    let tracks = vec![Track::video(1, "V_MJPEG", 16, 16), Track::data(2)];
    let mut muxer = Muxer::new(SegmentInfo::default().tag("A", "b"), tracks).unwrap();
    let mut file = muxer.header().to_vec();
    for n in 0..20 {
        let picture = Block::new(1, n * 33_333, Bytes::from(vec![7; 60])).keyframe(n % 4 == 0);
        let reading =
            Block::new(2, n * 33_333 + 5, "{}").duration(std::time::Duration::from_millis(9));
        for block in [picture, reading] {
            if let Some(cluster) = muxer.push(block).unwrap() {
                cluster.write_to(&mut file).unwrap();
            }
        }
    }
    file.extend_from_slice(&muxer.finish().bytes);
    let clusters = clusters_of(&file);
    assert_eq!(clusters.len(), 20);
    (file, clusters)
});

fuzz_target!(|damage: Damage| {
    let (good, clusters) = &*GOOD;
    let mut file = good.clone();
    if let Some(cut) = damage.cut {
        file.truncate(usize::from(cut));
    }
    for (at, mask) in damage.bent {
        if let Some(byte) = file.get_mut(usize::from(at)) {
            *byte ^= mask;
        }
    }
    file.extend_from_slice(&damage.appended);

    let same = good.iter().zip(&file).take_while(|(a, b)| a == b).count() as u64;
    let whole = clusters
        .iter()
        .filter(|cluster| cluster.offset() + cluster.len() <= same);
    let is_header_whole = clusters.first().is_some_and(|first| first.offset() <= same);
    if is_header_whole {
        let found = clusters_of(&file);
        let want: Vec<&Bytes> = whole.map(StoredCluster::raw).collect();
        assert!(
            found
                .iter()
                .map(StoredCluster::raw)
                .take(want.len())
                .eq(want)
        );
    }
});

fn clusters_of(file: &[u8]) -> Vec<StoredCluster> {
    let mut reader = Reader::new(file).unwrap();
    std::iter::from_fn(|| reader.next_cluster().ok().flatten()).collect()
}
