use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
/// Too short to be healthy.
const SHORT: Option<Duration> = Some(SECOND);

fn policy() -> RestartPolicy {
    RestartPolicy::default().backoff(Backoff::default().jitter(0.0))
}

fn delay(next: Next, now: Instant) -> Duration {
    let Next::StartAt(start) = next else {
        panic!("{next:?}");
    };
    start - now
}

#[test]
fn a_crash_loop_is_delayed_ever_longer_and_ends() {
    let now = Instant::now();
    let mut restarts = Restarts::new(policy().max_restarts(4), 1);
    for seconds in [2, 4, 8, 16] {
        let next = restarts.on_end(Verdict::Failure, SHORT, now);
        assert_eq!(delay(next, now), seconds * SECOND);
    }
    let next = restarts.on_end(Verdict::Failure, SHORT, now);
    assert_eq!(next, Next::GiveUp(GaveUp::MaxRestarts));
}

#[test]
fn ten_restarts_by_default_and_none_if_so_ordered() {
    #[track_caller]
    fn check(policy: RestartPolicy, want: usize) {
        let now = Instant::now();
        let mut restarts = Restarts::new(policy, 1);
        let mut count = 0;
        while let Next::StartAt(_) = restarts.on_end(Verdict::Failure, None, now) {
            count += 1;
            assert!(count < 1000);
        }
        assert_eq!(count, want);
    }
    check(RestartPolicy::default(), 10);
    check(policy().max_restarts(0), 0);
    let mut endless = Restarts::new(policy().max_restarts(None), 1);
    let now = Instant::now();
    for _ in 0..100_000 {
        assert!(matches!(
            endless.on_end(Verdict::Failure, None, now),
            Next::StartAt(_)
        ));
    }
}

#[test]
fn only_a_healthy_time_resets() {
    let now = Instant::now();
    let healthy = Duration::from_secs(600);
    let mut restarts = Restarts::new(policy(), 1);
    let mut fail = |ran| delay(restarts.on_end(Verdict::Failure, ran, now), now).as_secs();
    assert_eq!(fail(None), 2);
    assert_eq!(fail(Some(Duration::from_secs(599))), 4);
    assert_eq!(fail(Some(healthy)), 2);
    assert_eq!(fail(SHORT), 4);
    assert_eq!(restarts.failures(SHORT), 2);
    assert_eq!(restarts.failures(Some(healthy)), 0);
}

#[test]
fn which_ends_are_answered_by_a_start() {
    #[track_caller]
    fn check(restart: Restart, verdict: Verdict, want: Option<Next>) {
        let now = Instant::now();
        let mut restarts = Restarts::new(policy().restart(restart), 1);
        let next = restarts.on_end(verdict, SHORT, now);
        let want = want.unwrap_or(Next::StartAt(now + 2 * SECOND));
        assert_eq!(next, want, "{restart:?} {verdict:?}");
    }
    use Restart::{Always, Never, OnFailure};
    check(Always, Verdict::Success, None);
    check(Always, Verdict::Failure, None);
    check(OnFailure, Verdict::Success, Some(Next::Rest));
    check(OnFailure, Verdict::Failure, None);
    check(Never, Verdict::Success, Some(Next::Rest));
    check(Never, Verdict::Failure, Some(Next::GiveUp(GaveUp::Never)));
    for restart in [Always, OnFailure, Never] {
        check(restart, Verdict::Fatal, Some(Next::GiveUp(GaveUp::Fatal)));
        check(restart, Verdict::Prevent, Some(Next::Rest));
    }
}

/// A child that succeeds again and again is delayed too, but never `failed`.
#[test]
fn successes_use_up_no_restarts() {
    let now = Instant::now();
    let mut restarts = Restarts::new(policy().max_restarts(1), 1);
    for seconds in [2, 4, 8, 16, 32, 60, 60] {
        let next = restarts.on_end(Verdict::Success, SHORT, now);
        assert_eq!(delay(next, now), seconds * SECOND);
    }
    assert_eq!(restarts.failures(SHORT), 0);
}

#[test]
fn no_more_restarts_in_the_window_than_allowed() {
    let begin = Instant::now();
    let at_once = policy().backoff(Backoff::new(Duration::ZERO));
    let mut restarts = Restarts::new(at_once.intensity(Intensity::new(2, 10 * SECOND)), 1);
    let mut end = |seconds| restarts.on_end(Verdict::Failure, None, begin + seconds * SECOND);
    assert_eq!(end(0), Next::StartAt(begin));
    assert_eq!(end(5), Next::StartAt(begin + 5 * SECOND));
    assert_eq!(
        end(10),
        Next::StartAt(begin + 10 * SECOND),
        "the first has left it"
    );
    assert_eq!(end(14), Next::GiveUp(GaveUp::Intensity));
}

