//! The task that owns one child: it brings what happens to the machine, and does what the machine says.

mod start;
mod tell;
mod watch;

use std::error::Error;
use std::future::{pending, poll_fn};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use longtake_process::{Census, Signal, StopLadder};
use tokio::sync::mpsc;
use tokio::task::{coop::consume_budget, yield_now};
use tokio::time::sleep_until;
use tracing::{debug, info, warn};

use self::start::{NotStarted, Started, Starting};
use self::tell::log_warnings;
use crate::ending::Remains;
use crate::exit::{Exit, Verdict};
use crate::machine::{Act, Machine, Way};
use crate::output::TailEnd;
use crate::reply::Reply;
use crate::report::Cause;
use crate::run::{HELD_ZOMBIE, Happened, Run};
use crate::spec::ChildSpec;
use crate::state::State;
use crate::stdin::{Pending, StdinError};
use crate::supervisor::{EndError, Shared, StartError};

/// How long whoever stops a child waits for one that hangs in its start: then he is told. What is started all
/// the same is ended at once.
const START_HANGS: Duration = Duration::from_secs(10);

/// What the handles ask for.
#[derive(Debug)]
pub(crate) enum Request {
    Start(Reply<Result<u32, StartError>>),
    Restart(Reply<Result<u32, StartError>>),
    Stop(Option<StopLadder>, Reply<Result<(), EndError>>),
    Signal(Signal, Reply<bool>),
    Tail(TailEnd),
    CloseStdin(Reply<Result<(), StdinError>>),
    /// Answered when what came of the requests before was told.
    Acknowledge(Reply<()>),
}

/// The owner of one child.
pub(crate) struct Driver {
    spec: ChildSpec,
    shared: Arc<Shared>,
    machine: Machine,
    requests: mpsc::Receiver<Box<Request>>,
    /// If stdin is a pipe of ours.
    writes: Option<mpsc::UnboundedReceiver<Pending>>,
    tails: Vec<TailEnd>,
    starting: Option<Starting>,
    run: Option<Box<Run>>,
    runs: u64,
    /// The same, for those who write to stdin.
    newest_run: Arc<AtomicU64>,
    /// By which ladder the next stop goes, if not by the spec's.
    ladder: Option<StopLadder>,
    /// Who waits until it is ready.
    wait_for_start: Vec<Reply<Result<u32, StartError>>>,
    /// Who waits until it is gone.
    wait_for_end: Vec<Reply<Result<(), EndError>>>,
    told: State,
    /// All handles are dropped.
    orphaned: bool,
}

/// What the driver wakes for.
enum Input {
    Request(Option<Box<Request>>),
    Write(Pending),
    Started(Result<Started, NotStarted>),
    Run(Happened),
    /// Somebody who made the child wait has room again.
    Room,
    Due,
}

impl Driver {
    pub(crate) fn new(
        spec: ChildSpec,
        shared: Arc<Shared>,
        requests: mpsc::Receiver<Box<Request>>,
        writes: Option<mpsc::UnboundedReceiver<Pending>>,
        newest_run: Arc<AtomicU64>,
    ) -> Self {
        let seed = RandomState::new().hash_one(&spec.name);
        Self {
            machine: Machine::new(spec.policy.clone(), spec.start_timeout, seed),
            spec,
            shared,
            requests,
            writes,
            tails: Vec::new(),
            starting: None,
            run: None,
            runs: 0,
            newest_run,
            ladder: None,
            wait_for_start: Vec::new(),
            wait_for_end: Vec::new(),
            told: State::Stopped,
            orphaned: false,
        }
    }

    /// Owns the child until nobody wants it any more. Boxed, since a future keeps what it is called with twice.
    pub(crate) async fn run(mut self: Box<Self>) {
        while !self.is_done() {
            let input = self.next().await;
            // Of the clock that the waits go by, which a test may have paused.
            let now = tokio::time::Instant::now().into_std();
            let act = self.take(input, now);
            self.obey(act, now);
            self.publish(now);
            // However much a child says, by whatever way: others have their turn.
            if self
                .run
                .as_mut()
                .is_some_and(|run| run.take_has_said_much())
            {
                yield_now().await;
            } else {
                consume_budget().await;
            }
        }
    }

    /// Nobody can ask for anything any more, and nothing of the child is left, nor of what it said.
    fn is_done(&self) -> bool {
        let is_heard = !self.tails.iter().any(TailEnd::is_holding);
        self.orphaned && self.is_at_rest() && is_heard
    }

