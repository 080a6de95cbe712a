//! A queue between two threads that is bounded in bytes and says what it lost.
//!
//! [`QueueCore`] decides what stays and what goes; [`queue`] wraps it for two threads.

use std::{collections::VecDeque, mem, sync::Arc, time::Instant};

use parking_lot::{Condvar, Mutex};

use crate::counts::DropReason;

/// What a full queue does with one more item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum WhenFull {
    /// Refuses the new item. What is already queued stays, so a short stall of the disk costs the
    /// end of the stall and not its beginning.
    #[default]
    DropNewest,
    /// Throws away the oldest items until the new one fits.
    DropOldest,
    /// Makes the source wait. Only right for a source that can wait, such as a file.
    Block,
}

/// What the queue must know of an item.
pub(crate) trait Queued {
    /// Its weight against the limit, by [`weight`].
    fn bytes(&self) -> usize;

    /// Whether a decoder can begin with it. True for everything that stands alone.
    fn starts_gop(&self) -> bool;
}

/// What an item with this much payload takes of the memory: sensor samples are smaller than what is
/// around them.
pub(crate) const fn weight<T>(payload: usize) -> usize {
    /// The header of a shared buffer and what the allocator adds, rounded up.
    const BUFFER: usize = 64;
    size_of::<T>() + BUFFER + payload
}

/// Whether an item was taken, and what had to go.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct Offered<T> {
    /// Items that were lost, each with the reason: the new one, or older ones.
    pub dropped: Vec<(T, DropReason)>,
}

/// The bounded queue itself: no lock, no thread.
///
/// A loss in a stream of dependent packets extends to the next keyframe, on whichever side it
/// happens, because a decoder could do nothing with what lies between.
#[derive(Debug)]
pub(crate) struct QueueCore<T> {
    items: VecDeque<T>,
    bytes: usize,
    max_bytes: usize,
    when_full: WhenFull,
    awaits_keyframe: bool,
}

impl<T: Queued> QueueCore<T> {
    pub(crate) fn new(max_bytes: usize, when_full: WhenFull) -> Self {
        Self {
            items: VecDeque::new(),
            bytes: 0,
            max_bytes,
            when_full,
            awaits_keyframe: false,
        }
    }

    /// Whether `item` would fit without a loss. An item larger than the whole limit fits into an
    /// empty queue: it would pass never otherwise.
    pub(crate) fn has_room_for(&self, item: &T) -> bool {
        self.items.is_empty() || self.bytes.saturating_add(item.bytes()) <= self.max_bytes
    }

    /// Takes `item`, or drops it or others as the policy says. With [`WhenFull::Block`] the caller
    /// has waited until there is room.
    pub(crate) fn offer(&mut self, item: T) -> Offered<T> {
        let mut dropped = Vec::new();
        if self.awaits_keyframe && !item.starts_gop() {
            dropped.push((item, DropReason::BrokenGop));
            return Offered { dropped };
        }
        if !self.has_room_for(&item) {
            match self.when_full {
                WhenFull::DropNewest | WhenFull::Block => {
                    self.awaits_keyframe = true;
                    dropped.push((item, DropReason::QueueFull));
                    return Offered { dropped };
                }
                WhenFull::DropOldest => {
                    self.make_room(item.bytes(), &mut dropped);
                    if self.items.is_empty() && !item.starts_gop() {
                        self.awaits_keyframe = true;
                        dropped.push((item, DropReason::BrokenGop));
                        return Offered { dropped };
                    }
                }
            }
        }
        self.awaits_keyframe = false;
        self.bytes += item.bytes();
        self.items.push_back(item);
        Offered { dropped }
    }

    pub(crate) fn take(&mut self) -> Option<T> {
        let item = self.items.pop_front()?;
        self.bytes -= item.bytes();
        Some(item)
    }

    /// Drops from the front until `bytes` more fit, and then up to the next keyframe.
    fn make_room(&mut self, bytes: usize, dropped: &mut Vec<(T, DropReason)>) {
        while self.bytes.saturating_add(bytes) > self.max_bytes {
            let Some(oldest) = self.take() else { return };
            dropped.push((oldest, DropReason::QueueFull));
        }
        while self.items.front().is_some_and(|head| !head.starts_gop()) {
            let orphan = self.take().expect("the front was just looked at");
            dropped.push((orphan, DropReason::BrokenGop));
        }
    }
}

/// Makes a queue of at most `max_bytes` between one or more senders and one receiver.
pub(crate) fn queue<T: Queued>(
    max_bytes: usize,
    when_full: WhenFull,
) -> (QueueSender<T>, QueueReceiver<T>) {
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            core: QueueCore::new(max_bytes, when_full),
            closed: false,
        }),
        filled: Condvar::new(),
        drained: Condvar::new(),
        when_full,
    });
    (
        QueueSender {
            end: Arc::new(SendingEnd {
                shared: Arc::clone(&shared),
            }),
        },
        QueueReceiver { shared },
    )
}

