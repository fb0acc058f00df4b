//! Profiles and categories: named sets of options in the configuration. A caller names one, and the operator decides how
//! each push service shows it. Core interprets no native option: it passes them through by channel.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::ids::ChannelName;
use crate::notification::{Call, Priority};

/// Native options by channel, merged into the request of each channel.
pub type Options = BTreeMap<ChannelName, Value>;

/// Options of notifications with this profile. Values that the caller sets override them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Profile {
    /// Appearance: shown, silent, or on the platform's call screen.
    pub mode: Mode,
    /// Time to live.
    pub ttl: Option<Duration>,
    /// Urgency.
    pub priority: Option<Priority>,
    /// Category of the notification in the device's settings.
    pub category: Option<String>,
    /// Native options by channel. For a call, `{call_id}` is replaced by the call's id.
    pub options: Options,
}

/// Appearance of a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Shown on the screen.
    #[default]
    Alert,
    /// Not shown.
    Silent,
    /// For a call, the platform's own call screen where the channel supports it. Any other notification is shown.
    Voip,
}

/// Name of the profile for notifications that name none, or an unknown one.
pub const DEFAULT: &str = "default";

/// Combines two merge patches, in which `over` wins. Objects merge member by member, any other value is replaced. A `null`
/// is kept, so that the channel can apply the result with [`crate::overrides::merge`].
pub(crate) fn merged(under: Option<Value>, over: Option<&Value>) -> Option<Value> {
    match (under, over) {
        (Some(Value::Object(mut under)), Some(Value::Object(over))) => {
            for (key, value) in over {
                let member = under.remove(key);
                under.extend(merged(member, Some(value)).map(|value| (key.clone(), value)));
            }
            Some(Value::Object(under))
        }
        (under, None) => under,
        (_, Some(over)) => Some(over.clone()),
    }
}

/// Returns the options with `{call_id}` replaced in every text. Without a call, they stay unchanged.
pub(crate) fn filled(options: &Value, call: Option<&Call>) -> Value {
    match options {
        Value::String(text) => match call {
            Some(call) => text.replace("{call_id}", call.id().as_str()).into(),
            None => text.clone().into(),
        },
        Value::Array(values) => values.iter().map(|value| filled(value, call)).collect(),
        Value::Object(table) => table.iter().map(|(key, value)| (key.clone(), filled(value, call))).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notification::CallId;
    use serde_json::json;

    #[test]
    fn tables_are_merged_and_anything_else_is_replaced() {
        let under = json!({"a": {"b": 1, "c": [1]}, "d": 1});
        let over = json!({"a": {"c": [2], "e": 3}, "d": {"f": 1}});
        let both = json!({"a": {"b": 1, "c": [2], "e": 3}, "d": {"f": 1}});
        assert_eq!(merged(Some(under.clone()), Some(&over)), Some(both));
        assert_eq!(merged(Some(under.clone()), None), Some(under.clone()));
        assert_eq!(merged(None, Some(&under)), Some(under));
    }

    #[test]
    fn a_calls_id_is_filled_in_wherever_it_stands() {
        let call = Call::new(CallId::new("c1").unwrap(), Call::DEFAULT_TIMEOUT).unwrap();
        let options = json!({"link": "/call?id={call_id}", "list": ["{call_id}"], "n": 1});
        let full = json!({"link": "/call?id=c1", "list": ["c1"], "n": 1});
        assert_eq!(filled(&options, Some(&call)), full);
        assert_eq!(filled(&options, None), options);
    }
}
