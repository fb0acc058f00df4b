//! From a message to what the vendor is sent. Pure.

use pushgate_plugin_sdk::{Message, Request};
use serde_json::{Value, json};

use crate::config::Config;

/// The body, without whom it is for.
pub fn body(message: &Message) -> Value {
    json!({
        "id": message.id,
        "title": message.title,
        "text": message.content,
        "data": message.payload,
    })
}

/// The request for one address.
pub fn request(config: &Config, mut body: Value, token: &str) -> Request {
    body["to"] = json!(token);
    Request::post_json(&config.url, body.to_string())
        .header("authorization", format!("Bearer {}", config.api_key))
}
