//! How much memory a piece of work takes, counted for its own thread.
#![expect(unsafe_code, reason = "an allocator has no safe form")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

/// The most that this thread held at once during `work`, beyond what it held before, in bytes.
pub(crate) fn peak_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.get();
    PEAK.set(before);
    let result = work();
    let peak = usize::try_from(PEAK.get() - before).unwrap();
    (result, peak)
}

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

fn count(bytes: isize) {
    // The thread's own values are gone while it ends.
    let held = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        held.get()
    });
    if let Ok(held) = held {
        PEAK.with(|peak| peak.set(peak.get().max(held)));
    }
}

// SAFETY: each call goes to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: the caller keeps the rules for `layout`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        // SAFETY: the memory came from `System` with this layout, as the caller promises.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // While the bytes move, both places are held.
        count(size.cast_signed());
        count(-layout.size().cast_signed());
        // SAFETY: the memory came from `System` with this layout, as the caller promises.
        unsafe { System.realloc(memory, layout, size) }
    }
}
