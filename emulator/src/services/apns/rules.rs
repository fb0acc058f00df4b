//! Rules that decide where Apple's documentation is silent or its behaviour is unknown.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Adjustable rules of APNs. The control API names them as this struct does, except where `serde` renames a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AppleRules {
    /// Maximum age of a provider token, in seconds.
    pub token_life_s: u32,
    /// Maximum time by which a provider token may be issued in the future, in seconds.
    pub token_skew_s: u32,
    /// Minimum time between two new provider tokens of a key, in seconds.
    pub mint_every_s: u32,
    /// Comparison that decides whether a provider token is new.
    pub same_token: TokenComparison,
    /// Concurrent streams of a connection without a certificate, until it has used a valid provider token.
    pub first_streams: u32,
    /// Treatment of a push without `apns-push-type`.
    pub missing_push_type: MissingPushType,
    /// Error for a topic without the suffix of its push type.
    pub wrong_suffix: WrongSuffix,
    /// Maximum payload, in bytes.
    #[serde(rename = "most_payload")]
    pub max_payload: usize,
    /// Maximum payload of a call (push type `voip`), in bytes.
    #[serde(rename = "most_voip_payload")]
    pub max_voip_payload: usize,
    /// Maximum payload of a broadcast, in bytes.
    #[serde(rename = "most_broadcast_payload")]
    pub max_broadcast_payload: usize,
    /// Maximum number of broadcast channels of an app in one environment.
    #[serde(rename = "most_channels")]
    pub max_channels: usize,
}

impl Default for AppleRules {
    fn default() -> Self {
        Self {
            token_life_s: 3600,
            token_skew_s: 60,
            mint_every_s: 1200,
            same_token: TokenComparison::Claims,
            first_streams: 1,
            missing_push_type: MissingPushType::Alert,
            wrong_suffix: WrongSuffix::BadTopic,
            max_payload: 4096,
            max_voip_payload: 5120,
            max_broadcast_payload: 5120,
            max_channels: 10_000,
        }
    }
}

impl AppleRules {
    /// Returns these rules with some values changed. The other rules stay as they are.
    ///
    /// # Errors
    /// An error text with the nearest known name if a name is unknown. An error text with the rule's name if its value
    /// is not valid.
    pub fn with_changes(&self, changes: &Map<String, Value>) -> Result<Self, String> {
        let Value::Object(mut values) = json!(self) else {
            return Err("the rules cannot be serialised as an object".to_owned());
        };
        let mut changed = *self;
        for (name, value) in changes {
            if !values.contains_key(name) {
                return Err(unknown_rule(name, values.keys()));
            }
            values.insert(name.clone(), value.clone());
            changed = serde_json::from_value(Value::Object(values.clone()))
                .map_err(|error| format!("{name}: {error}"))?;
        }
        Ok(changed)
    }

    /// Returns value and meaning of each rule, for the control API's manual.
    pub(super) fn describe(&self) -> Value {
        let values = json!(self);
        let descriptions = MEANINGS
            .iter()
            .map(|(name, meaning)| ((*name).to_owned(), json!({"now": values[*name], "meaning": meaning})));
        Value::Object(descriptions.collect())
    }
}

/// Meaning and possible values of each rule, for the control API's manual.
const MEANINGS: [(&str, &str); 11] = [
    ("token_life_s", "seconds: the maximum age of a provider token"),
    ("token_skew_s", "seconds: how far in the future a provider token may have been issued"),
    ("mint_every_s", "seconds before a key may show another provider token; 0: at any time. Apple: 1200"),
    (
        "same_token",
        "comparison of provider tokens: \"claims\" (same key, team and iat), \"text\" (same bytes)",
    ),
    (
        "first_streams",
        "concurrent streams of a connection without a certificate, until it has used a valid provider token",
    ),
    (
        "missing_push_type",
        "a push without apns-push-type: \"alert\" (accepted as an alert), \"refused\" (InvalidPushType)",
    ),
    (
        "wrong_suffix",
        "a topic without its push type's suffix: \"bad_topic\", \"topic_disallowed\", \"invalid_push_type\", \"device_token_not_for_topic\"",
    ),
    ("most_payload", "bytes: the maximum payload"),
    ("most_voip_payload", "bytes: the maximum payload of a call"),
    ("most_broadcast_payload", "bytes: the maximum payload of a broadcast"),
    ("most_channels", "maximum number of broadcast channels of an app"),
];

fn unknown_rule<'a>(name: &str, known: impl Iterator<Item = &'a String> + Clone) -> String {
    let nearest = known.clone().max_by(|a, b| similarity(name, a).total_cmp(&similarity(name, b)));
    let names: Vec<_> = known.map(String::as_str).collect();
    match nearest.filter(|nearest| similarity(name, nearest) > 0.4) {
        Some(nearest) => format!("unknown rule {name:?}; did you mean {nearest:?}?"),
        None => format!("unknown rule {name:?}; use one of {}", names.join(", ")),
    }
}

/// Returns the share of letter pairs that two names have in common, from 0 to 1 (Dice's coefficient).
fn similarity(a: &str, b: &str) -> f64 {
    let pairs = |text: &str| text.as_bytes().windows(2).map(<[u8]>::to_vec).collect::<Vec<_>>();
    let (pairs_a, mut pairs_b) = (pairs(a), pairs(b));
    let total = pairs_a.len() + pairs_b.len();
    let mut common = 0;
    for pair in pairs_a {
        if let Some(position) = pairs_b.iter().position(|other| *other == pair) {
            pairs_b.swap_remove(position);
            common += 2;
        }
    }
    if total == 0 { 0.0 } else { f64::from(common) / total as f64 }
}

/// Comparison of provider tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenComparison {
    /// Tokens with the same key, team and time of issue are the same.
    Claims,
    /// Only tokens with the same bytes are the same.
    Text,
}

/// Treatment of a push without `apns-push-type`. Apple requires the header since iOS 13 and watchOS 6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingPushType {
    /// The push is refused with `InvalidPushType`, unless another error applies.
    Refused,
    /// The push is accepted as an alert.
    Alert,
}

/// Error for a topic without the suffix of its push type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WrongSuffix {
    /// Error code `BadTopic`.
    BadTopic,
    /// Error code `TopicDisallowed`.
    TopicDisallowed,
    /// Error code `InvalidPushType`.
    InvalidPushType,
    /// Error code `DeviceTokenNotForTopic`.
    DeviceTokenNotForTopic,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_existing_rules_are_described() {
        let Value::Object(rules) = json!(AppleRules::default()) else { panic!("rules are no object") };
        let described: std::collections::BTreeSet<_> = MEANINGS.iter().map(|(name, _)| *name).collect();
        assert_eq!(described, rules.keys().map(String::as_str).collect());
    }
}
