//! APNs over HTTP/2: every kind of Apple push, by provider token or by certificate.
//!
//! Source: <https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns>. Limits:
//! 4,096 bytes a payload, 5,120 for VoIP; a notification is kept thirty days at most, the newest of each app and device.

mod auth;
mod broadcast;
mod certificate;
mod channel;
mod config;
#[cfg(test)]
mod conformance;
mod decode;
mod encode;
#[cfg(test)]
mod golden;

pub use auth::ProviderTokens;
pub use channel::Apns;
pub use config::{Config, ConfigError, Environment, Identity};
