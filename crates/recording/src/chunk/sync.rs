//! What brings chunks to the disk, off the thread that writes them.

use std::{
    fmt,
    io::{self, IoSlice},
    mem,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    thread::{self, JoinHandle},
};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, unbounded};
use longtake_durable::{Storage, StoredFile};
use tracing::error;

use super::{
    event::{ChunkSummary, WriteError},
    file::{ClosedChunk, Ending, Unsynced, cut},
};

/// How many jobs may wait. With more, the writing thread waits for the disk.
const MAX_WAITING_JOBS: usize = 64;

/// Something that may take the disk long.
#[derive(Debug)]
pub(super) enum Job {
    /// Make the names in the folder safe.
    SyncFolder,
    /// Make safe what is written of a chunk.
    Sync(Unsynced),
    /// Complete a chunk, make it safe, and give it its name.
    Finish(ClosedChunk, Ending),
    /// Make safe what there is of a chunk that could not be written further.
    Keep(ClosedChunk, Arc<WriteError>),
}

/// What became of a job.
#[derive(Debug)]
pub(super) enum Report {
    Finished(ChunkSummary),
    Unfinished(ChunkSummary, Arc<WriteError>),
    SyncFailed(WriteError),
}

/// The jobs that wait, and who does them.
#[derive(Debug)]
pub(super) struct DiskWork {
    jobs: Option<Sender<Job>>,
    reports: Receiver<Report>,
    doer: Doer,
    /// Chunks whose end was not reported yet.
    closing: usize,
}

#[derive(Debug)]
enum Doer {
    Thread(JoinHandle<()>),
    Caller(Worker),
    Gone,
}

/// Does jobs, one after the other.
struct Worker {
    storage: Arc<dyn Storage>,
    folder: PathBuf,
    syncs: bool,
    jobs: Receiver<Job>,
    reports: Sender<Report>,
}

impl DiskWork {
    /// Has the jobs done by a thread of their own. Without `syncs` nothing is synced.
    pub(super) fn on_thread(
        storage: Arc<dyn Storage>,
        folder: PathBuf,
        syncs: bool,
    ) -> io::Result<Self> {
        let mut work = Self::on_caller(storage, folder, syncs);
        if let Doer::Caller(worker) = mem::replace(&mut work.doer, Doer::Gone) {
            let thread = thread::Builder::new().name("chunk-sync".into());
            work.doer = Doer::Thread(thread.spawn(move || worker.run())?);
        }
        Ok(work)
    }

    /// Leaves the jobs to [`do_next`](Self::do_next).
    pub(super) fn on_caller(storage: Arc<dyn Storage>, folder: PathBuf, syncs: bool) -> Self {
        let (jobs, waiting) = bounded(MAX_WAITING_JOBS);
        // At most one report a job, and the jobs are bounded by those who read the reports.
        let (reports, reported) = unbounded();
        let worker = Worker {
            storage,
            folder,
            syncs,
            jobs: waiting,
            reports,
        };
        Self {
            jobs: Some(jobs),
            reports: reported,
            doer: Doer::Caller(worker),
            closing: 0,
        }
    }

    /// Adds a job. Waits for the disk only when very many wait already.
    pub(super) fn submit(&mut self, job: Job) {
        let Some(jobs) = &self.jobs else { return };
        self.closing += usize::from(matches!(job, Job::Finish(..) | Job::Keep(..)));
        match &self.doer {
            Doer::Caller(worker) => {
                let mut refused = jobs.try_send(job);
                while let Err(TrySendError::Full(job)) = refused {
                    worker.do_next();
                    refused = jobs.try_send(job);
                }
            }
            Doer::Thread(_) | Doer::Gone => {
                if jobs.send(job).is_err() {
                    error!("the thread that syncs chunks has panicked");
                }
            }
        }
    }

    /// Does the oldest job, if there is one and they are left to the caller.
    pub(super) fn do_next(&self) -> bool {
        match &self.doer {
            Doer::Caller(worker) => worker.do_next(),
            Doer::Thread(_) | Doer::Gone => false,
        }
    }

    /// What became of jobs, oldest first.
    pub(super) fn next_report(&mut self) -> Option<Report> {
        let report = self.reports.try_recv().ok()?;
        if let Report::Finished(_) | Report::Unfinished(..) = report {
            self.closing -= 1;
        }
        Some(report)
    }

