//! Sends to Apple through the crate `a2`, unmodified: how a client that exists already becomes a channel. It brings its own
//! HTTP, TLS and runtime, so it is meant for a process of its own; `README.md` says what that costs.

mod channel;
mod config;
mod decode;
mod encode;

pub use channel::A2;

pushgate_plugin_sdk::export_channel!(A2);
