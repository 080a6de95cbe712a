//! Dependencies point one way only. `docs/architecture.md` draws the arrows; here they are checked.

use std::{collections::BTreeSet, process::Command};

use cargo_metadata::{DependencyKind, MetadataCommand};

use crate::root;

/// Each library, and which of its siblings it may depend on.
const LIBRARIES: [(&str, &[&str]); 13] = [
    ("durable", &[]),
    ("process", &[]),
    ("matroska", &[]),
    ("smoothing", &[]),
    ("jobs", &[]),
    ("device", &[]),
    ("service", &[]),
    ("supervisor", &["process"]),
    ("ffmpeg", &["process"]),
    ("live", &["ffmpeg", "process", "supervisor", "matroska"]),
    ("recording", &["ffmpeg", "process", "matroska", "durable"]),
    (
        "replay",
        &[
            "ffmpeg",
            "process",
            "supervisor",
            "jobs",
            "live",
            "matroska",
            "recording",
        ],
    ),
    ("printwatch", &["smoothing", "jobs", "ffmpeg"]),
];

/// The libraries that a program without tokio can embed as they are.
const WITHOUT_TOKIO: [&str; 6] = [
    "smoothing",
    "device",
    "durable",
    "process",
    "matroska",
    "recording",
];

/// What reads arguments and config files, installs signal handlers or subscribes to `tracing`. Only
/// `service` and the programs may.
const ENDS_OF_A_PROGRAM: [&str; 5] = ["clap", "ctrlc", "signal-hook", "toml", "tracing-subscriber"];

/// Names under which everything ends up in the end.
const NO_SUBJECT: [&str; 5] = ["common", "helpers", "misc", "util", "utils"];

/// One package of the workspace.
#[derive(Debug, Clone)]
struct Package {
    name: String,
    /// Its folder in the repository, such as `crates/durable`.
    folder: String,
    /// What its code is built from; what only its tests need is not here.
    dependencies: BTreeSet<String>,
}

/// Every rule that a package breaks, in words.
fn violations(packages: &[Package]) -> Vec<String> {
    packages
        .iter()
        .flat_map(|package| violations_of(package, packages))
        .collect()
}

fn violations_of(package: &Package, packages: &[Package]) -> Vec<String> {
    let Package { name, folder, .. } = package;
    let siblings = packages
        .iter()
        .filter(|other| package.dependencies.contains(&other.name));
    let mut found = Vec::new();
    if let Some(library) = folder.strip_prefix("crates/") {
        if *name != format!("longtake-{library}") {
            found.push(format!("{name} lies in {folder}"));
        }
        if NO_SUBJECT.contains(&library) {
            found.push(format!("{name} has a name that says nothing"));
        }
        let Some((_, allowed)) = LIBRARIES.iter().find(|(known, _)| *known == library) else {
            found.push(format!("{name} is not in the table of directions"));
            return found;
        };
        for sibling in siblings {
            let below = sibling.folder.strip_prefix("crates/");
            if !below.is_some_and(|below| allowed.contains(&below)) {
                found.push(format!("{name} depends on {}", sibling.name));
            }
        }
        if library != "service" {
            for end in ENDS_OF_A_PROGRAM {
                if package.dependencies.contains(end) {
                    found.push(format!("{name} depends on {end}"));
                }
            }
        }
    } else if let Some(program) = folder.strip_prefix("bins/") {
        if name != program {
            found.push(format!("{name} lies in {folder}"));
        }
        for sibling in siblings.filter(|sibling| !sibling.folder.starts_with("crates/")) {
            found.push(format!("{name} depends on {}", sibling.name));
        }
    } else if !["examples", "benches"].contains(&folder.as_str()) {
        found.push(format!("{name} lies in {folder}"));
    }
    found
}

/// The packages of this workspace.
fn workspace() -> Vec<Package> {
    let metadata = MetadataCommand::new()
        .cargo_path(env!("CARGO"))
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .unwrap();
    let packages = metadata.packages.iter().map(|package| Package {
        name: package.name.to_string(),
        folder: package
            .manifest_path
            .parent()
            .unwrap()
            .strip_prefix(&metadata.workspace_root)
            .unwrap()
            .to_string(),
        dependencies: package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind != DependencyKind::Development)
            .map(|dependency| dependency.name.clone())
            .collect(),
    });
    packages.collect()
}

