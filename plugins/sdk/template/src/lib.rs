//! Channel plugin for the push gateway. `encode` builds the requests and `decode` interprets the
//! responses. Both do no I/O, so they are tested without a network.

mod channel;
mod config;
mod decode;
mod encode;

pushgate_plugin_sdk::export_channel!(channel::Acme);
