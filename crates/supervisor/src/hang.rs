//! Whether a child that runs is alive.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};

use crate::reaction::Reaction;

/// How many outputs of a child are watched for progress; reports of further ones are ignored.
const MAX_OUTPUTS: usize = 64;

/// How often CPU time is sampled for long watches.
const SAMPLE_EVERY: Duration = Duration::from_secs(5);

/// What counts as a hang, and what is done about it.
///
/// By default a child that prints nothing for 60 s is reported, and nothing else is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HangPolicy {
    silence: Option<Watch>,
    progress: Option<Watch>,
    idle_cpu: Option<Watch>,
}

/// In which way a child hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum HangKind {
    /// It prints nothing.
    Silence,
    /// An output does not advance.
    Progress {
        /// Its number; `None` when no output has ever reported a position.
        output: Option<u32>,
    },
    /// It uses no CPU time and prints nothing.
    IdleCpu,
}

/// A fragment such as `nothing printed`.
impl fmt::Display for HangKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silence => f.write_str("nothing printed"),
            Self::Progress { output: None } => f.write_str("no progress"),
            Self::Progress {
                output: Some(output),
            } => write!(f, "no progress of output {output}"),
            Self::IdleCpu => f.write_str("no CPU time used, nothing printed"),
        }
    }
}

/// `silence`, `progress` or `idle_cpu`.
impl Serialize for HangKind {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(match self {
            Self::Silence => "silence",
            Self::Progress { .. } => "progress",
            Self::IdleCpu => "idle_cpu",
        })
    }
}

/// What [`HangWatch::check`] has to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HangNews {
    /// The child hangs.
    Hung {
        kind: HangKind,
        /// Since its last sign of life of this kind.
        lasted: Duration,
        reaction: Reaction,
    },
    /// A hang that was told is over.
    Recovered {
        kind: HangKind,
        /// Between the signs of life before and after it.
        lasted: Duration,
    },
}

/// Judges from a child's signs of life whether it hangs.
///
/// A hang is told once, and again only after the child recovered, which is told too. Time comes in and
/// may stand still or go backwards; a sign of life older than one known changes nothing.
#[derive(Clone, Debug)]
pub(crate) struct HangWatch {
    policy: HangPolicy,
    started: Instant,
    /// Until then nothing is told.
    grace_end: Option<Instant>,
    output: Signs,
    /// Until the first report of progress.
    any_progress: Signs,
    progress: BTreeMap<u32, Progress>,
    cpu: Signs,
    cpu_time: Duration,
    /// The last sample that was no sign of life: until then the child is known to have been idle.
    idle_until: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Watch {
    after: Duration,
    reaction: Reaction,
}

/// Signs of life of one kind.
#[derive(Clone, Copy, Debug)]
struct Signs {
    last: Instant,
    told: Option<Told>,
}

/// A hang that was told.
#[derive(Clone, Copy, Debug)]
struct Told {
    /// The last sign of life before it.
    since: Instant,
    is_over: bool,
}

#[derive(Clone, Copy, Debug)]
struct Progress {
    position: i64,
    signs: Signs,
}

impl Default for HangPolicy {
    /// 60 s of silence, reported.
    fn default() -> Self {
        Self {
            silence: Watch::new(Duration::from_mins(1), Reaction::Report),
            progress: None,
            idle_cpu: None,
        }
    }
}

impl HangPolicy {
    /// Sets how long the child may print nothing on stdout and stderr; zero is for ever.
    #[must_use]
    pub fn silence(mut self, after: Duration, reaction: Reaction) -> Self {
        self.silence = Watch::new(after, reaction);
        self
    }

    /// Sets how long a position that the child reports may not advance; zero is for ever.
    ///
    /// Each output counts for itself, from its first report on. A child that reports nothing at all
    /// for this time hangs too.
    #[must_use]
    pub fn progress(mut self, after: Duration, reaction: Reaction) -> Self {
        self.progress = Watch::new(after, reaction);
        self
    }

