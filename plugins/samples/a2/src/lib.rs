//! Channel plugin that sends to APNs through the unmodified crate `a2`. Shows how to wrap an existing client that brings its
//! own HTTP, TLS and runtime. Run it in a child process. `README.md` lists the costs.

mod channel;
mod config;
mod decode;
mod encode;

pub use channel::A2;

pushgate_plugin_sdk::export_channel!(A2);
