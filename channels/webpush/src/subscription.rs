//! Parses subscriptions: an endpoint, and the keys to encrypt for. Clients choose both, so only endpoints of known push
//! services pass. No error quotes any part of a subscription.

use base64::Engine as _;
use http::Uri;
use pushgate::{Fault, Kind};
use serde::Deserialize;

use crate::auth::BASE64URL;
use crate::config::{Config, ConfigError};
use crate::crypto::SubscriptionKeys;

/// Maximum length of an endpoint. Those of Windows have about 500 bytes.
const MAX_ENDPOINT_BYTES: usize = 2048;

/// Push service of an endpoint. Services differ in the headers they require and in their errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Mozilla,
    Google,
    Apple,
    Windows,
    /// Push service from the configuration, of which only conformance to the RFCs is assumed.
    Other,
}

/// Hosts of the browsers' push services. Chromium on Debian uses `jmt17.google.com`.
const SERVICES: [(&str, Service); 5] = [
    ("*.push.services.mozilla.com", Service::Mozilla),
    ("fcm.googleapis.com", Service::Google),
    ("jmt17.google.com", Service::Google),
    ("*.push.apple.com", Service::Apple),
    ("*.notify.windows.com", Service::Windows),
];

/// Parsed subscription with a permitted endpoint.
pub(crate) struct Subscription {
    /// Endpoint exactly as the browser gave it, because normalization would break the queries of Windows.
    pub(crate) endpoint: Uri,
    pub(crate) service: Service,
    /// Audience of the VAPID token: scheme, host, and the port if it is not the scheme's default (RFC 8292 §2).
    pub(crate) origin: String,
    pub(crate) keys: SubscriptionKeys,
}

/// Policy that decides which endpoints are permitted.
pub(crate) struct EndpointPolicy {
    hosts: Vec<String>,
    is_loopback_allowed: bool,
}

/// Result of `PushSubscription.toJSON()`. Unknown fields are ignored, because browsers may add some.
#[derive(Deserialize)]
struct SubscriptionJson {
    endpoint: String,
    keys: SubscriptionKeysJson,
}

#[derive(Deserialize)]
struct SubscriptionKeysJson {
    p256dh: String,
    auth: String,
}

impl EndpointPolicy {
    pub(crate) fn new(config: &Config) -> Result<Self, ConfigError> {
        let hosts: Vec<_> = config.endpoints.iter().map(|host| host.to_ascii_lowercase()).collect();
        let is_valid = |host: &String| host == "*" || is_dns_name(host.strip_prefix("*.").unwrap_or(host));
        if !hosts.iter().all(is_valid) {
            return Err(ConfigError::Endpoints);
        }
        Ok(Self { hosts, is_loopback_allowed: config.insecure_loopback_endpoints })
    }

    /// Parses a subscription. The fault describes the valid form.
    pub(crate) fn parse(&self, token: &str) -> Result<Subscription, Fault> {
        let Ok(json) = serde_json::from_str::<SubscriptionJson>(token) else {
            return Err(bad_message(
                "a subscription is the JSON of PushSubscription.toJSON(): {\"endpoint\", \"keys\": {\"p256dh\", \"auth\"}}",
            ));
        };
        let (endpoint, service, origin) = self.parse_endpoint(&json.endpoint)?;
        let decoded = |text: &str| BASE64URL.decode(text).unwrap_or_default();
        let keys = SubscriptionKeys::new(&decoded(&json.keys.p256dh), &decoded(&json.keys.auth)).ok_or_else(
            || {
                bad_message(
                    "keys.p256dh is a point of P-256 in 65 bytes and keys.auth 16 bytes, both in base64url",
                )
            },
        )?;
        Ok(Subscription { endpoint, service, origin, keys })
    }

    fn parse_endpoint(&self, text: &str) -> Result<(Uri, Service, String), Fault> {
        if text.len() > MAX_ENDPOINT_BYTES {
            return Err(bad_message("the endpoint is longer than 2048 bytes"));
        }
        // `Uri` would drop a fragment, and takes more than ASCII.
        let uri = text.bytes().all(|b| b.is_ascii_graphic() && b != b'#').then(|| text.parse::<Uri>());
        let Some(Ok(uri)) = uri else { return Err(bad_message("the endpoint is not a URL")) };
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(bad_message("the endpoint is not an https URL"));
        };
        if authority.as_str().contains('@') {
            return Err(bad_message("the endpoint must not name a user"));
        }
        let host = authority.host().to_ascii_lowercase();
        let is_loopback = matches!(host.as_str(), "127.0.0.1" | "[::1]" | "localhost");
        if self.is_loopback_allowed && is_loopback && matches!(scheme, "http" | "https") {
            let default_port = if scheme == "https" { 443 } else { 80 };
            let port = authority.port_u16().filter(|port| *port != default_port);
            let port = port.map_or_else(String::new, |port| format!(":{port}"));
            let origin = format!("{scheme}://{host}{port}");
            return Ok((uri, Service::Other, origin));
        }
        // A colon without a number counts as a port, too.
        let has_port = authority.as_str().len() != authority.host().len();
        if scheme != "https" || (has_port && authority.port_u16() != Some(443)) {
            return Err(bad_message("the endpoint must be an https URL at port 443"));
        }
        if !is_dns_name(&host) {
            return Err(bad_message("the endpoint must have a full DNS name, not an IP address"));
        }
        let service = self.find_service(&host).ok_or_else(|| {
            let detail =
                "the endpoint belongs to no known push service; add its host to the channel's `endpoints`";
            Fault::new(Kind::Unsupported, detail)
        })?;
        Ok((uri, service, format!("https://{host}")))
    }

    fn find_service(&self, host: &str) -> Option<Service> {
        let known =
            SERVICES.iter().find(|(pattern, _)| matches_host(pattern, host)).map(|(_, service)| *service);
        known.or_else(|| {
            self.hosts.iter().any(|pattern| matches_host(pattern, host)).then_some(Service::Other)
        })
    }
}

fn bad_message(detail: &str) -> Fault {
    Fault::new(Kind::BadMessage, detail)
}

/// Returns `true` if `host` matches: `*` is any host, `*.example.org` any subdomain but not the domain itself, and any
/// other pattern one host. Both must be in lower case.
fn matches_host(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(end) => host.len() > end.len() && host.ends_with(end),
        None => host == pattern,
    }
}

/// Returns `true` for a full DNS name with at least one dot. The last label must begin with a letter, which rules out IP
/// addresses in all their notations (`127.1`, `0x7f.0.0.1`, `[::1]`).
fn is_dns_name(host: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let top = host.rsplit_once('.').map_or("", |(_, top)| top);
    host.len() <= 253
        && host.split('.').all(is_label)
        && top.starts_with(|c: char| c.is_ascii_alphabetic())
        && top != "localhost"
}

#[cfg(test)]
pub(crate) mod tests;
