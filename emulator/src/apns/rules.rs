//! Where Apple's documents leave room, or nobody has seen them tried: what the emulator does, and how to make it do otherwise.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The rules that can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
            missing_push_type: MissingPushType::Alert,
            wrong_suffix: WrongSuffix::BadTopic,
            most_payload: 4096,
            most_voip_payload: 5120,
            most_broadcast_payload: 5120,
            most_channels: 10_000,
        }
    }
}

impl Rules {
    /// Returns these rules with the named ones changed. The others stay as they are.
    ///
    /// # Errors
    /// If a name is unknown, with the nearest one, or if a value is not allowed, with its name.
    pub fn merged(&self, changes: &Map<String, Value>) -> Result<Self, String> {
        let Value::Object(mut all) = json!(self) else { return Err("the rules are no object".to_owned()) };
        let mut merged = *self;
        for (name, value) in changes {
            if !all.contains_key(name) {
                return Err(unknown(name, all.keys()));
            }
            all.insert(name.clone(), value.clone());
            merged = serde_json::from_value(Value::Object(all.clone()))
                .map_err(|error| format!("{name}: {error}"))?;
        }
        Ok(merged)
    }

    /// Returns the current value of each rule, what it means and which values it takes.
    pub(super) fn described(&self) -> Value {
        let now = json!(self);
        let described = MEANINGS
            .iter()
            .map(|(name, meaning)| ((*name).to_owned(), json!({"now": now[*name], "meaning": meaning})));
        Value::Object(described.collect())
    }
}

/// The meaning of each rule and its values, for the control API's manual.
const MEANINGS: [(&str, &str); 11] = [
    ("token_life_s", "seconds: the greatest age of a provider token"),
    ("token_skew_s", "seconds: how far in the future a provider token may have been issued"),
    ("mint_every_s", "seconds before a key may show another provider token; 0: at any time. Apple: 1200"),
    (
        "same_token",
        "which provider tokens count as the same: \"claims\" (same key, team and iat), \"text\" (same bytes)",
    ),
    (
        "first_streams",
        "streams of a connection without a certificate, until a provider token has proved good on it",
    ),
    (
        "missing_push_type",
        "a push without apns-push-type: \"alert\" (taken as an alert), \"refused\" (InvalidPushType)",
    ),
    (
        "wrong_suffix",
        "a topic without its push type's suffix: \"bad_topic\", \"topic_disallowed\", \"invalid_push_type\", \"device_token_not_for_topic\"",
    ),
    ("most_payload", "bytes: the longest payload"),
    ("most_voip_payload", "bytes: the longest payload of a call"),
    ("most_broadcast_payload", "bytes: the longest payload of a broadcast"),
    ("most_channels", "broadcast channels that an app may have"),
];

fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a String> + Clone) -> String {
    let nearest = known.clone().max_by(|a, b| similarity(name, a).total_cmp(&similarity(name, b)));
    let known: Vec<_> = known.map(String::as_str).collect();
    match nearest.filter(|nearest| similarity(name, nearest) > 0.4) {
        Some(nearest) => format!("unknown rule {name:?}; did you mean {nearest:?}?"),
        None => format!("unknown rule {name:?}; there are {}", known.join(", ")),
    }
}

/// Share of letter pairs that two names have in common, from 0 to 1 (Dice's coefficient).
fn similarity(a: &str, b: &str) -> f64 {
    let pairs = |text: &str| text.as_bytes().windows(2).map(<[u8]>::to_vec).collect::<Vec<_>>();
    let (ours, mut theirs) = (pairs(a), pairs(b));
    let all = ours.len() + theirs.len();
    let mut common = 0;
    for pair in ours {
        if let Some(place) = theirs.iter().position(|other| *other == pair) {
            theirs.swap_remove(place);
            common += 2;
        }
    }
    if all == 0 { 0.0 } else { f64::from(common) / all as f64 }
}

/// Which provider tokens count as the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SameToken {
    /// Those with the same key, team and time of issue.
    Claims,
    /// Those that are the same byte for byte.
    Text,
}

/// The treatment of a push without `apns-push-type`. Apple requires the header since iOS 13 and watchOS 6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingPushType {
    /// InvalidPushType, unless something else is wrong with it.
    Refused,
    /// It is taken as an alert.
    Alert,
}

/// What is said to a topic that has not the suffix of its push type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_is_described_and_no_other() {
        let Value::Object(rules) = json!(Rules::default()) else { panic!("rules are no object") };
        let described: std::collections::BTreeSet<_> = MEANINGS.iter().map(|(name, _)| *name).collect();
        assert_eq!(described, rules.keys().map(String::as_str).collect());
    }
}
