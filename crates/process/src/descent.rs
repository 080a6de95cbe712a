//! The decisions of a stop: which step of the ladder comes next, and what to wait for.
//!
//! Knows no process and no clock. It is asked [`Descent::next`] again and again, told the time and what is
//! known of the child, and answers with one [`Order`].

use std::time::{Duration, Instant};

use crate::ladder::{Act, StopLadder};
use crate::leader::HELD_ZOMBIE;
use crate::signal::Signal;
use crate::stop::StoppedBy;

/// How soon to look again at a process that executes another program.
pub(crate) const EXEC_TIME: Duration = Duration::from_millis(1);

/// How often to look for its environment, as there are processes without any.
const EXEC_LOOKS: u32 = 20;

/// How often the family is looked up anew while a process of it lives on. The end of a known process
/// is seen at once; this is for what it forked meanwhile, and for numbers that changed hands. A look that
/// failed is tried again as soon.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A way down a ladder.
#[derive(Debug)]
pub(crate) struct Descent {
    ladder: StopLadder,
    at: At,
    by: StoppedBy,
    /// How often the processes without an environment were looked at again.
    closer_looks: u32,
}

/// The steps of the ladder are counted from 0; behind the last one comes `SIGKILL`.
#[derive(Clone, Copy, Debug)]
enum At {
    Before(usize),
    Writing {
        step: usize,
        written_bytes: usize,
        until: Option<Instant>,
    },
    After {
        step: usize,
        until: Option<Instant>,
        /// The signal for strays, once nobody else is left.
        tell: Option<Signal>,
    },
}

/// The leader of the child at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeaderIs {
    Running,
    /// Dead, but a debugger has its status.
    Held,
    Exited,
}

/// Who of the child lives, as the look that was ordered last has shown. A leader that has not exited
/// counts to the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// At least one in the group.
    Group,
    /// Only descendants that left the group.
    Strays,
    /// Nobody for sure, but some processes show no environment.
    Unclear,
    Nobody,
    /// The look failed. Somebody may be left, so that the steps go on at their times.
    Unknown,
}

/// How far the bytes of a step got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrote {
    All,
    /// So many, then the pipe was full.
    Part(usize),
    /// There is no pipe, or nobody reads it.
    Refused,
}

/// What to do now. The first ones take no time: ask again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Signal the group, and let it continue.
    Signal(Signal),
    /// Kill the group and the strays.
    Kill,
    /// Write to stdin without blocking, and report by [`Descent::wrote`]. If the pipe is full, wait for
    /// room until the given moment.
    Write {
        bytes: Vec<u8>,
        until: Option<Instant>,
    },
    /// Look who lives.
    Look,
    /// Look who lives, at this moment, as the last look failed.
    LookAgain(Instant),
    /// Look at the unclear ones at this moment.
    LookCloser(Instant),
    /// Signal the strays if `tell` says so, then look again when one of the family has ended, but at this
    /// moment at the latest.
    Attend {
        tell: Option<Signal>,
        until: Instant,
    },
    /// Wait for the leader.
    AwaitLeader(Option<Instant>),
    Pause(Instant),
    /// Nobody is left: reap the leader.
    Reap,
    /// Somebody outlives `SIGKILL`, or nobody can tell.
    GiveUp,
}

impl Descent {
    pub(crate) fn new(ladder: StopLadder) -> Self {
        Self {
            ladder,
            at: At::Before(0),
            by: StoppedBy::Itself,
            closer_looks: 0,
        }
    }

    /// Leaves this ladder for the top of another one, but for `SIGKILL`, which is the bottom of all.
    pub(crate) fn change(&mut self, ladder: StopLadder) {
        if self.by != StoppedBy::Kill {
            self.ladder = ladder;
            self.at = At::Before(0);
        }
    }

    /// The step that was taken last.
    pub(crate) fn by(&self) -> StoppedBy {
        self.by
    }

