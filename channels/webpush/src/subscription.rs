//! What a browser gave us: an endpoint, and keys to encrypt for. All of it is a stranger's word, so it is taken apart here,
//! once, and nothing that is not an address of a known push service gets further. Never repeats any of it in an error.

use base64::Engine as _;
use http::Uri;
use pushgate::{Fault, Kind};
use serde::Deserialize;

use crate::config::{Config, ConfigError};
use crate::crypto::Keys;
use crate::vapid::BASE64URL;

/// The longest endpoint taken, in bytes. Windows' are some 500.
const LONGEST_ENDPOINT: usize = 2048;

/// Whose push service it is: they differ in what they ask for and in how they refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Mozilla,
    Google,
    Apple,
    Windows,
    /// One the operator has named; held to the RFCs alone.
    Other,
}

/// Where browsers' own push services are. `jmt17.google.com` is Debian's Chromium's.
const SERVICES: [(&str, Service); 5] = [
    ("*.push.services.mozilla.com", Service::Mozilla),
    ("fcm.googleapis.com", Service::Google),
    ("jmt17.google.com", Service::Google),
    ("*.push.apple.com", Service::Apple),
    ("*.notify.windows.com", Service::Windows),
];

/// A subscription that can be sent to.
pub(crate) struct Subscription {
    /// Byte for byte as the browser gave it: Windows' queries do not survive any tidying.
    pub(crate) endpoint: Uri,
    pub(crate) service: Service,
    /// What a VAPID token is made for: scheme, host, and the port where it is not the scheme's own (RFC 8292 §2).
    pub(crate) origin: String,
    pub(crate) keys: Keys,
}

/// Which endpoints are taken.
pub(crate) struct Allowed {
    hosts: Vec<String>,
    loopback: bool,
}

/// `PushSubscription.toJSON()`. Browsers may add fields.
#[derive(Deserialize)]
struct Json {
    endpoint: String,
    keys: JsonKeys,
}

#[derive(Deserialize)]
struct JsonKeys {
    p256dh: String,
    auth: String,
}

impl Allowed {
    pub(crate) fn new(config: &Config) -> Result<Self, ConfigError> {
        let hosts: Vec<_> = config.endpoints.iter().map(|host| host.to_ascii_lowercase()).collect();
        let is_right = |host: &String| host == "*" || is_name(host.strip_prefix("*.").unwrap_or(host));
        if !hosts.iter().all(is_right) {
            return Err(ConfigError::Endpoints);
        }
        Ok(Self { hosts, loopback: config.insecure_loopback_endpoints })
    }

    /// Takes a subscription apart. The fault says what would be right.
    pub(crate) fn read(&self, token: &str) -> Result<Subscription, Fault> {
        let Ok(json) = serde_json::from_str::<Json>(token) else {
            return Err(wrong(
                "a subscription is the JSON of PushSubscription.toJSON(): {\"endpoint\", \"keys\": {\"p256dh\", \"auth\"}}",
            ));
        };
        let (endpoint, service, origin) = self.endpoint(&json.endpoint)?;
        let decoded = |text: &str| BASE64URL.decode(text).unwrap_or_default();
        let keys = Keys::new(&decoded(&json.keys.p256dh), &decoded(&json.keys.auth)).ok_or_else(|| {
            wrong("keys.p256dh is a point of P-256 in 65 bytes and keys.auth 16 bytes, both in base64url")
        })?;
        Ok(Subscription { endpoint, service, origin, keys })
    }

    fn endpoint(&self, text: &str) -> Result<(Uri, Service, String), Fault> {
        if text.len() > LONGEST_ENDPOINT {
            return Err(wrong("the endpoint is longer than 2048 bytes"));
        }
        // `Uri` would drop a fragment, and takes more than ASCII.
        let uri = text.bytes().all(|b| b.is_ascii_graphic() && b != b'#').then(|| text.parse::<Uri>());
        let Some(Ok(uri)) = uri else { return Err(wrong("the endpoint is not an address")) };
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(wrong("the endpoint is not an https address"));
        };
        if authority.as_str().contains('@') {
            return Err(wrong("the endpoint must not name a user"));
        }
        let host = authority.host().to_ascii_lowercase();
        let is_loopback = matches!(host.as_str(), "127.0.0.1" | "[::1]" | "localhost");
        if self.loopback && is_loopback && matches!(scheme, "http" | "https") {
            let usual = if scheme == "https" { 443 } else { 80 };
            let port = authority.port_u16().filter(|port| *port != usual);
            let port = port.map_or_else(String::new, |port| format!(":{port}"));
            let origin = format!("{scheme}://{host}{port}");
            return Ok((uri, Service::Other, origin));
        }
        // A colon without a number is a port, too.
        let has_port = authority.as_str().len() != authority.host().len();
        if scheme != "https" || (has_port && authority.port_u16() != Some(443)) {
            return Err(wrong("the endpoint must be an https address at port 443"));
        }
        if !is_name(&host) {
            return Err(wrong("the endpoint must name a host by its full name, not by its number"));
        }
        let service = self.service(&host).ok_or_else(|| {
            let detail = "the endpoint is none of a push service known here; others are named in the channel's `endpoints`";
            Fault::new(Kind::Unsupported, detail)
        })?;
        Ok((uri, service, format!("https://{host}")))
    }

    fn service(&self, host: &str) -> Option<Service> {
        let known = SERVICES.iter().find(|(pattern, _)| matches(pattern, host)).map(|(_, service)| *service);
        known.or_else(|| self.hosts.iter().any(|pattern| matches(pattern, host)).then_some(Service::Other))
    }
}

fn wrong(detail: &str) -> Fault {
    Fault::new(Kind::BadMessage, detail)
}

/// `*` is any host, `*.example.org` any below it and not itself, anything else the host itself. All lower case.
fn matches(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(end) => host.len() > end.len() && host.ends_with(end),
        None => host == pattern,
    }
}

/// A full DNS name. Never a number, in any of the ways one can be written (`127.1`, `0x7f.0.0.1`, `[::1]`), and never a
/// name without a dot: the last part must begin with a letter, and nobody's does who is an address.
fn is_name(host: &str) -> bool {
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