/// The side that puts in. The queue closes when its last sender is dropped.
#[derive(Debug)]
pub(crate) struct QueueSender<T: Queued> {
    end: Arc<SendingEnd<T>>,
}

#[derive(Debug)]
struct SendingEnd<T: Queued> {
    shared: Arc<Shared<T>>,
}

/// The side that takes out.
#[derive(Debug)]
pub(crate) struct QueueReceiver<T: Queued> {
    shared: Arc<Shared<T>>,
}

/// What a receiver found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken<T> {
    /// The next item.
    Item(T),
    /// Nothing came until the deadline.
    TimedOut,
    /// The queue was closed and everything in it has been taken.
    Closed,
}

#[derive(Debug)]
struct Shared<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
    drained: Condvar,
    when_full: WhenFull,
}

#[derive(Debug)]
struct State<T> {
    core: QueueCore<T>,
    closed: bool,
}

impl<T: Queued> QueueSender<T> {
    /// Offers one item; gives it back when the queue is closed. Waits only with
    /// [`WhenFull::Block`], and then until there is room or the queue is closed.
    pub(crate) fn offer(&self, item: T) -> Result<Offered<T>, T> {
        let mut state = self.end.shared.state.lock();
        if self.end.shared.when_full == WhenFull::Block {
            while !state.closed && !state.core.has_room_for(&item) {
                self.end.shared.drained.wait(&mut state);
            }
        }
        if state.closed {
            return Err(item);
        }
        let offered = state.core.offer(item);
        drop(state);
        self.end.shared.filled.notify_one();
        Ok(offered)
    }

    /// Closes the queue: nothing more goes in, what is in it can still be taken.
    pub(crate) fn close(&self) {
        self.end.shared.close();
    }
}

impl<T: Queued> Drop for QueueReceiver<T> {
    /// Nobody takes anything any more, so no sender may wait for room.
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl<T: Queued> Clone for QueueSender<T> {
    fn clone(&self) -> Self {
        Self {
            end: Arc::clone(&self.end),
        }
    }
}

impl<T: Queued> Drop for SendingEnd<T> {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl<T: Queued> QueueReceiver<T> {
    /// Takes the next item, waiting for it as long as it takes; never [`Taken::TimedOut`].
    pub(crate) fn take(&self) -> Taken<T> {
        self.take_before(None)
    }

    /// Takes the next item if there is one.
    pub(crate) fn take_now(&self) -> Option<T> {
        let item = self.shared.state.lock().core.take();
        if item.is_some() {
            self.shared.drained.notify_all();
        }
        item
    }

    /// Takes the next item, waiting for it until `deadline`.
    pub(crate) fn take_until(&self, deadline: Instant) -> Taken<T> {
        self.take_before(Some(deadline))
    }

    /// Whatever is taken, a sender that waits for room hears of it.
    fn take_before(&self, deadline: Option<Instant>) -> Taken<T> {
        let mut state = self.shared.state.lock();
        let mut timed_out = false;
        loop {
            if let Some(item) = state.core.take() {
                drop(state);
                self.shared.drained.notify_all();
                return Taken::Item(item);
            }
            if state.closed {
                return Taken::Closed;
            }
            if timed_out {
                return Taken::TimedOut;
            }
            match deadline {
                None => self.shared.filled.wait(&mut state),
                Some(deadline) => {
                    timed_out = self
                        .shared
                        .filled
                        .wait_until(&mut state, deadline)
                        .timed_out();
                }
            }
        }
    }

    /// Closes the queue and takes all that is left in it.
    pub(crate) fn close_and_drain(&self) -> Vec<T> {
        self.shared.close();
        let mut state = self.shared.state.lock();
        state.core.bytes = 0;
        mem::take(&mut state.core.items).into()
    }
}

impl<T> Shared<T> {
    fn close(&self) {
        self.state.lock().closed = true;
        self.filled.notify_all();
        self.drained.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, PartialEq, Eq)]
    struct Item {
        number: usize,
        bytes: usize,
        keyframe: bool,
    }

    impl Queued for Item {
        fn bytes(&self) -> usize {
            self.bytes
        }

        fn starts_gop(&self) -> bool {
            self.keyframe
        }
    }

    fn item(number: usize, bytes: usize, keyframe: bool) -> Item {
        Item {
            number,
            bytes,
            keyframe,
        }
    }

    /// Offers items of 10 bytes (`K` keyframe, `p` not) to a queue of 30 and tells their fates.
    #[track_caller]
    fn check(when_full: WhenFull, items: &str, want_dropped: &str, want_kept: &[usize]) {
        let mut core = QueueCore::new(30, when_full);
        let mut dropped = Vec::new();
        for (number, form) in items.chars().enumerate() {
            for (lost, reason) in core.offer(item(number, 10, form == 'K')).dropped {
                dropped.push(format!("{}:{reason}", lost.number));
            }
        }
        let kept: Vec<_> = std::iter::from_fn(|| core.take())
            .map(|item| item.number)
            .collect();
        assert_eq!(dropped.join(" "), want_dropped, "{when_full:?} {items}");
        assert_eq!(kept, want_kept, "{when_full:?} {items}");
    }

