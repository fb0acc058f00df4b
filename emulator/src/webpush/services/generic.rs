//! A service that does what RFC 8030 and RFC 8292 say, as people host it themselves.

use super::super::vapid::Wrong;
use super::{Answer, Personality, Refusal, unguessable};

pub(super) struct Generic;

impl Personality for Generic {
    fn origin(&self) -> &'static str {
        "https://push.example.org"
    }

    fn prefix(&self) -> &'static str {
        "/push/"
    }

    fn path(&self) -> String {
        format!("{}{}", self.prefix(), unguessable::<32>())
    }

    fn longest_ttl(&self) -> u64 {
        2_592_000
    }

    fn message_path(&self) -> String {
        format!("/message/{}", unguessable::<32>())
    }

    fn refused(&self, refusal: Refusal) -> Answer {
        let (status, text) = match refusal {
            Refusal::Method => return Answer::bare(405).with("allow", "POST"),
            // RFC 8030 §7.3: also for a subscription that has ended.
            Refusal::Unknown | Refusal::Mangled | Refusal::Gone => (404, "no such push subscription\n"),
            Refusal::TtlMissing => (400, "TTL is missing\n"),
            Refusal::Ttl | Refusal::CachePolicy => (400, "TTL is not a number of seconds\n"),
            Refusal::Urgency => (400, "Urgency is none of very-low, low, normal, high\n"),
            Refusal::Topic => (400, "Topic is not 1 to 32 characters of base64url\n"),
            Refusal::Encoding => (415, "the body is not aes128gcm\n"),
            Refusal::TooLarge => (413, "the body is over 4096 bytes\n"),
            Refusal::Vapid(Wrong::Missing) => {
                return Answer::text(401, "vapid is required\n").with("www-authenticate", "vapid");
            }
            Refusal::Vapid(_) => (403, "vapid does not verify\n"),
            Refusal::OtherKey => (403, "this subscription is restricted to another key\n"),
        };
        Answer::text(status, text)
    }

    fn injected(&self, status: u16, code: Option<&str>) -> Answer {
        Answer::text(status, code.unwrap_or("An error was asked for.\n"))
    }
}
