//! Self-hosted service that implements RFC 8030 and RFC 8292 and nothing else.

use super::super::vapid::VapidError;
use super::{PushResponse, Refusal, ServiceProfile, random_id};

pub(super) struct Generic;

impl ServiceProfile for Generic {
    fn origin(&self) -> &'static str {
        "https://push.example.org"
    }

    fn path_prefix(&self) -> &'static str {
        "/push/"
    }

    fn random_path(&self) -> String {
        format!("{}{}", self.path_prefix(), random_id::<32>())
    }

    fn max_ttl(&self) -> u64 {
        2_592_000
    }

    fn message_path(&self) -> String {
        format!("/message/{}", random_id::<32>())
    }

    fn refusal_response(&self, refusal: Refusal) -> PushResponse {
        let (status, text) = match refusal {
            Refusal::Method => return PushResponse::empty(405).with_header("allow", "POST"),
            // RFC 8030 §7.3 requires 404 also for a subscription that has ended.
            Refusal::Unknown | Refusal::Mangled | Refusal::Gone => (404, "no such push subscription\n"),
            Refusal::TtlMissing => (400, "TTL is missing\n"),
            Refusal::Ttl | Refusal::CachePolicy => (400, "TTL is not a number of seconds\n"),
            Refusal::Urgency => (400, "Urgency is none of very-low, low, normal, high\n"),
            Refusal::Topic => (400, "Topic is not 1 to 32 characters of base64url\n"),
            Refusal::Encoding => (415, "the body is not aes128gcm\n"),
            Refusal::TooLarge => (413, "the body is over 4096 bytes\n"),
            Refusal::Vapid(VapidError::Missing) => {
                return PushResponse::text(401, "vapid is required\n")
                    .with_header("www-authenticate", "vapid");
            }
            Refusal::Vapid(_) => (403, "vapid does not verify\n"),
            Refusal::OtherKey => (403, "this subscription is restricted to another key\n"),
        };
        PushResponse::text(status, text)
    }

    fn fault_response(&self, status: u16, code: Option<&str>) -> PushResponse {
        PushResponse::text(status, code.unwrap_or("Fault injected by the emulator.\n"))
    }
}
