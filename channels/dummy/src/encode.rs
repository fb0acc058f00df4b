//! Encodes a message into the vendor's request. Pure. A real channel names the page of its vendor's documentation here.

use pushgate::{Message, Priority, Secret, Timestamp};
use serde::Serialize;

use crate::channel::CAPABILITY;

/// Request with one message for all tokens of a delivery.
#[derive(Serialize)]
pub(crate) struct Request<'a> {
    message: Body<'a>,
    tokens: Vec<&'a str>,
}

/// Message object, which counts towards the vendor's size limit. Absent fields are omitted, because every byte counts.
#[derive(Serialize)]
pub(crate) struct Body<'a> {
    /// Id of the notification. The device shows each id once, so a duplicate is not visible.
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a str>,
    /// JSON text for the app's SDK: the id of a call, or the tag of the notification to remove. A vendor that takes one body
    /// per token gets `Message::note_for` of the target, which adds the event token.
    note: String,
    /// A later message with the same key replaces an earlier one.
    #[serde(skip_serializing_if = "Option::is_none")]
    collapse: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    badge: Option<u32>,
    urgent: bool,
    /// Time to live in seconds. Zero means now or never.
    ttl: u64,
}

/// Returns the message object for a send at `now`.
pub(crate) fn body(message: &Message, now: Timestamp) -> Body<'_> {
    let unless_silent = |text| Some(text).filter(|_| !message.silent);
    Body {
        id: message.id.to_string(),
        title: unless_silent(message.title.expose()),
        content: unless_silent(message.content.expose()),
        image: exposed(&message.image).and_then(unless_silent),
        link: exposed(&message.link),
        payload: exposed(&message.payload),
        note: message.note(),
        collapse: message.collapse_key.as_deref(),
        badge: message.badge,
        urgent: message.priority == Priority::High,
        ttl: message.seconds_left(now).min(CAPABILITY.max_ttl.as_secs()),
    }
}

/// Returns the JSON of the request.
pub(crate) fn request<'a>(message: &'a Message, tokens: Vec<&'a str>, now: Timestamp) -> String {
    let request = Request { message: body(message, now), tokens };
    serde_json::to_string(&request).expect("texts and numbers always have a JSON form")
}

fn exposed(text: &Option<Secret>) -> Option<&str> {
    text.as_ref().map(Secret::expose)
}
