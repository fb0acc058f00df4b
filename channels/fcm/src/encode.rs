//! Encoding of a message as an FCM request. Pure. The message object is written once; only the target differs.
//! Source: <https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages>.

use std::borrow::Cow;
use std::fmt;

use pushgate::fit::collapse_key_digest;
use pushgate::overrides::merge;
use pushgate::{Address, Message, Notification, Priority, Secret, Timestamp, TokenKind};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::config::Config;

/// Appearance of notifications where the message does not specify it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Style {
    pub(crate) icon: Option<String>,
    pub(crate) badge_icon: Option<String>,
    pub(crate) android_channel: Option<String>,
    pub(crate) sound: Option<String>,
}

impl From<&Config> for Style {
    fn from(config: &Config) -> Self {
        Self {
            icon: config.icon.clone(),
            badge_icon: config.badge_icon.clone(),
            android_channel: config.android_channel.clone(),
            sound: Some(config.sound.clone()).filter(|sound| !sound.is_empty()),
        }
    }
}

/// Returns the message object as JSON text without a target, as of `now`. If device events are requested, it contains the
/// event token of the target with index `target`; the length is the same for every target.
///
/// This length is compared with the size limit. Google documents 4,096 bytes for notification and data, but not whether
/// escapes or platform blocks count. Counting the whole object is never too optimistic.
pub(crate) fn message(message: &Message, style: &Style, now: Timestamp, target: u32) -> String {
    let key = message.collapse_key.as_deref().filter(|key| !key.is_empty());
    let encoder = Encoder {
        message,
        style,
        key,
        // A duplicate under the same tag replaces the notification on the screen.
        tag: &key.map_or_else(|| Cow::Owned(message.id.to_string()), Cow::Borrowed),
        seconds_left: message.seconds_left(now).min(Notification::MAX_TTL.as_secs()),
        now,
        target,
    };
    let json = encoder.encode();
    match &message.overrides {
        Some(Value::Object(patch)) => apply_overrides(&json, patch),
        // `channel.rs` refuses overrides that are not an object.
        Some(_) | None => json,
    }
}

/// Returns the whole request body: the message object with its target in front.
pub(crate) fn request(message: &str, address: &Address) -> String {
    const START: &str = r#"{"message":{"#;
    let token = address.token.expose();
    let mut request = String::with_capacity(START.len() + message.len() + token.len() + 16);
    request.push_str(START);
    request.push_str(if address.kind == TokenKind::Fid { r#""fid":"# } else { r#""token":"# });
    request.push_str(&serde_json::to_string(token).expect("a text always has a JSON form"));
    let rest = message.strip_prefix('{').unwrap_or(message);
    // An override may have emptied the object.
    if rest != "}" {
        request.push(',');
    }
    request.push_str(rest);
    request.push('}');
    request
}

/// Returns the body of a request that FCM validates and does not deliver.
pub(crate) fn probe(token: &str) -> String {
    serde_json::json!({"validate_only": true, "message": {"token": token}}).to_string()
}

/// Encoder of one message object.
struct Encoder<'a> {
    message: &'a Message,
    style: &'a Style,
    key: Option<&'a str>,
    tag: &'a str,
    /// Remaining time to live, in seconds.
    seconds_left: u64,
    now: Timestamp,
    /// Index of the target, for its event token.
    target: u32,
}

impl Encoder<'_> {
    fn encode(&self) -> String {
        let message = self.message;
        Object::to_json(|object| {
            if !message.silent {
                object.object("notification", |shown| {
                    shown.put("title", message.title.expose());
                    shown.put_some("body", Some(message.content.expose()).filter(|body| !body.is_empty()));
                    shown.put_some("image", exposed(&message.image));
                });
            }
            // Never `webpush.data`: it would replace this one.
            object.object("data", |data| {
                data.put_some("payload", exposed(&message.payload));
                // What clients of ZPNs look for beside the payload.
                data.put("zego", message.note_for(self.target).as_str());
            });
            object.object("webpush", |block| self.webpush(block));
            object.object("android", |block| self.android(block));
            object.object("apns", |block| self.apns(block));
        })
    }

    fn webpush(&self, block: &mut Object<'_>) {
        block.object("headers", |headers| {
            headers.put("TTL", Text(self.seconds_left));
            let urgency = match self.message.priority {
                Priority::High => "high",
                Priority::Normal => "normal",
                Priority::Low => "low",
            };
            headers.put("Urgency", urgency);
            headers.put_some("Topic", self.key.map(collapse_key_digest));
        });
        if !self.message.silent {
            block.object("notification", |shown| {
                shown.put("tag", self.tag);
                shown.put_some("icon", self.style.icon.as_deref());
                shown.put_some("badge", self.style.badge_icon.as_deref());
                // Google names title and text as what browsers take from the common block, but not the picture.
                shown.put_some("image", exposed(&self.message.image));
                // A later message under one key is news and alerts again; a duplicate of one message is not.
                shown.put_some("renotify", self.key.map(|_| true));
            });
        }
        // FCM refuses the whole message for a link of another kind.
        if let Some(link) = exposed(&self.message.link).filter(|link| link.starts_with("https://")) {
            block.object("fcm_options", |options| options.put("link", link));
        }
    }

    fn android(&self, block: &mut Object<'_>) {
        block.put_some("collapse_key", self.key);
        block.put("priority", if self.message.priority == Priority::High { "HIGH" } else { "NORMAL" });
        block.put("ttl", Text(format_args!("{}s", self.seconds_left)));
        if !self.message.silent {
            block.object("notification", |shown| {
                let channel = self.message.category.as_deref().or(self.style.android_channel.as_deref());
                shown.put("tag", self.tag);
                shown.put_some("channel_id", channel);
                shown.put_some("notification_count", self.message.badge);
                shown.put_some("sound", self.style.sound.as_deref());
            });
        }
    }

    fn apns(&self, block: &mut Object<'_>) {
        let message = self.message;
        // A number on the icon is seen, so Apple counts it as an alert; what is not seen at all must be `background`,
        // which Apple refuses at priority 10.
        let background = message.silent && message.badge.is_none();
        let urgent = message.priority == Priority::High && !background;
        let ends = self.now.as_secs().saturating_add_unsigned(self.seconds_left);
        block.object("headers", |headers| {
            headers.put("apns-push-type", if background { "background" } else { "alert" });
            headers.put("apns-priority", if urgent { "10" } else { "5" });
            // Zero is Apple's now or never.
            headers.put("apns-expiration", Text(if self.seconds_left == 0 { 0 } else { ends }));
            headers.put("apns-collapse-id", collapse_id(self.tag));
        });
        block.object("payload", |payload| {
            payload.object("aps", |aps| {
                aps.put_some("badge", message.badge);
                aps.put_some("thread-id", message.thread.as_deref());
                aps.put_some("category", message.category.as_deref());
                if message.silent {
                    aps.put("content-available", 1);
                } else {
                    aps.put_some("sound", self.style.sound.as_deref());
                    // Without it the app's extension is not asked to fetch the picture.
                    aps.put_some("mutable-content", message.image.as_ref().map(|_| 1));
                }
            });
        });
    }
}

