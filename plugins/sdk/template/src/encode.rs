//! Conversion of messages to requests.

use pushgate_plugin_sdk::{Act, Message, Request};
use serde_json::{Value, json};

use crate::config::Config;

/// Returns the request body without the recipient.
pub fn body(message: &Message) -> Value {
    // The app uses this id to answer the call. To support `Act::Remove`, declare `silent` in the
    // capability and send `message.tag`.
    let call = match &message.act {
        Act::Ring { call, .. } => Some(call),
        Act::Show | Act::Remove => None,
    };
    json!({
        "id": message.id,
        "title": message.title,
        "text": message.content,
        "data": message.payload,
        "call": call,
    })
}

/// Returns the request for one address.
pub fn request(config: &Config, mut body: Value, token: &str) -> Request {
    body["to"] = json!(token);
    Request::post_json(&config.url, body.to_string())
        .header("authorization", format!("Bearer {}", config.api_key))
}
