//! Conversion of messages to pushes of `a2`. Source:
//! <https://developer.apple.com/documentation/usernotifications/generating-a-remote-notification>.

use std::fmt;

use a2::request::payload::{Payload, PayloadLike};
use a2::{CollapseId, DefaultNotificationBuilder, NotificationBuilder, NotificationOptions};
use pushgate_plugin_sdk::{Act, Fault, Kind, Message};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

/// Maximum length of a collapse id at APNs, in bytes.
const MAX_COLLAPSE_ID: usize = 64;

/// Body and headers of a delivery, the same for all devices.
pub(crate) struct Encoded {
    pub(crate) body: Value,
    id: String,
    kind: a2::PushType,
    expiration: u64,
    priority: a2::Priority,
    topic: String,
    collapse_id: Option<String>,
}

impl Encoded {
    /// Encodes a message.
    ///
    /// # Errors
    /// `bad_message` if APNs would never accept the collapse key.
    pub(crate) fn new(message: &Message, topic: &str, sound: Option<&str>) -> Result<Self, Fault> {
        // A number on the icon is visible, so APNs treats it as an alert.
        let is_background = message.silent && message.badge.is_none();
        Ok(Self {
            body: body(message, sound),
            id: message.id.clone(),
            kind: if is_background { a2::PushType::Background } else { a2::PushType::Alert },
            expiration: expiration(message),
            priority: match message.priority {
                pushgate_plugin_sdk::Priority::High if !is_background => a2::Priority::High,
                _ => a2::Priority::Normal,
            },
            topic: topic.to_owned(),
            collapse_id: collapse_id(message, is_background)?,
        })
    }

    /// Returns the push for one device.
    pub(crate) fn push<'a>(&'a self, token: &'a str) -> Push<'a> {
        let options = NotificationOptions {
            apns_id: Some(&self.id),
            apns_push_type: Some(self.kind),
            apns_expiration: Some(self.expiration),
            apns_priority: Some(self.priority.clone()),
            apns_topic: Some(&self.topic),
            apns_collapse_id: self.collapse_id.as_deref().map(|value| CollapseId { value }),
        };
        Push { body: &self.body, options, token }
    }
}

/// Push in the form that `a2` needs.
pub(crate) struct Push<'a> {
    body: &'a Value,
    options: NotificationOptions<'a>,
    token: &'a str,
}

impl Serialize for Push<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.body.serialize(serializer)
    }
}

// `a2` requires `Debug`. A push contains texts and a token, so it prints neither.
impl fmt::Debug for Push<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Push")
    }
}

impl PayloadLike for Push<'_> {
    fn get_device_token(&self) -> &str {
        self.token
    }

    fn get_options(&self) -> &NotificationOptions<'_> {
        &self.options
    }
}

/// Returns the body, with the caller's native options merged last.
pub(crate) fn body(message: &Message, sound: Option<&str>) -> Value {
    let mut body = serde_json::to_value(payload(message, sound)).unwrap_or_default();
    if let Some(overrides) = &message.overrides {
        merge(&mut body, overrides);
    }
    body
}

fn payload<'a>(message: &'a Message, sound: Option<&'a str>) -> Payload<'a> {
    let mut builder = DefaultNotificationBuilder::new();
    if message.silent {
        builder = builder.set_content_available();
    } else {
        builder = builder.set_title(&message.title).set_body(&message.content);
        if message.image.is_some() {
            builder = builder.set_mutable_content();
        }
        if let Some(sound) = sound {
            builder = builder.set_sound(sound);
        }
    }
    if let Some(badge) = message.badge {
        builder = builder.set_badge(badge);
    }
    if let Some(category) = &message.category {
        builder = builder.set_category(category);
    }
    let mut payload = builder.build("", NotificationOptions::default());
    let text = |text: &Option<String>| text.as_deref().map(Value::from);
    for (key, value) in [
        ("payload", text(&message.payload)),
        ("link", text(&message.link)),
        ("image", text(&message.image)),
        ("zego", Some(app_data(message))),
    ] {
        payload.data.extend(value.map(|value| (key, value)));
    }
    payload
}

/// Returns the gateway's data for the app, in the format of the built-in channel `apns`.
fn app_data(message: &Message) -> Value {
    let mut data = json!({"version": 1, "zpns_request_id": message.id});
    match &message.act {
        Act::Show => {}
        Act::Ring { call, .. } => data["call_id"] = json!(call),
        Act::Remove => data["revoke"] = json!(message.tag),
    }
    data
}