    /// What to do at `now`. `seen` is the result of the look that was ordered last, once.
    pub(crate) fn next(&mut self, now: Instant, leader: LeaderIs, seen: Option<Seen>) -> Order {
        loop {
            match self.at {
                At::Before(step) => {
                    let last = step == self.ladder.steps().len();
                    if (last || leader == LeaderIs::Exited)
                        && let Err(order) = self.left(now, seen)
                    {
                        return order;
                    }
                    return self.take(step, now);
                }
                At::Writing {
                    step,
                    written_bytes,
                    until,
                } => {
                    if passed(until, now) || leader == LeaderIs::Exited {
                        self.at = At::Before(step + 1);
                        continue;
                    }
                    let bytes = match self.ladder.steps().get(step).map(|step| &step.act) {
                        Some(Act::Write(bytes)) => bytes[written_bytes..].to_vec(),
                        _ => Vec::new(),
                    };
                    return Order::Write { bytes, until };
                }
                At::After { step, until, tell } => {
                    let last = step == self.ladder.steps().len();
                    let over = passed(until, now);
                    match leader {
                        // While it lives there is no need to look for the others.
                        LeaderIs::Running if !over => return Order::AwaitLeader(until),
                        LeaderIs::Held if !over => {
                            return Order::Pause(earlier(now + HELD_ZOMBIE, until));
                        }
                        LeaderIs::Running | LeaderIs::Held if !last => {
                            self.at = At::Before(step + 1);
                            continue;
                        }
                        _ => {}
                    }
                    match self.left(now, seen) {
                        Err(order) => return order,
                        Ok(_) if over && last => return Order::GiveUp,
                        Ok(_) if over => self.at = At::Before(step + 1),
                        Ok(Seen::Unknown) => {
                            return Order::LookAgain(earlier(now + LOOK_AGAIN, until));
                        }
                        Ok(who) => {
                            return Order::Attend {
                                tell: tell.filter(|_| who == Seen::Strays),
                                until: earlier(now + LOOK_AGAIN, until),
                            };
                        }
                    }
                }
            }
        }
    }

    /// Takes the answer to [`Order::Write`].
    pub(crate) fn wrote(&mut self, wrote: Wrote) {
        let At::Writing {
            step,
            written_bytes,
            until,
        } = &mut self.at
        else {
            return;
        };
        match wrote {
            Wrote::Part(bytes) => *written_bytes += bytes,
            Wrote::Refused => self.at = At::Before(*step + 1),
            Wrote::All => {
                self.by = StoppedBy::Stdin { step: *step };
                self.at = At::After {
                    step: *step,
                    until: *until,
                    tell: None,
                };
            }
        }
    }

    fn take(&mut self, step: usize, now: Instant) -> Order {
        let Some(rung) = self.ladder.steps().get(step) else {
            self.by = StoppedBy::Kill;
            self.at = At::After {
                step,
                until: now.checked_add(self.ladder.kill_time()),
                tell: Some(Signal::Kill),
            };
            return Order::Kill;
        };
        let until = now.checked_add(rung.grace);
        match rung.act {
            Act::Write(_) => {
                self.at = At::Writing {
                    step,
                    written_bytes: 0,
                    until,
                };
                // A stopped process reads nothing.
                Order::Signal(Signal::Cont)
            }
            Act::Signal(signal) => {
                self.by = StoppedBy::Signal { step, signal };
                self.at = At::After {
                    step,
                    until,
                    tell: Some(signal),
                };
                Order::Signal(signal)
            }
        }
    }

    /// Who is left, if anybody may be, or else what to do about it.
    fn left(&mut self, now: Instant, seen: Option<Seen>) -> Result<Seen, Order> {
        match seen {
            None => {
                self.closer_looks = 0;
                Err(Order::Look)
            }
            // One that is in the middle of an exec will have an environment soon, and one that is
            // exiting will be gone.
            Some(Seen::Unclear) if self.closer_looks < EXEC_LOOKS => {
                self.closer_looks += 1;
                Err(Order::LookCloser(now + EXEC_TIME))
            }
            Some(Seen::Unclear | Seen::Nobody) => Err(Order::Reap),
            Some(who) => Ok(who),
        }
    }
}

fn passed(until: Option<Instant>, now: Instant) -> bool {
    until.is_some_and(|until| until <= now)
}

/// `None` is never.
fn earlier(moment: Instant, other: Option<Instant>) -> Instant {
    other.map_or(moment, |other| moment.min(other))
}

#[cfg(test)]
mod tests {
    use super::LeaderIs::{Exited, Held, Running};
    use super::*;

    /// A question at a time in milliseconds since the begin, and the answer to it.
    type Turn = (u64, LeaderIs, Option<Seen>, Order);

    const SECOND: Duration = Duration::from_secs(1);

    struct Check {
        begin: Instant,
        descent: Descent,
    }

    impl Check {
        fn new(ladder: StopLadder) -> Self {
            Self {
                begin: Instant::now(),
                descent: Descent::new(ladder),
            }
        }

        fn at(&self, ms: u64) -> Instant {
            self.begin + Duration::from_millis(ms)
        }

        fn until(&self, ms: u64) -> Option<Instant> {
            Some(self.at(ms))
        }

