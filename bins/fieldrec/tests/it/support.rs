//! Running fieldrec and looking at what it left.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

/// Nothing here takes this long unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A variable that a recorder and all it starts inherit; its value is the recorder's output folder.
const MARK: &str = "LONGTAKE_TEST_OUTPUT";

/// Tests that measure what a recording loses need the machine to themselves.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `fieldrec` with these arguments, and without the settings of whoever runs the tests.
pub(crate) fn fieldrec(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fieldrec"));
    command.args(args).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FIELDREC_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs it to its end.
#[track_caller]
pub(crate) fn run(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Output {
    fieldrec(args).output().unwrap()
}

/// Runs it to its end, which must be a good one, and gives its standard output.
#[track_caller]
pub(crate) fn run_well(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> String {
    let output = run(args);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// A recording that runs, and the events that it tells.
pub(crate) struct Recorder {
    child: Child,
    lines: BufReader<ChildStdout>,
    pub(crate) events: Vec<Value>,
}

impl Recorder {
    /// Starts `fieldrec record --json --output OUTPUT` with more arguments.
    pub(crate) fn start<'a>(output: &'a Path, args: impl IntoIterator<Item = &'a str>) -> Self {
        let fixed = ["record", "--json", "--output", output.to_str().unwrap()];
        let mut child = fieldrec(fixed.into_iter().chain(args))
            .env(MARK, output)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            lines,
            events: Vec::new(),
        }
    }

    /// Reads events up to one of this kind, and gives it.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, kind: &str) -> Value {
        match self.next_until(kind) {
            Some(event) => event,
            None => panic!("no {kind} came; it said\n{}", self.complaint()),
        }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Reads all events to the end, and waits for the program.
    pub(crate) fn finish(mut self) -> Finished {
        assert_eq!(self.next_until("no such event"), None);
        let stderr = self.complaint();
        let status = self.child.wait().unwrap();
        Finished {
            status,
            events: self.events,
            stderr,
        }
    }

    fn next_until(&mut self, kind: &str) -> Option<Value> {
        let began = Instant::now();
        let mut line = String::new();
        while began.elapsed() < PATIENCE {
            line.clear();
            if self.lines.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            let event: Value = serde_json::from_str(&line).unwrap();
            self.events.push(event.clone());
            if event["event"] == kind {
                return Some(event);
            }
        }
        None
    }

    fn complaint(&mut self) -> String {
        let mut text = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        text
    }
}

/// A recording that is over.
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) events: Vec<Value>,
    pub(crate) stderr: String,
}

impl Finished {
    pub(crate) fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.events
            .iter()
            .filter(move |event| event["event"] == kind)
    }
}

/// The folder of the only recording in `output`.
#[track_caller]
pub(crate) fn only_recording(output: &Path) -> PathBuf {
    let found: Vec<_> = fs::read_dir(output)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found.into_iter().next().unwrap()
}

/// The files of a recording that hold packets, in order.
pub(crate) fn chunks(recording: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(recording)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.ends_with(".mkv") || name.ends_with(".mkv.part")
        })
        .collect();
    found.sort();
    found
}

/// `fieldrec inspect --json`.
#[track_caller]
pub(crate) fn inspect(path: &Path) -> Value {
    serde_json::from_str(&run_well(["inspect", "--json", path.to_str().unwrap()])).unwrap()
}

/// One packet as ffprobe sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Probed {
    pub(crate) pts_us: i64,
    pub(crate) keyframe: bool,
}

/// All packets of a file by the stream's name, as ffprobe sees them, which must have nothing to say.
#[track_caller]
pub(crate) fn probe(path: &Path) -> BTreeMap<String, Vec<Probed>> {
    let entries = "stream=index:stream_tags=title:packet=stream_index,pts_time,flags";
    let output = Command::new("ffprobe")
        .args(["-v", "warning", "-of", "json", "-show_entries", entries])
        .arg(path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.is_empty(),
        "{}: {said}",
        path.display()
    );
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let names: Vec<_> = found["streams"]
        .as_array()
        .unwrap()
        .iter()
        .map(|stream| stream["tags"]["title"].as_str().unwrap().to_owned())
        .collect();
    let mut streams: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for packet in found["packets"].as_array().unwrap() {
        let stream = usize::try_from(packet["stream_index"].as_u64().unwrap()).unwrap();
        streams
            .entry(names[stream].clone())
            .or_default()
            .push(Probed {
                pts_us: micros(packet["pts_time"].as_str().unwrap()),
                keyframe: packet["flags"].as_str().unwrap().starts_with('K'),
            });
    }
    streams
}

