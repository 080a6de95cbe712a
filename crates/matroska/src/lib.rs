//! Matroska writer and reader with microsecond ticks, cluster CRCs and recovery.
