//! Keeps children alive, and leaves nothing behind.
