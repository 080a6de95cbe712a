//! Whoever reads what it prints, or does not; and a stop before anything is recorded.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, pipe},
    net::TcpListener,
    path::Path,
    process::{Child, Stdio},
};

use nix::{
    fcntl::{FcntlArg, fcntl},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::support::{PATIENCE, chunks, fieldrec, inspect, only_recording, wait_until};

/// A recording of ten chunks a second, which tells each of them to `stdout`.
fn talkative(output: &Path, stdout: impl Into<Stdio>) -> Child {
    let sensor = ["--sensor", "imu=fake-imu:200", "--chunk-length", "100ms"];
    fieldrec(["record", "--json", "--output"])
        .arg(output)
        .args(sensor)
        .stdout(stdout)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Stops it, which must end well, and gives what it said.
#[track_caller]
fn stop(mut recorder: Child) -> String {
    let pid = i32::try_from(recorder.id()).unwrap();
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    let mut said = String::new();
    let mut stderr = recorder.stderr.take().unwrap();
    stderr.read_to_string(&mut said).unwrap();
    assert_eq!(recorder.wait().unwrap().code(), Some(0), "{said}");
    said
}

#[track_caller]
fn check_whole(output: &Path) {
    let found = inspect(&only_recording(output));
    assert_eq!(found["manifest"]["consistent"], true, "{found}");
    for chunk in found["chunks"].as_array().unwrap() {
        assert_eq!(chunk["complete"], true, "{chunk}");
    }
}

#[test]
fn a_reader_that_goes_away_costs_nothing() {
    let output = tempfile::tempdir().unwrap();
    let mut recorder = talkative(output.path(), Stdio::piped());
    let mut stdout = BufReader::new(recorder.stdout.take().unwrap());
    let mut started = String::new();
    stdout.read_line(&mut started).unwrap();
    assert!(started.contains("started"), "{started}");
    drop(stdout);
    wait_until("the sixth chunk", PATIENCE, || {
        chunks(&only_recording(output.path())).len() > 5
    });
    let said = stop(recorder);
    assert_eq!(said.matches("standard output").count(), 1, "{said}");
    check_whole(output.path());
}

#[test]
fn a_reader_that_reads_nothing_holds_nothing() {
    let output = tempfile::tempdir().unwrap();
    let (reader, writer) = pipe().unwrap();
    let size = fcntl(&reader, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    let recorder = talkative(output.path(), writer);
    let recording = || {
        fs::read_dir(output.path())
            .unwrap()
            .next()
            .map(|entry| entry.unwrap().path())
    };
    // Each chunk is told twice, in more than 200 bytes.
    let enough = usize::try_from(size).unwrap() / 400 + 10;
    wait_until("more than the pipe holds", PATIENCE, || {
        recording().is_some_and(|folder| chunks(&folder).len() > enough)
    });
    let said = stop(recorder);
    assert!(said.contains("standard output took no more"), "{said}");
    check_whole(output.path());
    let mut printed = String::new();
    (&reader).read_to_string(&mut printed).unwrap();
    assert!(printed.starts_with("{\"event\":\"started\""), "{printed}");
}

#[test]
fn a_stop_while_a_camera_is_awaited_is_heeded() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("recordings");
    let config = folder.path().join("fieldrec.toml");
    fs::write(&config, "ready_timeout = \"1h\"").unwrap();
    // A camera that answers a call and then says nothing.
    let camera = TcpListener::bind("127.0.0.1:0").unwrap();
    let source = format!("cam=rtsp://{}/x", camera.local_addr().unwrap());
    let recorder = fieldrec(["record", "--video", &source, "--config"])
        .arg(&config)
        .arg("--output")
        .arg(&output)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _call = camera.accept().unwrap();
    let said = stop(recorder);
    assert!(
        said.contains("stopped before anything was recorded"),
        "{said}"
    );
    assert!(fs::read_dir(&output).unwrap().next().is_none());
}
