use proptest::prelude::*;

use super::*;

const OFF: Duration = Duration::ZERO;

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn hung(kind: HangKind, lasted: u64, reaction: Reaction) -> Vec<HangNews> {
    vec![HangNews::Hung {
        kind,
        lasted: s(lasted),
        reaction,
    }]
}

fn recovered(kind: HangKind, lasted: u64) -> Vec<HangNews> {
    vec![HangNews::Recovered {
        kind,
        lasted: s(lasted),
    }]
}

fn only_progress() -> HangPolicy {
    HangPolicy::default()
        .silence(OFF, Reaction::Report)
        .progress(s(10), Reaction::Restart)
}

fn progress_of(output: u32) -> HangKind {
    HangKind::Progress {
        output: Some(output),
    }
}

#[test]
fn a_minute_of_silence_is_reported_once() {
    let start = Instant::now();
    let mut watch = HangWatch::new(&HangPolicy::default(), start, s(0));
    assert_eq!(watch.next_check(), Some(start + s(60)));
    assert_eq!(watch.check(start + s(59)), []);
    watch.on_output(start + s(10));
    assert_eq!(watch.check(start + s(69)), []);
    let silent = hung(HangKind::Silence, 60, Reaction::Report);
    assert_eq!(watch.check(start + s(70)), silent);
    assert_eq!(watch.check(start + s(700)), []);
    assert_eq!(watch.next_check(), None, "an idle child needs no timer");
    watch.on_output(start + s(710));
    assert_eq!(watch.next_check(), Some(start + s(710)));
    let again = recovered(HangKind::Silence, 700);
    assert_eq!(watch.check(start + s(710)), again);
    assert_eq!(watch.next_check(), Some(start + s(770)));
    assert_eq!(watch.check(start + s(770)), silent);
}

#[test]
fn a_check_that_comes_late_tells_that_it_recovered_and_hangs_again() {
    let start = Instant::now();
    let mut watch = HangWatch::new(&HangPolicy::default(), start, s(0));
    watch.check(start + s(60));
    watch.on_output(start + s(70));
    let want = [
        recovered(HangKind::Silence, 70),
        hung(HangKind::Silence, 130, Reaction::Report),
    ];
    assert_eq!(watch.check(start + s(200)), want.concat());
}

#[test]
fn nothing_is_told_during_grace() {
    let start = Instant::now();
    let policy = HangPolicy::default().silence(s(5), Reaction::Restart);
    let mut watch = HangWatch::new(&policy, start, s(30));
    assert_eq!(watch.next_check(), Some(start + s(30)));
    assert_eq!(watch.check(start + s(29)), []);
    let silent = hung(HangKind::Silence, 30, Reaction::Restart);
    assert_eq!(watch.check(start + s(30)), silent);
}

#[test]
fn one_stalled_output_of_several_counts() {
    let start = Instant::now();
    let mut watch = HangWatch::new(&only_progress(), start, s(0));
    for at in 0..20 {
        watch.on_output(start + s(at));
        watch.on_progress(0, i64::try_from(at).unwrap(), start + s(at));
        watch.on_progress(1, 7, start + s(at));
    }
    let stalled = hung(progress_of(1), 20, Reaction::Restart);
    assert_eq!(watch.check(start + s(20)), stalled);
    watch.on_progress(1, 6, start + s(21));
    assert_eq!(watch.check(start + s(21)), [], "backwards is no advance");
    watch.on_progress(1, 7, start + s(22));
    assert_eq!(watch.check(start + s(22)), recovered(progress_of(1), 22));
}

#[test]
fn no_report_at_all_is_a_stall() {
    let start = Instant::now();
    let mut watch = HangWatch::new(&only_progress(), start, s(0));
    let none = HangKind::Progress { output: None };
    let stalled = hung(none, 10, Reaction::Restart);
    assert_eq!(watch.check(start + s(10)), stalled);
    watch.on_progress(3, 0, start + s(11));
    assert_eq!(watch.check(start + s(11)), recovered(none, 11));
    assert_eq!(watch.next_check(), Some(start + s(21)));
    let stalled = hung(progress_of(3), 10, Reaction::Restart);
    assert_eq!(watch.check(start + s(21)), stalled);
}

#[test]
fn outputs_are_bounded() {
    let start = Instant::now();
    let mut watch = HangWatch::new(&only_progress(), start, s(0));
    for output in 0..100_000 {
        watch.on_progress(output, 0, start);
    }
    assert_eq!(watch.progress.len(), MAX_OUTPUTS);
    assert_eq!(watch.check(start + s(10)).len(), MAX_OUTPUTS);
}

#[test]
fn idle_without_cpu_time_and_output() {
    let start = Instant::now();
    let policy = HangPolicy::default()
        .silence(OFF, Reaction::Report)
        .idle_cpu(s(10), Reaction::Restart);
    assert!(policy.cpu_interval().is_some());
    assert_eq!(HangPolicy::default().cpu_interval(), None);
    let mut watch = HangWatch::new(&policy, start, s(0));
    assert_eq!(watch.next_check(), None, "there is no sample yet");
    assert_eq!(watch.check(start + s(100)), []);
    watch.on_cpu(s(1), start + s(100));
    watch.on_cpu(s(1), start + s(105));
    watch.on_output(start + s(106));
    watch.on_cpu(s(1), start + s(110));
    assert_eq!(watch.check(start + s(115)), [], "it has printed");
    watch.on_cpu(s(1), start + s(116));
    assert_eq!(watch.next_check(), Some(start + s(116)));
    let idle = hung(HangKind::IdleCpu, 10, Reaction::Restart);
    assert_eq!(watch.check(start + s(116)), idle);
    watch.on_cpu(Duration::from_millis(500), start + s(120));
    assert_eq!(watch.check(start + s(120)), [], "a fall is no sign of life");
    watch.on_cpu(s(1), start + s(125));
    assert_eq!(
        watch.check(start + s(125)),
        recovered(HangKind::IdleCpu, 19)
    );
}