/// The packages that a library is built from, one a line, as in `bytes v1.12.1`.
fn dependency_tree(library: &str, features: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--package",
        ])
        .arg(format!("longtake-{library}"))
        .arg(format!("--features={}", features.join(",")))
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn has_tokio(tree: &str) -> bool {
    tree.lines()
        .any(|line| line.split(' ').next() == Some("tokio"))
}

#[test]
fn dependencies_point_down() {
    assert_eq!(violations(&workspace()), [""; 0]);
}

#[test]
fn the_small_libraries_come_without_tokio() {
    let packages = workspace();
    for library in WITHOUT_TOKIO {
        // The table also names libraries that are still to come.
        if packages
            .iter()
            .any(|package| package.name == format!("longtake-{library}"))
        {
            assert!(
                !has_tokio(&dependency_tree(library, &[])),
                "{library} pulls in tokio"
            );
        }
    }
    assert!(
        has_tokio(&dependency_tree("ffmpeg", &["tokio"])),
        "the check must see tokio"
    );
}

/// A made-up workspace that keeps all rules, with one package more.
#[track_caller]
fn check(name: &str, folder: &str, dependencies: &[&str], want: &[&str]) {
    let package = |name: &str, folder: &str, dependencies: &[&str]| Package {
        name: name.to_owned(),
        folder: folder.to_owned(),
        dependencies: dependencies.iter().map(|&name| name.to_owned()).collect(),
    };
    let mut packages = vec![
        package("longtake-durable", "crates/durable", &["thiserror"]),
        package("longtake-process", "crates/process", &["rustix"]),
        package("longtake-service", "crates/service", &["clap", "toml"]),
        package("replayd", "bins/replayd", &["longtake-service", "clap"]),
        package("longtake-benches", "benches", &[]),
    ];
    assert_eq!(violations(&packages), [""; 0]);
    packages.push(package(name, folder, dependencies));
    assert_eq!(violations(&packages), want);
}

#[test]
fn a_rule_that_is_kept_is_not_reported() {
    check(
        "longtake-ffmpeg",
        "crates/ffmpeg",
        &["longtake-process", "tokio"],
        &[],
    );
    check(
        "fieldrec",
        "bins/fieldrec",
        &["longtake-service", "longtake-durable", "clap"],
        &[],
    );
    check("longtake-examples", "examples", &[], &[]);
}

#[test]
fn each_broken_rule_is_reported() {
    check(
        "longtake-ffmpeg",
        "crates/ffmpeg",
        &["longtake-durable", "longtake-process", "bytes"],
        &["longtake-ffmpeg depends on longtake-durable"],
    );
    check(
        "longtake-recording",
        "crates/recording",
        &["longtake-durable", "longtake-service"],
        &["longtake-recording depends on longtake-service"],
    );
    check(
        "longtake-recording",
        "crates/recording",
        &["replayd"],
        &["longtake-recording depends on replayd"],
    );
    check(
        "longtake-jobs",
        "crates/jobs",
        &["signal-hook", "toml"],
        &[
            "longtake-jobs depends on signal-hook",
            "longtake-jobs depends on toml",
        ],
    );
    check(
        "longtake-clouds",
        "crates/clouds",
        &[],
        &["longtake-clouds is not in the table of directions"],
    );
    check(
        "longtake-util",
        "crates/util",
        &[],
        &[
            "longtake-util has a name that says nothing",
            "longtake-util is not in the table of directions",
        ],
    );
    check("jobs", "crates/jobs", &[], &["jobs lies in crates/jobs"]);
    check(
        "longtake-fieldrec",
        "bins/fieldrec",
        &[],
        &["longtake-fieldrec lies in bins/fieldrec"],
    );
    check(
        "fieldrec",
        "bins/fieldrec",
        &["replayd"],
        &["fieldrec depends on replayd"],
    );
    check(
        "longtake-tools",
        "tools",
        &[],
        &["longtake-tools lies in tools"],
    );
}

#[test]
fn tokio_is_told_from_its_neighbours() {
    assert!(has_tokio("bytes v1.12.1\ntokio v1.54.0\n"));
    assert!(has_tokio("tokio v1.54.0 (*)"));
    assert!(!has_tokio("tokio-macros v2.7.0\nbytes v1.12.1\n"));
}
