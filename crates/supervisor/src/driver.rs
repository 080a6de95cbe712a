//! The task that owns one child: it brings what happens to the machine, and does what the machine says.

mod start;

use std::error::Error;
use std::future::pending;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use longtake_process::{Census, Signal, StopLadder};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::sleep_until;
use tracing::{debug, info, warn};

use self::start::{NotStarted, Started};
use crate::ending::Progress;
use crate::event::EventKind;
use crate::exit::{Exit, Verdict};
use crate::hang;
use crate::health::UsageNow;
use crate::journal::Journal;
use crate::machine::{Act, Machine, Way};
use crate::output::{Stream, TailEnd};
use crate::reaction::Reaction;
use crate::readiness::Notification;
use crate::reply::Reply;
use crate::report::{Cause, Report};
use crate::run::{HELD_ZOMBIE, Happened, Run};
use crate::sampler::Sampler;
use crate::spec::ChildSpec;
use crate::state::{Order, State};
use crate::stdin::{Pending, StdinError};
use crate::supervisor::{EndError, Shared, StartError};
use crate::warnings::Warning;

/// How many of the last lines of each output are in a report.
const REPORTED_LINES: usize = 20;

/// What the handles ask for.
#[derive(Debug)]
pub(crate) enum Command {
    Start(Reply<Result<u32, StartError>>),
    Restart(Reply<Result<u32, StartError>>),
    Stop(Option<StopLadder>, Reply<Result<(), EndError>>),
    Signal(Signal, Reply<bool>),
    Tail(TailEnd),
    CloseStdin(Reply<Result<(), StdinError>>),
}

/// The owner of one child.
pub(crate) struct Driver {
    spec: ChildSpec,
    shared: Arc<Shared>,
    machine: Machine,
    commands: mpsc::Receiver<Command>,
    /// If stdin is a pipe of ours.
    writes: Option<mpsc::UnboundedReceiver<Pending>>,
    tails: Vec<TailEnd>,
    starting: Option<JoinHandle<Result<Started, NotStarted>>>,
    run: Option<Run>,
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
    Command(Option<Command>),
    Write(Pending),
    Started(Result<Result<Started, NotStarted>, JoinError>),
    Run(Happened),
    /// Somebody who made the child wait has room again.
    Room,
    Due,
}