/// Decodes everything in a finished file with ffmpeg, which must have nothing to say.
#[track_caller]
pub(crate) fn decode(path: &Path) {
    decode_with("warning", path, &["0:v"]);
}

/// Plays an unfinished file: decodes all that was written of these video streams.
#[track_caller]
pub(crate) fn play(path: &Path, streams: &[usize]) {
    let maps: Vec<_> = streams.iter().map(|stream| format!("0:{stream}")).collect();
    decode_with("error", path, &maps);
}

/// Frames keep their own times: ffmpeg would otherwise guess a rate, and complain of frames for which
/// that rate has no place.
const TO_NOWHERE: [&str; 7] = [
    "-fps_mode",
    "passthrough",
    "-enc_time_base",
    "-1",
    "-f",
    "null",
    "-",
];

#[track_caller]
fn decode_with(level: &str, path: &Path, maps: &[impl AsRef<OsStr>]) {
    let mut command = Command::new("ffmpeg");
    command
        .args(["-nostdin", "-v", level, "-xerror", "-i"])
        .arg(path);
    for map in maps {
        command.arg("-map").arg(map);
    }
    let output = command.args(TO_NOWHERE).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.is_empty(),
        "{}: {said}",
        path.display()
    );
}

/// Seconds with six decimals as microseconds.
fn micros(seconds: &str) -> i64 {
    let (whole, decimals) = seconds.split_once('.').unwrap();
    assert_eq!(decimals.len(), 6, "{seconds}");
    let magnitude: i64 = format!("{}{decimals}", whole.trim_start_matches('-'))
        .parse()
        .unwrap();
    if whole.starts_with('-') {
        -magnitude
    } else {
        magnitude
    }
}

/// The command lines of all processes that a recorder into `output` left running, and its own.
pub(crate) fn processes_of(output: &Path) -> Vec<String> {
    let mark = format!("{MARK}={}", output.display());
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
        // A process may go at any time, and not everything here is a process.
        let Ok(environ) = fs::read(entry.path().join("environ")) else {
            continue;
        };
        let Ok(cmdline) = fs::read(entry.path().join("cmdline")) else {
            continue;
        };
        if environ
            .split(|&byte| byte == 0)
            .any(|variable| variable == mark.as_bytes())
        {
            found.push(String::from_utf8_lossy(&cmdline).replace('\0', " "));
        }
    }
    found
}

/// Waits until `fact` holds.
#[track_caller]
pub(crate) fn wait_until(what: &str, patience: Duration, fact: impl Fn() -> bool) {
    let began = Instant::now();
    while !fact() {
        assert!(
            began.elapsed() < patience,
            "{what} did not come true within {patience:?}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// So many spans of time below a limit, drawn from a seed that is printed. Given in
/// `LONGTAKE_TEST_SEED` it draws the same again.
#[expect(clippy::print_stdout, reason = "shown when the test fails")]
pub(crate) fn random_spans(count: usize, below: Duration) -> Vec<Duration> {
    let seed = std::env::var("LONGTAKE_TEST_SEED").map_or_else(
        |_| {
            Timestamp::now().as_nanosecond().to_le_bytes()[..8]
                .try_into()
                .unwrap()
        },
        |text| text.parse::<u64>().unwrap().to_le_bytes(),
    );
    let mut state = u64::from_le_bytes(seed);
    println!("LONGTAKE_TEST_SEED={state}");
    let limit = u64::try_from(below.as_micros()).unwrap();
    let mut draw = || {
        // SplitMix64, https://prng.di.unimi.it/splitmix64.c
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Duration::from_micros((mixed ^ (mixed >> 31)) % limit)
    };
    (0..count).map(|_| draw()).collect()
}

/// What the wall clock said at one session time, as a chunk's header has it.
#[track_caller]
pub(crate) fn realtime_pair(chunk: &Path) -> (i64, Timestamp) {
    let output = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-of",
            "json",
            "-show_entries",
            "format_tags=LONGTAKE",
        ])
        .arg(chunk)
        .output()
        .unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let header = found["format"]["tags"]["LONGTAKE"].as_str().unwrap();
    let header: Value = serde_json::from_str(header).unwrap();
    let clock = &header["clock"];
    (
        clock["pts_us"].as_i64().unwrap(),
        clock["realtime"].as_str().unwrap().parse().unwrap(),
    )
}
