//! Channel to a vendor that does not exist: the template of all other channels, which have the same files.
//! `cargo xtask new-channel NAME` copies them.

mod channel;
mod config;
#[cfg(test)]
mod conformance;
mod decode;
mod encode;
#[cfg(test)]
mod golden;

pub use channel::Dummy;
pub use config::{Config, ConfigError};

// Of this channel alone, and not copied: a simulated vendor in process, to try routes without credentials.
mod vendor;
pub use vendor::{Answer, Script};
