//! How a channel speaks HTTP: one request, one answer, a deadline. The pool behind it is `channels/transport`.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri};

use crate::fault::{Fault, Kind};

/// Sends one HTTP request. Requests that were certainly not processed by the peer (refused streams, a GOAWAY below their
/// stream, a connection that was never had) are given another connection within the deadline; no other request is repeated.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Sends it and reads the whole answer.
    ///
    /// # Errors
    /// [`TransportError`]; it says whether the peer may have acted on the request.
    async fn send(&self, request: Request) -> Result<Response, TransportError>;
}

/// One HTTP request.
#[derive(Clone)]
pub struct Request {
    /// The verb.
    pub method: Method,
    /// Absolute: scheme, host, path and query go out byte for byte.
    pub uri: Uri,
    /// Headers; mark secrets with `HeaderValue::set_sensitive`.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// From now to the last byte of the answer.
    pub timeout: Duration,
    /// The longest answer taken; a longer one is an error.
    pub max_answer: usize,
}

impl Request {
    /// The longest answer taken unless said otherwise: vendors answer in hundreds of bytes.
    pub const MAX_ANSWER: usize = 64 * 1024;

    /// A POST with the given body.
    #[must_use]
    pub fn post(uri: Uri, body: impl Into<Bytes>, timeout: Duration) -> Self {
        Self {
            method: Method::POST,
            uri,
            headers: HeaderMap::new(),
            body: body.into(),
            timeout,
            max_answer: Self::MAX_ANSWER,
        }
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Paths may hold tokens, headers hold credentials, bodies hold texts of users: host and size are what can be shown.
        write!(
            f,
            "{} {}/… ({} bytes)",
            self.method,
            self.uri.authority().map_or("", |a| a.host()),
            self.body.len()
        )
    }
}

/// One HTTP answer, read to its end.
#[derive(Clone)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, at most [`Request::max_answer`] bytes.
    pub body: Bytes,
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({} bytes)", self.status, self.body.len())
    }
}

/// Why there is no answer. Details name hosts and causes, never paths, headers or bodies.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// No connection could be had; the peer has seen nothing.
    #[error("no connection to {host}: {why}")]
    Unreachable {
        /// Where to.
        host: String,
        /// Why not, in words an operator can act on.
        why: String,
    },
    /// Refused by our own rules (an address that must not be dialled); the peer has seen nothing.
    #[error("refused to connect to {host}: {why}")]
    Refused {
        /// Where to.
        host: String,
        /// Which rule.
        why: String,
    },
    /// The deadline came first; the peer may have acted.
    #[error("no answer from {host} within {after:?}")]
    Timeout {
        /// From where.
        host: String,
        /// How long we waited.
        after: Duration,
    },
    /// The connection broke after the request was sent; the peer may have acted.
    #[error("the connection to {host} broke before the answer: {why}")]
    Broken {
        /// From where.
        host: String,
        /// How.
        why: String,
    },
    /// The peer closed the connection by GOAWAY before it looked at the request (RFC 9113 §6.8), and no other connection
    /// took it; the peer has not acted.
    #[error("{host} went away without looking at the request: {reason}")]
    GoneAway {
        /// Who.
        host: String,
        /// What the peer gave as its reason: its debug data, at most 256 bytes of it, printable ASCII; without any, the
        /// name of the error code. Some vendors write JSON here.
        reason: String,
    },
    /// The answer was longer than [`Request::max_answer`]; the peer has acted.
    #[error("the answer of {host} is longer than {limit} bytes")]
    AnswerTooLong {
        /// From where.
        host: String,
        /// The limit.
        limit: usize,
    },
}

impl From<TransportError> for Fault {
    fn from(error: TransportError) -> Self {
        let kind = match &error {
            TransportError::Unreachable { .. } => Kind::Unreachable,
            TransportError::Refused { .. } => Kind::BadMessage,
            TransportError::Timeout { .. } => Kind::Timeout,
            TransportError::Broken { .. }
            | TransportError::GoneAway { .. }
            | TransportError::AnswerTooLong { .. } => Kind::VendorDown,
        };
        Self::new(kind, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_is_a_fault_of_the_kind_that_says_whether_to_try_again() {
        let host = || "push.example".to_owned();
        let why = || "so it is".to_owned();
        let after = Duration::from_secs(1);
        for (error, kind) in [
            (TransportError::Unreachable { host: host(), why: why() }, Kind::Unreachable),
            (TransportError::Refused { host: host(), why: why() }, Kind::BadMessage),
            (TransportError::Timeout { host: host(), after }, Kind::Timeout),
            (TransportError::Broken { host: host(), why: why() }, Kind::VendorDown),
            (TransportError::GoneAway { host: host(), reason: why() }, Kind::VendorDown),
            (TransportError::AnswerTooLong { host: host(), limit: 9 }, Kind::VendorDown),
        ] {
            let text = error.to_string();
            let fault = Fault::from(error);
            assert!(text.contains("push.example"), "{text}");
            assert_eq!((fault.kind, fault.detail), (kind, text));
        }
    }
}
