//! From a message to what `a2` sends. Pure. Source:
//! <https://developer.apple.com/documentation/usernotifications/generating-a-remote-notification>.

use std::fmt;

use a2::request::payload::{Payload, PayloadLike};
use a2::{CollapseId, DefaultNotificationBuilder, NotificationBuilder, NotificationOptions};
use pushgate_plugin_sdk::{Act, Fault, Kind, Message};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

/// The longest collapse id Apple takes, in bytes.
const LONGEST_COLLAPSE_ID: usize = 64;

/// What every device of one delivery is sent.
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
    /// Body and headers for a message.
    ///
    /// # Errors
    /// What Apple could never take.
    pub(crate) fn new(message: &Message, topic: &str, sound: Option<&str>) -> Result<Self, Fault> {
        // A number on the icon is seen, so Apple counts it as an alert.
        let background = message.silent && message.badge.is_none();
        Ok(Self {
            body: body(message, sound),
            id: message.id.clone(),
            kind: if background { a2::PushType::Background } else { a2::PushType::Alert },
            expiration: expiration(message),
            priority: match message.priority {
                pushgate_plugin_sdk::Priority::High if !background => a2::Priority::High,
                _ => a2::Priority::Normal,
            },
            topic: topic.to_owned(),
            collapse_id: collapse_id(message, background)?,
        })
    }

    /// The push for one device.
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

/// One push, as `a2` wants it.
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

// `a2` asks for it. A push is a user's text and token, so it says nothing.
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

/// The body, with the caller's native options merged last.
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
        ("zego", Some(note(message))),
    ] {
        payload.data.extend(value.map(|value| (key, value)));
    }
    payload
}

/// What the app looks for beside the payload, as the gateway's own channel for Apple writes it.
fn note(message: &Message) -> Value {
    let mut note = json!({"version": 1, "zpns_request_id": message.id});
    match &message.act {
        Act::Show => {}
        Act::Ring { call, .. } => note["call_id"] = json!(call),
        Act::Remove => note["revoke"] = json!(message.tag),
    }
    note
}

/// Zero is Apple's now or never; otherwise the second in which the time to live ends.
fn expiration(message: &Message) -> u64 {
    let millis = u64::try_from(message.expires_at_ms).unwrap_or(0);
    if message.ttl_s == 0 { 0 } else { millis.div_ceil(1000) }
}

/// Under which name the device shows it. What shows nothing has one only when it is asked for.
fn collapse_id(message: &Message, background: bool) -> Result<Option<String>, Fault> {
    let asked = message.collapse_key.clone().or_else(|| (!background).then(|| message.id.clone()));
    match asked {
        Some(id) if id.len() > LONGEST_COLLAPSE_ID || !id.bytes().all(|b| b.is_ascii_graphic()) => {
            let why = "the collapse key is none for Apple: at most 64 printable ASCII characters";
            Err(Fault::new(Kind::BadMessage, why))
        }
        other => Ok(other),
    }
}

/// RFC 7396: objects are merged, null removes, everything else replaces.
fn merge(into: &mut Value, patch: &Value) {
    let (Value::Object(into), Value::Object(patch)) = (&mut *into, patch) else {
        patch.clone_into(into);
        return;
    };
    for (key, value) in patch {
        if value.is_null() {
            into.remove(key);
        } else {
            merge(into.entry(key).or_insert(Value::Null), value);
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
    fn a_silent_message_shows_nothing_and_is_never_urgent() {
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
    fn a_collapse_key_apple_would_refuse_is_a_fault_of_the_message() {
        for key in ["a".repeat(65), "漢".to_owned()] {
            let message = Message { collapse_key: Some(key), ..message() };
            let fault = Encoded::new(&message, "com.example", None).map(|_| ()).unwrap_err();
            assert_eq!(fault.kind(), Kind::BadMessage);
        }
    }
}
