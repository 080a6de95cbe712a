//! Reading of the tables that `ffmpeg -encoders` and its like print.

use std::collections::BTreeSet;

/// The names in a table of codecs or formats.
///
/// Flags stand in fixed columns, blanks among them, as wide as the dashes above the first row: two
/// for the formats of 5.1, three for those of 9.0. A row may carry several names.
pub(crate) fn names(table: &str) -> BTreeSet<String> {
    let mut rows = table.lines();
    let Some(width) = rows.by_ref().find_map(dashes) else {
        return BTreeSet::new();
    };
    rows.filter_map(|row| row.get(1 + width..)?.split_whitespace().next())
        .flat_map(|names| names.split(','))
        .map(str::to_owned)
        .collect()
}

/// The names in the table of filters, whose flags hold no blanks and have no fixed width.
pub(crate) fn filter_names(table: &str) -> BTreeSet<String> {
    table
        .lines()
        .filter(|row| !row.contains(" = "))
        .filter_map(|row| {
            let mut words = row.split_whitespace();
            let (flags, name) = (words.next()?, words.next()?);
            flags
                .bytes()
                .all(|flag| b"TSC.".contains(&flag))
                .then(|| name.to_owned())
        })
        .collect()
}

fn dashes(row: &str) -> Option<usize> {
    let row = row.trim();
    (!row.is_empty() && row.bytes().all(|byte| byte == b'-')).then_some(row.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(got: &BTreeSet<String>, want: &[&str]) {
        assert_eq!(got.iter().map(String::as_str).collect::<Vec<_>>(), want);
    }

    #[test]
    fn codecs() {
        let table = "Encoders:\n V..... = Video\n .....D = Supports direct rendering method 1\n ------\n \
            V....D libx264              libx264 H.264 (codec h264)\n A....D aac   AAC\n";
        check(&names(table), &["aac", "libx264"]);
    }

    #[test]
    fn formats_of_5_1_and_9_0() {
        let old = "File formats:\n D. = Demuxing supported\n .E = Muxing supported\n --\n \
            DE alaw            PCM A-law\n D  aa              Audible AA\n D  matroska,webm   Matroska / WebM\n";
        check(&names(old), &["aa", "alaw", "matroska", "webm"]);
        let new = "Formats:\n D.. = Demuxing supported\n ..d = Is a device\n ---\n  \
            E  3gp             3GP\n DEd alsa            ALSA\n";
        check(&names(new), &["3gp", "alsa"]);
    }

    #[test]
    fn filters() {
        let table = "Filters:\n  T.. = Timeline support\n  | = Source or sink filter\n  ------\n \
            TS overlay          VV->V      Overlay.\n ..C volume  A->A  Volume.\n .. abench  A->A  x = y\n";
        check(&filter_names(table), &["overlay", "volume"]);
    }

    #[test]
    fn no_table() {
        check(
            &names("ffmpeg: error\nwith \u{e9}\u{e9}\u{e9} lines\n"),
            &[],
        );
        check(&names("--\n\u{e9}\u{e9}\u{e9}"), &[]);
        check(&filter_names(""), &[]);
    }
}