    /// Whether a chunk is on its way to its end.
    pub(super) fn is_closing(&self) -> bool {
        self.closing > 0
    }

    /// Waits until all jobs are done. None may be added after that.
    pub(super) fn finish(&mut self) {
        self.jobs = None;
        match mem::replace(&mut self.doer, Doer::Gone) {
            Doer::Caller(worker) => worker.run(),
            Doer::Thread(thread) => {
                if thread.join().is_err() {
                    error!("the thread that syncs chunks has panicked");
                }
            }
            Doer::Gone => {}
        }
    }
}

impl Drop for DiskWork {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Worker {
    /// Does jobs until nobody can add one any more.
    fn run(&self) {
        for job in &self.jobs {
            self.do_job(job);
        }
    }

    fn do_next(&self) -> bool {
        self.jobs.try_recv().is_ok_and(|job| {
            self.do_job(job);
            true
        })
    }

    fn do_job(&self, job: Job) {
        let report = match job {
            Job::SyncFolder => self.sync_folder().err().map(Report::SyncFailed),
            Job::Sync(Unsynced { part, file, waits }) => {
                // What is written from here on needs another sync.
                waits.store(false, Ordering::Relaxed);
                self.sync(&*file, &part).err().map(Report::SyncFailed)
            }
            Job::Finish(chunk, ending) => Some(self.finish(chunk, &ending)),
            Job::Keep(chunk, error) => {
                // Its end is in doubt anyway: a sync that fails as well says nothing new.
                drop(self.sync(&*chunk.file, &chunk.part));
                Some(Report::Unfinished(chunk.summary, error))
            }
        };
        if let Some(report) = report {
            // The writer may have been dropped.
            drop(self.reports.send(report));
        }
    }

    fn finish(&self, chunk: ClosedChunk, ending: &Ending) -> Report {
        let mut summary = chunk.summary.clone();
        match self.complete(&chunk, ending) {
            Ok(()) => {
                summary.bytes = ending.offset + ending.append.len() as u64;
                Report::Finished(summary)
            }
            Err(error) => Report::Unfinished(summary, Arc::new(error)),
        }
    }

    /// Completes a file in the order in which a crash at any point leaves one that can be read: the
    /// header is patched only after everything that it then speaks of is safe.
    fn complete(&self, chunk: &ClosedChunk, ending: &Ending) -> Result<(), WriteError> {
        let ClosedChunk {
            part,
            file,
            summary,
        } = chunk;
        let failed = |source| WriteError::write(part.clone(), ending.offset, source);
        let appended = file.write_all_at(ending.offset, &mut [IoSlice::new(&ending.append)]);
        if let Err(error) = appended {
            cut(&**file, part, ending.offset);
            self.sync(&**file, part)?;
            return Err(failed(error.source));
        }
        self.sync(&**file, part)?;
        for patch in &ending.patches {
            file.write_all_at(patch.offset, &mut [IoSlice::new(&patch.bytes)])
                .map_err(|error| failed(error.source))?;
        }
        self.sync(&**file, part)?;
        self.storage
            .rename_new(part, &self.folder.join(&summary.file))
            .map_err(|source| WriteError::Rename {
                part: part.clone(),
                name: summary.file.clone(),
                source,
            })?;
        self.sync_folder()
    }

    fn sync(&self, file: &dyn StoredFile, path: &Path) -> Result<(), WriteError> {
        if !self.syncs {
            return Ok(());
        }
        file.sync_data().map_err(|source| WriteError::Sync {
            path: path.to_owned(),
            source,
        })
    }

    fn sync_folder(&self) -> Result<(), WriteError> {
        if !self.syncs {
            return Ok(());
        }
        self.storage
            .sync_dir(&self.folder)
            .map_err(|source| WriteError::Sync {
                path: self.folder.clone(),
                source,
            })
    }
}

impl Drop for Worker {
    /// A panic, which is a defect of ours or of the storage, is told like a sync that failed: nothing
    /// is made safe any more.
    fn drop(&mut self) {
        if thread::panicking() {
            let error = WriteError::Sync {
                path: self.folder.clone(),
                source: io::Error::other("the thread that syncs chunks panicked"),
            };
            // The writer may have been dropped.
            drop(self.reports.send(Report::SyncFailed(error)));
        }
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("folder", &self.folder)
            .field("waiting", &self.jobs.len())
            .finish_non_exhaustive()
    }
}
