//! The handle of one supervised child.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use longtake_process::{Signal, StopLadder};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

use crate::driver::{Driver, Request};
use crate::event::{Event, EventKind, Events, Heard, Hub};
use crate::health::Health;
use crate::journal::Journal;
use crate::output::{OutputMode, StdinMode, Stream, Tail, TakenOutput, WhenFull};
use crate::redaction::Redaction;
use crate::reply::Reply;
use crate::report::Report;
use crate::spec::ChildSpec;
use crate::state::State;
use crate::status::Status;
use crate::stdin::{StdinError, StdinQueue};

/// Keeps one child alive, from [`start`](Self::start) to [`stop`](Self::stop).
///
/// One task owns the child; this is its handle, cheap to clone. When the last handle is dropped the child is
/// stopped as by `stop`, without anybody waiting for it. When the runtime ends first, it is killed.
///
/// ```
/// use longtake_process::Command;
/// use longtake_supervisor::{ChildSpec, State, Supervisor};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let spec = ChildSpec::new("sleeper", || {
///     let mut command = Command::new("sleep");
///     command.arg("1000");
///     command
/// });
/// let supervisor = Supervisor::new(spec);
/// let pid = supervisor.start().await?;
/// assert_eq!(supervisor.health().pid, Some(pid));
/// supervisor.stop().await?;
/// assert_eq!(supervisor.state(), State::Stopped);
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Supervisor {
    shared: Arc<Shared>,
    /// Boxed, since a channel makes room for 32 at once.
    requests: mpsc::Sender<Box<Request>>,
    /// If it is a pipe of ours.
    stdin: Option<StdinQueue>,
}

/// Why a child does not run after it was to be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The first try failed. It is tried again as the policy says.
    #[error("child failed: {0}")]
    Failed(Arc<Report>),
    /// Nothing is started as long as these processes of the run before live on after `SIGKILL`.
    #[error("processes {pids:?} of the run before of child {name} still alive after SIGKILL")]
    InTheWay {
        /// Its name.
        name: Arc<str>,
        /// Their process ids.
        pids: Vec<u32>,
    },
    /// It was stopped before it was ready.
    #[error("child {name} was stopped before it was ready")]
    Stopped {
        /// Its name.
        name: Arc<str>,
    },
    /// The runtime of the supervisor has ended.
    #[error("supervisor of child {name} is gone")]
    Gone {
        /// Its name.
        name: Arc<str>,
    },
}

/// Why a child is not gone after it was to be stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EndError {
    /// These processes live on after `SIGKILL`: they hang in the kernel, or we may not signal them. Or nobody can
    /// tell, as `/proc` cannot be read: then they are those last seen. They are tried again; the child is a
    /// [`State::Zombie`] as long.
    #[error("processes {pids:?} of child {name} still alive after SIGKILL")]
    StillAlive {
        /// Its name.
        name: Arc<str>,
        /// Their process ids.
        pids: Vec<u32>,
    },
    /// Its start hangs, at an exec from a disk that does, say. It is ended as soon as it has started.
    #[error("child {name} hangs in its start")]
    StillStarting {
        /// Its name.
        name: Arc<str>,
    },
    /// It was ordered to run again before it was gone.
    #[error("child {name} was started again")]
    StartedAgain {
        /// Its name.
        name: Arc<str>,
    },
    /// The runtime of the supervisor has ended; it has killed the child.
    #[error("supervisor of child {name} is gone")]
    Gone {
        /// Its name.
        name: Arc<str>,
    },
}

/// What the driver writes and the handles read.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) name: Arc<str>,
    pub(crate) hub: Arc<Hub>,
    redaction: Redaction,
    /// Which outputs are given out by [`Supervisor::take_stdout`] and its kin.
    takes: [bool; 2],
    pub(crate) status: Mutex<Status>,
    /// What the present run has said, or the last one.
    pub(crate) journal: Mutex<Journal>,
    pub(crate) taken: Mutex<[Option<TakenOutput>; 2]>,
    pub(crate) taken_news: Notify,
}

impl Supervisor {
    /// A supervisor of a child that is not started yet.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime with I/O and time enabled.
    #[must_use]
    pub fn new(spec: ChildSpec) -> Self {
        Self::with_hub(spec, Arc::default())
    }

