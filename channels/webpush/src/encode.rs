//! Encodes a message: JSON for the service worker, and headers for the push service. Pure.
//!
//! The JSON is the same for all subscriptions of a message; only its encryption differs. Sources: RFC 8030 §5 (headers),
//! and README.md of this channel (the JSON).

use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use pushgate::fit::collapse_key_digest;
use pushgate::overrides::merge;
use pushgate::{Message, Notification, Priority, Secret};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::auth::VapidToken;
use crate::crypto::MAX_PLAINTEXT;
use crate::subscription::Service;

/// Default appearance of notifications.
#[derive(Debug, Default)]
pub(crate) struct Style {
    pub(crate) icon: Option<String>,
    pub(crate) badge_icon: Option<String>,
}

/// Plaintext of a push message, read by the service worker. `notification` has the form that `showNotification` takes.
#[derive(Serialize)]
struct WorkerMessage<'a> {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    notification: Option<WorkerNotification<'a>>,
    data: WorkerData<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_badge: Option<u32>,
}

#[derive(Serialize)]
struct WorkerNotification<'a> {
    title: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    body: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    navigate: Option<&'a str>,
    /// A notification replaces an earlier one with the same tag, so a duplicate is shown once.
    tag: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    renotify: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icon: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    badge: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<&'a str>,
    /// Time of the caller's request in milliseconds, so that a message delayed by an offline browser is not shown as new.
    timestamp: i64,
}

#[derive(Serialize)]
struct WorkerData<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a str>,
    /// JSON text that ZPNs clients read beside the payload.
    zego: String,
}

/// Returns the JSON for the service worker. If the message has event tokens, it contains that of target number `target`
/// and has the same length for every target.
pub(crate) fn message(message: &Message, style: &Style, target: u32) -> Vec<u8> {
    let notification = || WorkerNotification {
        title: message.title.expose(),
        body: message.content.expose(),
        navigate: exposed(&message.link).filter(|link| link.starts_with("https://")),
        tag: collapse_key(message).map_or_else(|| message.id.to_string(), str::to_owned),
        // A later message with the same key alerts again; a duplicate of the same message does not.
        renotify: collapse_key(message).map(|_| true),
        icon: style.icon.as_deref(),
        badge: style.badge_icon.as_deref(),
        image: exposed(&message.image),
        timestamp: message.created_at.as_millis(),
    };
    let worker_message = WorkerMessage {
        id: message.id.to_string(),
        notification: (!message.silent).then(notification),
        data: WorkerData { payload: exposed(&message.payload), zego: message.note_for(target) },
        app_badge: message.badge,
    };
    let json = serde_json::to_vec(&worker_message).expect("texts and numbers always have a JSON form");
    match &message.overrides {
        Some(Value::Object(patch)) => apply_overrides(&json, patch),
        // `channel.rs` refuses overrides that are not an object before it sends.
        Some(_) | None => json,
    }
}

/// Returns `length` padded to a multiple of `block` bytes, limited to [`MAX_PLAINTEXT`]. A `block` of 0 means no padding.
pub(crate) fn padded_len(length: usize, block: usize) -> usize {
    if block == 0 { length } else { length.next_multiple_of(block).min(MAX_PLAINTEXT).max(length) }
}

/// Returns the headers that all requests of one delivery share, independent of the push service.
pub(crate) fn common_headers(message: &Message) -> HeaderMap {
    let urgency = match message.priority {
        Priority::High => "high",
        Priority::Normal => "normal",
        Priority::Low => "low",
    };
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("aes128gcm"));
    headers.insert("urgency", HeaderValue::from_static(urgency));
    // No topic without a collapse key: Google keeps at most four collapse keys per device, so one topic per message would
    // drop other messages. The tag and the id identify duplicates instead.
    if let Some(key) = collapse_key(message) {
        headers.insert(
            "topic",
            HeaderValue::try_from(collapse_key_digest(key)).expect("base64url is a header value"),
        );
    }
    headers
}

/// Adds the headers that depend on the push service and the time: the remaining time to live in seconds, and the token.
pub(crate) fn add_service_headers(headers: &mut HeaderMap, service: Service, ttl: u64, token: &VapidToken) {
    // Google's four weeks are the lowest limit of the four services.
    let ttl = ttl.min(Notification::MAX_TTL.as_secs());
    // Apple refuses zero; one second is the shortest time to live that it accepts.
    let ttl = if service == Service::Apple { ttl.max(1) } else { ttl };
    if service == Service::Windows {
        // Without this header Windows answers 400 to a TTL of zero.
        let policy = if ttl == 0 { "no-cache" } else { "cache" };
        headers.insert("x-wns-cache-policy", HeaderValue::from_static(policy));
    }
    headers.insert("ttl", HeaderValue::from(ttl));
    headers.insert(AUTHORIZATION, token.header.clone());
}

fn collapse_key(message: &Message) -> Option<&str> {
    message.collapse_key.as_deref().filter(|key| !key.is_empty())
}

fn exposed(text: &Option<Secret>) -> Option<&str> {
    text.as_ref().map(Secret::expose)
}

fn apply_overrides(json: &[u8], patch: &Map<String, Value>) -> Vec<u8> {
    let mut object: Map<String, Value> = serde_json::from_slice(json).expect("we have just written it");
    merge(&mut object, patch);
    Value::Object(object).to_string().into_bytes()
}

#[cfg(test)]
mod tests;
