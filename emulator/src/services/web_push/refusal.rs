//! Reasons for which a Web Push request is refused. Each service profile turns them into its own format.

use super::vapid;

/// Reason of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The method is not POST.
    Method,
    /// The endpoint belongs to no subscription.
    Unknown,
    /// The endpoint was truncated, or decoded and encoded again.
    Mangled,
    /// The subscription has ended.
    Gone,
    /// The TTL header is missing (RFC 8030 §5.2).
    TtlMissing,
    /// The TTL is not a number, or one that the service does not accept.
    Ttl,
    /// TTL and X-WNS-Cache-Policy contradict each other.
    CachePolicy,
    /// The urgency is none of the four values of RFC 8030 §5.3.
    Urgency,
    /// The topic has more than 32 characters, or characters outside base64url (RFC 8030 §5.4).
    Topic,
    /// The body is not encoded as `aes128gcm` (RFC 8291 §4).
    Encoding,
    /// The body has more than 4096 bytes (RFC 8030 §7.2).
    TooLarge,
    /// The VAPID authentication fails (RFC 8292).
    Vapid(vapid::VapidError),
    /// The VAPID key is not the one that the subscription is bound to (RFC 8292 §4.2).
    OtherKey,
}

impl Refusal {
    /// Returns the code of the reason in the event log.
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Unknown => "unknown_subscription",
            Self::Mangled => "mangled_endpoint",
            Self::Gone => "expired_subscription",
            Self::TtlMissing => "ttl_missing",
            Self::Ttl => "ttl",
            Self::CachePolicy => "cache_policy",
            Self::Urgency => "urgency",
            Self::Topic => "topic",
            Self::Encoding => "content_encoding",
            Self::TooLarge => "too_large",
            Self::Vapid(error) => error.code(),
            Self::OtherKey => "vapid_other_key",
        }
    }
}
