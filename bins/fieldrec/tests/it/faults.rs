//! Everything a user can get wrong: the program must say what is wrong and what to do.

use std::{ffi::OsStr, fs, process::Output};

use crate::support::{run, run_well};

/// Runs it and checks that it fails with `code` and says each of `words`, without a panic.
#[track_caller]
fn check(args: impl IntoIterator<Item = impl AsRef<OsStr>>, code: i32, words: &[&str]) -> Output {
    let output = run(args);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "{said}\ndoes not say {word:?}");
    }
    assert!(!said.contains("panicked"), "{said}");
    output
}

#[track_caller]
fn check_record(args: &[&str], code: i32, words: &[&str]) {
    let output = tempfile::tempdir().unwrap();
    let fixed = ["record", "--output", output.path().to_str().unwrap()];
    check(fixed.into_iter().chain(args.iter().copied()), code, words);
    assert!(
        fs::read_dir(output.path()).unwrap().next().is_none(),
        "a recording that never began leaves no folder"
    );
}

#[test]
fn help_teaches() {
    let help = run_well(["--help"]);
    for word in [
        "record",
        "recover",
        "export",
        "inspect",
        "Exit codes",
        "testsrc:",
    ] {
        assert!(help.contains(word), "{help}");
    }
    let help = run_well(["record", "--help"]);
    for word in [
        "v4l2:",
        "rtsp://",
        "fake-imu:",
        "jsonl:",
        "codec=",
        "--queue-bytes",
        "SIGTERM",
    ] {
        assert!(help.contains(word), "{help}");
    }
}

#[test]
fn wrong_usage() {
    check([""; 0], 2, &["Usage"]);
    check(["record", "--no-such-flag"], 2, &["--no-such-flag"]);
    check_record(&[], 2, &["--video", "--sensor"]);
    check_record(&["--video", "front"], 2, &["NAME=SOURCE"]);
    check_record(
        &["--video", "front=testsrc:640x400"],
        2,
        &["testsrc:WxH@FPS"],
    );
    check_record(
        &["--video", "front=webcam"],
        2,
        &["webcam", "v4l2:/dev/videoN"],
    );
    check_record(&["--sensor", "imu=fake-imu:0"], 2, &["fake-imu:HZ"]);
    check_record(
        &["--video", "a=testsrc:64x64@5,codec=vp9"],
        2,
        &["vp9", "libx264"],
    );
    check_record(&["--video", "a=testsrc:64x64@5,codec=copy"], 2, &["copy"]);
    check_record(
        &["--video", "a=testsrc:64x64@5,preset=wrong"],
        2,
        &["video a", "libx264", "wrong"],
    );
    check_record(&["--video", "a=testsrc:64x64@5,fps=fast"], 2, &["fast"]);
    check_record(
        &["--video", "a=testsrc:64x64@5", "--sensor", "a=fake-imu:10"],
        2,
        &["\"a\"", "own name"],
    );
    check_record(
        &[
            "--video",
            "a=testsrc:64x64@5",
            "--video",
            "a=testsrc:64x64@9",
        ],
        2,
        &["\"a\"", "own name"],
    );
    check_record(
        &["--video", "a=testsrc:64x64@5,codc=ffv1"],
        2,
        &["codc=ffv1", "codec"],
    );
    check_record(
        &["--video", "a=testsrc:64x64@5,input-size=64x64"],
        2,
        &["input-size", "v4l2"],
    );
    for (flag, value, word) in [
        ("--chunk-length", "5", "60s"),
        ("--chunk-length", "1ms", "100ms"),
        ("--duration", "0s", "duration"),
        ("--queue-bytes", "0", "64MiB"),
    ] {
        check_record(&["--video", "a=testsrc:64x64@5", flag, value], 2, &[word]);
    }
    check(["export", "x", "-o", "x.mp4"], 2, &["x.mp4", ".mkv"]);
}

#[test]
fn no_output_folder_is_named() {
    check(["record", "--video", "a=testsrc:64x64@5"], 2, &["--output"]);
}

#[test]
fn a_source_that_is_not_there() {
    check_record(
        &["--video", "cam=v4l2:/dev/video99"],
        1,
        &["cam", "/dev/video99", "No such file"],
    );
    check_record(
        &["--video", "cam=file:/nonexistent.mp4"],
        1,
        &["cam", "/nonexistent.mp4"],
    );
    // A port on which nobody listens.
    check_record(
        &["--video", "cam=rtsp://me:secret@127.0.0.1:9/x"],
        1,
        &["cam", "refused"],
    );
    check_record(
        &["--sensor", "gps=jsonl:/nonexistent.jsonl"],
        1,
        &["gps", "/nonexistent.jsonl"],
    );
}

