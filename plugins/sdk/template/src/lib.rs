//! A channel plugin for the push gateway. What is Acme's own is in `encode` (what it is sent) and `decode` (what its answers
//! mean); both are pure, so both are tested without a network.

mod channel;
mod config;
mod decode;
mod encode;

pushgate_plugin_sdk::export_channel!(channel::Acme);
