//! Web Push: straight to the push services of browsers (Mozilla, Google, Apple, Windows, an operator's own), encrypted for
//! each subscription, without any account. Sources: RFC 8030 (delivery), 8188 and 8291 (encryption), 8292 (VAPID).
//! Limits: 4,096 bytes a request, of which 3,993 are ours; a message is kept four weeks at most.

mod channel;
mod config;
#[cfg(test)]
mod conformance;
mod crypto;
mod decode;
mod encode;
#[cfg(test)]
mod golden;
mod subscription;
mod vapid;

pub use channel::WebPush;
pub use config::{Config, ConfigError};
pub use vapid::KeyPair;
