//! From a message to the vendor's request. Pure. A real channel says here where its vendor documents each field.

use pushgate::{Message, Priority, Secret, Timestamp};
use serde::Serialize;

use crate::channel::CAPABILITY;

/// One message for all the tokens of a delivery.
#[derive(Serialize)]
pub(crate) struct Request<'a> {
    message: Body<'a>,
    tokens: Vec<&'a str>,
}

/// The part that counts against the vendor's limit. An absent field is the vendor's default, and every byte counts.
#[derive(Serialize)]
pub(crate) struct Body<'a> {
    /// The device shows one id once, so a duplicate is not seen.
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
    /// For the app's SDK: the id of a call, or the tag of what a removal takes off the screen. A vendor that takes one body
    /// for each token gets `Message::note_for` of the target, by which the device also reports what became of the push.
    note: String,
    /// A later message with the same key replaces an earlier one.
    #[serde(skip_serializing_if = "Option::is_none")]
    collapse: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    badge: Option<u32>,
    urgent: bool,
    /// Seconds; zero is now or never.
    ttl: u64,
}

/// What the vendor is told of the message at `now`.
pub(crate) fn body(message: &Message, now: Timestamp) -> Body<'_> {
    let shown = |text| Some(text).filter(|_| !message.silent);
    Body {
        id: message.id.to_string(),
        title: shown(message.title.expose()),
        content: shown(message.content.expose()),
        image: exposed(&message.image).and_then(shown),
        link: exposed(&message.link),
        payload: exposed(&message.payload),
        note: message.note(),
        collapse: message.collapse_key.as_deref(),
        badge: message.badge,
        urgent: message.priority == Priority::High,
        ttl: message.seconds_left(now).min(CAPABILITY.max_ttl.as_secs()),
    }
}

/// The whole request.
pub(crate) fn request<'a>(message: &'a Message, tokens: Vec<&'a str>, now: Timestamp) -> String {
    let request = Request { message: body(message, now), tokens };
    serde_json::to_string(&request).expect("texts and numbers always have a JSON form")
}

fn exposed(text: &Option<Secret>) -> Option<&str> {
    text.as_ref().map(Secret::expose)
}
