//! What is told of a child: its state, the ends of its runs, and answers to those who wait.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::Driver;
use super::start::NotStarted;
use crate::event::EventKind;
use crate::exit::{Exit, Verdict};
use crate::report::{Cause, Report};
use crate::sampler::Sampler;
use crate::state::{Order, State};
use crate::supervisor::{EndError, StartError};
use crate::warnings::Warning;

/// How many of the last lines of each output are in a report.
const REPORTED_LINES: usize = 20;

impl Driver {
    /// Tells everybody what the state is now.
    pub(super) fn publish(&mut self, now: Instant) {
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
                    error!(child = %self.spec.name, why = ?self.machine.gave_up(), "child given up");
                }
                _ => info!(child = %self.spec.name, %from, %to, pid, "child changed state"),
            }
            self.tell(kind, now);
        }
        self.answer(to, pid);
    }

    /// Tells that nothing of the child is left, and nobody there to start it.
    pub(super) fn told_gone(&self) {
        self.shared.status.lock().abandoned();
        let kind = EventKind::State {
            from: self.told,
            to: State::Stopped,
            pid: None,
            next_start: None,
            gave_up: None,
            left: Vec::new(),
        };
        self.tell(kind, Instant::now());
    }

    /// Answers those whose wait is over.
    pub(super) fn answer(&mut self, state: State, pid: Option<u32>) {
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

    pub(super) fn tell_exit(&mut self, exit: Option<Exit>, verdict: Verdict, now: Instant) {
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
            last_lines: self.shared.last_lines(REPORTED_LINES),
        };
        self.tell_end(report, now);
    }

    pub(super) fn report_of_no_run(&self, error: NotStarted) -> Report {
        Report {
            name: Arc::clone(&self.spec.name),
            run: self.runs,
            pid: None,
            cause: match error {
                NotStarted::CalledBack => Cause::Ordered,
                NotStarted::Failed { reason, errno } => Cause::Exec {
                    reason: self.spec.redaction.apply(&reason).into_owned(),
                    errno,
                },
            },
            exit: None,
            success: false,
            core_dumped: false,
            uptime: Duration::ZERO,
            was_ready: false,
            cpu_time: Duration::ZERO,
            peak_cpu_percent: None,
            peak_resident_bytes: 0,
            last_lines: Vec::new(),
        }
    }

    pub(super) fn tell_end(&mut self, report: Report, now: Instant) {
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

    pub(super) fn tell(&self, kind: EventKind, now: Instant) {
        self.shared.hub.tell(&self.spec.name, kind, now);
    }
}

pub(super) fn log_warnings(child: &str, warnings: impl IntoIterator<Item = Warning>) {
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