fn exposed(text: &Option<Secret>) -> Option<&str> {
    text.as_ref().map(Secret::expose)
}

/// Returns the tag as `apns-collapse-id`. Apple accepts 64 printable bytes; any other tag is replaced by its digest.
fn collapse_id(tag: &str) -> Cow<'_, str> {
    if tag.len() <= 64 && tag.bytes().all(|b| b.is_ascii_graphic()) {
        return Cow::Borrowed(tag);
    }
    Cow::Owned(collapse_key_digest(tag))
}

/// Merges the caller's native options. They cannot change the target.
fn apply_overrides(json: &str, patch: &Map<String, Value>) -> String {
    let mut object: Map<String, Value> = serde_json::from_str(json).expect("we have just written it");
    merge(&mut object, patch);
    for target in ["token", "fid", "topic", "condition"] {
        object.remove(target);
    }
    Value::Object(object).to_string()
}

/// Writer of a JSON object. Writes straight from the message: building a tree of values costs several times as much on
/// this hot path.
struct Object<'a> {
    json: &'a mut Vec<u8>,
}

impl Object<'_> {
    fn to_json(fill: impl FnOnce(&mut Object<'_>)) -> String {
        let mut json = Vec::with_capacity(1024);
        Object::fill(&mut json, fill);
        String::from_utf8(json).expect("JSON of texts is a text")
    }

    fn fill(json: &mut Vec<u8>, fill: impl FnOnce(&mut Object<'_>)) {
        json.push(b'{');
        fill(&mut Object { json });
        json.push(b'}');
    }

    fn key(&mut self, key: &'static str) {
        if self.json.last() != Some(&b'{') {
            self.json.push(b',');
        }
        self.json.push(b'"');
        self.json.extend_from_slice(key.as_bytes());
        self.json.extend_from_slice(b"\":");
    }

    fn put(&mut self, key: &'static str, value: impl Serialize) {
        self.key(key);
        serde_json::to_writer(&mut *self.json, &value).expect("texts and numbers always have a JSON form");
    }

    /// Writes nothing for `None`: an absent field is Google's default, and every byte counts.
    fn put_some(&mut self, key: &'static str, value: Option<impl Serialize>) {
        if let Some(value) = value {
            self.put(key, value);
        }
    }

    fn object(&mut self, key: &'static str, fill: impl FnOnce(&mut Object<'_>)) {
        self.key(key);
        Object::fill(self.json, fill);
    }
}

/// Serializes any value as a JSON string: FCM accepts only strings in data and headers.
struct Text<T>(T);

impl<T: fmt::Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&self.0)
    }
}

#[cfg(test)]
pub(crate) mod tests;
