//! Why a Web Push request is refused, before a service puts it into its own words.

use super::vapid;

/// A reason to refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Anything but POST.
    Method,
    /// No such subscription.
    Unknown,
    /// An endpoint that was changed on its way: cut, or encoded again.
    Mangled,
    /// The subscription has ended.
    Gone,
    /// No TTL header (RFC 8030 §5.2).
    TtlMissing,
    /// A TTL that is no number, or not one this service takes.
    Ttl,
    /// TTL and X-WNS-Cache-Policy contradict each other.
    CachePolicy,
    /// None of the four urgencies (RFC 8030 §5.3).
    Urgency,
    /// Over 32 characters, or outside the base64url alphabet (RFC 8030 §5.4).
    Topic,
    /// A body that is not `aes128gcm` (RFC 8291 §4).
    Encoding,
    /// Over 4096 bytes (RFC 8030 §7.2).
    TooLarge,
    /// The application server does not prove who it is (RFC 8292).
    Vapid(vapid::Wrong),
    /// Proven, but not with the key the subscription is bound to (RFC 8292 §4.2).
    OtherKey,
}

impl Refusal {
    /// The name in the event log.
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
            Self::Vapid(wrong) => wrong.code(),
            Self::OtherKey => "vapid_other_key",
        }
    }
}
