use std::{fs, path::Path};

use longtake_service::{ConfigError, MAX_CONFIG_BYTES, read_config};
use serde::Deserialize;
use tempfile::TempDir;

use crate::daemon;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    output: Option<String>,
}

/// What `read_config` says of a file with these bytes, with the file called `FILE`.
fn refusal(bytes: &[u8]) -> String {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("config.toml");
    fs::write(&path, bytes).unwrap();
    let error = read_config::<Config>(&path).unwrap_err();
    error
        .to_string()
        .replace(&path.display().to_string(), "FILE")
}

#[test]
fn flag_before_environment_before_file_before_default() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("config.toml");
    fs::write(&path, "output = \"file\"\n").unwrap();
    let path = path.to_str().unwrap();

    let check = |flag: bool, environment: bool, file: bool, want: &str| {
        let mut command = daemon(&["settings"]);
        if flag {
            command.args(["--output", "flag"]);
        }
        if environment {
            command.env("TEST_DAEMON_OUTPUT", "environment");
        }
        if file {
            command.args(["--config", path]);
        }
        let output = command.output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), want);
    };
    check(true, true, true, "flag");
    check(true, false, true, "flag");
    check(false, true, true, "environment");
    check(false, false, true, "file");
    check(false, false, false, "default");
}

#[test]
fn a_refusal_names_file_line_key_and_what_would_be_right() {
    assert_eq!(
        refusal(b"# ours\noutputs = \"x\"\n"),
        "config file FILE, line 2, key outputs: unknown field `outputs`, expected `output`"
    );
    assert_eq!(
        refusal(b"output = 5\n"),
        "config file FILE, line 1, key output: invalid type: integer `5`, expected a string"
    );
    assert_eq!(
        refusal(b"output = \"x\"\n\noutput = \"y\"\n"),
        "config file FILE, line 3: duplicate key"
    );
    assert_eq!(
        refusal(b"output = \"x\"\n# caf\xe9\n"),
        "config file FILE, line 2: this is not UTF-8; save the file as UTF-8"
    );
}

#[test]
fn a_refused_file_is_a_wrong_usage() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("config.toml");
    fs::write(&path, "outputs = 5").unwrap();
    let output = daemon(&["settings", "--config", path.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.starts_with("test-daemon: config file ") && told.contains("line 1"),
        "{told}"
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_cause() {
    let output = daemon(&["settings", "--config", "/nowhere/config.toml"])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "test-daemon: cannot read config file /nowhere/config.toml; give the path of a file that \
         this user may read: No such file or directory (os error 2)\n"
    );
    let folder = read_config::<Config>(Path::new("/")).unwrap_err();
    assert!(matches!(folder, ConfigError::Read { .. }), "{folder}");
}

#[test]
fn an_endless_file_is_refused() {
    let endless = read_config::<Config>(Path::new("/dev/zero")).unwrap_err();
    assert!(matches!(endless, ConfigError::TooLong { .. }), "{endless}");
}

#[test]
fn the_longest_file_is_read() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("config.toml");
    let mut text = "output = \"x\"\n#".to_owned();
    text += &"#".repeat(usize::try_from(MAX_CONFIG_BYTES).unwrap() - text.len());
    fs::write(&path, &text).unwrap();
    assert_eq!(
        read_config::<Config>(&path).unwrap().output.as_deref(),
        Some("x")
    );
    fs::write(&path, text + "#").unwrap();
    let error = read_config::<Config>(&path).unwrap_err();
    assert!(matches!(error, ConfigError::TooLong { .. }), "{error}");
}
