//! A subscription as a page has it and gives it away, in the shape of `PushSubscription.toJSON()`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use crate::push_crypto::Recipient;

/// Where and how to push to one browser. Serialised, it is what a page sends to its application server.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Subscription {
    /// The name of the browser in inbox, faults and events; not a part of the JSON.
    #[serde(skip)]
    pub id: String,
    /// The push resource. Whoever knows it and has the key can push: it is a secret.
    pub endpoint: String,
    /// Never known beforehand.
    pub expiration_time: Option<u64>,
    /// The keys to encrypt with.
    pub keys: Keys,
}

/// The browser's half of the encryption (RFC 8291 §2).
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Keys {
    /// The public key: 65 bytes as base64url.
    pub p256dh: String,
    /// The shared secret: 16 bytes as base64url.
    pub auth: String,
}

impl Subscription {
    pub(super) fn new(id: String, endpoint: String, recipient: &Recipient) -> Self {
        let keys = Keys {
            p256dh: URL_SAFE_NO_PAD.encode(&recipient.public),
            auth: URL_SAFE_NO_PAD.encode(recipient.auth),
        };
        Self { id, endpoint, expiration_time: None, keys }
    }

    /// One whose keys only its browser knows.
    pub(super) fn kept(id: String, endpoint: String) -> Self {
        let keys = Keys { p256dh: String::new(), auth: String::new() };
        Self { id, endpoint, expiration_time: None, keys }
    }

    /// The same subscription behind another origin (`https://127.0.0.1:4430`): every service answers under any name, and
    /// `aud` has to be the origin that was asked.
    #[must_use]
    pub fn at(&self, origin: &str) -> Self {
        let path = path_of(&self.endpoint);
        Self { endpoint: format!("{}{path}", origin.trim_end_matches('/')), ..self.clone() }
    }
}

/// Path and query of a URL, byte for byte.
pub(super) fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find('/').map_or("/", |at| &rest[at..])
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription").field("id", &self.id).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription() -> Subscription {
        let recipient = Recipient { public: vec![4; 65], auth: [1; 16] };
        let endpoint = "https://wns2-par02p.notify.windows.com/w/?token=a%2b".to_owned();
        Subscription::new("windows-1".to_owned(), endpoint, &recipient)
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
    fn another_origin_changes_nothing_behind_it() {
        assert_eq!(subscription().at("https://127.0.0.1:1/").endpoint, "https://127.0.0.1:1/w/?token=a%2b");
    }

    #[test]
    fn debug_shows_neither_endpoint_nor_keys() {
        let text = format!("{:?}", subscription());
        assert_eq!(text, "Subscription { id: \"windows-1\", .. }");
    }
}
