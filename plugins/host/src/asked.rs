//! What a plugin may ask of the gateway's HTTP client: the checks every request passes, whichever way it came.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use pushgate::Request;

pub(crate) const MOST_URL: usize = 8 * 1024;
/// Longest method, in bytes. The longest that is registered has 17.
pub(crate) const MAX_METHOD: usize = 32;
pub(crate) const MOST_HEADERS: usize = 100;
pub(crate) const MOST_HEADER: usize = 16 * 1024;
pub(crate) const MOST_BODY: usize = 4 * 1024 * 1024;
const MOST_ANSWER: usize = 4 * 1024 * 1024;
/// A request may outlast the send it belongs to, but not by much.
const LONGEST: Duration = Duration::from_secs(600);
/// What the transport sets by itself: two opinions about where a message ends are an attack.
const OURS: [&str; 5] = ["host", "connection", "content-length", "transfer-encoding", "upgrade"];
/// What is never kept in a connection's header table.
const SECRET: [&str; 3] = ["authorization", "proxy-authorization", "cookie"];

/// A request as a plugin asks for it, its headers aside.
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a [u8],
    pub(crate) url: Bytes,
    pub(crate) body: Bytes,
    pub(crate) timeout: Duration,
    /// Zero: as the transport takes without being told.
    pub(crate) max_answer: u64,
}

impl Asked<'_> {
    /// The request; none when something about it is not right.
    pub(crate) fn checked<'h>(self, headers: impl Iterator<Item = (&'h [u8], Bytes)>) -> Option<Request> {
        if self.url.len() > MOST_URL || self.body.len() > MOST_BODY || self.method.len() > MAX_METHOD {
            return None;
        }
        let uri = Uri::from_maybe_shared(self.url).ok()?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
            return None;
        }
        let mut request = Request::post(uri, self.body, self.timeout.min(LONGEST));
        request.method = Method::from_bytes(self.method).ok().filter(|method| *method != Method::CONNECT)?;
        if self.max_answer > 0 {
            request.max_answer = usize::try_from(self.max_answer).unwrap_or(usize::MAX).min(MOST_ANSWER);
        }
        for (name, value) in headers {
            add(&mut request.headers, name, value)?;
        }
        Some(request)
    }
}

fn add(headers: &mut HeaderMap, name: &[u8], value: Bytes) -> Option<()> {
    let name = HeaderName::from_bytes(name).ok()?;
    let mut value = HeaderValue::from_maybe_shared(value).ok()?;
    if OURS.contains(&name.as_str()) || value.len() > MOST_HEADER || headers.len() == MOST_HEADERS {
        return None;
    }
    value.set_sensitive(SECRET.contains(&name.as_str()));
    headers.append(name, value);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked<'a>(method: &'a str, url: &'static str) -> Asked<'a> {
        let (timeout, body) = (Duration::from_secs(3600), Bytes::new());
        Asked { method: method.as_bytes(), url: Bytes::from(url), body, timeout, max_answer: u64::MAX }
    }

    #[test]
    fn only_whole_addresses_and_headers_that_are_the_plugins_pass() {
        let passes = |method, url, name: &str| {
            asked(method, url).checked([(name.as_bytes(), Bytes::from("1"))].into_iter()).is_some()
        };
        assert!(passes("PUT", "https://a.example/x?y", "x-acme"));
        for (method, url, name) in [
            ("POST", "/x", "x-acme"),
            ("POST", "ftp://a.example", "x-acme"),
            ("POST", "https://", "x-acme"),
            ("CONNECT", "https://a.example", "x-acme"),
            ("PO ST", "https://a.example", "x-acme"),
            ("A-METHOD-THAT-IS-LONGER-THAN-ANY-IS", "https://a.example", "x-acme"),
            ("POST", "https://a.example", "content-length"),
            ("POST", "https://a.example", "Transfer-Encoding"),
            ("POST", "https://a.example", "x acme"),
        ] {
            assert!(!passes(method, url, name), "{method} {url} {name}");
        }
    }

    #[test]
    fn credentials_are_marked_and_wishes_are_bounded() {
        let headers = [(&b"Authorization"[..], Bytes::from("Bearer x"))];
        let request = asked("POST", "https://a.example").checked(headers.into_iter()).unwrap();
        assert!(request.headers["authorization"].is_sensitive());
        assert_eq!((request.timeout, request.max_answer), (LONGEST, MOST_ANSWER));
    }
}
