//! Children that were dropped and would not die in time.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::leader::Leader;

static KEPT: Mutex<Vec<Arc<Leader>>> = Mutex::new(Vec::new());

/// Keeps a killed leader until a [`sweep`] finds it dead.
pub(crate) fn keep(leader: &Arc<Leader>) {
    KEPT.lock().push(Arc::clone(leader));
}

/// Reaps those that died since. Called at every spawn, so that zombies do not add up.
pub(crate) fn sweep() {
    KEPT.lock()
        .retain(|leader| matches!(leader.reap(), Ok(None)));
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Command;
    use std::time::{Duration, Instant};

    use rustix::process::Pid;

    use super::*;
    use crate::signal::Signal;

    #[test]
    fn swept_when_dead_and_no_sooner() {
        let mut child = Command::new("sleep")
            .arg("1000")
            .process_group(0)
            .spawn()
            .unwrap();
        let leader = Arc::new(Leader::adopt(Pid::from_child(&child)).unwrap());
        keep(&leader);
        sweep();
        assert!(!leader.is_reaped());
        leader.signal_group(Signal::Kill).unwrap();
        let start = Instant::now();
        while !leader.is_reaped() {
            sweep();
            assert!(start.elapsed() < Duration::from_secs(30));
        }
        child
            .wait()
            .expect_err("the leader was reaped by the sweep");
        assert!(!KEPT.lock().iter().any(|kept| Arc::ptr_eq(kept, &leader)));
    }
}
