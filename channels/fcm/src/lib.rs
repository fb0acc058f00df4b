//! FCM HTTP v1: Web Push first of all, Android and Apple devices behind Firebase.
//!
//! Source: <https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages>. Limits: 4,096 bytes a message,
//! 600,000 messages a minute and project; a message is kept four weeks at most.

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
