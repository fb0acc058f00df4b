//! From a message to what a push service and a service worker read. Pure; the text is written once for each message, and only
//! encryption differs between subscriptions. Sources: RFC 8030 §5 (headers), and README.md of this channel (the text).

use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use pushgate::fit::digest_of;
use pushgate::overrides::merge;
use pushgate::{Message, Notification, Priority, Secret};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::crypto::MAX_PLAIN;
use crate::subscription::Service;
use crate::vapid::Token;

/// How notifications look where the message does not say.
#[derive(Debug, Default)]
pub(crate) struct Style {
    pub(crate) icon: Option<String>,
    pub(crate) badge_icon: Option<String>,
}

/// What the service worker reads. `notification` is shaped as `showNotification` takes it.
#[derive(Serialize)]
struct Text<'a> {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    notification: Option<Shown<'a>>,
    data: Data<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_badge: Option<u32>,
}

#[derive(Serialize)]
struct Shown<'a> {
    title: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    body: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    navigate: Option<&'a str>,
    /// Under the same tag a duplicate replaces what is shown already.
    tag: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    renotify: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icon: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    badge: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<&'a str>,
    /// When it was asked for: a message that waited for the browser is not shown as new.
    timestamp: i64,
}

#[derive(Serialize)]
struct Data<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a str>,
    /// What clients of ZPNs look for beside the payload.
    zego: String,
}

/// The text the service worker reads, as JSON. Where receipts are wanted it has the token of the target of that number, and is
/// as long for every target.
pub(crate) fn text(message: &Message, style: &Style, target: u32) -> Vec<u8> {
    let shown = || Shown {
        title: message.title.expose(),
        body: message.content.expose(),
        navigate: exposed(&message.link).filter(|link| link.starts_with("https://")),
        tag: key(message).map_or_else(|| message.id.to_string(), str::to_owned),
        // A later message under one key is news and alerts again; a duplicate of one message is not.
        renotify: key(message).map(|_| true),
        icon: style.icon.as_deref(),
        badge: style.badge_icon.as_deref(),
        image: exposed(&message.image),
        timestamp: message.created_at.as_millis(),
    };
    let text = Text {
        id: message.id.to_string(),
        notification: (!message.silent).then(shown),
        data: Data { payload: exposed(&message.payload), zego: message.note_for(target) },
        app_badge: message.badge,
    };
    let json = serde_json::to_vec(&text).expect("texts and numbers always have a JSON form");
    match &message.overrides {
        Some(Value::Object(patch)) => patched(&json, patch),
        // `channel.rs` refuses what is no object before it sends.
        Some(_) | None => json,
    }
}

/// How long the text becomes for padding to a multiple of `block` bytes; never longer than fits.
pub(crate) fn filled_up(length: usize, block: usize) -> usize {
    if block == 0 { length } else { length.next_multiple_of(block).min(MAX_PLAIN).max(length) }
}

/// The headers one delivery's requests have in common, whichever the service.
pub(crate) fn headers(message: &Message) -> HeaderMap {
    let urgency = match message.priority {
        Priority::High => "high",
        Priority::Normal => "normal",
        Priority::Low => "low",
    };
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("aes128gcm"));
    headers.insert("urgency", HeaderValue::from_static(urgency));
    // None without a key: Google keeps four collapse keys a device at the most, so one for each message would push other
    // messages out. A duplicate is told by tag and id instead.
    if let Some(key) = key(message) {
        headers.insert("topic", HeaderValue::try_from(digest_of(key)).expect("base64url is a header value"));
    }
    headers
}

/// What is left of the time to live, as this service takes it, and the token.
pub(crate) fn add_for(headers: &mut HeaderMap, service: Service, left: u64, token: &Token) {
    // Google's four weeks are the shortest of the four; core's longest is the same.
    let left = left.min(Notification::MAX_TTL.as_secs());
    // Apple refuses zero, and a second is as close to now or never as it gets.
    let left = if service == Service::Apple { left.max(1) } else { left };
    if service == Service::Windows {
        // Without it Windows answers 400 to a TTL of zero.
        let policy = if left == 0 { "no-cache" } else { "cache" };
        headers.insert("x-wns-cache-policy", HeaderValue::from_static(policy));
    }
    headers.insert("ttl", HeaderValue::from(left));
    headers.insert(AUTHORIZATION, token.header.clone());
}

fn key(message: &Message) -> Option<&str> {
    message.collapse_key.as_deref().filter(|key| !key.is_empty())
}

fn exposed(text: &Option<Secret>) -> Option<&str> {
    text.as_ref().map(Secret::expose)
}

fn patched(json: &[u8], patch: &Map<String, Value>) -> Vec<u8> {
    let mut object: Map<String, Value> = serde_json::from_slice(json).expect("we have just written it");
    merge(&mut object, patch);
    Value::Object(object).to_string().into_bytes()
}

#[cfg(test)]
mod tests;
