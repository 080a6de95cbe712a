//! Media as a camera recorder leaves it, whole and broken, with a number in every picture.
//!
//! It is made once, with plain ffmpeg, and kept in the target folder.

use std::ffi::OsStr;
use std::fmt::Write;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Pictures a second.
pub(crate) const FPS: usize = 15;

/// Pictures in a segment of ten seconds.
pub(crate) const SEGMENT: usize = 150;

/// Bits of the number in a picture.
const BITS: usize = 14;

/// Raise it when the recipe changes.
const RECIPE: &str = "ffmpeg-media-2";

/// Names that are hard to write into a list, and the segment that each is a copy of.
pub(crate) const HOSTILE: [(&[u8], usize); 6] = [
    (b"it's a seg.mp4", 2),
    (b"caf\xe9.mp4", 4),
    (b"back\\slash #1.mp4", 5),
    (b" leading blanks.mp4", 1),
    (b"-x.mp4", 3),
    (b"12:30:00.mp4", 0),
];

/// The folder of the media.
pub(crate) fn folder() -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = root.join(RECIPE);
    fs::create_dir_all(root).unwrap();
    let lock = File::create(root.join("ffmpeg-media.lock")).unwrap();
    lock.lock().unwrap();
    if !folder.exists() {
        let unfinished = root.join(format!("{RECIPE}.unfinished"));
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).unwrap();
        }
        fs::create_dir(&unfinished).unwrap();
        make(&unfinished);
        fs::rename(&unfinished, &folder).unwrap();
    }
    folder
}

/// One file of the media.
pub(crate) fn file(name: impl AsRef<OsStr>) -> PathBuf {
    let path = folder().join(name.as_ref());
    assert!(path.exists(), "{}", path.display());
    path
}

/// The file `seg00N.mp4`: pictures N*150 to N*150+149.
pub(crate) fn segment(number: usize) -> PathBuf {
    file(format!("seg{number:03}.mp4"))
}

/// The numbers in the pictures of a video of 640x360, as a player would show it.
pub(crate) fn numbers(video: &Path) -> Vec<usize> {
    let height = BITS.max(16);
    let crop = format!(
        "crop={}:{height}:0:ih-{height},scale={BITS}:1:flags=area,format=gray",
        BITS * 16
    );
    let decoded = Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "error", "-i"])
        .arg(video)
        .args([
            "-map",
            "0:v",
            "-fps_mode",
            "passthrough",
            "-vf",
            &crop,
            "-f",
            "rawvideo",
            "-",
        ])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let number = |bits: &[u8]| {
        bits.iter()
            .rev()
            .fold(0, |sum, bit| sum * 2 + usize::from(*bit > 128))
    };
    decoded.stdout.chunks_exact(BITS).map(number).collect()
}

fn make(folder: &Path) {
    let run = |args: &str, last: &str| {
        let words = args.split_whitespace().chain([last]);
        let done = Command::new("ffmpeg")
            .current_dir(folder)
            .args(["-hide_banner", "-nostdin", "-loglevel", "error", "-y"])
            .args(words)
            .stdin(Stdio::null())
            .status();
        assert!(done.unwrap().success(), "{args} {last}");
    };
    let mut boxes = String::new();
    for bit in 0..BITS {
        let at = format!("x={}:y=ih-16:w=16:h=16", bit * 16);
        // The timeline's n counts pictures: bit k is white when floor(n/2^k) is odd.
        let on = format!(r"enable='mod(floor(n/pow(2\,{bit}))\,2)'");
        write!(
            boxes,
            ",drawbox={at}:c=black:t=fill,drawbox={at}:c=white:t=fill:{on}"
        )
        .unwrap();
    }
    let source = format!("testsrc2=size=640x360:rate={FPS}{boxes}");
    let h264 =
        "-c:v libx264 -preset veryfast -pix_fmt yuv420p -g 30 -keyint_min 30 -sc_threshold 0 -bf 0";
    run(
        &format!(
            "-f lavfi -i {source} -t 60 {h264} -f segment -segment_time 10 -reset_timestamps 1 -segment_format mp4"
        ),
        "seg%03d.mp4",
    );
    run(
        "-i seg001.mp4 -c:v libx264 -preset medium -bf 2 -g 30",
        "bframes.mp4",
    );
    run(
        "-i seg001.mp4 -f lavfi -i sine=440:r=16000:d=10 -c:v copy -c:a aac -shortest",
        "audio.mp4",
    );
    run(
        "-i seg001.mp4 -c copy -movflags +frag_keyframe+empty_moov+default_base_moof",
        "frag.mp4",
    );
    run("-i seg001.mp4 -c copy", "seg.ts");
    run(
        "-i seg001.mp4 -c:v libx265 -preset ultrafast -x265-params log-level=none -tag:v hvc1",
        "hevc.mp4",
    );
    run(
        "-i seg001.mp4 -vf scale=1280:720 -c:v libx264 -preset ultrafast -g 30",
        "hd.mp4",
    );
    run(
        "-i seg001.mp4 -r 30 -c:v libx264 -preset ultrafast -video_track_timescale 90000",
        "fps30.mp4",
    );

    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    let write =
        |name: &[u8], bytes: &[u8]| fs::write(folder.join(OsStr::from_bytes(name)), bytes).unwrap();
    let (seg2, frag) = (read("seg002.mp4"), read("frag.mp4"));
    write(b"zero.mp4", b"");
    write(b"nomoov.mp4", &seg2[..seg2.len() / 2]);
    write(b"fragcut.mp4", &frag[..frag.len() / 2]);
    let mut rot = seg2.clone();
    let damaged = (rot.len() / 5)..(rot.len() * 3 / 5);
    for at in damaged.step_by(5000) {
        scramble(&mut rot[at..at + 64], at);
    }
    // The length of the NAL unit at a third makes no sense: no copy gets beyond it.
    let media = memchr::memmem::find(&seg2, b"mdat").unwrap() + 4;
    let mut nal = media;
    while nal < seg2.len() / 3 {
        let length: [u8; 4] = seg2[nal..nal + 4].try_into().unwrap();
        nal += 4 + usize::try_from(u32::from_be_bytes(length)).unwrap();
    }
    rot[nal..nal + 4].copy_from_slice(&[0x4f, 0, 0, 0]);
    write(b"bitrot.mp4", &rot);
    let mut junk = vec![0; 50_000];
    scramble(&mut junk, 1);
    write(b"junk.mp4", &junk);
    for (name, number) in HOSTILE {
        write(name, &read(&format!("seg{number:03}.mp4")));
    }
    write(b"new\nline.mp4", &read("seg003.mp4"));
}

/// Fills `bytes` with noise that is the same every time (the generator of Numerical Recipes).
fn scramble(bytes: &mut [u8], seed: usize) {
    let mut state = seed as u64;
    for byte in bytes {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = state.to_be_bytes()[4];
    }
}
