//! Conversion of messages to signed requests. Format: <https://github.com/standard-webhooks/standard-webhooks>.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pushgate_plugin_sdk::{Act, Message, Priority, Request};
use serde::Serialize;
use serde_json::{Value, json};

/// Request body without the recipient. Serialized directly, because a [`Value`] tree takes three times as long.
#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    id: &'a str,
    app: &'a str,
    title: &'a str,
    content: &'a str,
    priority: &'static str,
    silent: bool,
    act: &'static str,
    tag: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<&'a str>,
    expires_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    collapse_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thread: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    badge: Option<u32>,
}

/// Returns the body as JSON, without the recipient.
#[must_use]
pub fn body(message: &Message) -> String {
    let (act, call) = match &message.act {
        Act::Show => ("show", None),
        Act::Ring { call, .. } => ("ring", Some(call.as_str())),
        Act::Remove => ("remove", None),
    };
    let data = Data {
        id: &message.id,
        app: &message.app,
        title: &message.title,
        content: &message.content,
        priority: match message.priority {
            Priority::High => "high",
            Priority::Normal => "normal",
            Priority::Low => "low",
        },
        silent: message.silent,
        act,
        tag: &message.tag,
        call,
        expires_at: message.expires_at_ms,
        payload: message.payload.as_deref(),
        image: message.image.as_deref(),
        link: message.link.as_deref(),
        collapse_key: message.collapse_key.as_deref(),
        thread: message.thread.as_deref(),
        category: message.category.as_deref(),
        badge: message.badge,
    };
    let body = Body { r#type: "notification", data };
    match &message.overrides {
        Some(Value::Object(overrides)) => {
            // Native options are rare, so the slower `Value` tree is good enough for merging them.
            let mut body = json!(body);
            if let Some(data) = body["data"].as_object_mut() {
                data.extend(overrides.clone());
            }
            body.to_string()
        }
        _ => serde_json::to_string(&body).unwrap_or_default(),
    }
}

/// Returns the body for one address, with `to` as the first field.
pub(crate) fn addressed(body: &str, token: &str) -> String {
    let fields = body.strip_prefix('{').unwrap_or(body);
    format!("{{\"to\":{},{fields}", Value::from(token))
}

/// Signer of requests with one secret.
pub struct Signer {
    key: hmac::Key,
}

impl Signer {
    /// Returns a signer with the bytes of a secret.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    /// Returns the value of `webhook-signature`: the scheme `v1`, and the HMAC-SHA-256 of id, timestamp and body, joined by
    /// dots.
    #[must_use]
    pub fn signature(&self, id: &str, seconds: i64, body: &str) -> String {
        let tag = hmac::sign(&self.key, format!("{id}.{seconds}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(tag.as_ref()))
    }

    /// Returns a signed POST. `id` must be the same for all attempts, so that the endpoint can detect duplicates.
    #[must_use]
    pub fn request(&self, url: &str, id: &str, seconds: i64, body: String) -> Request {
        let signature = self.signature(id, seconds, &body);
        Request::post_json(url, body)
            .header("webhook-id", id)
            .header("webhook-timestamp", seconds.to_string())
            .header("webhook-signature", signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_matches_the_specifications_example() {
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = Signer::new(&key).signature(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
