//! Validation of the HTTP requests that a plugin sends through the gateway's client. Requests from this process and from
//! a child process pass the same checks.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use pushgate::Request;

/// Maximum length of a URL, in bytes.
pub(crate) const MAX_URL: usize = 8 * 1024;
/// Maximum length of a method, in bytes. The longest registered method has 17.
pub(crate) const MAX_METHOD: usize = 32;
/// Maximum number of headers.
pub(crate) const MAX_HEADERS: usize = 100;
/// Maximum length of a header's value, in bytes.
pub(crate) const MAX_HEADER: usize = 16 * 1024;
/// Maximum length of a request body, in bytes.
pub(crate) const MAX_BODY: usize = 4 * 1024 * 1024;
/// Maximum length of a response body, in bytes.
const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// Maximum timeout. A request may outlast the send that it belongs to, but not without limit.
const MAX_TIMEOUT: Duration = Duration::from_secs(600);
/// Headers that only the transport sets. Two conflicting length headers would allow request smuggling.
const TRANSPORT_HEADERS: [&str; 5] = ["host", "connection", "content-length", "transfer-encoding", "upgrade"];
/// Headers that are never stored in a connection's HPACK table.
const SENSITIVE_HEADERS: [&str; 3] = ["authorization", "proxy-authorization", "cookie"];

/// Request as the plugin gives it, without its headers.
pub(crate) struct RawRequest<'a> {
    pub(crate) method: &'a [u8],
    pub(crate) url: Bytes,
    pub(crate) body: Bytes,
    pub(crate) timeout: Duration,
    /// Maximum length of the response body, in bytes. Zero selects the default of [`Request::post`].
    pub(crate) max_answer: u64,
}

impl RawRequest<'_> {
    /// Returns the request with its timeout and `max_answer` reduced to the limits. `None` means that a part of it is
    /// invalid or too long.
    pub(crate) fn validate<'h>(self, headers: impl Iterator<Item = (&'h [u8], Bytes)>) -> Option<Request> {
        if self.url.len() > MAX_URL || self.body.len() > MAX_BODY || self.method.len() > MAX_METHOD {
            return None;
        }
        let uri = Uri::from_maybe_shared(self.url).ok()?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
            return None;
        }
        let mut request = Request::post(uri, self.body, self.timeout.min(MAX_TIMEOUT));
        request.method = Method::from_bytes(self.method).ok().filter(|method| *method != Method::CONNECT)?;
        if self.max_answer > 0 {
            request.max_answer = usize::try_from(self.max_answer).unwrap_or(usize::MAX).min(MAX_ANSWER);
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
    if TRANSPORT_HEADERS.contains(&name.as_str()) || value.len() > MAX_HEADER || headers.len() == MAX_HEADERS
    {
        return None;
    }
    value.set_sensitive(SENSITIVE_HEADERS.contains(&name.as_str()));
    headers.append(name, value);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw<'a>(method: &'a str, url: &'static str) -> RawRequest<'a> {
        let (timeout, body) = (Duration::from_secs(3600), Bytes::new());
        RawRequest { method: method.as_bytes(), url: Bytes::from(url), body, timeout, max_answer: u64::MAX }
    }

    #[test]
    fn relative_urls_other_schemes_and_headers_of_the_transport_are_refused() {
        let passes = |method, url, name: &str| {
            raw(method, url).validate([(name.as_bytes(), Bytes::from("1"))].into_iter()).is_some()
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
    fn credentials_are_marked_sensitive_and_limits_are_applied() {
        let headers = [(&b"Authorization"[..], Bytes::from("Bearer x"))];
        let request = raw("POST", "https://a.example").validate(headers.into_iter()).unwrap();
        assert!(request.headers["authorization"].is_sensitive());
        assert_eq!((request.timeout, request.max_answer), (MAX_TIMEOUT, MAX_ANSWER));
    }
}
