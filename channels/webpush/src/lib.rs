//! Channel for Web Push: sends to the push services of browsers (Mozilla, Google, Apple, Windows) and of operators.
//!
//! Each message is encrypted for one subscription; no account is needed. Sources: RFC 8030 (delivery), RFC 8188 and 8291
//! (encryption), RFC 8292 (VAPID). Limits: 4,096 bytes per request, 3,993 of them plaintext; a time to live of at most
//! four weeks.

mod auth;
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

pub use auth::KeyPair;
pub use channel::WebPush;
pub use config::{Config, ConfigError};
