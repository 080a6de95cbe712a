//! Several children that belong together.

mod coordinator;
mod plan;

use std::collections::BTreeMap;
use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use longtake_process::StopLadder;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use self::coordinator::{Coordinator, Step};
use self::plan::Plan;
use crate::event::{Event, EventKind, Events, Heard, Hub};
use crate::health::Health;
use crate::reply::Reply;
use crate::report::{Cause, Report};
use crate::restart::Restart;
use crate::spec::ChildSpec;
use crate::state::State;
use crate::supervisor::{EndError, Supervisor, WeakSupervisor};

pub use self::plan::PoolError;

/// How long the kernel may take to end those who are killed; a quarter of the time for a stop of all at most is kept
/// for it.
const KILL_TIME: Duration = Duration::from_secs(2);

/// The members of a pool, and what binds them.
///
/// ```
/// use longtake_process::Command;
/// use longtake_supervisor::{ChildSpec, Condition, Member, Pool, PoolSpec};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let sleeper = |name| ChildSpec::new(name, || {
///     let mut command = Command::new("sleep");
///     command.arg("1000");
///     command
/// });
/// let pool = Pool::new(
///     PoolSpec::default()
///         .member(Member::new(sleeper("camera")).after("server", Condition::Ready))
///         .member(Member::new(sleeper("server"))),
/// )?;
/// pool.start_all().await?;
/// assert!(pool.all_healthy());
/// pool.stop_all().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct PoolSpec {
    members: Vec<Member>,
    strategy: Strategy,
    stop_within: Duration,
}

/// One child of a pool.
#[derive(Clone, Debug)]
pub struct Member {
    spec: ChildSpec,
    after: Vec<(Arc<str>, Condition)>,
}

/// What a member waits for before it is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Condition {
    /// The other was started.
    Started,
    /// The other is ready.
    Ready,
    /// The other ended by itself, with a success, and will not be started again.
    Succeeded,
    /// The other ended by itself, however, and will not be started again.
    Ended,
}

/// Who else is started anew when a member fails and is started again.
///
/// One that does not come back, since it failed too often, say, takes nobody along: the others run on, and only those
/// that are not started yet and wait for it stay down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Nobody.
    #[default]
    OneForOne,
    /// All others, but for those that it waits for itself: they are stopped at once, in reverse order, and
    /// started when it is ready again.
    OneForAll,
    /// Those that come after it in the order of starts.
    RestForOne,
}

/// Keeps several children alive together.
///
/// A cheap handle; when the last one is dropped, with those of the members, all children are stopped.
#[derive(Clone)]
pub struct Pool {
    inner: Arc<Inner>,
}

struct Inner {
    members: Vec<Supervisor>,
    rests: Vec<Restart>,
    hub: Arc<Hub>,
    stop_within: Duration,
    plan: Plan,
    orders: mpsc::Sender<PoolOrder>,
}

enum PoolOrder {
    StartAll(Reply<Result<(), NotAllStarted>>),
    StopAll(Duration, Reply<Result<(), EndError>>),
}

/// Some members of a pool do not run after all were to be started.
#[derive(Debug, thiserror::Error)]
#[error("children {} of the pool do not run", names.join(", "))]
#[non_exhaustive]
pub struct NotAllStarted {
    /// Those that failed for good, or wait for one that did, or were stopped meanwhile.
    pub names: Vec<String>,
}

impl Default for PoolSpec {
    /// No members, one for one, 15 s for a stop of all.
    fn default() -> Self {
        Self {
            members: Vec::new(),
            strategy: Strategy::default(),
            stop_within: Duration::from_secs(15),
        }
    }
}

impl PoolSpec {
    /// Adds a member.
    #[must_use]
    pub fn member(mut self, member: Member) -> Self {
        self.members.push(member);
        self
    }

    /// Sets who else is started anew when a member fails.
    #[must_use]
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// Sets how long a stop of all may take; then everything that is left is killed. 15 s by default. Each
    /// member has the time of its own stop ladder within it.
    #[must_use]
    pub fn stop_within(mut self, time: Duration) -> Self {
        self.stop_within = time;
        self
    }
}

impl Member {
    /// A member that waits for nobody.
    #[must_use]
    pub fn new(spec: ChildSpec) -> Self {
        Self {
            spec,
            after: Vec::new(),
        }
    }

    /// It is started only when `other` fulfils the condition, and `other` is stopped only when it is
    /// gone.
    #[must_use]
    pub fn after(mut self, other: impl Into<Arc<str>>, condition: Condition) -> Self {
        self.after.push((other.into(), condition));
        self
    }
}

