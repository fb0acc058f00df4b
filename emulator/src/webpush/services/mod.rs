//! The services: each with its endpoints, its own rules beyond the RFCs, and its own words for the same refusals.

mod apple;
mod generic;
mod google;
mod mozilla;
mod windows;

use http::HeaderMap;
use serde::{Deserialize, Serialize};

use super::answer::Answer;
use super::refusal::Refusal;
use super::request::Asked;
use super::vapid::Contact;

/// Host names of the services, for the certificate: a wildcard where a service has many.
pub(crate) const HOSTS: [&str; 6] = [
    "updates.push.services.mozilla.com",
    "fcm.googleapis.com",
    // Where Debian's Chromium subscribes, whose channel is "unknown".
    "jmt17.google.com",
    "web.push.apple.com",
    "*.notify.windows.com",
    "push.example.org",
];

/// A push service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    /// Mozilla's autopush: Firefox.
    Mozilla,
    /// FCM's Web Push side: Chrome and its relatives.
    Google,
    /// Apple's: Safari.
    Apple,
    /// WNS: Edge on Windows.
    Windows,
    /// A service that does what RFC 8030 says and nothing else, as people host it themselves.
    Generic,
}

/// What one service does differently.
pub(super) trait Personality: Sync {
    /// The origin of new endpoints.
    fn origin(&self) -> &'static str;

    /// What stands before the token in its endpoints.
    fn prefix(&self) -> &'static str;

    /// Path and query of a new endpoint.
    fn path(&self) -> String;

    /// Longer ones are cut to this, in seconds.
    fn longest_ttl(&self) -> u64;

    /// Whether `sub` must be there.
    fn contact(&self) -> Contact {
        Contact::Optional
    }

    /// The rules only this service has.
    fn own_rules(&self, _asked: &Asked, _headers: &HeaderMap) -> Result<(), Refusal> {
        Ok(())
    }

    /// 201, apart from `Location` and `TTL`.
    fn accepted(&self) -> Answer {
        Answer::bare(201)
    }

    /// Path of a message resource.
    fn message_path(&self) -> String;

    /// The service's words.
    fn refused(&self, refusal: Refusal) -> Answer;

    /// An error on demand. `code` is the service's own: an errno, a reason, a line of text.
    fn injected(&self, status: u16, code: Option<&str>) -> Answer;
}

impl Service {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Mozilla, Self::Google, Self::Apple, Self::Windows, Self::Generic];

    /// The endpoint with this token.
    pub(crate) fn endpoint(self, token: &str) -> String {
        let personality = self.personality();
        format!("{}{}{token}", personality.origin(), personality.prefix())
    }

    pub(super) fn personality(self) -> &'static dyn Personality {
        match self {
            Self::Mozilla => &mozilla::Mozilla,
            Self::Google => &google::Google,
            Self::Apple => &apple::Apple,
            Self::Windows => &windows::Windows,
            Self::Generic => &generic::Generic,
        }
    }

    /// The name in ids and events.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Mozilla => "mozilla",
            Self::Google => "google",
            Self::Apple => "apple",
            Self::Windows => "windows",
            Self::Generic => "generic",
        }
    }

    /// Who a request is for that names no subscription: by host, and by path where the host says nothing.
    pub(super) fn of(host: &str, path: &str) -> Option<Self> {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let google = path.starts_with("/fcm/send/") || path.starts_with("/wp/");
        if name.ends_with(".notify.windows.com") {
            return Some(Self::Windows);
        }
        match name {
            "updates.push.services.mozilla.com" => Some(Self::Mozilla),
            "web.push.apple.com" => Some(Self::Apple),
            "push.example.org" => Some(Self::Generic),
            "jmt17.google.com" => Some(Self::Google),
            _ if google => Some(Self::Google),
            // The rest of this host is the HTTP v1 API.
            "fcm.googleapis.com" => None,
            _ if path.starts_with("/wpush/") => Some(Self::Mozilla),
            _ if path.starts_with("/push/") => Some(Self::Generic),
            _ if path == "/w/" => Some(Self::Windows),
            _ => None,
        }
    }
}

/// The token at the end of an endpoint of FCM, which has two paths for the same.
pub(super) fn google_token(path: &str) -> Option<&str> {
    path.strip_prefix("/fcm/send/").or_else(|| path.strip_prefix("/wp/"))
}

/// Random bytes as base64url, for ids nobody may guess.
fn unguessable<const N: usize>() -> String {
    use base64::Engine as _;
    let bytes: [u8; N] = std::array::from_fn(|_| rand::random());
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_of_the_certificate_has_its_service() {
        for host in HOSTS {
            let host = host.replace('*', "wns2-par02p");
            let path = if host == "fcm.googleapis.com" { "/fcm/send/x" } else { "/x" };
            assert!(Service::of(&host, path).is_some(), "{host}");
            assert!(Service::of(&format!("{host}:443"), path).is_some(), "{host}:443");
        }
    }

    #[test]
    fn the_http_v1_api_is_left_alone() {
        assert_eq!(Service::of("fcm.googleapis.com", "/v1/projects/demo/messages:send"), None);
        assert_eq!(Service::of("127.0.0.1:1", "/token"), None);
    }

    #[test]
    fn no_service_forgets_a_refusal_or_answers_it_with_success() {
        use super::super::vapid::Wrong;
        let all = [
            Refusal::Method,
            Refusal::Unknown,
            Refusal::Mangled,
            Refusal::Gone,
            Refusal::TtlMissing,
            Refusal::Ttl,
            Refusal::CachePolicy,
            Refusal::Urgency,
            Refusal::Topic,
            Refusal::Encoding,
            Refusal::TooLarge,
            Refusal::Vapid(Wrong::Missing),
            Refusal::Vapid(Wrong::Expired),
            Refusal::OtherKey,
        ];
        for service in Service::ALL {
            for refusal in all {
                let status = service.personality().refused(refusal).status;
                assert!((400..500).contains(&status), "{service:?} {refusal:?} {status}");
            }
            assert_eq!(service.personality().refused(Refusal::TooLarge).status, 413);
        }
    }
}