    pub(crate) fn with_hub(spec: ChildSpec, hub: Arc<Hub>) -> Self {
        hub.introduce(&spec.name);
        let shared = Arc::new(Shared {
            name: Arc::clone(&spec.name),
            hub,
            redaction: spec.redaction.clone(),
            takes: [spec.stdout, spec.stderr].map(|mode| mode == OutputMode::Take),
            status: Mutex::default(),
            journal: Mutex::new(Journal::new(&spec.log, spec.line_rate, &spec.redaction)),
            taken: Mutex::default(),
            taken_news: Notify::new(),
        });
        let (requests, receiver) = mpsc::channel(16);
        let (stdin, writes) = match spec.stdin {
            StdinMode::Control | StdinMode::Data => {
                let (queue, writes) = StdinQueue::new(spec.stdin_bytes);
                (Some(queue), Some(writes))
            }
            StdinMode::Null | StdinMode::Inherit => (None, None),
        };
        let newest_run = stdin.as_ref().map(StdinQueue::run).unwrap_or_default();
        let driver = Driver::new(spec, Arc::clone(&shared), receiver, writes, newest_run);
        tokio::spawn(Box::new(driver).run());
        Self {
            shared,
            requests,
            stdin,
        }
    }

    /// The name of the child.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.shared.name
    }

    /// Starts the child, and waits until it is ready; gives its process id.
    ///
    /// If it runs already, that is the answer. A `failed` child begins anew, with all restarts before it.
    ///
    /// # Errors
    ///
    /// When the first try failed, or somebody stopped it meanwhile. In the first case it is tried again.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future takes nothing back: the child is started.
    pub async fn start(&self) -> Result<u32, StartError> {
        self.started_by(Request::Start).await
    }

    /// Ends the child, if it runs, and starts it at once, also in the middle of a delay; waits until it
    /// is ready and gives its process id. Uses up no restart of the policy.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    ///
    /// # Cancel safety
    ///
    /// As [`start`](Self::start).
    pub async fn restart(&self) -> Result<u32, StartError> {
        self.started_by(Request::Restart).await
    }

    /// Stops the child by the ladder of its spec, and waits until nothing of it is left.
    ///
    /// # Errors
    ///
    /// When even `SIGKILL` has left somebody alive.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future takes nothing back: the child is stopped.
    pub async fn stop(&self) -> Result<(), EndError> {
        self.ended_by(None).await
    }

    /// As [`stop`](Self::stop), by another ladder. A stop that is under way goes on by it: this is how a
    /// polite one is made a harsh one.
    ///
    /// # Errors
    ///
    /// As [`stop`](Self::stop).
    ///
    /// # Cancel safety
    ///
    /// As [`stop`](Self::stop).
    pub async fn stop_by(&self, ladder: StopLadder) -> Result<(), EndError> {
        self.ended_by(Some(ladder)).await
    }

    /// As [`stop`](Self::stop), in this time at most: `SIGTERM`, and `SIGKILL` after half of it.
    ///
    /// # Errors
    ///
    /// As [`stop`](Self::stop).
    ///
    /// # Cancel safety
    ///
    /// As [`stop`](Self::stop).
    pub async fn stop_within(&self, time: Duration) -> Result<(), EndError> {
        let ladder = StopLadder::kill_only()
            .signal(Signal::Term, time / 2)
            .kill_within(time / 2);
        self.ended_by(Some(ladder)).await
    }

    /// Signals the leader of the child, such as `SIGHUP` to read its configuration again. False if it
    /// does not run.
    pub async fn signal(&self, signal: Signal) -> bool {
        let (reply, answer) = Reply::new();
        let sent = self
            .requests
            .send(Box::new(Request::Signal(signal, reply)))
            .await;
        sent.is_ok() && answer.await.unwrap_or(false)
    }

    /// What the child is doing.
    #[must_use]
    pub fn state(&self) -> State {
        self.shared.status.lock().state
    }

    /// How the child is doing.
    #[must_use]
    pub fn health(&self) -> Health {
        self.shared.health()
    }

    /// Waits until the child is in this state.
    ///
    /// # Errors
    ///
    /// When the runtime of the supervisor has ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn wait_for(&self, state: State) -> Result<(), StartError> {
        let mut events = self.events();
        while self.state() != state {
            let heard = tokio::select! {
                heard = events.next() => heard,
                () = self.requests.closed() => None,
            };
            match heard {
                Some(Heard::Event(event)) if self.reached(&event, state) => break,
                Some(_) => {}
                None => {
                    return Err(StartError::Gone {
                        name: Arc::clone(&self.shared.name),
                    });
                }
            }
        }
        Ok(())
    }

    /// What happens to the child from now on. For a child of a pool: to all of them.
    #[must_use]
    pub fn events(&self) -> Events {
        self.shared.hub.listen()
    }

    /// How the last run ended, if one did.
    #[must_use]
    pub fn last_report(&self) -> Option<Arc<Report>> {
        self.shared.status.lock().last_report.clone()
    }

    /// What is kept of an output of the present run, or of the last one: redacted, one line a line, with a
    /// note in brackets where lines are left out.
    #[must_use]
    pub fn log(&self, stream: Stream) -> String {
        let text = self.shared.journal.lock().text(stream);
        let lines = text.lines().map(|line| self.shared.redaction.apply(line));
        lines.flat_map(|line| [line, "\n".into()]).collect()
    }

    /// How many lines of an output of the present run came, and how many of them are not kept.
    #[must_use]
    pub fn line_counts(&self, stream: Stream) -> (u64, u64) {
        self.shared.journal.lock().counts(stream)
    }

    /// The logged outputs from now on, through all runs.
    pub async fn tail(&self, when_full: WhenFull) -> Tail {
        let (tail, end) = Tail::new(when_full);
        // If the driver is gone, so is the other end, and the tail says so.
        drop(self.requests.send(Box::new(Request::Tail(end))).await);
        tail
    }

    /// Waits for our end of stdout of a run, each of which is given out once. `None` if stdout is not
    /// [`OutputMode::Take`], or the runtime of the supervisor has ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it is taken or it stays.
    pub async fn take_stdout(&self) -> Option<TakenOutput> {
        self.take(Stream::Stdout).await
    }

    /// Waits for our end of stderr of a run, each of which is given out once. `None` if stderr is not
    /// [`OutputMode::Take`], or the runtime of the supervisor has ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it is taken or it stays.
    pub async fn take_stderr(&self) -> Option<TakenOutput> {
        self.take(Stream::Stderr).await
    }

    /// Writes to the child's stdin, and waits until its pipe has taken everything. Says nothing of whether
    /// the child has read it, and is no sign of life.
    ///
    /// # Errors
    ///
    /// When the child does not run, ends first, has closed its stdin, or stdin is no pipe of ours. Part of
    /// the bytes may have been written then.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: the bytes may be written or not.
    pub async fn write_stdin(&self, bytes: impl Into<Bytes>) -> Result<(), StdinError> {
        let queue = self.stdin.as_ref().ok_or(StdinError::NoPipe)?;
        queue.write(bytes.into()).await
    }

    /// Hands bytes over for the child's stdin without waiting. They are dropped if the child ends first.
    ///
    /// # Errors
    ///
    /// [`StdinError::Full`] when as many bytes are waiting as the spec allows.
    pub fn try_write_stdin(&self, bytes: impl Into<Bytes>) -> Result<(), StdinError> {
        let queue = self.stdin.as_ref().ok_or(StdinError::NoPipe)?;
        queue.push(bytes.into())
    }

    /// Closes the child's stdin, once everything before is written: a reader sees its end.
    ///
    /// # Errors
    ///
    /// As [`write_stdin`](Self::write_stdin).
    pub async fn close_stdin(&self) -> Result<(), StdinError> {
        if self.stdin.is_none() {
            return Err(StdinError::NoPipe);
        }
        let (reply, answer) = Reply::new();
        let sent = self
            .requests
            .send(Box::new(Request::CloseStdin(reply)))
            .await;
        sent.map_err(|_| StdinError::Gone)?;
        answer.await.unwrap_or(Err(StdinError::Gone))
    }

    async fn started_by(
        &self,
        command: impl FnOnce(Reply<Result<u32, StartError>>) -> Request,
    ) -> Result<u32, StartError> {
        let gone = || StartError::Gone {
            name: Arc::clone(&self.shared.name),
        };
        let (reply, answer) = Reply::new();
        let sent = self.requests.send(Box::new(command(reply))).await;
        sent.map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    async fn ended_by(&self, ladder: Option<StopLadder>) -> Result<(), EndError> {
        let gone = || EndError::Gone {
            name: Arc::clone(&self.shared.name),
        };
        let (reply, answer) = Reply::new();
        let sent = self
            .requests
            .send(Box::new(Request::Stop(ladder, reply)))
            .await;
        sent.map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Has it started. Waits until the order has reached it and what came of that at once was told, not until it
    /// runs.
    pub(crate) async fn begin_start(&self) {
        self.acknowledged(Request::Start(Reply::new().0)).await;
    }

    /// Has it stopped. Waits as [`begin_start`](Self::begin_start) does.
    pub(crate) async fn begin_stop(&self, ladder: Option<StopLadder>) {
        self.acknowledged(Request::Stop(ladder, Reply::new().0))
            .await;
    }

    /// Hands over a request, and waits until its consequences were told. If the driver is gone it has none.
    async fn acknowledged(&self, request: Request) {
        let (done, is_done) = Reply::new();
        for request in [request, Request::Acknowledge(done)] {
            if self.requests.send(Box::new(request)).await.is_err() {
                return;
            }
        }
        match is_done.await {
            Ok(()) | Err(_) => {}
        }
    }

    pub(crate) fn downgrade(&self) -> WeakSupervisor {
        WeakSupervisor {
            shared: Arc::clone(&self.shared),
            requests: self.requests.downgrade(),
            stdin: self.stdin.clone(),
            last_run: 0,
        }
    }

    fn reached(&self, event: &Event, state: State) -> bool {
        event.child == self.shared.name
            && matches!(event.kind, EventKind::State { to, .. } if to == state)
    }

    async fn take(&self, stream: Stream) -> Option<TakenOutput> {
        if !self.shared.takes[stream as usize] {
            return None;
        }
        loop {
            let news = self.shared.taken_news.notified();
            let mut news = std::pin::pin!(news);
            // From here on no news is missed.
            news.as_mut().enable();
            let output = self.shared.taken.lock()[stream as usize].take();
            if output.is_some() {
                return output;
            }
            tokio::select! {
                () = news => {}
                () = self.requests.closed() => return None,
            }
        }
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor")
            .field("name", &self.shared.name)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

/// A handle that does not keep the supervisor going.
pub(crate) struct WeakSupervisor {
    shared: Arc<Shared>,
    requests: mpsc::WeakSender<Box<Request>>,
    stdin: Option<StdinQueue>,
    /// The last run whose end was heard of.
    pub(crate) last_run: u64,
}

impl WeakSupervisor {
    pub(crate) fn name(&self) -> &str {
        &self.shared.name
    }

    pub(crate) fn last_report(&self) -> Option<Arc<Report>> {
        self.shared.status.lock().last_report.clone()
    }

    /// Those who are left of a child that does not die.
    pub(crate) fn left(&self) -> Vec<u32> {
        self.shared.status.lock().left.clone()
    }

    pub(crate) fn upgrade(&self) -> Option<Supervisor> {
        Some(Supervisor {
            shared: Arc::clone(&self.shared),
            requests: self.requests.upgrade()?,
            stdin: self.stdin.clone(),
        })
    }
}

impl Shared {
    /// The last lines of both outputs, those of stderr last, redacted.
    pub(crate) fn last_lines(&self, most: usize) -> Vec<String> {
        let of_each = Stream::BOTH.map(|stream| self.last_lines_of(stream, most));
        of_each.into_iter().flatten().collect()
    }

    fn last_lines_of(&self, stream: Stream, most: usize) -> Vec<String> {
        // What redacting takes is not taken from whoever reads the child.
        let lines = self.journal.lock().last_lines(stream, most);
        let clean = lines
            .iter()
            .map(|line| self.redaction.apply(line).into_owned());
        clean.collect()
    }

    fn health(&self) -> Health {
        let recent_errors = self.last_lines_of(Stream::Stderr, 5);
        let now = tokio::time::Instant::now().into_std();
        let mut health = self.status.lock().health(&self.name, now);
        health.recent_errors = recent_errors;
        health
    }
}