        #[track_caller]
        fn turns(&mut self, turns: impl IntoIterator<Item = Turn>) {
            for (number, (ms, leader, seen, want)) in turns.into_iter().enumerate() {
                let order = self.descent.next(self.at(ms), leader, seen);
                assert_eq!(order, want, "turn {number} at {ms} ms");
            }
        }
    }

    fn term() -> StopLadder {
        StopLadder::kill_only()
            .signal(Signal::Term, SECOND)
            .kill_within(SECOND)
    }

    fn attend(tell: Option<Signal>, until: Instant) -> Order {
        Order::Attend { tell, until }
    }

    #[test]
    fn who_is_gone_when_it_begins_costs_one_look_and_no_signal() {
        let mut check = Check::new(term());
        check.turns([
            (0, Exited, None, Order::Look),
            (0, Exited, Some(Seen::Nobody), Order::Reap),
        ]);
        assert_eq!(check.descent.by(), StoppedBy::Itself);
    }

    #[test]
    fn who_obeys_is_looked_at_once() {
        let mut check = Check::new(term());
        let until = check.until(1000);
        check.turns([
            (0, Running, None, Order::Signal(Signal::Term)),
            (0, Running, None, Order::AwaitLeader(until)),
            (300, Running, None, Order::AwaitLeader(until)),
            (400, Exited, None, Order::Look),
            (400, Exited, Some(Seen::Nobody), Order::Reap),
        ]);
        let signal = Signal::Term;
        assert_eq!(check.descent.by(), StoppedBy::Signal { step: 0, signal });
    }

    #[test]
    fn who_does_not_obey_is_killed_and_then_given_up() {
        let mut check = Check::new(term());
        let (polite, kill) = (check.until(1000), check.until(2000));
        check.turns([
            (0, Running, None, Order::Signal(Signal::Term)),
            (999, Running, None, Order::AwaitLeader(polite)),
            (1000, Running, None, Order::Look),
            (1000, Running, Some(Seen::Group), Order::Kill),
            (1000, Running, None, Order::AwaitLeader(kill)),
            (2000, Running, None, Order::Look),
            (2000, Running, Some(Seen::Group), Order::GiveUp),
        ]);
        assert_eq!(check.descent.by(), StoppedBy::Kill);
    }

    /// Strays get the signal when nobody else is left, and the next step when that one is over.
    #[test]
    fn strays_are_asked_last() {
        let mut check = Check::new(term());
        let tell = Some(Signal::Term);
        check.turns([
            (0, Running, None, Order::Signal(Signal::Term)),
            (10, Exited, None, Order::Look),
            (10, Exited, Some(Seen::Group), attend(None, check.at(110))),
            (50, Exited, None, Order::Look),
            (50, Exited, Some(Seen::Strays), attend(tell, check.at(150))),
            (950, Exited, None, Order::Look),
            (
                950,
                Exited,
                Some(Seen::Strays),
                attend(tell, check.at(1000)),
            ),
            (1000, Exited, None, Order::Look),
            (1000, Exited, Some(Seen::Strays), Order::Kill),
            (1001, Exited, None, Order::Look),
            (1001, Exited, Some(Seen::Nobody), Order::Reap),
        ]);
        assert_eq!(check.descent.by(), StoppedBy::Kill);
    }

    /// Who shows no environment is looked at for twenty milliseconds, then taken for a stranger.
    #[test]
    fn the_unclear_are_looked_at_more_closely() {
        let mut check = Check::new(term());
        check.turns([(0, Exited, None, Order::Look)]);
        for ms in 0..u64::from(EXEC_LOOKS) {
            let again = Order::LookCloser(check.at(ms + 1));
            check.turns([(ms, Exited, Some(Seen::Unclear), again)]);
        }
        check.turns([(20, Exited, Some(Seen::Unclear), Order::Reap)]);

        let mut check = Check::new(term());
        check.turns([
            (0, Exited, None, Order::Look),
            (
                0,
                Exited,
                Some(Seen::Unclear),
                Order::LookCloser(check.at(1)),
            ),
            (1, Exited, Some(Seen::Strays), Order::Signal(Signal::Term)),
        ]);
    }

