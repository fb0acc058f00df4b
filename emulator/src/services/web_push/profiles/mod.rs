//! Profiles of the Web Push services: their endpoints, their rules beyond the RFCs, and their error formats.

mod apple;
mod generic;
mod google;
mod mozilla;
mod windows;

use http::HeaderMap;
use serde::{Deserialize, Serialize};

use super::refusal::Refusal;
use super::request::PushRequest;
use super::response::PushResponse;
use super::vapid::Contact;

/// Host names of the services for the certificate, with a wildcard where a service has many.
pub(crate) const HOSTS: [&str; 6] = [
    "updates.push.services.mozilla.com",
    "fcm.googleapis.com",
    // Debian's Chromium, whose release channel is "unknown", subscribes at this host.
    "jmt17.google.com",
    "web.push.apple.com",
    "*.notify.windows.com",
    "push.example.org",
];

/// Web Push service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WebPushService {
    /// Mozilla's autopush, used by Firefox.
    Mozilla,
    /// FCM's Web Push endpoints, used by Chrome and other Chromium browsers.
    Google,
    /// Apple's service, used by Safari.
    Apple,
    /// WNS, used by Edge on Windows.
    Windows,
    /// Self-hosted service that implements RFC 8030 and nothing else.
    Generic,
}

/// Properties in which one service differs from the others.
pub(super) trait ServiceProfile: Sync {
    /// Returns the origin of new endpoints.
    fn origin(&self) -> &'static str;

    /// Returns the part of an endpoint's path before the token.
    fn path_prefix(&self) -> &'static str;

    /// Returns path and query of a new endpoint.
    fn random_path(&self) -> String;

    /// Returns the maximum time to live in seconds. Longer ones are shortened to it.
    fn max_ttl(&self) -> u64;

    /// Returns the requirement of the contact in `sub`.
    fn contact(&self) -> Contact {
        Contact::Optional
    }

    /// Verifies the rules that only this service has.
    fn verify_own_rules(&self, _request: &PushRequest, _headers: &HeaderMap) -> Result<(), Refusal> {
        Ok(())
    }

    /// Returns the response to an accepted push, without `Location` and `TTL`.
    fn accepted(&self) -> PushResponse {
        PushResponse::empty(201)
    }

    /// Returns the path of a new message resource.
    fn message_path(&self) -> String;

    /// Returns the response to a refused push in the service's format.
    fn refusal_response(&self, refusal: Refusal) -> PushResponse;

    /// Returns the response that a fault rule asks for. `code` is the service's own: an errno, a reason or a line of
    /// text.
    fn fault_response(&self, status: u16, code: Option<&str>) -> PushResponse;
}

impl WebPushService {
    /// All services.
    pub const ALL: [Self; 5] = [Self::Mozilla, Self::Google, Self::Apple, Self::Windows, Self::Generic];

    /// Returns the endpoint with this token.
    pub(crate) fn endpoint(self, token: &str) -> String {
        let profile = self.profile();
        format!("{}{}{token}", profile.origin(), profile.path_prefix())
    }

    pub(super) fn profile(self) -> &'static dyn ServiceProfile {
        match self {
            Self::Mozilla => &mozilla::Mozilla,
            Self::Google => &google::Google,
            Self::Apple => &apple::Apple,
            Self::Windows => &windows::Windows,
            Self::Generic => &generic::Generic,
        }
    }

    /// Returns the name in ids and events.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Mozilla => "mozilla",
            Self::Google => "google",
            Self::Apple => "apple",
            Self::Windows => "windows",
            Self::Generic => "generic",
        }
    }

    /// Returns the service of a request, by its host, or by its path if the host is another one. `None` if neither
    /// identifies a service.
    pub(super) fn from_host_and_path(host: &str, path: &str) -> Option<Self> {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let is_google = path.starts_with("/fcm/send/") || path.starts_with("/wp/");
        if name.ends_with(".notify.windows.com") {
            return Some(Self::Windows);
        }
        match name {
            "updates.push.services.mozilla.com" => Some(Self::Mozilla),
            "web.push.apple.com" => Some(Self::Apple),
            "push.example.org" => Some(Self::Generic),
            "jmt17.google.com" => Some(Self::Google),
            _ if is_google => Some(Self::Google),
            // The other paths of this host belong to the HTTP v1 API.
            "fcm.googleapis.com" => None,
            _ if path.starts_with("/wpush/") => Some(Self::Mozilla),
            _ if path.starts_with("/push/") => Some(Self::Generic),
            _ if path == "/w/" => Some(Self::Windows),
            _ => None,
        }
    }
}

/// Returns the token of an FCM endpoint. Two paths lead to the same endpoint.
pub(super) fn google_token(path: &str) -> Option<&str> {
    path.strip_prefix("/fcm/send/").or_else(|| path.strip_prefix("/wp/"))
}

/// Returns `N` random bytes as base64url.
fn random_id<const N: usize>() -> String {
    use base64::Engine as _;
    let bytes: [u8; N] = std::array::from_fn(|_| rand::random());
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_of_the_certificate_belongs_to_a_service() {
        for host in HOSTS {
            let host = host.replace('*', "wns2-par02p");
            let path = if host == "fcm.googleapis.com" { "/fcm/send/x" } else { "/x" };
            assert!(WebPushService::from_host_and_path(&host, path).is_some(), "{host}");
            assert!(WebPushService::from_host_and_path(&format!("{host}:443"), path).is_some(), "{host}:443");
        }
    }

    #[test]
    fn requests_to_the_http_v1_api_belong_to_no_web_push_service() {
        assert_eq!(
            WebPushService::from_host_and_path("fcm.googleapis.com", "/v1/projects/demo/messages:send"),
            None
        );
        assert_eq!(WebPushService::from_host_and_path("127.0.0.1:1", "/token"), None);
    }

    #[test]
    fn every_service_answers_every_refusal_with_a_client_error() {
        use super::super::vapid::VapidError;
        let refusals = [
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
            Refusal::Vapid(VapidError::Missing),
            Refusal::Vapid(VapidError::Expired),
            Refusal::OtherKey,
        ];
        for service in WebPushService::ALL {
            for refusal in refusals {
                let status = service.profile().refusal_response(refusal).status;
                assert!((400..500).contains(&status), "{service:?} {refusal:?} {status}");
            }
            assert_eq!(service.profile().refusal_response(Refusal::TooLarge).status, 413);
        }
    }
}
