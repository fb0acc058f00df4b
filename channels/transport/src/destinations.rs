//! Destination rules against server-side request forgery: endpoints chosen by clients must not lead into the operator's
//! network. Names are checked here before any lookup; `addresses.rs` checks the IP addresses when they are dialled.

use std::collections::HashSet;

use http::Uri;

use crate::BuildError;

/// Permitted destinations of a transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Destinations {
    /// Any host: for channels whose endpoints are configured by the operator.
    #[default]
    Any,
    /// Public HTTPS services only: for channels whose endpoints come from clients. Requires `https`, port 443, a DNS name
    /// outside private zones, and public IP addresses only at the time of dialling.
    ///
    /// Through a proxy only the name is checked, because the proxy resolves it. Such a proxy must refuse private
    /// destinations itself.
    Public,
}

/// Check of the IP addresses that remains after the name has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Addresses {
    Any,
    Public,
}

/// Checks the scheme, host and port of a request against the destination rules.
pub(crate) struct Guard {
    destinations: Destinations,
    allowed: Vec<Allowed>,
    /// Hosts with a configured IP address, which pass every rule.
    pinned: HashSet<String>,
}

/// Entry of the operator's allow list: `push.example.org`, `*.example.org`, either with `:port`.
struct Allowed {
    host: String,
    is_wildcard: bool,
    port: u16,
}

/// DNS zones that are never public: RFC 6761, RFC 6762, RFC 7686, RFC 8375, RFC 9476, and ICANN's `internal`.
const PRIVATE_ZONES: [&str; 8] =
    ["localhost", "local", "internal", "home.arpa", "test", "invalid", "onion", "alt"];

impl Guard {
    pub(crate) fn new(
        destinations: Destinations,
        allow: &[String],
        pinned: HashSet<String>,
    ) -> Result<Self, BuildError> {
        let allowed = allow.iter().map(|entry| Allowed::parse(entry)).collect::<Result<_, _>>()?;
        Ok(Self { destinations, allowed, pinned })
    }

    /// Checks the URI without a lookup. Returns the check that its IP addresses still have to pass.
    ///
    /// # Errors
    /// Returns the violated rule.
    pub(crate) fn check(&self, uri: &Uri) -> Result<Addresses, &'static str> {
        let authority = uri.authority().ok_or("the address has no host")?;
        if authority.as_str().contains('@') {
            return Err("an address must not carry a user or a password");
        }
        let host = normalized(authority.host());
        if host.is_empty() {
            return Err("the address has no host");
        }
        if authority.port_u16().is_none() && authority.as_str().len() > authority.host().len() {
            return Err("the port is not one");
        }
        let destinations = if self.pinned.contains(&host) { Destinations::Any } else { self.destinations };
        match (uri.scheme_str(), destinations) {
            (Some("http" | "https"), Destinations::Any) => return Ok(Addresses::Any),
            (Some("https"), Destinations::Public) => {}
            (_, Destinations::Any) => return Err("only http and https addresses can be dialled"),
            (_, Destinations::Public) => return Err("only https is allowed"),
        }
        let port = authority.port_u16().unwrap_or(443);
        if self.allowed.iter().any(|entry| entry.covers(&host, port)) {
            return Ok(Addresses::Any);
        }
        if port != 443 {
            return Err("only port 443 is allowed");
        }
        if !is_name(&host) {
            return Err("only DNS names are allowed, no addresses");
        }
        if !is_public_name(&host) {
            return Err("the name is not a public one");
        }
        Ok(Addresses::Public)
    }
}

impl Allowed {
    fn parse(entry: &str) -> Result<Self, BuildError> {
        let wrong = || BuildError::Allow(entry.to_owned());
        let (host, port) = match entry.rsplit_once(':') {
            // The colons of an address in brackets are its own.
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| wrong())?),
            _ => (entry, 443),
        };
        let (host, is_wildcard) = match host.strip_prefix("*.") {
            Some(zone) => (zone, true),
            None => (host, false),
        };
        let is_literal = host.starts_with('[') && host.ends_with(']');
        if host.is_empty() || (!is_literal && host.contains(['*', '/', ':', '@', ' '])) {
            return Err(wrong());
        }
        Ok(Self { host: normalized(host), is_wildcard, port })
    }

    fn covers(&self, host: &str, port: u16) -> bool {
        let is_host = if self.is_wildcard {
            host.strip_suffix(&self.host).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
        } else {
            host == self.host
        };
        is_host && port == self.port
    }
}

/// Normalises a host for comparison: lower case, without a trailing dot.
pub(crate) fn normalized(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// Returns `true` for a DNS name, and `false` for an IP address in any spelling. Resolvers and browsers read a host whose
/// last label is a number as an IPv4 address: `127.1`, `2130706433`, `0x7f.0.0.1`, `0177.0.0.1`.
fn is_name(host: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let last = host.rsplit('.').next().unwrap_or_default();
    let is_number = last.bytes().all(|b| b.is_ascii_digit())
        || last.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()));
    host.len() <= 253 && host.split('.').all(is_label) && !is_number
}

