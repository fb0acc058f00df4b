//! Channel for Firebase Cloud Messaging (FCM HTTP v1): web pages, and Android and Apple devices with the Firebase SDK.
//!
//! Source: <https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages>. Limits: 4,096 bytes per
//! message, 600,000 messages per minute and project, a time to live of at most four weeks.

mod auth;
mod channel;
mod config;
#[cfg(test)]
mod conformance;
mod decode;
mod encode;
#[cfg(test)]
mod golden;

pub use channel::Fcm;
pub use config::{Config, ConfigError};
