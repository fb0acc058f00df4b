//! Hands notifications to a server of your own: one signed POST for each address. Signature and headers are those of
//! Standard Webhooks, so any of its libraries verifies them. An address's token is the receiver's own name for whom it is for.

mod channel;
mod config;
mod decode;
mod encode;

pub use channel::Webhook;
pub use config::Config;
pub use decode::outcome;
pub use encode::{Signer, body};

pushgate_plugin_sdk::export_channel!(Webhook);