/// Returns `true` if the name is outside all private zones. A name without a dot is private: resolvers complete it from
/// their search list.
fn is_public_name(host: &str) -> bool {
    let is_below =
        |zone: &str| host.strip_suffix(zone).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    host.contains('.') && !PRIVATE_ZONES.into_iter().any(is_below)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(uri: &str, allow: &[&str]) -> Result<Addresses, &'static str> {
        let allow: Vec<String> = allow.iter().map(|&entry| entry.to_owned()).collect();
        Guard::new(Destinations::Public, &allow, HashSet::new()).unwrap().check(&uri.parse().unwrap())
    }

    #[test]
    fn a_public_name_passes_and_its_addresses_are_still_to_be_checked() {
        for uri in [
            "https://updates.push.services.mozilla.com/wpush/v2/x",
            "https://web.push.apple.com/x",
            "https://fcm.googleapis.com:443/x",
            "https://PUSH.Example.Org./x",
            "https://a_b-c.xn--fsq.com/x",
        ] {
            assert_eq!(check(uri, &[]), Ok(Addresses::Public), "{uri}");
        }
    }

    #[test]
    fn an_address_in_place_of_a_name_is_refused_in_every_spelling() {
        for host in
            ["127.0.0.1", "169.254.169.254", "8.8.8.8", "[::1]", "[2606:4700::1111]", "[::ffff:127.0.0.1]"]
                .into_iter()
                .chain([
                    "127.1",
                    "2130706433",
                    "0x7f000001",
                    "0177.0.0.1",
                    "0x7f.0.0.1",
                    "127.0.0.0x1",
                    "1.2.3.4.",
                ])
                .chain(["a..b.com", "-", "0x", "%31%32%37.0.0.1"])
        {
            let uri = format!("https://{host}/x");
            if uri.parse::<Uri>().is_ok() {
                assert!(check(&uri, &[]).is_err(), "{host}");
            }
        }
        assert_eq!(check("https://2130706433/x", &[]), Err("only DNS names are allowed, no addresses"));
    }

    #[test]
    fn names_of_private_zones_are_refused() {
        for host in [
            "localhost",
            "LOCALHOST",
            "localhost.",
            "a.localhost",
            "printer.local",
            "vault.internal",
            "intranet",
        ]
        .into_iter()
        .chain(["nas.home.arpa", "a.test", "a.onion", "metadata.google.internal"])
        {
            assert_eq!(
                check(&format!("https://{host}/x"), &[]),
                Err("the name is not a public one"),
                "{host}"
            );
        }
        assert!(check("https://notlocalhost.com/x", &[]).is_ok());
        assert!(check("https://local.example.com/x", &[]).is_ok());
    }

    #[test]
    fn another_port_another_scheme_and_userinfo_are_refused() {
        assert_eq!(check("https://push.example.org:8443/x", &[]), Err("only port 443 is allowed"));
        assert_eq!(check("https://push.example.org:80/x", &[]), Err("only port 443 is allowed"));
        assert_eq!(check("https://push.example.org:65979/x", &[]), Err("the port is not one"));
        assert_eq!(check("http://push.example.org/x", &[]), Err("only https is allowed"));
        assert_eq!(check("ftp://push.example.org/x", &[]), Err("only https is allowed"));
        let userinfo = "an address must not carry a user or a password";
        assert_eq!(check("https://push.example.org@10.0.0.1/x", &[]), Err(userinfo));
        assert_eq!(check("https://u:p@push.example.org/x", &["push.example.org"]), Err(userinfo));
    }

    #[test]
    fn what_the_operator_allows_passes_with_any_address() {
        let allow = ["autopush.internal", "*.push.lan:8443", "10.1.2.3", "[fd00::1]:9443"];
        for uri in [
            "https://autopush.internal/x",
            "https://AUTOPUSH.internal.:443/x",
            "https://a.push.lan:8443/x",
            "https://a.b.push.lan:8443/x",
            "https://10.1.2.3/x",
            "https://[fd00::1]:9443/x",
        ] {
            assert_eq!(check(uri, &allow), Ok(Addresses::Any), "{uri}");
        }
        for uri in [
            "https://autopush.internal:8443/x",
            "https://a.autopush.internal/x",
            "https://push.lan:8443/x",
            "https://evilpush.lan:8443/x",
            "https://.push.lan:8443/x",
            "https://a.push.lan.evil.com:8443/x",
            "http://autopush.internal/x",
            "https://10.1.2.30/x",
        ] {
            assert!(check(uri, &allow).is_err(), "{uri}");
        }
    }

    #[test]
    fn a_host_whose_address_the_operator_has_given_passes() {
        let pinned = HashSet::from(["localhost".to_owned()]);
        let guard = Guard::new(Destinations::Public, &[], pinned).unwrap();
        assert_eq!(guard.check(&"https://LocalHost:8443/x".parse().unwrap()), Ok(Addresses::Any));
        assert!(guard.check(&"https://u@localhost/x".parse().unwrap()).is_err());
        assert!(guard.check(&"https://a.localhost/x".parse().unwrap()).is_err());
    }

    #[test]
    fn an_entry_that_is_no_host_is_refused_when_the_transport_is_built() {
        for entry in
            ["", "*", "*.", "https://push.lan", "push.lan:", "push.lan:port", "a*b.lan", "u@push.lan"]
        {
            let guard = Guard::new(Destinations::Public, &[entry.to_owned()], HashSet::new());
            assert!(matches!(guard, Err(BuildError::Allow(_))), "{entry}");
        }
    }

    #[test]
    fn without_the_guard_only_what_cannot_be_sent_is_refused() {
        let guard = Guard::new(Destinations::Any, &[], HashSet::new()).unwrap();
        assert_eq!(guard.check(&"http://127.0.0.1:9/x".parse().unwrap()), Ok(Addresses::Any));
        for uri in ["ftp://a/x", "/x", "https://u@a/x"] {
            assert!(guard.check(&uri.parse().unwrap()).is_err(), "{uri}");
        }
    }
}
