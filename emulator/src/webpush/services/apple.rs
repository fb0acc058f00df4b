//! Apple's service for Safari: JSON with a reason, and rules of its own about TTL, topic and contact.

use http::HeaderMap;
use serde_json::json;

use super::super::vapid::{Contact, Wrong};
use super::{Answer, Asked, Personality, Refusal, unguessable};

pub(super) struct Apple;

impl Personality for Apple {
    fn origin(&self) -> &'static str {
        "https://web.push.apple.com"
    }

    fn prefix(&self) -> &'static str {
        "/"
    }

    fn path(&self) -> String {
        format!("{}Q{}", self.prefix(), unguessable::<120>())
    }

    fn longest_ttl(&self) -> u64 {
        2_592_000
    }

    fn contact(&self) -> Contact {
        Contact::Required
    }

    fn own_rules(&self, asked: &Asked, _headers: &HeaderMap) -> Result<(), Refusal> {
        if asked.ttl == 0 {
            return Err(Refusal::Ttl);
        }
        // It seems to be decoded: no base64url without padding leaves one character over.
        if asked.topic.as_ref().is_some_and(|topic| topic.len() % 4 == 1) {
            return Err(Refusal::Topic);
        }
        Ok(())
    }

    fn accepted(&self) -> Answer {
        Answer::bare(201).with("apns-id", uuid::Uuid::now_v7().to_string().to_uppercase())
    }

    fn message_path(&self) -> String {
        format!("/message/{}", unguessable::<16>())
    }

    fn refused(&self, refusal: Refusal) -> Answer {
        let (status, reason) = match refusal {
            Refusal::Method => (405, "MethodNotAllowed"),
            Refusal::Unknown | Refusal::Mangled => (404, "BadPath"),
            Refusal::Gone => (410, "Unregistered"),
            Refusal::TtlMissing | Refusal::Ttl | Refusal::CachePolicy => (400, "BadTtl"),
            Refusal::Urgency => (400, "BadUrgency"),
            Refusal::Topic => (400, "BadWebPushTopic"),
            Refusal::Encoding => (400, "BadWebPushRequest"),
            Refusal::TooLarge => (413, "PayloadTooLarge"),
            Refusal::Vapid(Wrong::Missing | Wrong::Syntax) => (403, "BadAuthorizationHeader"),
            Refusal::Vapid(Wrong::Key) => (403, "BadVapidPublicKey"),
            Refusal::Vapid(_) => (403, "BadJwtToken"),
            Refusal::OtherKey => (400, "VapidPkHashMismatch"),
        };
        error(status, reason)
    }

    fn injected(&self, status: u16, code: Option<&str>) -> Answer {
        let usual = match status {
            400 => "BadWebPushRequest",
            403 => "BadJwtToken",
            404 => "BadPath",
            405 => "MethodNotAllowed",
            410 => "Unregistered",
            413 => "PayloadTooLarge",
            429 => "TooManyRequests",
            503 => "ServiceUnavailable",
            _ => "InternalServerError",
        };
        error(status, code.unwrap_or(usual))
    }
}

fn error(status: u16, reason: &str) -> Answer {
    Answer::json(status, &json!({"reason": reason}))
        .with("apns-id", uuid::Uuid::now_v7().to_string().to_uppercase())
}