#[test]
fn a_cool_down_instead() {
    let begin = Instant::now();
    let intensity = Intensity::new(1, 10 * SECOND).then(Exhausted::CoolDown(60 * SECOND));
    let at_once = policy().backoff(Backoff::new(Duration::ZERO));
    let mut restarts = Restarts::new(at_once.intensity(intensity), 1);
    let mut end = |seconds| restarts.on_end(Verdict::Failure, None, begin + seconds * SECOND);
    assert_eq!(end(0), Next::StartAt(begin));
    assert_eq!(end(1), Next::StartAt(begin + 61 * SECOND));
    assert_eq!(
        end(62),
        Next::StartAt(begin + 122 * SECOND),
        "it was the one of this window"
    );
}

#[test]
fn an_order_begins_anew() {
    let now = Instant::now();
    let intensity = Intensity::new(1, 10 * SECOND);
    let mut restarts = Restarts::new(policy().max_restarts(1).intensity(intensity), 1);
    assert!(matches!(
        restarts.on_end(Verdict::Failure, None, now),
        Next::StartAt(_)
    ));
    assert!(matches!(
        restarts.on_end(Verdict::Failure, None, now),
        Next::GiveUp(_)
    ));
    restarts.begin_anew();
    let next = restarts.on_end(Verdict::Failure, None, now);
    assert_eq!(delay(next, now), 2 * SECOND);
}

#[test]
fn children_that_die_together_do_not_come_back_together() {
    let now = Instant::now();
    let policy = RestartPolicy::default();
    let mut delays: Vec<_> = (0..100)
        .map(|seed| {
            let mut restarts = Restarts::new(policy.clone(), seed);
            delay(restarts.on_end(Verdict::Failure, None, now), now)
        })
        .collect();
    assert!(delays.iter().all(|&delay| delay <= 2 * SECOND));
    assert!(delays.iter().all(|delay| delay.as_millis() >= 1800));
    delays.sort_unstable();
    delays.dedup();
    assert!(delays.len() > 90, "{delays:?}");
    let spread = delays[delays.len() - 1].saturating_sub(delays[0]);
    assert!(spread > Duration::from_millis(150), "{spread:?}");
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        6 => Just(Verdict::Failure),
        3 => Just(Verdict::Success),
    ]
}

proptest! {
    /// Whatever happens: no delay beyond the maximum, no more failures in a row than allowed, no more
    /// starts in any window than allowed.
    #[test]
    fn the_limits_hold(
        ends in prop::collection::vec((verdict(), 0_u64..30_000, 0_u64..20_000), 1..80),
        max_restarts in prop::option::of(0_u32..8),
        intensity in prop::option::of((1_u32..5, 1_u64..60_000, prop::option::of(1_u64..50_000))),
        base_ms in 0_u64..5_000, seed: u64,
    ) {
        let maximum = Duration::from_secs(10);
        let healthy = Duration::from_secs(20);
        let mut policy = RestartPolicy::default()
            .backoff(Backoff::new(Duration::from_millis(base_ms)).maximum(maximum))
            .max_restarts(max_restarts)
            .healthy_after(healthy);
        if let Some((restarts, within, cool_down)) = intensity {
            let cool_down = cool_down.map(|ms| Exhausted::CoolDown(Duration::from_millis(ms)));
            policy = policy.intensity(
                Intensity::new(restarts, Duration::from_millis(within))
                    .then(cool_down.unwrap_or_default()),
            );
        }
        let cool_down = intensity.and_then(|(.., cool_down)| cool_down).unwrap_or(0);
        let mut restarts = Restarts::new(policy, seed);
        let mut now = Instant::now();
        let (mut starts, mut failures) = (Vec::new(), 0);
        for (verdict, ran_ms, pause_ms) in ends {
            let ran = Duration::from_millis(ran_ms);
            now += ran;
            failures = if ran >= healthy { 0 } else { failures };
            failures += u32::from(verdict == Verdict::Failure);
            match restarts.on_end(verdict, Some(ran), now) {
                Next::StartAt(start) => {
                    prop_assert!(start >= now);
                    prop_assert!(start <= now + maximum + Duration::from_millis(cool_down));
                    prop_assert!(max_restarts.is_none_or(|most| failures <= most));
                    starts.push(start);
                    now = start + Duration::from_millis(pause_ms);
                }
                Next::GiveUp(GaveUp::MaxRestarts) => {
                    prop_assert!(max_restarts.is_some_and(|most| failures == most + 1));
                    break;
                }
                Next::GiveUp(GaveUp::Intensity) => {
                    prop_assert!(intensity.is_some_and(|(.., cool_down)| cool_down.is_none()));
                    break;
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }
        if let Some((most, within, None)) = intensity {
            let within = Duration::from_millis(within);
            for (index, first) in starts.iter().enumerate() {
                let in_window = starts[index..].iter().filter(|&&start| start - *first < within);
                prop_assert!(in_window.count() <= most as usize);
            }
        }
    }
}
