//! A channel to a vendor that does not exist: the mould of the channels to those that do. Each of them has these files,
//! and `cargo xtask new-channel NAME` copies them.

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

// Of this channel alone, and not copied: the vendor, played in process, so that routes can be tried without one.
mod vendor;
pub use vendor::{Answer, Script};
