//! Locks, channels and signals between tasks.
