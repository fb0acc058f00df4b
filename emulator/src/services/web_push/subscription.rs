//! Push subscription as a page gets it, in the format of `PushSubscription.toJSON()`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use crate::push_crypto::UserAgentPublicKeys;

/// Endpoint and keys of one browser. Its JSON is what a page sends to its application server.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Subscription {
    /// Id of the browser in inbox, faults and events. It is not part of the JSON.
    #[serde(skip)]
    pub id: String,
    /// URL of the push resource. It is a secret.
    pub endpoint: String,
    /// Always `None`: no service announces an expiry.
    pub expiration_time: Option<u64>,
    /// Keys for the encryption of messages.
    pub keys: SubscriptionKeys,
}

/// Public keys of the browser for the encryption (RFC 8291 §2).
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct SubscriptionKeys {
    /// Public key: 65 bytes as base64url.
    pub p256dh: String,
    /// Authentication secret: 16 bytes as base64url.
    pub auth: String,
}

impl Subscription {
    pub(super) fn new(id: String, endpoint: String, public_keys: &UserAgentPublicKeys) -> Self {
        let keys = SubscriptionKeys {
            p256dh: URL_SAFE_NO_PAD.encode(&public_keys.public),
            auth: URL_SAFE_NO_PAD.encode(public_keys.auth),
        };
        Self { id, endpoint, expiration_time: None, keys }
    }

    /// Returns a subscription with empty keys. Only its real browser knows them.
    pub(super) fn without_keys(id: String, endpoint: String) -> Self {
        let keys = SubscriptionKeys { p256dh: String::new(), auth: String::new() };
        Self { id, endpoint, expiration_time: None, keys }
    }

    /// Returns the subscription with another origin in its endpoint, such as `https://127.0.0.1:4430`.
    /// Every service responds under any host name. The `aud` claim must be the origin that is requested.
    #[must_use]
    pub fn with_origin(&self, origin: &str) -> Self {
        let path = path_and_query(&self.endpoint);
        Self { endpoint: format!("{}{path}", origin.trim_end_matches('/')), ..self.clone() }
    }
}

/// Returns path and query of a URL, byte for byte.
pub(super) fn path_and_query(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find('/').map_or("/", |at| &rest[at..])
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription").field("id", &self.id).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for SubscriptionKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SubscriptionKeys").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription() -> Subscription {
        let public_keys = UserAgentPublicKeys { public: vec![4; 65], auth: [1; 16] };
        let endpoint = "https://wns2-par02p.notify.windows.com/w/?token=a%2b".to_owned();
        Subscription::new("windows-1".to_owned(), endpoint, &public_keys)
    }

    #[test]
    fn the_json_is_that_of_push_subscription_to_json() {
        let json = serde_json::to_value(subscription()).unwrap();
        let mut keys: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        assert_eq!(keys, ["endpoint", "expirationTime", "keys"]);
        assert!(json["expirationTime"].is_null());
        assert_eq!(json["keys"]["p256dh"].as_str().unwrap().len(), 87);
        assert_eq!(json["keys"]["auth"].as_str().unwrap().len(), 22);
    }

    #[test]
    fn another_origin_keeps_path_and_query() {
        assert_eq!(
            subscription().with_origin("https://127.0.0.1:1/").endpoint,
            "https://127.0.0.1:1/w/?token=a%2b"
        );
    }

    #[test]
    fn debug_shows_neither_endpoint_nor_keys() {
        let text = format!("{:?}", subscription());
        assert_eq!(text, "Subscription { id: \"windows-1\", .. }");
    }
}
