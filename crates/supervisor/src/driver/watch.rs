//! What a run says, takes and shows of itself, and whether it is alive by that.

use std::time::{Duration, Instant};

use bytes::Bytes;
use longtake_process::Census;
use tracing::{info, warn};

use super::Driver;
use super::tell::log_warnings;
use crate::event::EventKind;
use crate::hang::HangNews;
use crate::health::UsageNow;
use crate::machine::Act;
use crate::output::{Stream, TailEnd};
use crate::reaction::Reaction;
use crate::readiness::Notification;
use crate::report::Cause;

/// How long after a status text was told the next one is, if it talks much.
const TELL_STATUS_EVERY: Duration = Duration::from_secs(1);

impl Driver {
    /// Takes what an output has to give now.
    pub(super) fn read(&mut self, stream: Stream, now: Instant) -> Act {
        if self.take_output(stream, now) {
            return self.ready(now);
        }
        Act::Nothing
    }

    /// Takes what is in the pipes. Nobody who could say more is waited for: of what the leader said
    /// everything is there. That it is ready is no news any more.
    pub(super) fn read_rest(&mut self, now: Instant) {
        for stream in Stream::BOTH {
            self.take_output(stream, now);
        }
    }

    /// Takes what an output has to give now; true if a line of it says that the child is ready.
    fn take_output(&mut self, stream: Stream, now: Instant) -> bool {
        let Some(run) = &mut self.run else {
            return false;
        };
        let Self {
            shared,
            tails,
            spec,
            ..
        } = self;
        tails.retain(|tail| !tail.is_closed());
        let mut ready = false;
        let mut pieces = Vec::new();
        let mut any = false;
        let mut warnings = Vec::new();
        let watched = run.is_watched();
        let open = run.read(stream, |bytes| {
            any = true;
            if watched || !tails.is_empty() {
                pieces.push(Bytes::copy_from_slice(bytes));
            }
            warnings.extend(shared.journal.lock().push(stream, bytes, now));
        });
        if any {
            run.last_output.note(now);
            run.hang.on_output(now);
        }
        for piece in &pieces {
            if watched {
                ready |= run.look_at(stream, piece, now);
            }
            for tail in tails.iter_mut() {
                tail.push(stream, piece);
            }
        }
        if !open {
            warnings.extend(shared.journal.lock().finish(stream, now));
            if !run.is_heard() {
                run.hang.forget_silence();
            }
        }
        log_warnings(&spec.name, warnings);
        ready
    }

    pub(super) fn notified(&mut self, notification: Notification, now: Instant) {
        match notification {
            Notification::Status(text) => {
                let text = self.spec.redaction.apply(&text).into_owned();
                let mut status = self.shared.status.lock();
                // Of one whose end is told nothing is news.
                if self.run.as_ref().is_some_and(|run| !run.reported) {
                    status.text = Some(text);
                    drop(status);
                    self.tell_status(now);
                }
            }
            Notification::Watchdog => {
                if let Some(run) = &mut self.run {
                    run.hang.on_output(now);
                }
            }
            // It is ready, and says so again.
            Notification::Ready => {}
        }
    }

    /// Tells the status text if it is another one, at most once a second.
    pub(super) fn tell_status(&mut self, now: Instant) {
        let Some(run) = &mut self.run else { return };
        let text = self.shared.status.lock().text.clone();
        if run.told_status == text {
            run.tell_status_at = None;
            return;
        }
        let at = run.tell_status_at.get_or_insert(now);
        if now < *at {
            return;
        }
        *at = now + TELL_STATUS_EVERY;
        run.told_status.clone_from(&text);
        if let Some(text) = text {
            self.tell(EventKind::Status(text), now);
        }
    }

    pub(super) fn sampled(&mut self, census: Option<&Census>, now: Instant) -> Act {
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
    pub(super) fn judge(&mut self, now: Instant) -> Act {
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
                HangNews::Hung {
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
                HangNews::Recovered { kind, lasted } => {
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
}