    /// Sets how long the child may print nothing and use no CPU time; zero is for ever.
    #[must_use]
    pub fn idle_cpu(mut self, after: Duration, reaction: Reaction) -> Self {
        self.idle_cpu = Watch::new(after, reaction);
        self
    }

    /// How long a child may be silent.
    pub(crate) fn silence_after(&self) -> Option<Duration> {
        Some(self.silence?.after)
    }

    /// How often CPU time must be sampled for [`HangWatch::on_cpu`]; `None` when it need not.
    pub(crate) fn cpu_interval(&self) -> Option<Duration> {
        let watch = self.idle_cpu?;
        Some((watch.after / 2).clamp(Duration::from_millis(100), SAMPLE_EVERY))
    }
}

impl HangWatch {
    /// A watch over a child that started at `started`; nothing is told before `grace` has passed.
    pub(crate) fn new(policy: &HangPolicy, started: Instant, grace: Duration) -> Self {
        Self {
            policy: policy.clone(),
            started,
            grace_end: started.checked_add(grace),
            output: Signs::new(started),
            any_progress: Signs::new(started),
            progress: BTreeMap::new(),
            cpu: Signs::new(started),
            cpu_time: Duration::ZERO,
            idle_until: None,
        }
    }

    /// Takes note that the child printed something on stdout or stderr.
    pub(crate) fn on_output(&mut self, now: Instant) {
        self.output.note(now);
        self.cpu.note(now);
    }

    /// Takes note that the child is being made to wait: that it does nothing is not its own doing, and no
    /// sign of life either.
    pub(crate) fn on_hold(&mut self, now: Instant) {
        let outputs = self.progress.values_mut();
        let outputs = outputs.map(|progress| &mut progress.signs);
        for signs in outputs.chain([&mut self.output, &mut self.any_progress, &mut self.cpu]) {
            signs.last = signs.last.max(now);
        }
    }

    /// Takes note of the position that an output reports, in any unit that grows.
    ///
    /// It is a sign of life when it is beyond the one reported before. An output that began again from
    /// an earlier position is alive with the next report.
    pub(crate) fn on_progress(&mut self, output: u32, position: i64, now: Instant) {
        self.any_progress.note(now);
        if let Some(progress) = self.progress.get_mut(&output) {
            if position > progress.position {
                progress.signs.note(now);
            }
            progress.position = position;
        } else if self.progress.len() < MAX_OUTPUTS {
            let signs = Signs::new(now.max(self.started));
            self.progress.insert(output, Progress { position, signs });
        }
    }

    /// Nobody can hear it: it is not judged by its silence.
    pub(crate) fn forget_silence(&mut self) {
        self.policy.silence = None;
    }

    /// Nobody reads its progress any more: it is not judged by it.
    pub(crate) fn forget_progress(&mut self) {
        self.policy.progress = None;
    }

    /// Takes the CPU time that the child and its tree have used so far. A sum that fell, as a process
    /// left the tree, is no sign of life.
    pub(crate) fn on_cpu(&mut self, total_cpu_time: Duration, now: Instant) {
        if total_cpu_time > self.cpu_time {
            self.cpu.note(now);
        } else {
            self.idle_until = self.idle_until.max(Some(now));
        }
        self.cpu_time = total_cpu_time;
    }

    /// What is to be told at `now`, each thing once.
    pub(crate) fn check(&mut self, now: Instant) -> Vec<HangNews> {
        let mut verdicts = Vec::new();
        // Ends, as what was told is due again only after a new sign of life.
        while let Some(due) = self.find_due(now) {
            verdicts.push(self.tell(due, now));
        }
        verdicts
    }

    /// The earliest moment at which [`check`](Self::check) has something to tell if no sign of life
    /// comes before; it may have passed already. `None` when only a new sign or sample can change that.
    ///
    /// A sign of life mostly moves it later, so a timer set for an earlier answer need not be set anew:
    /// when it fires, `check` tells nothing, and this gives the next moment. It moves earlier by the
    /// first sign after a hang was told, and by a sample of CPU time.
    pub(crate) fn next_check(&self) -> Option<Instant> {
        self.watched()
            .filter_map(|(_, watch, signs)| self.due_at(watch, &signs))
            .min()
    }

