//! ffmpeg's version, and what depends on it.

use std::fmt;

/// libavutil's version in each release of ffmpeg, by which builds from git are placed.
const RELEASES: [((u32, u32), (u32, u32)); 16] = [
    ((56, 14), (4, 0)),
    ((56, 22), (4, 1)),
    ((56, 31), (4, 2)),
    ((56, 51), (4, 3)),
    ((56, 70), (4, 4)),
    ((57, 17), (5, 0)),
    ((57, 28), (5, 1)),
    ((58, 2), (6, 0)),
    ((58, 29), (6, 1)),
    ((59, 8), (7, 0)),
    ((59, 39), (7, 1)),
    ((60, 8), (8, 0)),
    ((60, 26), (8, 1)),
    ((61, 0), (9, 0)),
    ((62, 0), (10, 0)),
    ((63, 0), (11, 0)),
];

/// The version of an ffmpeg or ffprobe program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    text: String,
    release: Option<(u32, u32)>,
}

impl Version {
    /// Reads the output of `ffmpeg -version` or `ffprobe -version`.
    ///
    /// Builds from git carry no release number; they get the one of the last release before their
    /// libavutil.
    #[must_use]
    pub fn parse(output: &str) -> Option<Self> {
        let first = output.lines().next()?;
        let (_program, rest) = first.split_once(" version ")?;
        let text = rest.split_whitespace().next()?.to_owned();
        let release = release_number(&text).or_else(|| libavutil(output).and_then(release_of));
        Some(Self { text, release })
    }

    /// The version as the program writes it, such as `5.1.9-0+deb12u1`.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Major and minor number of the release, where it is known.
    #[must_use]
    pub const fn release(&self) -> Option<(u32, u32)> {
        self.release
    }

    /// Whether `-stats_period` exists: since 4.4; an unknown version is taken for a new one.
    #[must_use]
    pub fn has_stats_period(&self) -> bool {
        self.is_at_least((4, 4))
    }

    /// Whether a failure's exit code tells the reason: since 6.1 it is the low byte of the error
    /// number, before it is always 1.
    #[must_use]
    pub fn exits_with_error_number(&self) -> bool {
        self.is_at_least((6, 1))
    }

    fn is_at_least(&self, release: (u32, u32)) -> bool {
        self.release.is_none_or(|own| own >= release)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Reads `5.1.9-0+deb12u1` and `n9.0.2-17-g2a571b6068`, but not `N-47683-g0e8eb07980` or a date.
fn release_number(text: &str) -> Option<(u32, u32)> {
    let text = text.strip_prefix('n').unwrap_or(text);
    let (major, rest) = text.split_once('.')?;
    let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Reads the line `libavutil      57. 28.100 / 57. 28.100`.
fn libavutil(output: &str) -> Option<(u32, u32)> {
    let line = output
        .lines()
        .find_map(|line| line.strip_prefix("libavutil"))?;
    let mut numbers = line.split('.').map(str::trim);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn release_of(libavutil: (u32, u32)) -> Option<(u32, u32)> {
    RELEASES
        .iter()
        .rev()
        .find(|(own, _)| *own <= libavutil)
        .map(|(_, release)| *release)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(output: &str, text: &str, release: Option<(u32, u32)>) {
        let version = Version::parse(output).unwrap();
        assert_eq!((version.text(), version.release()), (text, release));
    }

    #[test]
    fn releases() {
        check(
            "ffmpeg version 5.1.9-0+deb12u1 Copyright (c) 2000-2026\n",
            "5.1.9-0+deb12u1",
            Some((5, 1)),
        );
        check(
            "ffmpeg version n9.0.2-17-g2a571b6068-20260930 Copyright",
            "n9.0.2-17-g2a571b6068-20260930",
            Some((9, 0)),
        );
        check("ffprobe version 7.1 Copyright", "7.1", Some((7, 1)));
        check(
            "ffmpeg version 4.4.2-0ubuntu0.22.04.1 Copyright",
            "4.4.2-0ubuntu0.22.04.1",
            Some((4, 4)),
        );
    }

    #[test]
    fn builds_from_git_are_placed_by_libavutil() {
        let old = "ffmpeg version N-47683-g0e8eb07980-static https://x Copyright\n\
            configuration: --enable-gpl\nlibavutil      56. 24.101 / 56. 24.101\n";
        check(old, "N-47683-g0e8eb07980-static", Some((4, 1)));
        let dated = "ffmpeg version 2024-05-02-git-71669f2ad5 Copyright\nlibavutil      59. 17.100 / 59. 17.100";
        check(dated, "2024-05-02-git-71669f2ad5", Some((7, 0)));
        check("ffmpeg version N-1-gabc Copyright", "N-1-gabc", None);
        check(
            "ffmpeg version N-1-gabc Copyright\nlibavutil 1. 2.3 / 1. 2.3",
            "N-1-gabc",
            None,
        );
    }

    #[test]
    fn something_else_is_no_version() {
        assert_eq!(Version::parse(""), None);
        assert_eq!(Version::parse("ffmpeg: command not found"), None);
        assert_eq!(Version::parse("ffmpeg version "), None);
    }

    #[test]
    fn what_depends_on_it() {
        let of = |text: &str| Version::parse(&format!("ffmpeg version {text} C")).unwrap();
        assert!(!of("4.3.1").has_stats_period() && of("4.4").has_stats_period());
        assert!(!of("6.0").exits_with_error_number() && of("6.1").exits_with_error_number());
        assert!(of("N-1-gabc").has_stats_period() && of("N-1-gabc").exits_with_error_number());
        assert!(of("10.0").has_stats_period());
    }
}