impl Pool {
    /// A pool whose members are not started yet.
    ///
    /// # Errors
    ///
    /// When two members have the same name, one waits for somebody who is not there, or some wait for each
    /// other in a circle.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime with I/O and time enabled.
    pub fn new(spec: PoolSpec) -> Result<Self, PoolError> {
        let edges = spec
            .members
            .iter()
            .map(|member| (Arc::clone(&member.spec.name), member.after.clone()));
        let plan = Plan::new(edges.collect())?;
        let hub: Arc<Hub> = Arc::default();
        let rests = spec.members.iter().map(|member| member.spec.policy.rests());
        let rests = rests.collect();
        let members: Vec<_> = spec
            .members
            .into_iter()
            .map(|member| Supervisor::with_hub(member.spec, Arc::clone(&hub)))
            .collect();
        let (orders, receiver) = mpsc::channel(16);
        // All members are known by now, so that it has room for the events of all.
        let keeper = Keeper {
            members: members.iter().map(Supervisor::downgrade).collect(),
            coordinator: Coordinator::new(plan.clone(), spec.strategy),
            events: hub.listen(),
            hub: Arc::clone(&hub),
            orders: receiver,
            wait_for_start: Vec::new(),
            wait_for_end: Vec::new(),
            deadline: None,
        };
        tokio::spawn(keeper.run());
        Ok(Self {
            inner: Arc::new(Inner {
                members,
                rests,
                hub,
                stop_within: spec.stop_within,
                plan,
                orders,
            }),
        })
    }

    /// The member of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Supervisor> {
        let mut members = self.inner.members.iter();
        members.find(|member| &**member.name() == name)
    }

    /// The members in the order in which they are started.
    pub fn members(&self) -> impl Iterator<Item = &Supervisor> {
        let order = self.inner.plan.order();
        order.iter().map(|index| &self.inner.members[*index])
    }

    /// Starts all members, each as soon as its conditions are fulfilled, and waits until each has been
    /// ready or has ended with a success.
    ///
    /// # Errors
    ///
    /// When some are `failed` or stopped, or wait for one that is. The others run.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future takes nothing back: the members are started.
    pub async fn start_all(&self) -> Result<(), NotAllStarted> {
        let (reply, answer) = Reply::new();
        let gone = || NotAllStarted {
            names: self
                .inner
                .members
                .iter()
                .map(|it| it.name().to_string())
                .collect(),
        };
        let sent = self.inner.orders.send(PoolOrder::StartAll(reply)).await;
        sent.map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Stops all members, each when those that wait for it are gone; waits until nothing is left of any.
    ///
    /// # Errors
    ///
    /// When even `SIGKILL` has left somebody alive, with the first such member, or they are to start again
    /// before that.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future takes nothing back: the members are stopped, and killed when their time is over.
    pub async fn stop_all(&self) -> Result<(), EndError> {
        self.stop_all_within(self.inner.stop_within).await
    }

    /// As [`stop_all`](Self::stop_all), in another time.
    ///
    /// # Errors
    ///
    /// As [`stop_all`](Self::stop_all).
    ///
    /// # Cancel safety
    ///
    /// As [`stop_all`](Self::stop_all).
    pub async fn stop_all_within(&self, time: Duration) -> Result<(), EndError> {
        let (reply, answer) = Reply::new();
        let order = PoolOrder::StopAll(time, reply);
        // If the keeper is gone, so is the runtime, and the members have been killed.
        if self.inner.orders.send(order).await.is_err() {
            return Ok(());
        }
        answer.await.unwrap_or(Ok(()))
    }

    /// How each member is doing, by name.
    #[must_use]
    pub fn health_report(&self) -> BTreeMap<Arc<str>, Health> {
        let members = self.inner.members.iter();
        members
            .map(|member| (Arc::clone(member.name()), member.health()))
            .collect()
    }

    /// Whether there are members and all of them are healthy; one that has ended with a success and is not
    /// to be started again is.
    #[must_use]
    pub fn all_healthy(&self) -> bool {
        let mut members = self.inner.members.iter().zip(&self.inner.rests);
        !self.inner.members.is_empty()
            && members.all(|(member, restart)| {
                let completed = || {
                    let report = member.last_report();
                    *restart != Restart::Always
                        && member.state() == State::Stopped
                        && report.is_some_and(|report| report.success)
                };
                member.health().is_healthy() || completed()
            })
    }

    /// What happens to all members from now on, in one order.
    #[must_use]
    pub fn events(&self) -> Events {
        self.inner.hub.listen()
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.members()).finish()
    }
}

/// The task that starts and stops members in their order. It holds no handle of theirs that would keep
/// them alive.
struct Keeper {
    members: Vec<WeakSupervisor>,
    coordinator: Coordinator,
    events: Events,
    hub: Arc<Hub>,
    orders: mpsc::Receiver<PoolOrder>,
    wait_for_start: Vec<Reply<Result<(), NotAllStarted>>>,
    wait_for_end: Vec<Reply<Result<(), EndError>>>,
    deadline: Option<Deadline>,
}

/// When a stop of all must be over.
#[derive(Clone, Copy)]
enum Deadline {
    /// Whoever is left is killed then.
    Kill(Instant),
    /// Whoever is left then does not die.
    GiveUp(Instant),
}

