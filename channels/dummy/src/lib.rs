//! A channel with scripted answers: for trying routes and templates without a vendor, and the first thing a channel author
//! reads. Every channel has these files: `config`, `channel`, and where there is a wire, `encode` and `decode`.

mod channel;
mod config;

pub use channel::Dummy;
pub use config::{Answer, Config};
