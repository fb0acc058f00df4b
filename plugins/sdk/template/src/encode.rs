//! From a message to what the vendor is sent. Pure.

use pushgate_plugin_sdk::{Act, Message, Request};
use serde_json::{Value, json};

use crate::config::Config;

/// The body, without whom it is for.
pub fn body(message: &Message) -> Value {
    // The app answers a call by this id. Removals are silent: declare `silent` and tell `message.tag` to get them.
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

/// The request for one address.
pub fn request(config: &Config, mut body: Value, token: &str) -> Request {
    body["to"] = json!(token);
    Request::post_json(&config.url, body.to_string())
        .header("authorization", format!("Bearer {}", config.api_key))
}
