//! Profiles and categories: named sets of options on the server's side, so that a sender names what it is about and an
//! operator decides how each push service shows it. Core knows no option of any service: they pass through by channel.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::notification::{Call, Priority};
use crate::words::ChannelName;

/// Native options by channel, merged into what each channel sends.
pub type Options = BTreeMap<ChannelName, Value>;

/// How a notification with this profile is sent. What the caller says himself goes before it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Profile {
    /// Shown, silent, or by the platform's call screen.
    pub mode: Mode,
    /// How long it is worth sending.
    pub ttl: Option<Duration>,
    /// How urgent it is.
    pub priority: Option<Priority>,
    /// What kind of notification it is for the device's settings.
    pub category: Option<String>,
    /// Native options by channel. In a call's, `{call_id}` stands for the call's id.
    pub options: Options,
}

/// How a notification appears.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It is shown.
    #[default]
    Alert,
    /// It is not.
    Silent,
    /// A call rings by the platform's own call screen, where the channel can; anything else is shown.
    Voip,
}

/// The profile used where none, or an unknown one, is named.
pub const DEFAULT: &str = "default";

/// Lays one patch upon another: tables key by key, anything else whole. A null stays one: it is for the channel to take out
/// what it means ([`crate::overrides::merge`]).
pub(crate) fn merged(under: Option<Value>, over: Option<&Value>) -> Option<Value> {
    match (under, over) {
        (Some(Value::Object(mut under)), Some(Value::Object(over))) => {
            for (key, value) in over {
                let below = under.remove(key);
                under.extend(merged(below, Some(value)).map(|value| (key.clone(), value)));
            }
            Some(Value::Object(under))
        }
        (under, None) => under,
        (_, Some(over)) => Some(over.clone()),
    }
}

/// The options with `{call_id}` filled in.
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