    /// A step is never held up by looks that fail, and nobody is reaped.
    #[test]
    fn looks_that_fail_cost_no_time() {
        let mut check = Check::new(term());
        let unknown = Some(Seen::Unknown);
        let kill = check.until(2000);
        check.turns([
            (0, Running, None, Order::Signal(Signal::Term)),
            (1000, Running, None, Order::Look),
            (1000, Running, unknown, Order::Kill),
            (1000, Running, None, Order::AwaitLeader(kill)),
            (1001, Exited, None, Order::Look),
            (1001, Exited, unknown, Order::LookAgain(check.at(1101))),
            (1950, Exited, unknown, Order::LookAgain(check.at(2000))),
            (2000, Exited, unknown, Order::GiveUp),
        ]);

        let mut check = Check::new(term());
        check.turns([
            (0, Exited, None, Order::Look),
            (0, Exited, unknown, Order::Signal(Signal::Term)),
            (0, Exited, None, Order::Look),
            (1, Exited, unknown, Order::LookAgain(check.at(101))),
            (999, Exited, unknown, Order::LookAgain(check.at(1000))),
            (1000, Exited, unknown, Order::Kill),
            (1000, Exited, None, Order::Look),
            (1001, Exited, Some(Seen::Nobody), Order::Reap),
        ]);
        assert_eq!(check.descent.by(), StoppedBy::Kill);
    }

    #[test]
    fn a_held_leader_is_asked_for_every_now_and_then() {
        let mut check = Check::new(term());
        check.turns([
            (0, Running, None, Order::Signal(Signal::Term)),
            (5, Held, None, Order::Pause(check.at(15))),
            (995, Held, None, Order::Pause(check.at(1000))),
            (1000, Held, None, Order::Look),
            (1000, Held, Some(Seen::Group), Order::Kill),
        ]);
    }

    #[test]
    fn bytes_go_out_as_the_pipe_takes_them() {
        let ladder = StopLadder::kill_only().stdin("quit", SECOND);
        let mut check = Check::new(ladder);
        let until = check.until(1000);
        let write = |bytes: &str| Order::Write {
            bytes: bytes.into(),
            until,
        };
        check.turns([
            (0, Running, None, Order::Signal(Signal::Cont)),
            (0, Running, None, write("quit")),
        ]);
        check.descent.wrote(Wrote::Part(3));
        check.turns([(1, Running, None, write("t"))]);
        check.descent.wrote(Wrote::All);
        check.turns([(2, Running, None, Order::AwaitLeader(until))]);
        assert_eq!(check.descent.by(), StoppedBy::Stdin { step: 0 });
    }

    #[test]
    fn bytes_that_cannot_be_written_cost_no_time() {
        #[track_caller]
        fn check(ms: u64, wrote: Option<Wrote>) {
            let ladder = StopLadder::kill_only()
                .stdin("q", SECOND)
                .signal(Signal::Term, SECOND);
            let mut check = Check::new(ladder);
            let write = Order::Write {
                bytes: b"q".into(),
                until: check.until(1000),
            };
            check.turns([
                (0, Running, None, Order::Signal(Signal::Cont)),
                (0, Running, None, write),
            ]);
            if let Some(wrote) = wrote {
                check.descent.wrote(wrote);
            }
            check.turns([(ms, Running, None, Order::Signal(Signal::Term))]);
            let signal = Signal::Term;
            assert_eq!(check.descent.by(), StoppedBy::Signal { step: 1, signal });
        }
        check(0, Some(Wrote::Refused));
        check(1000, Some(Wrote::Part(0)));
        check(1000, None);
    }

    #[test]
    fn a_harsher_ladder_begins_at_its_top() {
        let mut check = Check::new(term());
        check.turns([(0, Running, None, Order::Signal(Signal::Term))]);
        check.descent.change(StopLadder::kill_only());
        check.turns([
            (1, Running, None, Order::Look),
            (1, Running, Some(Seen::Group), Order::Kill),
        ]);
        check.descent.change(term());
        let until = check.until(1 + 5000);
        check.turns([(2, Running, None, Order::AwaitLeader(until))]);
    }

    /// It was the old ladder that ended it.
    #[test]
    fn a_harsher_ladder_comes_too_late() {
        let mut check = Check::new(term());
        check.turns([(0, Running, None, Order::Signal(Signal::Term))]);
        check.descent.change(StopLadder::kill_only());
        check.turns([
            (1, Exited, None, Order::Look),
            (1, Exited, Some(Seen::Nobody), Order::Reap),
        ]);
        let signal = Signal::Term;
        assert_eq!(check.descent.by(), StoppedBy::Signal { step: 0, signal });
    }

    #[test]
    fn a_grace_without_end() {
        let mut check = Check::new(StopLadder::kill_only().signal(Signal::Term, Duration::MAX));
        check.turns([
            (0, Running, None, Order::Signal(Signal::Term)),
            (1_000_000_000, Running, None, Order::AwaitLeader(None)),
        ]);
    }
}
