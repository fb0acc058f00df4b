//! Channel for the Apple Push Notification service (APNs) over HTTP/2: all push types, with provider tokens or certificates.
//!
//! Source: <https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns>. Limits:
//! 4,096 bytes per payload, 5,120 for VoIP; a time to live of at most thirty days. APNs keeps the newest notification per app
//! and device.

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
