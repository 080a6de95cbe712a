use proptest::prelude::*;

use super::*;
use crate::lines::LineSplitter;

#[test]
fn a_cut_line_says_so() {
    let mut log = BoundedLog::new(LogLimits::default().line_bytes(3));
    log.push(Line::cut(b"abcdef", 5));
    assert_eq!(log.to_string(), "abc [3 bytes left out]\n");
    assert_eq!(log.dropped_bytes(), 3);
    assert_eq!(log.dropped_lines(), 0);
}

#[test]
fn a_repeated_line_is_kept_once() {
    let mut log = BoundedLog::new(LogLimits::default().first(1).errors(0).last(1));
    let mut push = |text: &str, times: usize| {
        for _ in 0..times {
            log.push(Line::cut(text.as_bytes(), 100));
        }
        log.to_string()
    };
    assert_eq!(push("a", 2), "a [repeated once]\n");
    assert_eq!(push("b", 42), "a [repeated once]\nb [repeated 41 times]\n");
    assert_eq!(push("a", 1), "a [repeated once]\n[42 lines left out]\na\n");
    log.push_error(Line::cut(b"a", 100));
    assert_eq!(log.repeated_lines(), 1, "an error is another line");
    assert_eq!(log.dropped_lines(), 43);
}

#[test]
fn lines_that_were_cut_are_never_the_same() {
    let mut log = BoundedLog::new(LogLimits::default().line_bytes(3));
    for line in [b"abc1", b"abc2"] {
        log.push(Line::cut(line, 100));
    }
    assert_eq!(log.lines().count(), 2);
}

#[test]
fn a_flood_stays_bounded() {
    let mut splitter = LineSplitter::default();
    let mut log = BoundedLog::default();
    let chunk = [
        b"error: ".repeat(9).as_slice(),
        b"\n",
        &[b'x'; 6000],
        b"\r\n",
    ]
    .concat();
    let mut bytes = 0;
    while bytes < 100 << 20 {
        splitter.push(&chunk, |line| {
            if line.bytes().starts_with(b"error") {
                log.push_error(line);
            } else {
                log.push(line);
            }
        });
        bytes += chunk.len();
    }
    let kept = log.first.iter().chain(&log.errors).chain(&log.last);
    let memory: usize = kept.map(|line| line.bytes.capacity()).sum();
    assert!(memory <= 320 * (8 << 10), "{memory}");
    assert_eq!(log.lines().count(), 320);
    assert_eq!(log.dropped_lines() + 320, log.total_lines());
    assert_eq!(log.errors().count(), 16 + 32 + 128);
}

/// A line, how often it is repeated, and whether it is an error.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Run {
    number: usize,
    repeats: usize,
    is_error: bool,
}

/// Lines of up to `whole` bytes that are equal to the one before become one.
fn runs(lines: &[(Vec<u8>, bool)], whole: usize) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let is_repeat = number > 0 && lines[number - 1] == *line && line.0.len() <= whole;
        match runs.last_mut().filter(|_| is_repeat) {
            Some(run) => run.repeats += 1,
            None => runs.push(Run {
                number,
                repeats: 0,
                is_error: line.1,
            }),
        }
    }
    runs
}

/// What the log must keep, worked out from all runs.
fn expected(runs: &[Run], first: usize, errors: usize, last: usize) -> Vec<Run> {
    let (first, behind) = runs.split_at(first.min(runs.len()));
    let errors: Vec<Run> = behind
        .iter()
        .filter(|run| run.is_error)
        .take(errors)
        .copied()
        .collect();
    let others: Vec<Run> = behind
        .iter()
        .filter(|run| !errors.contains(run))
        .copied()
        .collect();
    let last = &others[others.len().saturating_sub(last)..];
    let mut all = [first, &errors, last].concat();
    all.sort_unstable_by_key(|run| run.number);
    all
}

proptest! {
    #[test]
    fn keeps_what_it_must_and_counts_the_rest(
        lines in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..8), any::<bool>()), 0..30),
        times in prop::collection::vec(1_usize..5, 30),
        first in 0_usize..6, errors in 0_usize..6, last in 0_usize..6, line_bytes in 0_usize..10,
    ) {
        let lines: Vec<_> = lines
            .into_iter()
            .zip(times)
            .flat_map(|(line, times)| vec![line; times])
            .collect();
        let limits = LogLimits::default().first(first).errors(errors).last(last);
        let mut log = BoundedLog::new(limits.line_bytes(line_bytes));
        for (bytes, error) in &lines {
            let line = Line::cut(bytes, 6);
            if *error { log.push_error(line) } else { log.push(line) }
        }
        let kept: Vec<Run> = log
            .lines()
            .map(|line| Run {
                number: usize::try_from(line.number()).unwrap(),
                repeats: usize::try_from(line.repeats()).unwrap(),
                is_error: line.is_error(),
            })
            .collect();
        let whole = line_bytes.min(6);
        prop_assert_eq!(&kept, &expected(&runs(&lines, whole), first, errors, last));
        let (mut kept_bytes, mut repeats) = (0, 0);
        for line in log.lines() {
            let (bytes, _) = &lines[usize::try_from(line.number()).unwrap()];
            prop_assert_eq!(line.bytes(), &bytes[..bytes.len().min(whole)]);
            prop_assert_eq!(line.cut_bytes() + line.bytes().len() as u64, bytes.len() as u64);
            kept_bytes += line.bytes().len() as u64 * (1 + line.repeats());
            repeats += line.repeats();
        }
        prop_assert_eq!(log.repeated_lines(), repeats);
        prop_assert_eq!(log.total_lines(), lines.len() as u64);
        prop_assert_eq!(
            log.total_lines(),
            kept.len() as u64 + log.repeated_lines() + log.dropped_lines()
        );
        let total: usize = lines.iter().map(|(bytes, _)| bytes.len()).sum();
        prop_assert_eq!(log.dropped_bytes() + kept_bytes, total as u64);
    }
}