    /// Whether a hang was told that is not over. Output that somebody else reads then counts at once.
    pub(crate) fn is_hanging(&self) -> bool {
        self.watched().any(|(_, _, signs)| signs.told.is_some())
    }

    fn find_due(&self, now: Instant) -> Option<(HangKind, Watch, Signs)> {
        self.watched()
            .find(|(_, watch, signs)| self.due_at(*watch, signs).is_some_and(|at| at <= now))
    }

    /// All that can be told as things are.
    fn watched(&self) -> impl Iterator<Item = (HangKind, Watch, Signs)> {
        let &HangPolicy {
            silence,
            progress,
            idle_cpu,
        } = &self.policy;
        let silence = silence.map(|watch| (HangKind::Silence, watch, self.output));
        let is_unreported = self.progress.is_empty() || self.any_progress.told.is_some();
        let unreported = progress.filter(|_| is_unreported).map(|watch| {
            let kind = HangKind::Progress { output: None };
            (kind, watch, self.any_progress)
        });
        let reported = progress.into_iter().flat_map(|watch| {
            self.progress.iter().map(move |(output, progress)| {
                let output = Some(*output);
                (HangKind::Progress { output }, watch, progress.signs)
            })
        });
        let idle_cpu = idle_cpu.filter(|watch| self.is_proven_idle(*watch));
        let idle_cpu = idle_cpu.map(|watch| (HangKind::IdleCpu, watch, self.cpu));
        silence
            .into_iter()
            .chain(unreported)
            .chain(reported)
            .chain(idle_cpu)
    }

    /// That no CPU time was used is known only from samples: without one there is no verdict.
    fn is_proven_idle(&self, watch: Watch) -> bool {
        let deadline = self.cpu.last.checked_add(watch.after);
        self.cpu.told.is_some()
            || deadline.is_some_and(|deadline| Some(deadline) <= self.idle_until)
    }

    /// When there is something to tell of `signs`.
    fn due_at(&self, watch: Watch, signs: &Signs) -> Option<Instant> {
        match signs.told {
            Some(told) => told.is_over.then_some(signs.last),
            None => Some(signs.last.checked_add(watch.after)?.max(self.grace_end?)),
        }
    }

    fn tell(&mut self, (kind, watch, signs): (HangKind, Watch, Signs), now: Instant) -> HangNews {
        let told = Told {
            since: signs.last,
            is_over: false,
        };
        self.signs_mut(kind).told = signs.told.is_none().then_some(told);
        match signs.told {
            Some(told) => HangNews::Recovered {
                kind,
                lasted: signs.last.saturating_duration_since(told.since),
            },
            None => HangNews::Hung {
                kind,
                lasted: now.saturating_duration_since(signs.last),
                reaction: watch.reaction,
            },
        }
    }

    fn signs_mut(&mut self, kind: HangKind) -> &mut Signs {
        match kind {
            HangKind::Silence => &mut self.output,
            HangKind::Progress { output: None } => &mut self.any_progress,
            HangKind::Progress {
                output: Some(output),
            } => {
                let progress = self.progress.get_mut(&output);
                &mut progress
                    .expect("an output that is watched has reported")
                    .signs
            }
            HangKind::IdleCpu => &mut self.cpu,
        }
    }
}

impl Watch {
    /// `None` for a time of zero, which is how a watch is turned off.
    fn new(after: Duration, reaction: Reaction) -> Option<Self> {
        (!after.is_zero()).then_some(Self { after, reaction })
    }
}

impl Signs {
    fn new(last: Instant) -> Self {
        Self { last, told: None }
    }

    fn note(&mut self, now: Instant) {
        if now <= self.last {
            return;
        }
        self.last = now;
        if let Some(told) = &mut self.told {
            told.is_over = true;
        }
    }
}

#[cfg(test)]
mod tests;
