//! The examples: each is short, listed in the README, and runs without hardware or network. `run`, which has a
//! folder of its own, is a tool rather than an example and may be longer.

use std::{
    collections::BTreeSet,
    env, fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use crate::root;

const MAX_LINES: usize = 80;

/// The names of the files in `examples/`.
fn examples() -> BTreeSet<String> {
    let files = fs::read_dir(root().join("examples"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect()
}

/// Where cargo has put the example beside this test.
pub(crate) fn program(example: &str) -> PathBuf {
    let this = env::current_exe().unwrap();
    let program = this
        .parent()
        .unwrap()
        .with_file_name("examples")
        .join(example);
    assert!(
        program.exists(),
        "{example} is not built: either it is no [[example]] in examples/Cargo.toml, or cargo was \
         told to build only the tests"
    );
    program
}

#[test]
fn each_is_short() {
    for example in examples() {
        let source = root().join("examples").join(&example).with_extension("rs");
        let lines = fs::read_to_string(source).unwrap().lines().count();
        assert!(lines < MAX_LINES, "{example} has {lines} lines");
    }
}

#[test]
fn the_readme_lists_them_all() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let listed = readme
        .split("(examples/")
        .skip(1)
        .filter_map(|rest| rest.split_once(".rs)"));
    let listed: BTreeSet<String> = listed.map(|(name, _)| name.to_owned()).collect();
    let mut all = examples();
    all.insert("run/main".to_owned());
    assert_eq!(listed, all);
}

#[test]
fn each_runs() {
    for example in examples() {
        let folder = tempfile::tempdir().unwrap();
        let output = Command::new(program(&example))
            .current_dir(folder.path())
            .env("TMPDIR", folder.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{example}: {}\n{said}",
            output.status
        );
        assert!(
            !output.stdout.is_empty(),
            "{example} says nothing of what it did"
        );
        assert!(
            fs::read_dir(folder.path()).unwrap().next().is_none(),
            "{example} leaves files"
        );
    }
}
