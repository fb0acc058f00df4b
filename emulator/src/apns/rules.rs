//! Where Apple's documents leave room, or nobody has seen them tried: what the emulator does, and how to make it do otherwise.

use serde::Deserialize;

/// The rules that can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// The greatest age of a provider token, in seconds.
    pub token_life_s: u32,
    /// How far a provider token may have been issued in the future, in seconds.
    pub token_skew_s: u32,
    /// How long a key has to wait before it shows another provider token, in seconds.
    pub mint_every_s: u32,
    /// Which provider tokens count as the same.
    pub same_token: SameToken,
    /// How many streams a connection carries that shows no certificate, until a provider token has proved good on it.
    pub first_streams: u32,
    /// What is said to a push without `apns-push-type`.
    pub missing_push_type: MissingPushType,
    /// What is said to a topic that has not the suffix of its push type.
    pub wrong_suffix: WrongSuffix,
    /// The longest payload, in bytes.
    pub most_payload: usize,
    /// The longest payload of a call, in bytes.
    pub most_voip_payload: usize,
    /// The longest payload of a broadcast, in bytes.
    pub most_broadcast_payload: usize,
    /// How many broadcast channels an app may have.
    pub most_channels: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            token_life_s: 3600,
            token_skew_s: 60,
            mint_every_s: 1200,
            same_token: SameToken::Claims,
            first_streams: 1,
            missing_push_type: MissingPushType::Refused,
            wrong_suffix: WrongSuffix::BadTopic,
            most_payload: 4096,
            most_voip_payload: 5120,
            most_broadcast_payload: 5120,
            most_channels: 10_000,
        }
    }
}

/// Which provider tokens count as the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SameToken {
    /// Those with the same key, team and time of issue.
    Claims,
    /// Those that are the same byte for byte.
    Text,
}

/// What is said to a push without `apns-push-type`, which old systems took for an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingPushType {
    /// InvalidPushType.
    Refused,
    /// It is taken for an alert.
    Alert,
}

/// What is said to a topic that has not the suffix of its push type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WrongSuffix {
    /// BadTopic.
    BadTopic,
    /// TopicDisallowed.
    TopicDisallowed,
    /// InvalidPushType.
    InvalidPushType,
    /// DeviceTokenNotForTopic.
    DeviceTokenNotForTopic,
}
