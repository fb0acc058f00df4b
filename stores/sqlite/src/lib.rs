//! Store and queue on SQLite: one writer, group commit, synchronous=FULL.
