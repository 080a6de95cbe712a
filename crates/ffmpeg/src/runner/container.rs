//! Which container a file name asks for.
//!
//! ffmpeg guesses it from the end of the name, and a file that is written beside its final place
//! has another name.

use std::path::Path;

/// Extensions and the muxer that ffmpeg chooses for each. For others the output must say it.
const MUXERS: &[(&str, &str)] = &[
    ("aac", "adts"),
    ("avi", "avi"),
    ("flac", "flac"),
    ("flv", "flv"),
    ("gif", "gif"),
    ("jpeg", "image2"),
    ("jpg", "image2"),
    ("m2ts", "mpegts"),
    ("m4a", "ipod"),
    ("m4v", "ipod"),
    ("mjpeg", "mjpeg"),
    ("mkv", "matroska"),
    ("mov", "mov"),
    ("mp3", "mp3"),
    ("mp4", "mp4"),
    ("mpg", "mpeg"),
    ("nut", "nut"),
    ("ogg", "ogg"),
    ("opus", "opus"),
    ("png", "image2"),
    ("ts", "mpegts"),
    ("wav", "wav"),
    ("webm", "webm"),
    ("webp", "webp"),
];

/// Muxers of ISO base media files, whose index we read ourselves.
const ISO_MEDIA: [&str; 3] = ["mp4", "mov", "ipod"];

/// Muxers of single pictures, which play no time.
const PICTURES: [&str; 3] = ["image2", "webp", "gif"];

/// The muxer that ffmpeg would choose for a file name.
pub(super) fn muxer_of(path: &Path) -> Option<&'static str> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    MUXERS
        .iter()
        .find(|(own, _)| *own == extension)
        .map(|(_, muxer)| *muxer)
}

/// Whether files of this muxer have an index that [`Mp4`](crate::Mp4) reads.
pub(super) fn is_iso_media(muxer: &str) -> bool {
    ISO_MEDIA.contains(&muxer)
}

/// Whether files of this muxer may play no time at all.
pub(super) fn is_picture(muxer: &str) -> bool {
    PICTURES.contains(&muxer)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::tool::{Limits, ask};

    #[test]
    fn by_the_last_extension_whatever_its_case() {
        assert_eq!(muxer_of(Path::new("/v/12:30.clip.MP4")), Some("mp4"));
        assert_eq!(muxer_of(Path::new("a.ts")), Some("mpegts"));
        for name in ["a", ".mp4", "a.nosuch", "a."] {
            assert_eq!(muxer_of(Path::new(name)), None, "{name}");
        }
    }

    #[test]
    fn ffmpeg_knows_the_same_extensions() {
        let limits = Limits {
            time: Duration::from_secs(30),
            bytes: 1 << 20,
        };
        for (extension, muxer) in MUXERS {
            let help = format!("muxer={muxer}");
            let answer = ask(Path::new("ffmpeg"), ["-hide_banner", "-h", &help], limits).unwrap();
            let text = String::from_utf8(answer.stdout).unwrap();
            let line = text
                .lines()
                .find_map(|line| line.trim().strip_prefix("Common extensions: "));
            let mut extensions = line.unwrap().trim_end_matches('.').split(',');
            assert!(
                extensions.any(|known| known == *extension),
                "{extension}: {text}"
            );
        }
    }
}