    /// Waits for whatever comes first.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe, as `select!` needs it of each of its branches.
    async fn next(&mut self) -> Input {
        let deadline = self.deadline();
        let being_ended = self.run.as_ref().is_some_and(|run| run.ending.is_some());
        let Self {
            requests,
            writes,
            starting,
            run,
            tails,
            orphaned,
            ..
        } = self;
        // Who is being ended is not made to wait: it may have to say something before it can go.
        let read = being_ended || !tails.iter().any(TailEnd::is_blocked);
        tokio::select! {
            request = requests.recv(), if !*orphaned => Input::Request(request),
            started = started(starting) => Input::Started(started),
            happened = next_of(run, read) => Input::Run(happened),
            write = written(writes) => Input::Write(write),
            () = room(tails) => Input::Room,
            () = reached(deadline) => Input::Due,
        }
    }

    fn is_at_rest(&self) -> bool {
        matches!(self.machine.state(), State::Stopped | State::Failed)
    }

    fn deadline(&self) -> Option<Instant> {
        let running = self.run.as_ref().filter(|run| run.ending.is_none());
        let hang = running.and_then(|run| run.hang.next_check());
        let warning = self.shared.journal.lock().next_check();
        let status = self.run.as_ref().and_then(|run| run.tell_status_at);
        let start = self.starting.as_ref().and_then(Starting::hangs_at);
        let deadlines = [self.machine.deadline(), hang, warning, status, start];
        deadlines.into_iter().flatten().min()
    }

    fn take(&mut self, input: Input, now: Instant) -> Act {
        match input {
            Input::Request(Some(request)) => self.request(*request, now),
            Input::Request(None) => {
                self.orphaned = true;
                self.ladder = None;
                if self.is_at_rest() {
                    Act::Nothing
                } else {
                    self.ordered(Machine::stop)
                }
            }
            Input::Write(write) => {
                self.write(write);
                Act::Nothing
            }
            Input::Started(result) => {
                self.starting = None;
                self.started(result, now)
            }
            Input::Run(happened) => self.happened(happened, now),
            Input::Room => {
                self.tails.iter_mut().for_each(TailEnd::hand_over);
                Act::Nothing
            }
            Input::Due => self.due(now),
        }
    }

    /// One of the moments has come that [`deadline`](Self::deadline) tells; it does not matter which.
    fn due(&mut self, now: Instant) -> Act {
        log_warnings(&self.spec.name, self.shared.journal.lock().check(now));
        self.tell_status(now);
        if let Some(starting) = &mut self.starting
            && starting.hangs_at().is_some_and(|at| at <= now)
        {
            starting.forget_to_hang();
            for waiter in self.wait_for_end.drain(..) {
                waiter.give(Err(EndError::StillStarting {
                    name: Arc::clone(&self.spec.name),
                }));
            }
        }
        let act = self.machine.due(now);
        if let (Act::End(_), Some(run)) = (act, &mut self.run) {
            run.cause = Cause::NotReady;
        }
        match act {
            Act::Nothing => self.judge(now),
            act => act,
        }
    }

    fn request(&mut self, request: Request, now: Instant) -> Act {
        match request {
            Request::Start(reply) => {
                self.wait_for_start.push(reply);
                self.ladder = None;
                self.machine.start()
            }
            Request::Restart(reply) => {
                self.wait_for_start.push(reply);
                self.ordered(|machine| machine.restart(now))
            }
            Request::Stop(ladder, reply) => {
                self.wait_for_end.push(reply);
                // A polite stop takes nothing off a harsh one before it.
                self.ladder = ladder.or(self.ladder.take());
                let act = self.ordered(Machine::stop);
                if let Some(starting) = &mut self.starting {
                    starting.call_back(START_HANGS);
                } else if act == Act::Nothing {
                    self.ladder = None;
                }
                act
            }
            Request::Signal(signal, reply) => {
                let run = self.run.as_ref();
                let sent = run.is_some_and(|run| run.child.signal(signal).is_ok());
                reply.give(sent);
                Act::Nothing
            }
            Request::Acknowledge(reply) => {
                reply.give(());
                Act::Nothing
            }
            Request::Tail(end) => {
                self.tails.retain(|tail| !tail.is_closed());
                self.tails.push(end);
                Act::Nothing
            }
            Request::CloseStdin(reply) => {
                // What was handed in before comes before.
                while let Some(Ok(write)) = self.writes.as_mut().map(|writes| writes.try_recv()) {
                    self.write(write);
                }
                match self.run.as_mut().map(|run| &mut run.stdin) {
                    Some(Some(stdin)) => stdin.close(reply),
                    Some(None) => reply.give(Err(StdinError::NoPipe)),
                    None => reply.give(Err(StdinError::Gone)),
                }
                Act::Nothing
            }
        }
    }