#[test]
fn a_password_is_never_told() {
    let output = tempfile::tempdir().unwrap();
    let target = output.path().to_str().unwrap();
    let args = [
        "record",
        "--output",
        target,
        "--video",
        "cam=rtsp://me:secret@127.0.0.1:9/x",
    ];
    let said = check(args, 1, &[]);
    assert!(!String::from_utf8_lossy(&said.stderr).contains("secret"));
    assert!(!String::from_utf8_lossy(&said.stdout).contains("secret"));
}

#[test]
fn a_missing_ffmpeg() {
    check_record(
        &[
            "--video",
            "a=testsrc:64x64@5",
            "--ffmpeg",
            "/nonexistent/ffmpeg",
        ],
        1,
        &["/nonexistent/ffmpeg", "--ffmpeg"],
    );
}

#[test]
fn a_program_that_is_no_ffmpeg() {
    check_record(
        &["--video", "a=testsrc:64x64@5", "--ffmpeg", "/bin/true"],
        1,
        &["/bin/true"],
    );
}

#[test]
fn a_folder_that_cannot_be_written() {
    check(
        [
            "record",
            "--sensor",
            "a=fake-imu:10",
            "--output",
            "/proc/recordings",
        ],
        1,
        &["/proc/recordings"],
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    let below = file.path().join("recordings");
    check(
        [
            "record",
            "--sensor",
            "a=fake-imu:10",
            "--output",
            below.to_str().unwrap(),
        ],
        1,
        &[below.to_str().unwrap()],
    );
}

#[test]
fn a_config_that_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fieldrec.toml");
    let config = path.to_str().unwrap();
    check_record(&["--config", config], 2, &[config]);
    for (text, words) in [
        ("chunk_lenght = \"60s\"", ["chunk_lenght", "chunk_length"]),
        ("chunk_length = \"sixty\"", ["chunk_length", "60s"]),
        ("[[video]]\nname = \"a\"", ["source", "video"]),
        ("video = ", [config, "line 1"]),
    ] {
        fs::write(&path, text).unwrap();
        check_record(&["--config", config], 2, &words);
    }
}

#[test]
fn a_config_says_what_flags_say() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("fieldrec.toml");
    fs::write(
        &config,
        "chunk_length = \"1s\"\nduration = \"60s\"\n\
         [[video]]\nname = \"front\"\nsource = \"testsrc:64x64@10\"\ncodec = \"mjpeg\"\n\
         metadata = { lens = \"wide\" }\n\
         [[sensor]]\nname = \"imu\"\nsource = \"fake-imu:50\"\n",
    )
    .unwrap();
    let output = folder.path().join("recordings");
    run_well([
        "record",
        "--config",
        config.to_str().unwrap(),
        "--output",
        output.to_str().unwrap(),
        "--duration",
        "2s",
    ]);
    let recording = crate::support::only_recording(&output);
    let found = crate::support::inspect(&recording);
    assert_eq!(found["streams"][0]["name"], "front");
    assert_eq!(found["streams"][0]["codec"], "mjpeg");
    assert_eq!(found["streams"][1]["name"], "imu");
    let manifest = fs::read_to_string(recording.join("manifest.json")).unwrap();
    assert!(manifest.contains("wide"), "{manifest}");
}

#[test]
fn what_is_no_recording_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    check(["inspect", "/nonexistent"], 1, &["/nonexistent"]);
    let export = folder.path().join("x.mkv");
    check(
        ["export", path, "-o", export.to_str().unwrap()],
        1,
        &[path, "no recording"],
    );
    check(
        ["export", path, "-o", "/dev/null/x.mkv"],
        1,
        &["/dev/null/x.mkv"],
    );
    check(["recover", "/nonexistent"], 1, &["/nonexistent"]);
    let junk = folder.path().join("junk.mkv");
    fs::write(&junk, b"this is no Matroska").unwrap();
    check(["inspect", junk.to_str().unwrap()], 1, &["junk.mkv"]);
}

#[test]
fn an_export_never_overwrites_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("recordings");
    let to = folder.path().join("out.mkv");
    run_well([
        "record",
        "--sensor",
        "a=fake-imu:50",
        "--duration",
        "1s",
        "--output",
        output.to_str().unwrap(),
    ]);
    let recording = crate::support::only_recording(&output);
    fs::write(&to, b"precious").unwrap();
    let args = [
        "export",
        recording.to_str().unwrap(),
        "-o",
        to.to_str().unwrap(),
    ];
    check(args, 1, &["out.mkv", "--overwrite"]);
    assert_eq!(fs::read(&to).unwrap(), b"precious");
    check(
        [
            "export",
            recording.to_str().unwrap(),
            "-o",
            to.to_str().unwrap(),
            "--from",
            "yesterday",
        ],
        2,
        &["yesterday"],
    );
    run_well(args.into_iter().chain(["--overwrite"]));
    assert!(fs::metadata(&to).unwrap().len() > 100);
}