/// Returns `apns-expiration`: the second in which the time to live ends. Zero means to deliver now or not at all.
fn expiration(message: &Message) -> u64 {
    let millis = u64::try_from(message.expires_at_ms).unwrap_or(0);
    if message.ttl_s == 0 { 0 } else { millis.div_ceil(1000) }
}

/// Returns the collapse id. A background push has one only if the caller gives a collapse key.
fn collapse_id(message: &Message, is_background: bool) -> Result<Option<String>, Fault> {
    let id = message.collapse_key.clone().or_else(|| (!is_background).then(|| message.id.clone()));
    match id {
        Some(id) if id.len() > MAX_COLLAPSE_ID || !id.bytes().all(|b| b.is_ascii_graphic()) => {
            let why = "the collapse key must have at most 64 printable ASCII characters for APNs";
            Err(Fault::new(Kind::BadMessage, why))
        }
        id => Ok(id),
    }
}

/// Merges a JSON Merge Patch (RFC 7396) into `target`.
fn merge(target: &mut Value, patch: &Value) {
    let (Value::Object(target), Value::Object(patch)) = (&mut *target, patch) else {
        patch.clone_into(target);
        return;
    };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pushgate_plugin_sdk::Priority;

    fn message() -> Message {
        Message {
            id: "0190c9a4-0000-7000-8000-000000000000".to_owned(),
            app: "demo".to_owned(),
            title: "Ann".to_owned(),
            content: "hello".to_owned(),
            payload: Some("{\"conversation\":\"ann\"}".to_owned()),
            image: None,
            link: None,
            collapse_key: None,
            thread: None,
            category: None,
            overrides: None,
            created_at_ms: 1_700_000_000_000,
            expires_at_ms: 1_700_000_060_001,
            ttl_s: 60,
            badge: None,
            priority: Priority::High,
            silent: false,
            tag: "0190c9a4-0000-7000-8000-000000000000".to_owned(),
            act: Act::Show,
        }
    }

    fn headers(message: &Message) -> [Option<String>; 4] {
        let encoded = Encoded::new(message, "com.example", None).unwrap();
        let push = encoded.push("aa");
        let options = push.get_options();
        [
            options.apns_push_type.map(|kind| kind.to_string()),
            options.apns_priority.as_ref().map(ToString::to_string),
            options.apns_expiration.map(|at| at.to_string()),
            options.apns_collapse_id.as_ref().map(|id| id.value.to_owned()),
        ]
    }

    #[test]
    fn a_shown_message_has_an_alert_and_the_apps_data() {
        let body = body(&message(), Some("ping"));
        let aps = json!({"alert": {"title": "Ann", "body": "hello"}, "sound": "ping", "mutable-content": 0});
        assert_eq!((&body["aps"], &body["payload"]), (&aps, &json!("{\"conversation\":\"ann\"}")));
        let [kind, priority, expiration, collapse] = headers(&message());
        assert_eq!((kind.as_deref(), priority.as_deref()), (Some("alert"), Some("10")));
        assert_eq!((expiration.as_deref(), collapse), (Some("1700000061"), Some(message().id)));
    }

    #[test]
    fn a_silent_message_has_no_alert_and_normal_priority() {
        let silent = Message { silent: true, act: Act::Remove, ttl_s: 0, ..message() };
        let body = body(&silent, Some("ping"));
        assert_eq!(body["aps"], json!({"content-available": 1, "mutable-content": 0}));
        assert_eq!(body["zego"]["revoke"], json!(silent.tag));
        let expected = [Some("background"), Some("5"), Some("0"), None].map(|text| text.map(str::to_owned));
        assert_eq!(headers(&silent), expected);
    }

    #[test]
    fn native_options_are_merged_last() {
        let overrides =
            json!({"aps": {"thread-id": "t", "mutable-content": null, "alert": "plain"}, "own": 1});
        let body = body(&Message { overrides: Some(overrides), ..message() }, None);
        assert_eq!((&body["aps"], &body["own"]), (&json!({"alert": "plain", "thread-id": "t"}), &json!(1)));
    }

    #[test]
    fn a_collapse_key_that_apns_would_refuse_is_a_bad_message() {
        for key in ["a".repeat(65), "漢".to_owned()] {
            let message = Message { collapse_key: Some(key), ..message() };
            let fault = Encoded::new(&message, "com.example", None).map(|_| ()).unwrap_err();
            assert_eq!(fault.kind(), Kind::BadMessage);
        }
    }
}
