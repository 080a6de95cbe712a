//! The tests that `docs/reliability.md` names exist.

use std::{collections::BTreeSet, fs, path::PathBuf};

use crate::root;

/// The words in backquotes that look like `crate::file::test`.
fn named(page: &str) -> BTreeSet<&str> {
    page.split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| word.split("::").count() == 3)
        .collect()
}

/// Where the tests of this file of this crate may lie.
fn places(package: &str, file: &str) -> [PathBuf; 4] {
    let library = root().join("crates").join(package);
    [
        root().join(format!("bins/{package}/tests/it/{file}.rs")),
        root().join(format!("{package}/tests/it/{file}.rs")),
        library.join(format!("tests/it/{file}.rs")),
        library.join(format!("src/{file}.rs")),
    ]
}

fn is_test(source: &str, name: &str) -> bool {
    let lines: Vec<_> = source.lines().map(str::trim).collect();
    let definition = format!("fn {name}(");
    let Some(at) = lines.iter().position(|line| line.starts_with(&definition)) else {
        return false;
    };
    let attributes = lines[..at]
        .iter()
        .rev()
        .take_while(|line| line.starts_with("#["));
    attributes.into_iter().any(|line| *line == "#[test]")
}

#[test]
fn each_test_that_is_named_exists() {
    let page = fs::read_to_string(root().join("docs/reliability.md")).unwrap();
    let tests = named(&page);
    assert!(
        tests.contains("process::guardian::the_parent_dies"),
        "{tests:?}"
    );
    let is_missing = |test: &&str| {
        let [package, file, name] = test.split("::").collect::<Vec<_>>()[..] else {
            unreachable!("three words were asked for")
        };
        !places(package, file)
            .iter()
            .filter_map(|path| fs::read_to_string(path).ok())
            .any(|source| is_test(&source, name))
    };
    let missing: Vec<_> = tests.into_iter().filter(is_missing).collect();
    assert_eq!(
        missing, [""; 0],
        "named in docs/reliability.md, and not there"
    );
}
