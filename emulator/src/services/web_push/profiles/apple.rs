//! Apple's service for Safari: JSON errors with a reason, and additional rules about TTL, topic and contact.

use http::HeaderMap;
use serde_json::json;

use super::super::vapid::{Contact, VapidError};
use super::{PushRequest, PushResponse, Refusal, ServiceProfile, random_id};

pub(super) struct Apple;

impl ServiceProfile for Apple {
    fn origin(&self) -> &'static str {
        "https://web.push.apple.com"
    }

    fn path_prefix(&self) -> &'static str {
        "/"
    }

    fn random_path(&self) -> String {
        format!("{}Q{}", self.path_prefix(), random_id::<120>())
    }

    fn max_ttl(&self) -> u64 {
        2_592_000
    }

    fn contact(&self) -> Contact {
        Contact::Required
    }

    fn verify_own_rules(&self, request: &PushRequest, _headers: &HeaderMap) -> Result<(), Refusal> {
        if request.ttl == 0 {
            return Err(Refusal::Ttl);
        }
        // Apple seems to decode the topic: base64url without padding never has one character left over.
        if request.topic.as_ref().is_some_and(|topic| topic.len() % 4 == 1) {
            return Err(Refusal::Topic);
        }
        Ok(())
    }

    fn accepted(&self) -> PushResponse {
        PushResponse::empty(201).with_header("apns-id", uuid::Uuid::now_v7().to_string().to_uppercase())
    }

    fn message_path(&self) -> String {
        format!("/message/{}", random_id::<16>())
    }

    fn refusal_response(&self, refusal: Refusal) -> PushResponse {
        let (status, reason) = match refusal {
            Refusal::Method => (405, "MethodNotAllowed"),
            Refusal::Unknown | Refusal::Mangled => (404, "BadPath"),
            Refusal::Gone => (410, "Unregistered"),
            Refusal::TtlMissing | Refusal::Ttl | Refusal::CachePolicy => (400, "BadTtl"),
            Refusal::Urgency => (400, "BadUrgency"),
            Refusal::Topic => (400, "BadWebPushTopic"),
            Refusal::Encoding => (400, "BadWebPushRequest"),
            Refusal::TooLarge => (413, "PayloadTooLarge"),
            Refusal::Vapid(VapidError::Missing | VapidError::Syntax) => (403, "BadAuthorizationHeader"),
            Refusal::Vapid(VapidError::Key) => (403, "BadVapidPublicKey"),
            Refusal::Vapid(_) => (403, "BadJwtToken"),
            Refusal::OtherKey => (400, "VapidPkHashMismatch"),
        };
        error(status, reason)
    }

    fn fault_response(&self, status: u16, code: Option<&str>) -> PushResponse {
        let default_reason = match status {
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
        error(status, code.unwrap_or(default_reason))
    }
}

fn error(status: u16, reason: &str) -> PushResponse {
    PushResponse::json(status, &json!({"reason": reason}))
        .with_header("apns-id", uuid::Uuid::now_v7().to_string().to_uppercase())
}
