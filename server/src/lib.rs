//! The standalone gateway: doors, command line and assembly.

pub mod assemble;
mod commands;
pub mod doors;
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

/// A line for whoever runs the command. A closed pipe is no reason to fail.
fn say(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
