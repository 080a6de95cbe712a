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
