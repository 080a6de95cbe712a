//! Files cut and bent at every byte: all clusters before the damage come, none after it.

use longtake_matroska::{Damage, DamageKind, Muxer, OpenError, Reader, StoredCluster};

use crate::tools::{Found, complete, file_of, read, read_from, small_recording};

/// A small file, complete or as a crash leaves it, and what is in it.
struct Sample {
    file: Vec<u8>,
    header_len: usize,
    found: Found,
}

fn complete_sample() -> Sample {
    let (muxer, blocks) = small_recording();
    let file = file_of(muxer, blocks);
    let found = read(&file);
    assert!(found.is_complete && found.damage.is_none());
    Sample {
        header_len: header_len(&file),
        file,
        found,
    }
}

fn crashed_sample() -> Sample {
    let (mut muxer, blocks) = small_recording();
    let mut file = muxer.header().to_vec();
    let header_len = file.len();
    for block in blocks {
        muxer.push(block).unwrap();
        if let Some(cluster) = muxer.flush() {
            cluster.write_to(&mut file).unwrap();
        }
    }
    let found = read(&file);
    assert!(!found.is_complete && found.damage.is_none());
    Sample {
        file,
        header_len,
        found,
    }
}

fn header_len(file: &[u8]) -> usize {
    usize::try_from(Reader::new(file).unwrap().header().len).unwrap()
}

fn end(cluster: &StoredCluster) -> usize {
    usize::try_from(cluster.offset() + cluster.len()).unwrap()
}

/// What must be found in a file of which only the bytes before `good` are those of the sample.
#[track_caller]
fn check_all_before(sample: &Sample, good: usize, found: &Found) {
    let clusters = &sample.found.clusters;
    let whole = clusters
        .iter()
        .filter(|cluster| end(cluster) <= good)
        .count();
    check_clusters(sample, whole, found);
}

#[track_caller]
fn check_clusters(sample: &Sample, count: usize, found: &Found) {
    let want = &sample.found.clusters[..count];
    assert_eq!(found.clusters.len(), count);
    for (found, want) in found.clusters.iter().zip(want) {
        assert_eq!(found.raw(), want.raw());
        assert!(found.blocks().eq(want.blocks()));
    }
    let good_until = want.last().map_or(sample.header_len, end);
    assert_eq!(found.good_until, good_until as u64);
}

#[test]
fn a_complete_file_cut_anywhere_is_torn() {
    let sample = complete_sample();
    for cut in 0..sample.file.len() {
        let reader = Reader::new(&sample.file[..cut]);
        assert_eq!(reader.is_ok(), cut >= sample.header_len, "{cut}");
        let Ok(reader) = reader else { continue };
        let found = read_from(reader);
        check_all_before(&sample, cut, &found);
        assert_eq!(found.damage.unwrap().kind, DamageKind::Torn, "{cut}");
        assert!(!found.is_complete);
    }
}

#[test]
fn a_crashed_file_cut_anywhere_gives_its_whole_clusters() {
    let sample = crashed_sample();
    for cut in sample.header_len..=sample.file.len() {
        let found = read(&sample.file[..cut]);
        check_all_before(&sample, cut, &found);
        assert!(!found.is_complete);
        let at_a_boundary = found.good_until == cut as u64;
        assert_eq!(found.damage.is_none(), at_a_boundary, "{cut}");
    }
}

#[test]
fn any_bent_bit_stops_the_reader_at_its_cluster() {
    for sample in [complete_sample(), crashed_sample()] {
        for position in 0..sample.file.len() {
            for bit in 0..8 {
                check_bent(&sample, position, 1 << bit);
            }
            check_bent(&sample, position, 0xFF);
        }
    }
}

#[track_caller]
fn check_bent(sample: &Sample, position: usize, mask: u8) {
    let mut file = sample.file.clone();
    file[position] ^= mask;
    let reader = Reader::new(&file[..]);
    if position < sample.header_len {
        // What no checksum covers either does no harm or makes the header unreadable.
        if let Ok(reader) = reader {
            let found = read_from(reader);
            assert_eq!(found.blocks(), sample.found.blocks(), "{position}");
            check_clusters(sample, sample.found.clusters.len(), &found);
        }
        return;
    }
    let found = read_from(reader.unwrap());
    check_all_before(sample, position, &found);
    assert!(!found.is_complete);
    let damage = found.damage.unwrap();
    assert_eq!(damage.offset, found.good_until, "{position} {mask:#x}");
}

