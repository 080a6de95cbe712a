//! `run`, as a shell calls it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::programs::program;

fn run(args: &[&str]) -> Command {
    let mut command = Command::new(program("run"));
    command.args(args).stdin(Stdio::null());
    command
}

fn sh<'a>(args: &[&'a str], script: &'a str) -> Vec<&'a str> {
    [args, &["--", "sh", "-c", script]].concat()
}

fn output(args: &[&str]) -> Output {
    run(args).output().unwrap()
}

#[track_caller]
fn events(output: &Output) -> Vec<Value> {
    let text = str::from_utf8(&output.stdout).unwrap();
    let lines = text.lines().filter(|line| line.starts_with('{'));
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn names(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .map(|event| event["event"].as_str().unwrap())
        .collect()
}

#[test]
fn it_ends_with_the_fate_of_the_child() {
    #[track_caller]
    fn check(args: &[&str], script: &str, want: i32) {
        let output = output(&sh(args, script));
        assert_eq!(output.status.code(), Some(want), "{script}: {output:?}");
    }
    check(&["--restart", "never"], "exit 0", 0);
    check(&["--restart", "never"], "exit 7", 7);
    check(&["--restart", "never"], "kill -9 $$", 137);
    check(&["--restart", "on-failure"], "exit 0", 0);
    check(&["--max-restarts", "1", "--backoff", "0s"], "exit 3", 3);
    let missing = output(&["--restart", "never", "--", "/no/such/program"]);
    assert_eq!(missing.status.code(), Some(127));
    let said = String::from_utf8(missing.stderr).unwrap();
    assert!(
        said.contains("cannot find program /no/such/program"),
        "{said}"
    );
}

#[test]
fn what_the_child_says_comes_out_where_it_was_said() {
    let output = output(&sh(
        &["--restart", "never"],
        r"printf 'a\r\377b'; echo err >&2",
    ));
    assert_eq!(output.stdout, b"a\r\xffb");
    assert!(str::from_utf8(&output.stderr).unwrap().contains("err\n"));
}

/// A crash loop follows the policy, and every line of JSON is whole though the child ends none of its own.
#[test]
fn a_crash_loop_as_json() {
    let args = [
        "--json",
        "--backoff",
        "100ms",
        "--backoff-max",
        "200ms",
        "--max-restarts",
        "3",
    ];
    let output = output(&sh(&args, "printf half; exit 3"));
    let events = events(&output);
    let one = ["starting", "running", "exited", "stopping", "restarting"];
    let mut want = one.repeat(3);
    want.extend(["starting", "running", "exited", "stopping", "failed"]);
    assert_eq!(names(&events), want);
    let of = |name| events.iter().filter(move |event| event["event"] == name);
    let starts: Vec<_> = of("starting")
        .map(|event| event["t_ms"].as_u64().unwrap())
        .collect();
    for (pair, least) in starts.windows(2).zip([100, 200, 200]) {
        assert!(pair[1] - pair[0] >= least, "{starts:?}");
    }
    for event in of("exited") {
        assert_eq!(event["report"]["exit"], "exit code 3");
        assert_eq!(event["report"]["last_lines"], serde_json::json!(["half"]));
        assert!(event["pid"].is_u64());
    }
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn a_silent_child_is_started_again() {
    let script = "echo alive; [ -e again ] && exit 0; : > again; sleep 1000";
    let folder = tempfile::tempdir().unwrap();
    let args = [
        "--json",
        "--hang-after",
        "300ms",
        "--backoff",
        "0s",
        "--restart",
        "on-failure",
    ];
    let output = run(&sh(&args, script))
        .current_dir(folder.path())
        .output()
        .unwrap();
    let events = events(&output);
    assert!(names(&events).contains(&"hang"), "{events:?}");
    let reports: Vec<_> = events
        .iter()
        .filter(|event| event["event"] == "exited")
        .collect();
    assert_eq!(
        reports[0]["report"]["cause"],
        serde_json::json!({ "hang": "silence" })
    );
    assert_eq!(reports.len(), 2);
    assert_eq!(output.status.code(), Some(0));
}

/// Starts it, and waits until its child has said that it is ready.
fn start(args: &[&str]) -> (Child, String) {
    let mut child = run(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines
        .find(|line| line.as_ref().unwrap().starts_with("ready"))
        .unwrap()
        .unwrap();
    // The rest is read away.
    std::thread::spawn(move || lines.for_each(drop));
    (child, line)
}

fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    let status = Command::new("kill")
        .args(["-s", name, &pid])
        .status()
        .unwrap();
    assert!(status.success());
}

fn lives(pid: &str) -> bool {
    let stat = fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[test]
fn a_signal_stops_the_whole_tree() {
    let script = "trap '' TERM; sleep 1000 & one=$!
        setsid sh -c 'trap \"\" TERM; echo ready '$one' $$; sleep 1000' & wait; wait";
    for name in ["TERM", "INT"] {
        let (mut child, line) = start(&sh(&["--stop-timeout", "600ms"], script));
        signal(&child, name);
        assert_eq!(child.wait().unwrap().code(), Some(137), "{name}");
        for pid in line.split(' ').skip(1) {
            assert!(!lives(pid), "{pid} of {line}");
        }
    }
}

#[test]
fn a_second_signal_stops_at_once() {
    let begin = Instant::now();
    let (mut child, _) = start(&sh(
        &["--stop-timeout", "10m"],
        "trap '' TERM; echo ready; while :; do sleep 1; done",
    ));
    signal(&child, "TERM");
    // Both must have been heard: the second is sent again until it has worked.
    while child.try_wait().unwrap().is_none() {
        signal(&child, "TERM");
        std::thread::sleep(Duration::from_millis(20));
        assert!(begin.elapsed() < Duration::from_secs(60));
    }
    assert_eq!(child.wait().unwrap().code(), Some(137));
}

#[test]
fn ffmpeg_is_asked_by_q() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("clip.mp4");
    let script = format!(
        "echo ready; exec ffmpeg -loglevel error -re -f lavfi -i testsrc2=size=160x120:rate=25 -y {}",
        file.display()
    );
    let (mut child, _) = start(&sh(&["--stop-signal", "q"], &script));
    let begin = Instant::now();
    while fs::metadata(&file).map_or(0, |metadata| metadata.len()) == 0 {
        assert!(begin.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(10));
    }
    signal(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let probed = Command::new("ffprobe")
        .args(["-v", "error"])
        .arg(&file)
        .status()
        .unwrap();
    assert!(probed.success(), "the clip is whole");
}

#[test]
fn nothing_outlives_it() {
    let (mut child, line) = start(&sh(&[], "echo ready $$; exec sleep 1000"));
    child.kill().unwrap();
    child.wait().unwrap();
    let pid = line.split(' ').nth(1).unwrap();
    let begin = Instant::now();
    while lives(pid) {
        assert!(begin.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(2));
    }
}
