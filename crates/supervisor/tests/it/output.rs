//! What children say: all of it counted, none of it unbounded, nobody made to wait, nothing secret shown.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use longtake_process::{Command, Output};
use longtake_supervisor::{
    Cause, ChildSpec, LineRate, Redaction, Report, Restart, RestartPolicy, State, Stream,
    Supervisor, Tail, WhenFull,
};
use parking_lot::Mutex;
use tracing::subscriber::DefaultGuard;

use crate::{LONG, end, eventually, letter, lives, run, sh, state};

const EMBEDDER: &str = env!("CARGO_BIN_EXE_supervisor-embedder");
const TALKER: &str = env!("CARGO_BIN_EXE_supervisor-talker");

/// How much the floods are.
const FLOOD_BYTES: u64 = 100_000_000;

fn once() -> RestartPolicy {
    RestartPolicy::default().restart(Restart::Never)
}

/// The only line that the embedder says.
fn embedder(args: &[&str]) -> Vec<String> {
    let mut command = Command::new(EMBEDDER);
    let mut child = command.args(args).stdout(Output::Pipe).spawn().unwrap();
    let said = io::read_to_string(child.take_stdout().unwrap()).unwrap();
    assert!(child.wait().unwrap().success(), "{said}");
    said.split_whitespace().map(str::to_owned).collect()
}

/// The child finishes, its lines are counted exactly, and the memory of its supervisor does not grow.
#[track_caller]
fn a_flood(order: &str, want_lines: u64) -> String {
    let bytes = FLOOD_BYTES.to_string();
    let said = embedder(&["memory", TALKER, order, &bytes]);
    let [success, lines, peak_bytes] = &said[..] else {
        panic!("{said:?}");
    };
    assert_eq!((success.as_str(), lines.parse()), ("true", Ok(want_lines)));
    assert!(
        peak_bytes.parse::<u64>().unwrap() < 32 << 20,
        "{peak_bytes}"
    );
    format!("{peak_bytes} bytes at most")
}

#[test]
fn a_flood_of_lines() {
    println!("{}", a_flood("lines", FLOOD_BYTES / 100));
}

#[test]
fn a_flood_without_an_end_of_line() {
    println!("{}", a_flood("solid", 1));
}

/// Children that say nothing cost nothing, also those who have closed their outputs: neither CPU time nor a
/// wakeup.
#[test]
fn nothing_is_done_for_quiet_children() {
    let closed = "exec >&- 2>&-; exec sleep 1000";
    let said = embedder(&["idle", "exec sleep 1000", closed, closed]);
    let [all_live, cpu_ns, wakeups] = &said[..] else {
        panic!("{said:?}");
    };
    println!("{cpu_ns} ns of CPU time and {wakeups} wakeups in 5 s");
    assert_eq!(all_live, "true");
    assert!(cpu_ns.parse::<u64>().unwrap() < 10_000_000, "{cpu_ns}");
    assert_eq!(wakeups, "0");
}

#[test]
fn any_bytes_are_lines() {
    run(async {
        let script = r"printf 'one\rtwo\r\nthr\000ee\n\377\n\nlast'";
        let supervisor = Supervisor::new(sh(script).policy(once()));
        let mut events = supervisor.events();
        supervisor.start().await.unwrap();
        let report = end(&mut events).await;
        state(&mut events, State::Stopped).await;
        let want = ["one", "two", "thr\0ee", "\u{fffd}", "", "last"];
        assert_eq!(report.last_lines, want);
        assert_eq!(supervisor.line_counts(Stream::Stdout), (6, 0));
        assert_eq!(supervisor.log(Stream::Stdout), want.join("\n") + "\n");
    });
}

/// A child that says all numbers up to `last`, and what it says.
fn numbers(last: u32) -> (ChildSpec, String) {
    let spec = sh(format!("exec seq {last}")).policy(once());
    let text = (1..=last).map(|number| format!("{number}\n")).collect();
    (spec, text)
}

