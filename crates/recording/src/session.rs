//! One recording, from its start to its stop.

mod keeper;
mod mux;
mod options;
mod threads;
mod worker;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use crossbeam_channel::{Sender, bounded};
use jiff::Timestamp;
use parking_lot::Mutex;
use tracing::info;

pub use self::options::{DEFAULT_QUEUE_BYTES, SessionOptions, StreamOptions};
use self::{
    keeper::{Ended, Keeper, Note},
    mux::{Mux, ToMux},
    threads::{WaitingThread, WorkingThread},
    worker::{Way, Worker},
};
use crate::{
    capture::Capture,
    chunk::StreamTally,
    clock::Monotonic,
    counts::{Counts, DropReason},
    device::Outlet,
    event::{Events, events},
    intake::Intake,
    lock::{LockError, RecordingLock},
    manifest::Manifest,
    pts::Pts,
    queue::{QueueSender, WhenFull, queue},
    recording_id::{ClaimError, RecordingId},
    session_time::SessionTime,
    stream::{StreamIndex, StreamSpec},
};

/// How many encoded bytes may wait for the disk, all streams together.
const MUX_QUEUE_BYTES: usize = 32 << 20;

/// How many notes may wait for the keeper while the disk keeps it waiting: hours of them. Then the
/// other threads wait too, and their queues drop and count, as with any slow disk.
const MAX_NOTES: usize = 1 << 16;