    #[test]
    fn a_loss_extends_to_the_next_keyframe() {
        check(WhenFull::DropNewest, "Kpp", "", &[0, 1, 2]);
        check(WhenFull::DropNewest, "Kppp", "3:queue_full", &[0, 1, 2]);
        check(
            WhenFull::DropNewest,
            "KpppppK",
            "3:queue_full 4:broken_gop 5:broken_gop 6:queue_full",
            &[0, 1, 2],
        );
        check(WhenFull::DropOldest, "KKKK", "0:queue_full", &[1, 2, 3]);
        check(
            WhenFull::DropOldest,
            "KpKp",
            "0:queue_full 1:broken_gop",
            &[2, 3],
        );
        check(
            WhenFull::DropOldest,
            "Kppp",
            "0:queue_full 1:broken_gop 2:broken_gop 3:broken_gop",
            &[],
        );
        check(
            WhenFull::DropOldest,
            "KppppK",
            "0:queue_full 1:broken_gop 2:broken_gop 3:broken_gop 4:broken_gop",
            &[5],
        );
    }

    #[test]
    fn an_item_larger_than_the_limit_passes_an_empty_queue() {
        let mut core = QueueCore::new(30, WhenFull::DropNewest);
        assert!(core.offer(item(0, 1000, true)).dropped.is_empty());
        assert_eq!(core.offer(item(1, 1, true)).dropped.len(), 1);
        assert_eq!(core.take(), Some(item(0, 1000, true)));
    }

    #[test]
    fn a_blocked_sender_goes_on_when_there_is_room_and_when_the_queue_closes() {
        let (sender, receiver) = queue(10, WhenFull::Block);
        assert!(sender.offer(item(0, 10, true)).unwrap().dropped.is_empty());
        let waiting = thread::spawn(move || {
            let second = sender
                .offer(item(1, 10, true))
                .map(|offered| offered.dropped.len());
            let third = sender
                .offer(item(2, 10, true))
                .map(|offered| offered.dropped.len());
            (second, third)
        });
        let far = Instant::now() + Duration::from_secs(60);
        assert_eq!(receiver.take_until(far), Taken::Item(item(0, 10, true)));
        // The second is in, the third waits: closing must free it, whenever it comes.
        loop {
            let state = receiver.shared.state.lock();
            if state.core.items.len() == 1 {
                break;
            }
            drop(state);
            thread::yield_now();
        }
        assert_eq!(receiver.close_and_drain(), [item(1, 10, true)]);
        assert_eq!(waiting.join().unwrap(), (Ok(0), Err(item(2, 10, true))));
        assert_eq!(receiver.take_until(far), Taken::Closed);
    }

    #[test]
    fn a_take_that_just_timed_out_frees_a_sender_too() {
        let (sender, receiver) = queue(10, WhenFull::Block);
        let sending = thread::spawn(move || {
            for number in 0..50_000 {
                assert!(
                    sender
                        .offer(item(number, 10, true))
                        .unwrap()
                        .dropped
                        .is_empty()
                );
            }
        });
        let far = Instant::now() + Duration::from_secs(60);
        let mut next = 0;
        loop {
            // The deadline is over: an item can only come in while the lock is taken again.
            match receiver.take_until(Instant::now()) {
                Taken::Item(item) => {
                    assert_eq!(item.number, next);
                    next += 1;
                }
                Taken::TimedOut => assert!(Instant::now() < far, "the sender was left waiting"),
                Taken::Closed => break,
            }
        }
        assert_eq!(next, 50_000);
        sending.join().unwrap();
    }

    proptest! {
        #[test]
        fn every_item_has_one_fate_and_what_is_kept_decodes(
            forms in prop::collection::vec((1_usize..40, any::<bool>(), any::<bool>()), 0..200),
            drop_oldest in any::<bool>(),
        ) {
            let when_full = if drop_oldest { WhenFull::DropOldest } else { WhenFull::DropNewest };
            let mut core = QueueCore::new(100, when_full);
            let mut fates = vec![0; forms.len()];
            let mut out = Vec::new();
            for (number, &(bytes, keyframe, take)) in forms.iter().enumerate() {
                for (lost, _) in core.offer(item(number, bytes, keyframe || number == 0)).dropped {
                    fates[lost.number] += 1;
                }
                prop_assert!(core.bytes <= 100);
                prop_assert_eq!(core.bytes, core.items.iter().map(|item| item.bytes).sum::<usize>());
                if take && let Some(item) = core.take() {
                    out.push(item);
                }
            }
            out.extend(std::iter::from_fn(|| core.take()));
            for item in &out {
                fates[item.number] += 1;
            }
            prop_assert!(fates.iter().all(|&fate| fate == 1));
            // After a hole there is a keyframe.
            for pair in out.windows(2) {
                prop_assert!(pair[1].number == pair[0].number + 1 || pair[1].keyframe);
            }
        }
    }
}