impl Keeper {
    async fn run(mut self) {
        loop {
            let deadline = self.deadline;
            tokio::select! {
                order = self.orders.recv() => match order {
                    Some(order) => self.take(order),
                    None => return,
                },
                heard = self.events.next() => match heard {
                    Some(heard) => self.hear(heard),
                    None => return,
                },
                () = reached(deadline) => self.press().await,
            }
            self.carry_on().await;
        }
    }

    fn take(&mut self, order: PoolOrder) {
        match order {
            PoolOrder::StartAll(reply) => {
                self.wait_for_start.push(reply);
                self.deadline = None;
                for waiter in self.wait_for_end.drain(..) {
                    let name = self.members.first().map_or("", WeakSupervisor::name);
                    waiter.give(Err(EndError::StartedAgain { name: name.into() }));
                }
                self.coordinator.start_all();
            }
            PoolOrder::StopAll(time, reply) => {
                self.wait_for_end.push(reply);
                let before = time.saturating_sub((time / 4).min(KILL_TIME));
                self.deadline = Some(Deadline::Kill(Instant::now() + before));
                self.coordinator.stop_all();
            }
        }
    }

    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Event(event) => self.hear_event(&event),
            Heard::Missed(missed) => {
                tracing::warn!(missed, "pool was too slow for its events");
                self.catch_up();
            }
        }
    }

    fn hear_event(&mut self, event: &Event) {
        let Some(index) = self.index_of(&event.child) else {
            return;
        };
        match &event.kind {
            EventKind::State { to, .. } => self.coordinator.on_state(index, *to),
            EventKind::Ended(report) => self.hear_end(index, report),
            _ => {}
        }
    }

    fn hear_end(&mut self, index: usize, report: &Report) {
        self.members[index].last_run = report.run;
        let ordered = report.cause == Cause::Ordered;
        self.coordinator.on_end(index, ordered, report.success);
    }

    /// Takes the last ends and the states as they are now, instead of the events that led to them.
    fn catch_up(&mut self) {
        self.events = self.hub.listen();
        for snapshot in self.events.snapshot().to_vec() {
            let Some(index) = self.index_of(&snapshot.child) else {
                continue;
            };
            let report = self.members[index].last_report();
            if let Some(report) = report.filter(|report| report.run > self.members[index].last_run)
            {
                self.hear_end(index, &report);
            }
            self.coordinator.on_state(index, snapshot.state);
        }
    }

    /// Does what can be done, and answers those whose wait is over.
    async fn carry_on(&mut self) {
        while let Some(step) = self.coordinator.next_step() {
            let (Step::Start(index) | Step::Stop(index)) = step;
            // Who is gone needs no order.
            if let Some(member) = self.members[index].upgrade() {
                match step {
                    Step::Start(_) => member.begin_start().await,
                    Step::Stop(_) => member.begin_stop(None).await,
                }
            }
            // What came of it at once has been told by now.
            while let Some(heard) = self.events.try_next() {
                self.hear(heard);
            }
            self.coordinator.done(step);
        }
        self.answer();
    }

    /// A stop of all has taken too long.
    async fn press(&mut self) {
        let left: Vec<_> = self.coordinator.not_stopped().collect();
        match self.deadline.take() {
            Some(Deadline::Kill(_)) => {
                self.deadline = Some(Deadline::GiveUp(Instant::now() + KILL_TIME));
                for index in left {
                    if let Some(member) = self.members[index].upgrade() {
                        let ladder = StopLadder::kill_only().kill_within(KILL_TIME);
                        member.begin_stop(Some(ladder)).await;
                    }
                }
            }
            Some(Deadline::GiveUp(_)) => {
                let Some(first) = left.first().map(|index| &self.members[*index]) else {
                    return;
                };
                for waiter in self.wait_for_end.drain(..) {
                    waiter.give(Err(EndError::StillAlive {
                        name: first.name().into(),
                        pids: first.left(),
                    }));
                }
            }
            None => {}
        }
    }

    fn index_of(&self, name: &str) -> Option<usize> {
        self.members.iter().position(|member| member.name() == name)
    }

    fn answer(&mut self) {
        if !self.wait_for_start.is_empty()
            && let Some(not_running) = self.coordinator.all_started()
        {
            let names: Vec<_> = not_running
                .into_iter()
                .map(|index| self.members[index].name().to_owned())
                .collect();
            for waiter in self.wait_for_start.drain(..) {
                let names = names.clone();
                let result = if names.is_empty() {
                    Ok(())
                } else {
                    Err(NotAllStarted { names })
                };
                waiter.give(result);
            }
        }
        if self.coordinator.all_stopped() {
            self.deadline = None;
            for waiter in self.wait_for_end.drain(..) {
                waiter.give(Ok(()));
            }
        }
    }
}

async fn reached(deadline: Option<Deadline>) {
    match deadline {
        Some(Deadline::Kill(at) | Deadline::GiveUp(at)) => sleep_until(at).await,
        None => pending().await,
    }
}
