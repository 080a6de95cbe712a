//! `--video NAME=SOURCE[,KEY=VALUE…]` and `--sensor NAME=SOURCE`.

use std::str::FromStr;

use crate::config::{SensorConfig, VideoConfig};

/// The keys that may follow a source. Anything else belongs to the source, because URLs may hold
/// commas and equal signs.
const KEYS: [&str; 9] = [
    "codec",
    "bitrate",
    "pixel-format",
    "preset",
    "tune",
    "fps",
    "input-size",
    "input-fps",
    "input-format",
];

impl FromStr for VideoConfig {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, mut source) = name_and_rest(text, "NAME=SOURCE[,KEY=VALUE…]")?;
        let mut video = Self::new(name, "");
        while let Some((rest, key, value)) = last_pair(source) {
            let slot = match key {
                "codec" => &mut video.codec,
                "bitrate" => &mut video.bitrate,
                "pixel-format" => &mut video.pixel_format,
                "preset" => &mut video.preset,
                "tune" => &mut video.tune,
                "input-size" => &mut video.input_size,
                "input-fps" => &mut video.input_fps,
                "input-format" => &mut video.input_format,
                _ => &mut video.fps,
            };
            if value.is_empty() {
                return Err(format!("{key} has no value in {text:?}"));
            }
            if slot.replace(value.to_owned()).is_some() {
                return Err(format!("{key} is given twice in {text:?}"));
            }
            source = rest;
        }
        // In all other sources what looks like a key may be part of a path.
        if source.starts_with("testsrc:")
            && let Some((_, pair)) = source.rsplit_once(',')
        {
            let known = KEYS.join(", ");
            return Err(format!(
                "{pair:?} is not KEY=VALUE with one of the keys {known}"
            ));
        }
        video.source = source.to_owned();
        Ok(video)
    }
}

impl FromStr for SensorConfig {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, source) = name_and_rest(text, "NAME=SOURCE")?;
        Ok(Self::new(name, source))
    }
}

fn name_and_rest<'a>(text: &'a str, form: &str) -> Result<(&'a str, &'a str), String> {
    match text.split_once('=') {
        Some((name, rest)) if !name.is_empty() && !rest.is_empty() => Ok((name, rest)),
        _ => Err(format!(
            "{text:?} is not of the form {form}, such as front=testsrc:640x400@30"
        )),
    }
}

/// Splits a trailing `,KEY=VALUE` with a known key off.
fn last_pair(text: &str) -> Option<(&str, &str, &str)> {
    let (rest, pair) = text.rsplit_once(',')?;
    let (key, value) = pair.split_once('=')?;
    KEYS.contains(&key).then_some((rest, key, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, name: &str, source: &str, rest: [Option<&str>; 3]) {
        let video: VideoConfig = text.parse().unwrap();
        assert_eq!(
            (video.name.as_str(), video.source.as_str()),
            (name, source),
            "{text}"
        );
        let got = [&video.codec, &video.pixel_format, &video.fps].map(Option::as_deref);
        assert_eq!(got, rest, "{text}");
    }

    #[test]
    fn pairs_are_split_off_from_the_right() {
        check("a=testsrc:64x64@5", "a", "testsrc:64x64@5", [None; 3]);
        check(
            "depth=testsrc:64x64@5,codec=ffv1,pixel-format=gray16le",
            "depth",
            "testsrc:64x64@5",
            [Some("ffv1"), Some("gray16le"), None],
        );
        check(
            "cam=rtsp://h/p?a=1,codec=x,b=2,fps=5",
            "cam",
            "rtsp://h/p?a=1,codec=x,b=2",
            [None, None, Some("5")],
        );
        check(
            "cam=rtsp://h/a,b,codec=copy",
            "cam",
            "rtsp://h/a,b",
            [Some("copy"), None, None],
        );
        check("f=file:x=1,y.mkv", "f", "file:x=1,y.mkv", [None; 3]);
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for wrong in [
            "front",
            "=testsrc:64x64@5",
            "front=",
            "a=b,codec=x,codec=y",
            "a=b,codec=",
            "a=testsrc:64x64@5,codc=ffv1",
        ] {
            assert!(wrong.parse::<VideoConfig>().is_err(), "{wrong:?}");
        }
        assert!("imu".parse::<SensorConfig>().is_err());
    }
}