#[test]
fn times_without_end_are_never_over() {
    let start = Instant::now();
    let policy = only_progress()
        .silence(Duration::MAX, Reaction::Report)
        .idle_cpu(Duration::MAX, Reaction::Report);
    let mut watch = HangWatch::new(&policy, start, Duration::MAX);
    watch.on_cpu(s(0), start);
    assert_eq!(watch.next_check(), None);
    assert_eq!(watch.check(start + s(1 << 30)), []);
}

/// What a child does between two checks.
#[derive(Clone, Debug)]
enum Act {
    Print,
    Report(u32, i64),
    Use(u64),
    Nothing,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        Just(Act::Print),
        (0_u32..3, 0_i64..5).prop_map(|(output, position)| Act::Report(output, position)),
        (0_u64..3).prop_map(Act::Use),
        Just(Act::Nothing),
    ]
}

/// The same rules, by going through the history at each check.
#[derive(Default)]
struct Model {
    last: BTreeMap<HangKind, u64>,
    positions: BTreeMap<u32, i64>,
    cpu: u64,
    idle_until: Option<u64>,
    told: BTreeMap<HangKind, bool>,
}

impl Model {
    fn sign(&mut self, kind: HangKind, at: u64) {
        self.last.insert(kind, at);
        self.told.entry(kind).and_modify(|over| *over = true);
    }

    fn act(&mut self, act: &Act, at: u64) {
        match *act {
            Act::Print => {
                self.sign(HangKind::Silence, at);
                self.sign(HangKind::IdleCpu, at);
            }
            Act::Report(output, position) => {
                self.sign(HangKind::Progress { output: None }, at);
                let before = self.positions.insert(output, position);
                if before.is_none_or(|before| position > before) {
                    self.sign(progress_of(output), at);
                }
            }
            Act::Use(cpu) => {
                if cpu > self.cpu {
                    self.sign(HangKind::IdleCpu, at);
                } else {
                    self.idle_until = Some(at);
                }
                self.cpu = cpu;
            }
            Act::Nothing => {}
        }
    }

    fn check(&mut self, at: u64, grace: u64) -> Vec<(HangKind, bool)> {
        let mut verdicts = Vec::new();
        for (kind, last) in &self.last {
            if self.told.get(kind) == Some(&true) {
                self.told.remove(kind);
                verdicts.push((*kind, false));
            }
            let until = match kind {
                HangKind::IdleCpu => self.idle_until,
                HangKind::Progress { output: None } if !self.positions.is_empty() => None,
                _ => Some(at),
            };
            let is_due = until.is_some_and(|until| until >= last + 10) && at >= grace;
            if is_due && !self.told.contains_key(kind) {
                self.told.insert(*kind, false);
                verdicts.push((*kind, true));
            }
        }
        verdicts
    }
}

proptest! {
    #[test]
    fn told_when_due_and_never_before_and_each_once(
        history in prop::collection::vec((act(), 0_u64..9, any::<bool>()), 0..80), grace in 0_u64..40,
    ) {
        let start = Instant::now();
        let policy = HangPolicy::default()
            .silence(s(10), Reaction::Report)
            .progress(s(10), Reaction::Report)
            .idle_cpu(s(10), Reaction::Report);
        let mut watch = HangWatch::new(&policy, start, s(grace));
        let mut model = Model::default();
        for kind in [HangKind::Silence, HangKind::IdleCpu, HangKind::Progress { output: None }] {
            model.last.insert(kind, 0);
        }
        let mut at = 0;
        for (act, step, is_checked) in history {
            at += step;
            let now = start + s(at);
            match act {
                Act::Print => watch.on_output(now),
                Act::Report(output, position) => watch.on_progress(output, position, now),
                Act::Use(cpu) => watch.on_cpu(s(cpu), now),
                Act::Nothing => {}
            }
            model.act(&act, at);
            if is_checked {
                let is_due = watch.next_check().is_some_and(|at| at <= now);
                let mut verdicts: Vec<_> = watch
                    .check(now)
                    .into_iter()
                    .map(|verdict| match verdict {
                        HangNews::Hung { kind, .. } => (kind, true),
                        HangNews::Recovered { kind, .. } => (kind, false),
                    })
                    .collect();
                verdicts.sort_by_key(|(kind, _)| *kind);
                prop_assert_eq!(is_due, !verdicts.is_empty(), "next_check says when");
                prop_assert_eq!(verdicts, model.check(at, grace));
                prop_assert!(watch.next_check().is_none_or(|next| next > now));
            }
        }
    }

    #[test]
    fn any_order_of_times_is_survived(
        history in prop::collection::vec((act(), 0_u64..100, 0_u64..100), 0..80), started in 0_u64..100,
    ) {
        let start = Instant::now();
        let policy = only_progress().silence(s(1), Reaction::Report).idle_cpu(s(1), Reaction::Report);
        let mut watch = HangWatch::new(&policy, start + s(started), s(3));
        for (act, at, check_at) in history {
            let now = start + s(at);
            match act {
                Act::Print => watch.on_output(now),
                Act::Report(output, position) => watch.on_progress(output, position, now),
                Act::Use(cpu) => watch.on_cpu(s(cpu), now),
                Act::Nothing => {}
            }
            let verdicts = watch.check(start + s(check_at));
            let is_hung = |verdict: &HangNews| matches!(verdict, HangNews::Hung { .. });
            prop_assert!(check_at >= started + 3 || !verdicts.iter().any(is_hung));
        }
    }
}
