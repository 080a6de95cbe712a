//! What every Longtake daemon does at both ends: configuration, logs, signals.
