//! Replace files and sync folders so that a crash leaves the old or the new state.
