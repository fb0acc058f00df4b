//! The standalone gateway: APIs, command line and assembly.

pub mod api;
pub mod assemble;
mod commands;
pub mod keys;
pub mod listener;
pub mod plugins;
mod pools;
mod problem;
mod push_config;
pub mod push_id;
pub mod rotation;
pub mod serve;
pub mod tokens;

use std::io::Write as _;

/// Runs the command line.
#[must_use]
pub fn main() -> std::process::ExitCode {
    commands::run()
}

/// Prints a line to standard output. A closed pipe is no error.
fn print_line(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