/// Everything that a tail holds and is told of, up to so many bytes.
async fn read_to(tail: &mut Tail, bytes: u64) -> (Vec<u8>, u64) {
    let (mut read, mut dropped) = (Vec::new(), 0);
    while read.len() as u64 + tail.dropped_bytes() < bytes {
        let piece = tokio::time::timeout(LONG, tail.next()).await.unwrap();
        let piece = piece.unwrap();
        read.extend_from_slice(&piece.bytes);
        dropped += piece.dropped_bytes;
    }
    (read, dropped)
}

#[test]
fn what_a_slow_listener_misses_is_counted() {
    run(async {
        let (spec, text) = numbers(2_000_000);
        let supervisor = Supervisor::new(spec);
        let mut tail = supervisor.tail(WhenFull::Drop).await;
        let mut events = supervisor.events();
        supervisor.start().await.unwrap();
        assert!(end(&mut events).await.success);
        state(&mut events, State::Stopped).await;
        let written = text.len() as u64;
        let (read, dropped) = read_to(&mut tail, written).await;
        let all_dropped = tail.dropped_bytes();
        assert!(all_dropped > 0 && dropped <= all_dropped);
        assert_eq!(read.len() as u64 + all_dropped, written);
        assert!(text.as_bytes().starts_with(&read[..1000]));
    });
}

#[test]
fn a_listener_who_makes_the_child_wait_misses_nothing() {
    run(async {
        let (spec, text) = numbers(2_000_000);
        let supervisor = Supervisor::new(spec);
        let mut tail = supervisor.tail(WhenFull::Block).await;
        let pid = supervisor.start().await.unwrap();
        eventually("the child waits", || letter(pid) == Some('S')).await;
        let (read, dropped) = read_to(&mut tail, text.len() as u64).await;
        assert_eq!((dropped, tail.dropped_bytes()), (0, 0));
        assert!(read == text.as_bytes());
    });
}

/// Also of a child whose last words find no room, and whose supervisor nobody holds any more.
#[test]
fn a_listener_who_comes_late_misses_nothing() {
    run(async {
        let supervisor = Supervisor::new(
            sh("i=0; while [ $i -lt 500 ]; do i=$((i + 1)); echo $i; sleep 0.001; done")
                .policy(once()),
        );
        let mut tail = supervisor.tail(WhenFull::Block).await;
        let mut events = supervisor.events();
        supervisor.start().await.unwrap();
        assert!(end(&mut events).await.success);
        drop(supervisor);
        let text: String = (1..=500).map(|number| format!("{number}\n")).collect();
        let (read, _none) = read_to(&mut tail, text.len() as u64).await;
        assert_eq!(String::from_utf8(read).unwrap(), text);
        assert!(tail.next().await.is_none());
    });
}

#[test]
fn a_child_that_waits_for_its_listener_can_be_stopped() {
    run(async {
        let supervisor = Supervisor::new(sh("exec yes"));
        let tail = supervisor.tail(WhenFull::Block).await;
        let pid = supervisor.start().await.unwrap();
        eventually("the child waits", || letter(pid) == Some('S')).await;
        let begin = Instant::now();
        supervisor.stop().await.unwrap();
        let took = begin.elapsed();
        assert!(took < Duration::from_secs(3), "{took:?}");
        assert!(!lives(pid));
        drop(tail);
    });
}

