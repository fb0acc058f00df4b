//! Channel plugin that sends notifications to your own server: one signed POST for each address. Signature and headers
//! follow Standard Webhooks, so any of its libraries verifies them. The token of an address is the endpoint's own name for
//! the recipient.

mod channel;
mod config;
mod decode;
mod encode;

pub use channel::Webhook;
pub use config::Config;
pub use decode::outcome;
pub use encode::{Signer, body};

pushgate_plugin_sdk::export_channel!(Webhook);