#[test]
fn zeros_at_the_end_are_no_element() {
    let mut sample = crashed_sample();
    let end = sample.file.len();
    sample.file.resize(end + 4096, 0);
    let damage = read(&sample.file).damage.unwrap();
    assert_eq!(
        (damage.offset, damage.kind),
        (end as u64, DamageKind::Garbage)
    );
    assert_eq!(
        damage.to_string(),
        format!("damaged at byte {end}: these bytes are no element")
    );
}

#[test]
fn a_claim_of_a_huge_size_is_damage() {
    let mut sample = crashed_sample();
    let size_at = sample.header_len + 4;
    sample.file[size_at..size_at + 8].copy_from_slice(&(1_u64 << 56 | 1 << 50).to_be_bytes());
    let damage = read(&sample.file).damage.unwrap();
    assert_eq!(damage.kind, DamageKind::Size);

    let (muxer, blocks) = small_recording();
    let file = file_of(muxer, blocks);
    let found = read_from(Reader::new(&file[..]).unwrap().max_cluster_bytes(500));
    assert_eq!(found.damage.unwrap().kind, DamageKind::Size);
    assert_eq!(found.clusters.len(), 3);
}

#[test]
fn a_newer_layout_is_refused_and_says_so() {
    let (muxer, _) = small_recording();
    let mut newer = muxer.header().to_vec();
    let version = b"longtake-matroska layout 1";
    let at = newer
        .windows(version.len())
        .position(|w| w == version)
        .unwrap();
    newer[at + version.len() - 1] = b'2';
    fix_info_crc(&mut newer);
    let error = Reader::new(&newer[..]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the file needs longtake-matroska layout 2, and only 1 and older can be read"
    );
}

/// Gives the Info element of a header a checksum that fits.
fn fix_info_crc(header: &mut [u8]) {
    let at = header
        .windows(4)
        .position(|w| w == [0x15, 0x49, 0xA9, 0x66])
        .unwrap();
    let data_len = usize::from(header[at + 4] & 0x7F);
    let covered = at + 5 + 6..at + 5 + data_len;
    let crc = crc32fast::hash(&header[covered]);
    header[at + 7..at + 11].copy_from_slice(&crc.to_le_bytes());
}

#[test]
fn what_is_no_matroska_is_told_apart_from_what_is_damaged() {
    for bytes in [&b""[..], b"RIFF....AVI ", &[0; 64], &[0x1A, 0x45, 0xDF]] {
        assert!(matches!(Reader::new(bytes), Err(OpenError::NotMatroska)));
    }
    let (muxer, _) = small_recording();
    let header = muxer.header();
    let cut = header.len() / 2;
    let Err(OpenError::Damaged(Damage { kind, .. })) = Reader::new(&header[..cut]) else {
        panic!("a header cut at {cut} was taken");
    };
    assert_eq!(kind, DamageKind::Torn);
}

#[test]
fn a_crashed_file_cut_anywhere_is_made_whole() {
    let sample = crashed_sample();
    for cut in sample.header_len..=sample.file.len() {
        let recovered = recover(&sample.file[..cut]);
        let found = read(&recovered);
        assert!(found.is_complete, "{cut}");
        check_all_before(&sample, cut, &found);
        let first = found.clusters.first().map(StoredCluster::offset);
        assert_eq!(found.cues.first().map(|cue| cue.cluster_offset), first);
        assert_eq!(recover(&recovered), recovered, "{cut}");
    }
}

#[test]
fn a_complete_file_is_recovered_to_the_same_bytes() {
    let sample = complete_sample();
    assert_eq!(recover(&sample.file), sample.file);
}

/// Keeps the good clusters and completes the file anew.
fn recover(file: &[u8]) -> Vec<u8> {
    let mut reader = Reader::new(file).unwrap();
    let mut muxer = Muxer::resume(reader.header()).unwrap();
    while let Ok(Some(cluster)) = reader.next_cluster() {
        muxer.keep(&cluster).unwrap();
    }
    let good = usize::try_from(reader.good_until()).unwrap();
    complete(muxer, file[..good].to_vec())
}