    /// An order that ends the run, if there is one, ends it for that reason.
    fn ordered(&mut self, order: impl FnOnce(&mut Machine) -> Act) -> Act {
        let act = order(&mut self.machine);
        if let (Act::End(_), Some(run)) = (act, &mut self.run) {
            run.cause = Cause::Ordered;
        }
        act
    }

    fn write(&mut self, write: Pending) {
        match self.run.as_mut().filter(|run| run.ending.is_none()) {
            None => write.answer(Err(StdinError::Gone)),
            // It was meant for one before, and waited for room.
            Some(run) if !write.is_for(run.number) => write.answer(Err(StdinError::Gone)),
            Some(run) => match &mut run.stdin {
                Some(stdin) => stdin.push(write),
                None => write.answer(Err(StdinError::NoPipe)),
            },
        }
    }

    fn started(&mut self, result: Result<Started, NotStarted>, now: Instant) -> Act {
        let Started { run, taken } = match result {
            Ok(started) => started,
            Err(error) => {
                let called_back = matches!(error, NotStarted::CalledBack);
                let report = self.report_of_no_run(error);
                self.tell_end(report, now);
                return if called_back {
                    self.machine.called_back(now)
                } else {
                    self.machine.not_spawned(now)
                };
            }
        };
        let pid = run.child.pid();
        info!(child = %self.spec.name, pid, run = self.runs, "child started");
        {
            let mut status = self.shared.status.lock();
            status.last_output = Arc::clone(&run.last_output);
            status.started = Some(now);
            status.pid = Some(pid);
        }
        *self.shared.taken.lock() = [taken.stdout, taken.stderr];
        self.shared.taken_news.notify_waiters();
        let ready_at_once = run.is_ready_at_once();
        self.run = Some(run);
        let act = self.ordered(|machine| machine.spawned(now));
        // At once, for it may have exited already, and was ready before.
        if act == Act::Nothing && ready_at_once {
            return self.ready(now);
        }
        act
    }

    fn happened(&mut self, happened: Happened, now: Instant) -> Act {
        let Some(run) = &mut self.run else {
            return Act::Nothing;
        };
        match happened {
            Happened::Exited => self.exited(now),
            Happened::Readable(stream) => self.read(stream, now),
            Happened::Ready(Ok(())) => self.ready(now),
            Happened::Ready(Err(never)) => {
                warn!(child = %self.spec.name, reason = %never, "child will never be ready");
                run.waiting_is_over();
                self.faulty(Cause::NotReady, now)
            }
            Happened::Notified(notification) => {
                self.notified(notification, now);
                Act::Nothing
            }
            Happened::StdinWritten => Act::Nothing,
            Happened::OutputTaken => self.judge(now),
            Happened::Ending(census) => self.go_on_ending(census.as_deref(), now),
            Happened::Sampled(census) => self.sampled(census.as_deref(), now),
        }
    }

    /// The leader is dead: takes its last words, and reports its end.
    fn exited(&mut self, now: Instant) -> Act {
        let Some(run) = &mut self.run else {
            return Act::Nothing;
        };
        let exit = match run.child.try_wait() {
            Ok(Some(status)) => Some(Exit::from(status)),
            Ok(None) => {
                run.look_again = Some(now + HELD_ZOMBIE);
                return Act::Nothing;
            }
            Err(error) => {
                warn!(child = %self.spec.name, error = &error as &dyn Error, "status lost");
                None
            }
        };
        self.read_rest(now);
        let verdict = match exit {
            Some(exit) => self.spec.policy.exit_rules().judge(exit),
            None => Verdict::Failure,
        };
        self.tell_exit(exit, verdict, now);
        self.machine.exited(verdict, now)
    }

    fn ready(&mut self, now: Instant) -> Act {
        if let Some(run) = &mut self.run {
            run.became_ready();
        }
        self.machine.ready(now)
    }

    /// It is to be ended as a failure, for this reason.
    fn faulty(&mut self, cause: Cause, now: Instant) -> Act {
        let act = self.machine.faulty(now);
        if let (Act::End(_), Some(run)) = (act, &mut self.run) {
            run.cause = cause;
        }
        act
    }

