//! Where requests may go. Endpoints that strangers choose must not lead into the operator's own network: names are judged
//! here, before anything is looked up; addresses are judged by `addresses.rs`, when they are dialled.

use std::collections::HashSet;

use http::Uri;

use crate::BuildError;

/// Where a transport may send to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Destinations {
    /// Anywhere: for channels whose addresses the operator has configured.
    #[default]
    Any,
    /// To public HTTPS services alone: for channels whose addresses come from clients. `https` and port 443, a DNS name
    /// that is not of a private zone, and every address it has at the time of dialling is a public one.
    ///
    /// Through a proxy the name is checked, but the address is not: it is the proxy that looks it up. Such a proxy has to
    /// refuse private destinations itself.
    Public,
}

/// What is left to check when a name has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Addresses {
    Any,
    Public,
}

/// The judge of names.
pub(crate) struct Guard {
    destinations: Destinations,
    allowed: Vec<Allowed>,
    /// Hosts whose address the operator has given.
    given: HashSet<String>,
}

/// One entry of the operator's list: `push.example.org`, `*.example.org`, either with `:port`.
struct Allowed {
    host: String,
    and_below: bool,
    port: u16,
}

/// Zones that are never public: RFC 6761, RFC 6762, RFC 7686, RFC 8375, RFC 9476, and ICANN's `internal`.
const PRIVATE_ZONES: [&str; 8] =
    ["localhost", "local", "internal", "home.arpa", "test", "invalid", "onion", "alt"];

impl Guard {
    pub(crate) fn new(
        destinations: Destinations,
        allow: &[String],
        given: HashSet<String>,
    ) -> Result<Self, BuildError> {
        let allowed = allow.iter().map(|entry| Allowed::parse(entry)).collect::<Result<_, _>>()?;
        Ok(Self { destinations, allowed, given })
    }

    /// Judges what can be seen without a look-up.
    ///
    /// # Errors
    /// The rule that is broken.
    pub(crate) fn judge(&self, uri: &Uri) -> Result<Addresses, &'static str> {
        let authority = uri.authority().ok_or("the address has no host")?;
        if authority.as_str().contains('@') {
            return Err("an address must not carry a user or a password");
        }
        let host = plain(authority.host());
        if host.is_empty() {
            return Err("the address has no host");
        }
        if authority.port_u16().is_none() && authority.as_str().len() > authority.host().len() {
            return Err("the port is not one");
        }
        let destinations = if self.given.contains(&host) { Destinations::Any } else { self.destinations };
        match (uri.scheme_str(), destinations) {
            (Some("http" | "https"), Destinations::Any) => return Ok(Addresses::Any),
            (Some("https"), Destinations::Public) => {}
            (_, Destinations::Any) => return Err("only http and https addresses can be dialled"),
            (_, Destinations::Public) => return Err("only https is allowed"),
        }
        let port = authority.port_u16().unwrap_or(443);
        if self.allowed.iter().any(|one| one.covers(&host, port)) {
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
        let (host, and_below) = match host.strip_prefix("*.") {
            Some(zone) => (zone, true),
            None => (host, false),
        };
        let is_literal = host.starts_with('[') && host.ends_with(']');
        if host.is_empty() || (!is_literal && host.contains(['*', '/', ':', '@', ' '])) {
            return Err(wrong());
        }
        Ok(Self { host: plain(host), and_below, port })
    }

    fn covers(&self, host: &str, port: u16) -> bool {
        let is_host = if self.and_below {
            host.strip_suffix(&self.host).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
        } else {
            host == self.host
        };
        is_host && port == self.port
    }
}

/// As names are compared: lower case, without the dot of the root.
pub(crate) fn plain(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// Whether it is a DNS name and not an address in any spelling. A last label that is a number makes the whole an IPv4
/// address to resolvers and browsers: `127.1`, `2130706433`, `0x7f.0.0.1`, `0177.0.0.1`.
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

/// A name without a dot is one of the local network: resolvers complete it from their search list.
fn is_public_name(host: &str) -> bool {
    let is_below =
        |zone: &str| host.strip_suffix(zone).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    host.contains('.') && !PRIVATE_ZONES.into_iter().any(is_below)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(uri: &str, allow: &[&str]) -> Result<Addresses, &'static str> {
        let allow: Vec<String> = allow.iter().map(|&entry| entry.to_owned()).collect();
        Guard::new(Destinations::Public, &allow, HashSet::new()).unwrap().judge(&uri.parse().unwrap())
    }

    #[test]
    fn a_public_name_passes_and_its_addresses_are_still_to_be_judged() {
        for uri in [
            "https://updates.push.services.mozilla.com/wpush/v2/x",
            "https://web.push.apple.com/x",
            "https://fcm.googleapis.com:443/x",
            "https://PUSH.Example.Org./x",
            "https://a_b-c.xn--fsq.com/x",
        ] {
            assert_eq!(judge(uri, &[]), Ok(Addresses::Public), "{uri}");
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
                assert!(judge(&uri, &[]).is_err(), "{host}");
            }
        }
        assert_eq!(judge("https://2130706433/x", &[]), Err("only DNS names are allowed, no addresses"));
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
                judge(&format!("https://{host}/x"), &[]),
                Err("the name is not a public one"),
                "{host}"
            );
        }
        assert!(judge("https://notlocalhost.com/x", &[]).is_ok());
        assert!(judge("https://local.example.com/x", &[]).is_ok());
    }

    #[test]
    fn another_port_another_scheme_and_userinfo_are_refused() {
        assert_eq!(judge("https://push.example.org:8443/x", &[]), Err("only port 443 is allowed"));
        assert_eq!(judge("https://push.example.org:80/x", &[]), Err("only port 443 is allowed"));
        assert_eq!(judge("https://push.example.org:65979/x", &[]), Err("the port is not one"));
        assert_eq!(judge("http://push.example.org/x", &[]), Err("only https is allowed"));
        assert_eq!(judge("ftp://push.example.org/x", &[]), Err("only https is allowed"));
        let userinfo = "an address must not carry a user or a password";
        assert_eq!(judge("https://push.example.org@10.0.0.1/x", &[]), Err(userinfo));
        assert_eq!(judge("https://u:p@push.example.org/x", &["push.example.org"]), Err(userinfo));
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
            assert_eq!(judge(uri, &allow), Ok(Addresses::Any), "{uri}");
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
            assert!(judge(uri, &allow).is_err(), "{uri}");
        }
    }

    #[test]
    fn a_host_whose_address_the_operator_has_given_passes() {
        let given = HashSet::from(["localhost".to_owned()]);
        let guard = Guard::new(Destinations::Public, &[], given).unwrap();
        assert_eq!(guard.judge(&"https://LocalHost:8443/x".parse().unwrap()), Ok(Addresses::Any));
        assert!(guard.judge(&"https://u@localhost/x".parse().unwrap()).is_err());
        assert!(guard.judge(&"https://a.localhost/x".parse().unwrap()).is_err());
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
        assert_eq!(guard.judge(&"http://127.0.0.1:9/x".parse().unwrap()), Ok(Addresses::Any));
        for uri in ["ftp://a/x", "/x", "https://u@a/x"] {
            assert!(guard.judge(&uri.parse().unwrap()).is_err(), "{uri}");
        }
    }
}