/// Why a recording could not be started. Nothing was recorded and nothing runs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// There are options for a stream that no device carries.
    #[error("no device carries a stream called {name:?}")]
    UnknownStream {
        /// The name.
        name: String,
    },
    /// No folder could be made for it.
    #[error("cannot make a folder for the recording")]
    Claim(#[source] ClaimError),
    /// The folder was made, and somebody else locked it.
    #[error("cannot lock the recording's folder")]
    Lock(#[source] LockError),
    /// The system gives no more threads.
    #[error("cannot start a thread for the recording")]
    Thread(#[source] io::Error),
}

/// A recording that runs. Dropping it stops it.
#[derive(Debug)]
pub struct Session {
    recording_id: RecordingId,
    folder: PathBuf,
    time: Arc<SessionTime>,
    streams: Vec<Arc<StreamState>>,
    unfinished: Arc<AtomicUsize>,
    running: Mutex<Option<Box<Running>>>,
    summary: OnceLock<Summary>,
}

/// What a recording came to.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Summary {
    /// Its name.
    pub recording_id: RecordingId,
    /// Its folder.
    pub folder: PathBuf,
    /// From session time 0 to the stop.
    pub duration: Duration,
    /// What became of everything that was captured, for each stream.
    pub counts: BTreeMap<String, Counts>,
    /// What the disk did not take, if that happened: packets, the end of a chunk, or the manifest.
    /// `recover` makes the best of it.
    pub write_error: Option<String>,
}

/// The numbers of one stream, shared by the threads it passes through.
#[derive(Debug)]
struct StreamState {
    spec: StreamSpec,
    /// What happened before the chunk writer.
    upstream: Arc<Mutex<Counts>>,
    /// What the chunk writer did.
    tally: Mutex<StreamTally>,
}

/// The threads of a recording, in the order in which they end.
#[derive(Debug)]
struct Running {
    outlets: Vec<Outlet>,
    intakes: Vec<Arc<Intake>>,
    workers: Vec<WorkingThread<()>>,
    to_mux: QueueSender<ToMux>,
    mux: WorkingThread<()>,
    notes: Sender<Note>,
    keeper: WorkingThread<Ended>,
    streams: Vec<Arc<StreamState>>,
    stopped_at: Arc<Mutex<Option<Monotonic>>>,
    stopping: Arc<AtomicBool>,
    _lock: RecordingLock,
}

impl Session {
    /// Starts to record everything that `capture` delivers into a new folder below `output`, which
    /// is made if it does not exist.
    ///
    /// What was captured before is not part of the recording.
    ///
    /// # Errors
    ///
    /// There are options for an unknown stream, the folder cannot be made or locked, or the system is
    /// out of threads.
    pub fn start(
        capture: &Capture,
        output: &Path,
        options: SessionOptions,
    ) -> Result<(Self, Events), StartError> {
        let specs = capture.streams();
        let is_unknown = |name: &&String| specs.iter().all(|spec| spec.name != **name);
        if let Some(name) = options.streams.keys().find(is_unknown).cloned() {
            return Err(StartError::UnknownStream { name });
        }
        let keeper_thread = WaitingThread::spawn("keeper").map_err(StartError::Thread)?;
        let mux_thread = WaitingThread::spawn("mux").map_err(StartError::Thread)?;
        let worker_threads = (0..specs.len())
            .map(|_| WaitingThread::spawn("stream"))
            .collect::<Result<Vec<_>, _>>()
            .map_err(StartError::Thread)?;

        let storage = Arc::clone(&options.storage);
        let claimed = RecordingId::claim(&*storage, output, Timestamp::now());
        let (recording_id, folder) = claimed.map_err(StartError::Claim)?;
        let lock = RecordingLock::take(&folder).map_err(StartError::Lock)?;
        let streams: Vec<_> = specs
            .iter()
            .map(|spec| Arc::new(StreamState::new(spec)))
            .collect();
        let time = Arc::new(SessionTime::new(Monotonic::now(), options.max_duration));
        let (notes, noted) = bounded(MAX_NOTES);
        let (to_mux, from_workers) = queue(MUX_QUEUE_BYTES, WhenFull::Block);
        let (event_sender, events) = events();
        let stopped_at = Arc::new(Mutex::new(None));
        let stopping = Arc::new(AtomicBool::new(false));

        let manifest = Manifest::new(recording_id, Timestamp::now(), &specs, capture.devices())
            .host(host_name())
            .program(&options.program);
        let keeper = Keeper {
            storage: Arc::clone(&storage),
            folder: folder.clone(),
            manifest,
            time: Arc::clone(&time),
            streams: streams.clone(),
            events: event_sender,
        };
        let keeper = {
            let stopped_at = Arc::clone(&stopped_at);
            keeper_thread.start(move || keeper.run(&noted, || *stopped_at.lock()))
        };
        let mux = Mux {
            storage,
            folder: folder.clone(),
            recording_id,
            chunks: options.chunks.clone(),
            devices: capture.devices(),
            host: host_name(),
            program: options.program.clone(),
            time: Arc::clone(&time),
            streams: streams.clone(),
            notes: notes.clone(),
        };
        let mux = mux_thread.start(move || mux.run(&from_workers));

        let unfinished = Arc::new(AtomicUsize::new(streams.len()));
        let mut workers = Vec::new();
        let mut intakes = Vec::new();
        for (index, (state, thread)) in streams.iter().zip(worker_threads).enumerate() {
            let stream_options = options
                .streams
                .get(&state.spec.name)
                .cloned()
                .unwrap_or_default();
            let (sender, arrivals) = queue(options.queue_bytes, stream_options.when_full);
            let failure = Arc::default();
            intakes.push(Arc::new(Intake::new(
                Arc::clone(&time),
                Arc::clone(&state.upstream),
                sender,
                Arc::clone(&failure),
            )));
            let worker = Worker {
                ffmpeg: options.ffmpeg.clone(),
                settings: stream_options
                    .encoder
                    .chunk_length(options.chunks.length_of_chunk()),
                way: Way {
                    stream: StreamIndex(index),
                    state: Arc::clone(state),
                    failure,
                    to_mux: to_mux.clone(),
                    notes: notes.clone(),
                    encoder_gone: Arc::default(),
                    stopping: Arc::clone(&stopping),
                },
                unfinished: Arc::clone(&unfinished),
            };
            workers.push(thread.start(move || worker.run(&arrivals)));
        }
        let outlets: Vec<_> = capture.outlets().cloned().collect();
        for (outlet, intake) in outlets.iter().zip(&intakes) {
            outlet.attach(Arc::clone(intake));
        }
        info!(%recording_id, folder = %folder.display(), "recording started");
        let running = Running {
            outlets,
            intakes,
            workers,
            to_mux,
            mux,
            notes,
            keeper,
            streams: streams.clone(),
            stopped_at,
            stopping,
            _lock: lock,
        };
        let session = Self {
            recording_id,
            folder,
            time,
            streams,
            unfinished,
            running: Mutex::new(Some(Box::new(running))),
            summary: OnceLock::new(),
        };
        Ok((session, events))
    }

    /// The recording's name.
    pub const fn recording_id(&self) -> RecordingId {
        self.recording_id
    }

    /// The recording's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// How long it has been since session time 0; before the first capture, since the start.
    pub fn elapsed(&self) -> Duration {
        let began = self.time.zero().unwrap_or_else(|| self.time.started());
        Monotonic::now().since(began)
    }

    /// What became so far of everything that was captured, for each stream in their order.
    pub fn counts(&self) -> Vec<(String, Counts)> {
        let counts_of = |stream: &Arc<StreamState>| (stream.spec.name.clone(), stream.counts());
        self.streams.iter().map(counts_of).collect()
    }

    /// Whether every stream came to its end, so that there is nothing left to record.
    pub fn ended(&self) -> bool {
        self.unfinished.load(Ordering::Acquire) == 0
    }

    /// Stops in order: no capture is taken any more, everything that was taken goes through its
    /// encoder and into a chunk, all chunks are finished and safe on the disk.
    ///
    /// Answers when everything is gone. Stopping again gives the same answer; a second caller waits
    /// for the first.
    ///
    /// # Panics
    ///
    /// Never: the first stop leaves a summary for all others.
    pub fn stop(&self) -> Summary {
        let mut running = self.running.lock();
        if let Some(threads) = running.take() {
            let ended = threads.stop().unwrap_or_else(|| self.broken());
            let summary = Summary {
                recording_id: self.recording_id,
                folder: self.folder.clone(),
                duration: ended.duration,
                counts: ended.counts,
                write_error: ended.write_error,
            };
            info!(recording_id = %self.recording_id, "recording stopped");
            self.summary.get_or_init(|| summary);
        }
        self.summary
            .get()
            .cloned()
            .expect("whoever took the threads has left a summary")
    }

    /// How a recording ended whose keeper panicked.
    fn broken(&self) -> Ended {
        Ended {
            duration: self.elapsed(),
            counts: self.counts().into_iter().collect(),
            write_error: Some("the thread that keeps the manifest panicked; recover it".to_owned()),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Running {
    /// `None` when the keeper panicked.
    fn stop(self) -> Option<Ended> {
        *self.stopped_at.lock() = Some(Monotonic::now());
        self.stopping.store(true, Ordering::Release);
        self.outlets.iter().for_each(Outlet::detach);
        self.intakes.iter().for_each(|intake| intake.end(None));
        let mut all_well = true;
        for worker in self.workers {
            all_well &= worker.join().is_some();
        }
        self.to_mux.close();
        all_well &= self.mux.join().is_some();
        if !all_well {
            self.streams
                .iter()
                .for_each(|stream| stream.lose_in_flight());
        }
        // The keeper ends when nobody can tell it anything any more.
        drop(self.notes);
        self.keeper.join()
    }
}

impl StreamState {
    fn new(spec: &StreamSpec) -> Self {
        Self {
            spec: spec.clone(),
            upstream: Arc::default(),
            tally: Mutex::default(),
        }
    }

    /// What became so far of everything that was captured.
    fn counts(&self) -> Counts {
        // The writer's numbers first: what it has written was received before.
        let written = self.tally.lock().counts.clone();
        let mut counts = self.upstream.lock().clone();
        counts.written = written.written;
        for (reason, count) in written.dropped {
            counts.lose(reason, count);
        }
        counts
    }

    fn lose(&self, reason: DropReason, count: u64) {
        self.upstream.lock().lose(reason, count);
    }

    /// Counts what a thread that panicked had in its hands.
    fn lose_in_flight(&self) {
        let left = self.counts().in_flight();
        self.lose(DropReason::Panic, left);
    }

    /// Session times of the first and the last packet in a chunk.
    fn written_span(&self) -> (Option<Pts>, Option<Pts>) {
        let tally = self.tally.lock();
        (tally.first_pts, tally.last_pts)
    }
}

fn host_name() -> String {
    nix::unistd::gethostname().map_or_else(|_| String::new(), |name| name.to_string_lossy().into())
}
