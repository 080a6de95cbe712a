//! Hand-made files: layouts, damage at every byte, and hostile sizes.

use std::io::Cursor;

use proptest::prelude::*;

use super::*;

fn plain(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(body.len() + 8).unwrap();
    [&size.to_be_bytes()[..], kind, body].concat()
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

fn mvhd(timescale: u32, ticks: u32) -> Vec<u8> {
    plain(
        b"mvhd",
        &[words(&[0, 0, 0, timescale, ticks]), vec![0; 80]].concat(),
    )
}

/// A video track of 640x360 in `avc1`, 15360 ticks a second.
fn video(ticks: u32) -> Vec<u8> {
    let mut entry = vec![0; 78];
    entry[24..28].copy_from_slice(&[2, 128, 1, 104]);
    let avc1 = plain(b"avc1", &[entry, plain(b"avcC", b"parameters")].concat());
    let stsd = plain(b"stsd", &[words(&[0, 1]), avc1].concat());
    let minf = plain(b"minf", &plain(b"stbl", &stsd));
    let hdlr = plain(b"hdlr", &[&words(&[0, 0])[..], b"vide", &[0; 13]].concat());
    let mdhd = plain(b"mdhd", &words(&[0, 0, 0, 15360, ticks, 0]));
    let mdia = plain(b"mdia", &[mdhd, hdlr, minf].concat());
    plain(
        b"trak",
        &[plain(b"tkhd", &words(&[0, 0, 0, 1, 0, 0])), mdia].concat(),
    )
}

fn ftyp() -> Vec<u8> {
    plain(b"ftyp", b"isom\0\0\x02\0")
}

fn whole() -> Vec<u8> {
    let moov = plain(b"moov", &[mvhd(1000, 10_000), video(153_600)].concat());
    [ftyp(), moov, plain(b"mdat", &[7; 100])].concat()
}

/// Fragments of 2 s and 3 s.
fn fragmented() -> Vec<u8> {
    let trex = plain(b"trex", &words(&[0, 1, 1, 1024, 0, 0]));
    let moov = plain(
        b"moov",
        &[mvhd(1000, 0), video(0), plain(b"mvex", &trex)].concat(),
    );
    let moof = |start: u32, trun: Vec<u8>| {
        let tfhd = plain(b"tfhd", &words(&[0x02_0000, 1]));
        let tfdt = plain(b"tfdt", &words(&[0, start]));
        plain(b"moof", &plain(b"traf", &[tfhd, tfdt, trun].concat()))
    };
    let by_default = plain(b"trun", &words(&[0x1, 30, 0]));
    let each = plain(b"trun", &words(&[0x300, 3, 15360, 9, 15360, 9, 15360, 9]));
    let mdat = plain(b"mdat", &[7; 50]);
    [
        ftyp(),
        moov,
        moof(0, by_default),
        mdat.clone(),
        moof(30_720, each),
        mdat,
    ]
    .concat()
}

fn read(bytes: &[u8]) -> Result<Mp4, Mp4Damage> {
    Mp4::read(Cursor::new(bytes))
}

#[track_caller]
fn check_damage(bytes: &[u8], want: &str) {
    assert_eq!(read(bytes).unwrap_err().to_string(), want);
}

#[test]
fn a_whole_file() {
    let mp4 = read(&whole()).unwrap();
    assert_eq!(mp4.duration, Duration::from_secs(10));
    assert!(mp4.index_first && !mp4.truncated && !mp4.fragmented);
    let want = Mp4Track {
        id: 1,
        kind: TrackKind::Video,
        codec: FourCc(*b"avc1"),
        size: Some((640, 360)),
        sample_rate: None,
        timescale: 15360,
        duration: Duration::from_secs(10),
        parameters: b"parameters".to_vec(),
    };
    assert_eq!(mp4.tracks, [want]);
}

#[test]
fn fragments_count_when_their_media_is_there() {
    let bytes = fragmented();
    let mp4 = read(&bytes).unwrap();
    assert!(mp4.fragmented && !mp4.truncated);
    assert_eq!(mp4.duration, Duration::from_secs(5));
    let cut = read(&bytes[..bytes.len() - 1]).unwrap();
    assert!(cut.truncated);
    assert_eq!(cut.duration, Duration::from_secs(2));
}

#[test]
fn a_file_cut_at_any_byte_is_an_error_or_truncated() {
    for whole in [whole(), fragmented()] {
        for end in 0..whole.len() {
            if let Ok(mp4) = read(&whole[..end]) {
                let at_a_boundary =
                    mp4.tracks.len() == 1 && mp4.duration <= Duration::from_secs(10);
                assert!(at_a_boundary, "cut at {end}: {mp4:?}");
            }
        }
        assert!(read(&whole).is_ok());
    }
}

#[test]
fn what_is_missing_is_named() {
    check_damage(b"", "the file is empty");
    check_damage(b"1234", "the file is no MP4");
    check_damage(&[0; 64], "the file is no MP4");
    check_damage(b"RIFF\0\0\0\0AVI LIST", "the file is no MP4");
    check_damage(
        &[ftyp(), plain(b"mdat", b"x")].concat(),
        "the index (moov) is missing",
    );
    let whole = whole();
    check_damage(&whole[..100], "the index (moov) is missing");
    check_damage(&plain(b"moov", &video(0)), "box moov at byte 0 has no mvhd");
    check_damage(
        &plain(b"moov", &mvhd(0, 1)),
        "box mvhd at byte 8 has a timescale of 0",
    );
}

#[test]
fn hostile_sizes() {
    let long = |size: u64| [&1_u32.to_be_bytes()[..], b"mdat", &size.to_be_bytes()].concat();
    check_damage(
        &[ftyp(), long(15)].concat(),
        "box mdat at byte 16 has an impossible size",
    );
    check_damage(
        &[ftyp(), long(u64::MAX)].concat(),
        "box mdat at byte 16 has an impossible size",
    );
    check_damage(
        &[ftyp(), words(&[4, 0])].concat(),
        r"box \x00\x00\x00\x00 at byte 16 has an impossible size",
    );
    let mut child = mvhd(1000, 1);
    child[..4].copy_from_slice(&0x7fff_ffff_u32.to_be_bytes());
    check_damage(
        &plain(b"moov", &child),
        "box mvhd at byte 8 ends beyond the box around it",
    );
    let mut run = fragmented();
    let trun = run.windows(4).position(|window| window == b"trun").unwrap();
    run[trun + 8..trun + 12].copy_from_slice(&[0xff; 4]);
    assert!(
        read(&run).unwrap().duration > Duration::from_secs(5),
        "a default duration needs no bytes"
    );
    let each = run
        .windows(4)
        .rposition(|window| window == b"trun")
        .unwrap();
    run[each + 8..each + 12].copy_from_slice(&[0xff; 4]);
    assert!(
        read(&run)
            .unwrap_err()
            .to_string()
            .ends_with("has more samples than bytes")
    );
    let many = plain(b"moov", &plain(b"free", b"").repeat(5000));
    check_damage(&many, "box moov at byte 0 holds too many boxes");
}

#[test]
fn a_size_of_64_bits_and_one_to_the_end() {
    let moov = plain(b"moov", &[mvhd(1000, 10_000), video(153_600)].concat());
    let long = [
        &1_u32.to_be_bytes()[..],
        b"mdat",
        &20_u64.to_be_bytes(),
        b"data",
    ]
    .concat();
    let mp4 = read(&[ftyp(), long, moov.clone()].concat()).unwrap();
    assert!(!mp4.index_first && !mp4.truncated);
    let open = [&0_u32.to_be_bytes()[..], b"mdat", &[1; 99]].concat();
    assert!(!read(&[ftyp(), moov, open].concat()).unwrap().truncated);
}

#[test]
fn a_codec_name_that_is_no_text() {
    assert_eq!(FourCc([b'a', 0, 0xff, b'\'']).to_string(), r"a\x00\xff\'");
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _either_way = read(&bytes);
        let _as_index = read(&plain(b"moov", &bytes));
    }

    #[test]
    fn any_damage_is_read_or_refused(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        of_fragments: bool,
    ) {
        let mut bytes = if of_fragments { fragmented() } else { whole() };
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _either_way = read(&bytes);
    }
}
