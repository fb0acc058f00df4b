//! From a message to a signed request. Pure. The format: <https://github.com/standard-webhooks/standard-webhooks>.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pushgate_plugin_sdk::{Message, Priority, Request};
use serde_json::{Map, Value, json};

/// What the receiver is told, without whom it is for.
#[must_use]
pub fn body(message: &Message) -> Value {
    let priority = match message.priority {
        Priority::High => "high",
        Priority::Normal => "normal",
        Priority::Low => "low",
    };
    let mut data = Map::from_iter([
        ("id".to_owned(), json!(message.id)),
        ("app".to_owned(), json!(message.app)),
        ("title".to_owned(), json!(message.title)),
        ("content".to_owned(), json!(message.content)),
        ("priority".to_owned(), json!(priority)),
        ("silent".to_owned(), json!(message.silent)),
        ("expires_at".to_owned(), json!(message.expires_at_ms)),
    ]);
    let texts = [
        ("payload", &message.payload),
        ("image", &message.image),
        ("link", &message.link),
        ("collapse_key", &message.collapse_key),
        ("thread", &message.thread),
        ("category", &message.category),
    ];
    data.extend(texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), json!(text.as_ref()?)))));
    data.extend(message.badge.map(|badge| ("badge".to_owned(), json!(badge))));
    if let Some(Value::Object(overrides)) = &message.overrides {
        data.extend(overrides.clone());
    }
    json!({"type": "notification", "data": data})
}

/// The body for one address.
pub(crate) fn addressed(mut body: Value, token: &str) -> String {
    body["to"] = json!(token);
    body.to_string()
}

/// Signs requests with one secret.
pub struct Signer {
    key: hmac::Key,
}

impl Signer {
    /// With the bytes of a secret.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    /// The value of `webhook-signature`: the scheme, and HMAC-SHA-256 over id, seconds and body with dots between.
    #[must_use]
    pub fn signature(&self, id: &str, seconds: i64, body: &str) -> String {
        let tag = hmac::sign(&self.key, format!("{id}.{seconds}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(tag.as_ref()))
    }

    /// A signed POST. `id` is the same at every attempt, so that the receiver can tell a duplicate.
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
    fn the_signature_is_the_one_of_the_specifications_example() {
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = Signer::new(&key).signature(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