/// Runs a child to its end, and gives what was logged meanwhile at all levels.
fn logged(spec: ChildSpec) -> (Supervisor, Arc<Report>, String) {
    thread_local! {
        static SUBSCRIBED: RefCell<Option<DefaultGuard>> = const { RefCell::new(None) };
    }
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let subscriber = tracing::Dispatch::new(subscriber);
    let everywhere = subscriber.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_start(move || {
            let guard = tracing::dispatcher::set_default(&everywhere);
            SUBSCRIBED.set(Some(guard));
        })
        .build()
        .unwrap();
    let _here = tracing::dispatcher::set_default(&subscriber);
    let (supervisor, report) = runtime.block_on(async {
        let supervisor = Supervisor::new(spec.policy(once()));
        let mut events = supervisor.events();
        drop(supervisor.start().await);
        let report = end(&mut events).await;
        supervisor.stop().await.unwrap();
        (supervisor, report)
    });
    let text = String::from_utf8(log.0.lock().clone()).unwrap();
    (supervisor, report, text)
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The lines that tell of errors of the child.
fn warnings(log: &str) -> Vec<&str> {
    let lines = log.lines();
    lines
        .filter(|line| line.contains("child reports an error"))
        .collect()
}

#[track_caller]
fn without_secrets(text: &str) {
    assert!(
        !text.contains("hunter2") && !text.contains("s3cret"),
        "{text}"
    );
}

#[test]
fn secrets_are_never_shown() {
    let script = r#"echo "opening $0 with $1"; echo "[error] cannot open $0 with $1" >&2; printf '%s' "$1"; exit 1"#;
    let spec = ChildSpec::new("child", move || {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script, "rtsp://me:hunter2@camera/1", "s3cret"]);
        command
    });
    let (supervisor, report, log) = logged(spec.redaction(Redaction::default().secret("s3cret")));
    let said = [
        supervisor.log(Stream::Stdout),
        supervisor.log(Stream::Stderr),
    ];
    without_secrets(&format!(
        "{report} {report:?} {said:?} {:?} {log}",
        supervisor.health()
    ));
    assert_eq!(report.last_lines[0], "opening rtsp://***@camera/1 with ***");
    assert_eq!(said[0], "opening rtsp://***@camera/1 with ***\n***\n");
    let started = log.lines().find(|line| line.contains("starting child"));
    let started = started.unwrap();
    assert!(
        started.contains("rtsp://***@camera/1") && started.contains("***"),
        "{started}"
    );
    let [warning] = warnings(&log)[..] else {
        panic!("{log}");
    };
    assert!(
        warning.contains("cannot open rtsp://***@camera/1 with ***"),
        "{warning}"
    );
}

#[test]
fn secrets_of_a_child_that_cannot_be_started_are_never_shown() {
    let spec = ChildSpec::new("child", || Command::new("/no/such/s3cret"));
    let (_supervisor, report, log) = logged(spec.redaction(Redaction::default().secret("s3cret")));
    let Cause::Exec { reason, .. } = &report.cause else {
        panic!("{report}");
    };
    assert!(reason.contains("/no/such/***"), "{reason}");
    without_secrets(&format!("{report} {report:?} {log}"));
}

#[test]
fn errors_are_warnings_and_cut() {
    let long = "x".repeat(300);
    let script = format!("echo all is well; echo error: {long} >&2; echo 'failed to connect'");
    let (_supervisor, _report, log) = logged(sh(script));
    let warnings = warnings(&log);
    assert_eq!(warnings.len(), 2, "{log}");
    assert!(warnings.iter().all(|warning| warning.contains(" WARN ")));
    let cut = format!("line=\"error: {}…\"", "x".repeat(200 - "error: ".len()));
    assert!(
        warnings.iter().any(|warning| warning.contains(&cut)),
        "{warnings:?}"
    );
    assert!(
        warnings
            .iter()
            .any(|warning| warning.contains("failed to connect"))
    );
}

#[test]
fn too_many_errors_are_counted_instead() {
    let rate = LineRate::default().per_second(0).burst(3);
    let (supervisor, _report, log) = logged(sh("seq -f 'error %g' 10 >&2").line_rate(rate));
    let warnings = warnings(&log);
    assert_eq!(warnings.len(), 3, "{log}");
    assert!(warnings[2].contains("error 3"), "{log}");
    let rest = log.lines().find(|line| line.contains("suppressed=7"));
    assert!(rest.unwrap().contains(" WARN "), "{log}");
    assert_eq!(supervisor.line_counts(Stream::Stderr), (10, 0));
}

#[test]
fn an_error_that_is_repeated_is_told_twice() {
    let script = "i=0; while [ $i -lt 1000 ]; do i=$((i + 1)); echo 'error: no signal' >&2; done";
    let (supervisor, _report, log) = logged(sh(script));
    let warnings = warnings(&log);
    assert_eq!(warnings.len(), 2, "{log}");
    assert!(warnings[0].contains("repeats=0"), "{log}");
    assert!(warnings[1].contains("repeats=999"), "{log}");
    let kept = supervisor.log(Stream::Stderr);
    assert_eq!(kept, "error: no signal [repeated 999 times]\n");
    assert_eq!(supervisor.line_counts(Stream::Stderr).0, 1000);
}