impl Driver {
    pub(crate) fn new(
        spec: ChildSpec,
        shared: Arc<Shared>,
        commands: mpsc::Receiver<Command>,
        writes: Option<mpsc::UnboundedReceiver<Pending>>,
        newest_run: Arc<AtomicU64>,
    ) -> Self {
        let seed = RandomState::new().hash_one(&spec.name);
        Self {
            machine: Machine::new(spec.policy.clone(), spec.start_timeout, seed),
            spec,
            shared,
            commands,
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
            commands,
            writes,
            starting,
            run,
            tails,
            orphaned,
            ..
        } = self;
        // Who is being ended is not made to wait: it may have to say something before it can go.
        let blocked = tails.iter().find(|tail| !being_ended && tail.is_blocked());
        let read = blocked.is_none();
        tokio::select! {
            command = commands.recv(), if !*orphaned => Input::Command(command),
            started = joined(starting) => Input::Started(started),
            happened = next_of(run, read) => Input::Run(happened),
            write = written(writes) => Input::Write(write),
            () = room(blocked) => Input::Room,
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
        let deadlines = [self.machine.deadline(), hang, warning];
        deadlines.into_iter().flatten().min()
    }

    fn take(&mut self, input: Input, now: Instant) -> Act {
        match input {
            Input::Command(Some(command)) => self.command(command),
            Input::Command(None) => {
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
                self.started(start::flatten(result), now)
            }
            Input::Run(happened) => self.happened(happened, now),
            Input::Room => {
                self.tails.iter_mut().for_each(TailEnd::hand_over);
                Act::Nothing
            }
            Input::Due => {
                log_warnings(&self.spec.name, self.shared.journal.lock().check(now));
                let act = self.machine.due(now);
                if let (Act::End(_), Some(run)) = (act, &mut self.run) {
                    run.cause = Cause::NotReady;
                    return act;
                }
                if act == Act::Nothing {
                    return self.judge(now);
                }
                act
            }
        }
    }

    fn command(&mut self, command: Command) -> Act {
        match command {
            Command::Start(reply) => {
                self.wait_for_start.push(reply);
                self.machine.start()
            }
            Command::Restart(reply) => {
                self.wait_for_start.push(reply);
                self.ordered(Machine::restart)
            }
            Command::Stop(ladder, reply) => {
                self.wait_for_end.push(reply);
                self.ladder = ladder;
                self.ordered(Machine::stop)
            }
            Command::Signal(signal, reply) => {
                let run = self.run.as_ref();
                let sent = run.is_some_and(|run| run.child.signal(signal).is_ok());
                reply.give(sent);
                Act::Nothing
            }
            Command::Tail(end) => {
                self.tails.retain(|tail| !tail.is_closed());
                self.tails.push(end);
                Act::Nothing
            }
            Command::CloseStdin(reply) => {
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
        match &mut self.run {
            Some(Run {
                ending: Some(_), ..
            })
            | None => write.answer(Err(StdinError::Gone)),
            // It was meant for one before, and waited for room.
            Some(run) if !write.is_for(run.number) => write.answer(Err(StdinError::Gone)),
            Some(run) => match &mut run.stdin {
                Some(stdin) => stdin.push(write),
                None => write.answer(Err(StdinError::NoPipe)),
            },
        }
    }

    fn started(&mut self, result: Result<Started, NotStarted>, now: Instant) -> Act {
        let mut ready_at_once = false;
        let result = result.and_then(|started| {
            let Started { child, waiting } = started;
            ready_at_once = waiting.is_over();
            Run::new(self.runs, child, waiting, &self.spec).map_err(NotStarted::from)
        });
        match result {
            Ok((run, taken)) => {
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
                self.run = Some(run);
                let act = self.ordered(|machine| machine.spawned(now));
                // At once, for it may have exited already, and was ready before.
                if act == Act::Nothing && ready_at_once {
                    return self.ready(now);
                }
                act
            }
            Err(error) => {
                let report = self.report_of_no_run(error);
                self.tell_end(report, now);
                self.machine.not_spawned(now)
            }
        }
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
            Happened::Notified(notification) => self.notified(notification, now),
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

    fn read(&mut self, stream: Stream, now: Instant) -> Act {
        let Some(run) = &mut self.run else {
            return Act::Nothing;
        };
        let Self {
            shared,
            tails,
            spec,
            ..
        } = self;
        let mut ready = false;
        let mut pieces = Pieces::default();
        let mut warnings = Vec::new();
        let watched = run.is_watched();
        let open = run.read(stream, |bytes| {
            if watched || !tails.is_empty() {
                pieces.0.push(Bytes::copy_from_slice(bytes));
            }
            pieces.1 = true;
            warnings.extend(shared.journal.lock().push(stream, bytes, now));
        });
        if pieces.1 {
            run.last_output.note(now);
            run.hang.on_output(now);
        }
        for piece in &pieces.0 {
            if watched {
                ready |= run.look_at(stream, piece, now);
            }
            for tail in tails.iter_mut() {
                tail.push(stream, piece);
            }
        }
        if !open {
            warnings.extend(shared.journal.lock().finish(stream, now));
        }
        log_warnings(&spec.name, warnings);
        if ready { self.ready(now) } else { Act::Nothing }
    }

    /// Reads what is in the pipes. Nobody who could say more is waited for: of what the leader said
    /// everything is there.
    fn read_rest(&mut self, now: Instant) {
        for stream in Stream::BOTH {
            // What this tells of readiness comes too late.
            let _late = self.read(stream, now);
        }
    }

    fn ready(&mut self, now: Instant) -> Act {
        if let Some(run) = &mut self.run {
            run.became_ready();
        }
        self.machine.ready(now)
    }

    fn notified(&mut self, notification: Notification, now: Instant) -> Act {
        match notification {
            Notification::Status(text) => {
                self.shared.status.lock().text = Some(text.clone());
                self.tell(EventKind::Status(text), now);
            }
            Notification::Watchdog => {
                if let Some(run) = &mut self.run {
                    run.hang.on_output(now);
                }
            }
            // It is ready, and says so again.
            Notification::Ready => {}
        }
        Act::Nothing
    }

    fn sampled(&mut self, census: Option<&Census>, now: Instant) -> Act {
        let Some((run, census)) = self.run.as_mut().zip(census) else {
            return Act::Nothing;
        };
        let Some(sampler) = &mut run.sampler else {
            return Act::Nothing;
        };
        let usage = census.usage(sampler.kin());
        let usage_now = UsageNow {
            cpu_percent: sampler.cpu_percent(usage.cpu_time(), now),
            resident_bytes: usage.resident_bytes,
            processes: usage.processes,
        };
        let exceeded = sampler.note(usage_now, now);
        run.hang.on_cpu(usage.cpu_time(), now);
        // Once its end is told, what is left of it is no news of how the child is doing.
        if !run.reported {
            let mut status = self.shared.status.lock();
            status.usage = Some(usage_now);
            status.over_limit = sampler.is_over_limit();
        }
        let reaction = sampler.reaction();
        let Some(exceeded) = exceeded.filter(|_| run.ending.is_none()) else {
            return self.judge(now);
        };
        warn!(child = %self.spec.name, %exceeded, "child takes too much");
        self.tell(EventKind::Exceeds(exceeded), now);
        match reaction {
            Reaction::Restart => self.faulty(Cause::Limit(exceeded), now),
            Reaction::Report => self.judge(now),
        }
    }

    /// Asks whether it hangs.
    fn judge(&mut self, now: Instant) -> Act {
        let Some(run) = self.run.as_mut().filter(|run| run.ending.is_none()) else {
            return Act::Nothing;
        };
        // Also what somebody else has read of an output that he took.
        if let Some(moment) = run.last_output.moment() {
            run.hang.on_output(moment);
        }
        if self.tails.iter().any(TailEnd::is_blocked) {
            run.hang.on_hold(now);
        }
        let verdicts = run.hang.check(now);
        let mut deadly = None;
        for verdict in verdicts {
            match verdict {
                hang::Verdict::Hung {
                    kind,
                    lasted,
                    reaction,
                } => {
                    warn!(child = %self.spec.name, hang = %kind, ?lasted, "child hangs");
                    self.shared.status.lock().hangs.push(kind);
                    let told = EventKind::Hangs {
                        kind,
                        lasted,
                        reaction,
                    };
                    self.tell(told, now);
                    if reaction == Reaction::Restart {
                        deadly.get_or_insert(kind);
                    }
                }
                hang::Verdict::Recovered { kind, lasted } => {
                    info!(child = %self.spec.name, hang = %kind, ?lasted, "child hangs no more");
                    let mut status = self.shared.status.lock();
                    status.hangs.retain(|other| *other != kind);
                    drop(status);
                    self.tell(EventKind::Recovered { kind, lasted }, now);
                }
            }
        }
        match deadly {
            Some(kind) => self.faulty(Cause::Hang(kind), now),
            None => Act::Nothing,
        }
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
            Progress::Left(mut pids) => {
                if leader_is_dead {
                    let leader = run.child.pid();
                    pids.retain(|pid| *pid != leader);
                    self.machine.left(&pids);
                }
                Act::Nothing
            }
            Progress::Stuck(pids) => {
                warn!(child = %self.spec.name, ?pids, "processes live on after SIGKILL");
                self.machine.left(&pids);
                for waiter in self.wait_for_end.drain(..) {
                    waiter.give(Err(EndError::StillAlive {
                        name: Arc::clone(&self.spec.name),
                        pids: pids.clone(),
                    }));
                }
                Act::Nothing
            }
            Progress::Gone(stopped) => {
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
                *self.shared.journal.lock() =
                    Journal::new(&self.spec.log, self.spec.line_rate, &self.spec.redaction);
                self.starting = Some(start::start(self.spec.clone()));
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

    /// Tells everybody what the state is now.
    fn publish(&mut self, now: Instant) {
        let (from, to) = (self.told, self.machine.state());
        let pid = self.run.as_ref().map(|run| run.child.pid());
        let next_start = self.machine.next_start();
        {
            let mut status = self.shared.status.lock();
            status.order = self.machine.order();
            status.state = to;
            status.pid = pid;
            status.failures = self.machine.failures(now);
            status.healthy_at = self.machine.healthy_at();
            status.next_start = next_start;
            status.gave_up = self.machine.gave_up();
            self.machine.zombies().clone_into(&mut status.left);
        }
        if from != to {
            self.told = to;
            let kind = EventKind::State {
                from,
                to,
                pid,
                next_start: next_start.map(|moment| moment.saturating_duration_since(now)),
                gave_up: self.machine.gave_up(),
                left: self.machine.zombies().to_vec(),
            };
            match to {
                State::Failed => {
                    tracing::error!(child = %self.spec.name, why = ?self.machine.gave_up(), "child given up");
                }
                _ => info!(child = %self.spec.name, %from, %to, pid, "child changed state"),
            }
            self.tell(kind, now);
        }
        self.answer(to, pid);
    }

    /// Answers those whose wait is over.
    fn answer(&mut self, state: State, pid: Option<u32>) {
        let name = || Arc::clone(&self.spec.name);
        match (state, pid) {
            (State::Running, Some(pid)) => {
                for waiter in self.wait_for_start.drain(..) {
                    waiter.give(Ok(pid));
                }
            }
            (State::Stopped | State::Failed, _) => {
                for waiter in self.wait_for_start.drain(..) {
                    waiter.give(Err(StartError::Stopped { name: name() }));
                }
                for waiter in self.wait_for_end.drain(..) {
                    waiter.give(Ok(()));
                }
            }
            _ => {}
        }
        if self.machine.order() == Order::Up {
            for waiter in self.wait_for_end.drain(..) {
                waiter.give(Err(EndError::StartedAgain { name: name() }));
            }
        }
    }

    fn tell_exit(&mut self, exit: Option<Exit>, verdict: Verdict, now: Instant) {
        let Some(run) = &mut self.run else { return };
        run.reported = true;
        let spent = run.child.spent();
        let sampler = run.sampler.as_ref();
        let peak_of_samples = sampler.map_or(0, Sampler::peak_resident_bytes);
        let report = Report {
            name: Arc::clone(&self.spec.name),
            run: run.number,
            pid: Some(run.child.pid()),
            cause: run.cause.clone(),
            exit,
            success: run.ready && run.cause == Cause::Exit && verdict == Verdict::Success,
            core_dumped: matches!(exit, Some(Exit::Signal { core: true, .. })),
            uptime: run.uptime(now),
            was_ready: run.ready,
            cpu_time: spent.cpu_time(),
            peak_cpu_percent: sampler.and_then(Sampler::peak_cpu_percent),
            peak_resident_bytes: peak_of_samples.max(spent.peak_resident_bytes),
            last_lines: self.shared.journal.lock().last_lines(REPORTED_LINES),
        };
        self.tell_end(report, now);
    }

    fn report_of_no_run(&self, error: NotStarted) -> Report {
        Report {
            name: Arc::clone(&self.spec.name),
            run: self.runs,
            pid: None,
            cause: Cause::Exec {
                reason: self.spec.redaction.apply(&error.reason).into_owned(),
                errno: error.errno,
            },
            exit: None,
            success: false,
            core_dumped: false,
            uptime: std::time::Duration::ZERO,
            was_ready: false,
            cpu_time: std::time::Duration::ZERO,
            peak_cpu_percent: None,
            peak_resident_bytes: 0,
            last_lines: Vec::new(),
        }
    }

    fn tell_end(&mut self, report: Report, now: Instant) {
        let report = Arc::new(report);
        if report.cause == Cause::Ordered {
            info!(%report, "child ended");
        } else {
            warn!(%report, last_lines = ?report.last_lines, "child ended");
            for waiter in self.wait_for_start.drain(..) {
                waiter.give(Err(StartError::Failed(Arc::clone(&report))));
            }
        }
        self.shared.status.lock().ended(&report);
        self.tell(EventKind::Ended(report), now);
    }

    fn tell(&self, kind: EventKind, now: Instant) {
        self.shared.hub.tell(&self.spec.name, kind, now);
    }
}

/// The pieces that were read, if somebody wants them, and whether there were any.
#[derive(Default)]
struct Pieces(Vec<Bytes>, bool);

fn log_warnings(child: &str, warnings: impl IntoIterator<Item = Warning>) {
    for Warning {
        text,
        repeats,
        suppressed,
    } in warnings
    {
        warn!(
            child,
            line = text,
            repeats,
            suppressed,
            "child reports an error"
        );
    }
}

async fn joined<T>(handle: &mut Option<JoinHandle<T>>) -> Result<T, JoinError> {
    match handle {
        Some(handle) => handle.await,
        None => pending().await,
    }
}

async fn next_of(run: &mut Option<Run>, read: bool) -> Happened {
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

async fn room(blocked: Option<&TailEnd>) {
    match blocked {
        Some(tail) => tail.room().await,
        None => pending().await,
    }
}

async fn reached(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => pending().await,
    }
}