    fn go_on_ending(&mut self, census: Option<&Census>, now: Instant) -> Act {
        let Some(run) = &mut self.run else {
            return Act::Nothing;
        };
        let Some(ending) = &mut run.ending else {
            return Act::Nothing;
        };
        let progress = ending.go_on(&mut run.child, census);
        let leader_is_dead = !matches!(run.child.try_wait(), Ok(None));
        if leader_is_dead && !run.reported {
            // The machine knows that it is being ended; this tells the report.
            let _ended_already = self.exited(now);
        }
        let Some(run) = &mut self.run else {
            return Act::Nothing;
        };
        match progress {
            Remains::Left(mut pids) => {
                if leader_is_dead {
                    let leader = run.child.pid();
                    pids.retain(|pid| *pid != leader);
                    self.machine.left(&pids);
                }
                Act::Nothing
            }
            Remains::Stuck(pids) => {
                warn!(child = %self.spec.name, ?pids, "processes live on after SIGKILL");
                self.machine.left(&pids);
                for waiter in self.wait_for_end.drain(..) {
                    waiter.give(Err(EndError::StillAlive {
                        name: Arc::clone(&self.spec.name),
                        pids: pids.clone(),
                    }));
                }
                for waiter in self.wait_for_start.drain(..) {
                    waiter.give(Err(StartError::InTheWay {
                        name: Arc::clone(&self.spec.name),
                        pids: pids.clone(),
                    }));
                }
                Act::Nothing
            }
            Remains::Gone(stopped) => {
                debug!(child = %self.spec.name, ?stopped, "nothing of the child is left");
                self.read_rest(now);
                let (last, suppressed) = self.shared.journal.lock().conclude();
                log_warnings(&self.spec.name, last);
                if suppressed > 0 {
                    warn!(child = %self.spec.name, suppressed, "further errors of the child not told");
                }
                self.run = None;
                self.ladder = None;
                self.machine.gone(now)
            }
        }
    }

    fn obey(&mut self, act: Act, now: Instant) {
        match act {
            Act::Nothing => {}
            Act::Spawn => {
                self.runs += 1;
                self.newest_run.store(self.runs, Ordering::Relaxed);
                if self.runs > 1 && self.told != State::Stopped {
                    self.shared.status.lock().restarted(now);
                }
                self.shared.journal.lock().begin_run();
                self.starting = Some(Starting::begin(self.spec.clone(), self.runs));
            }
            Act::End(way) => {
                let ladder = match way {
                    Way::Stop => self.ladder.take().unwrap_or_else(|| self.spec.stop.clone()),
                    Way::Restart => self.spec.restart_stop.clone(),
                    Way::Sweep => StopLadder::kill_only(),
                };
                if let Some(run) = &mut self.run {
                    run.end(self.spec.stdin.guarded(ladder));
                }
            }
            Act::Hasten => {
                let ladder = self.ladder.take();
                let ending = self.run.as_mut().and_then(|run| run.ending.as_mut());
                if let Some((ladder, ending)) = ladder.zip(ending) {
                    ending.hasten(self.spec.stdin.guarded(ladder));
                }
            }
        }
    }
}

/// The runtime ends before the child does: it is killed with everything of it, and nobody shall take it for
/// alive.
impl Drop for Driver {
    fn drop(&mut self) {
        if !self.is_at_rest() {
            self.run = None;
            self.told_gone();
        }
    }
}

async fn started(starting: &mut Option<Starting>) -> Result<Started, NotStarted> {
    match starting {
        Some(starting) => starting.done().await,
        None => pending().await,
    }
}

async fn next_of(run: &mut Option<Box<Run>>, read: bool) -> Happened {
    match run {
        Some(run) => run.next(read).await,
        None => pending().await,
    }
}

async fn written(writes: &mut Option<mpsc::UnboundedReceiver<Pending>>) -> Pending {
    if let Some(writes) = writes
        && let Some(write) = writes.recv().await
    {
        return write;
    }
    pending().await
}

/// Waits until one of those who have something in store for their listener may hand it over.
async fn room(tails: &[TailEnd]) {
    let holding = tails.iter().filter(|tail| tail.is_blocked());
    let mut rooms: Vec<_> = holding.map(|tail| Box::pin(tail.room())).collect();
    poll_fn(|context| {
        let any = rooms
            .iter_mut()
            .any(|room| room.as_mut().poll(context).is_ready());
        if any { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

async fn reached(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => pending().await,
    }
}
