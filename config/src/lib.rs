//! Configuration: defaults, file, environment and flags, with errors that name file, line and key.
