//! HTTP transport of channels: one request, one response, one deadline. `channels/transport` has the connection pool.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri};

use crate::fault::{Fault, Kind};

/// HTTP transport of a channel.
///
/// A request that the peer has certainly not processed is sent again on another connection within the deadline. This holds
/// for refused streams, streams above the last one of a GOAWAY, and failed connections. No other request is repeated.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Sends a request and reads the whole response.
    ///
    /// # Errors
    /// Returns [`TransportError`]. Its variant says whether the peer may have acted on the request.
    async fn send(&self, request: Request) -> Result<Response, TransportError>;
}

/// HTTP request.
#[derive(Clone)]
pub struct Request {
    /// HTTP method.
    pub method: Method,
    /// Absolute URI. It is sent byte for byte.
    pub uri: Uri,
    /// Request headers. Secrets are marked with `HeaderValue::set_sensitive`.
    pub headers: HeaderMap,
    /// Request body.
    pub body: Bytes,
    /// Time limit from the call to the last byte of the response.
    pub timeout: Duration,
    /// Maximum size of the response body in bytes. A larger one is an error.
    pub max_answer: usize,
}

impl Request {
    /// Default maximum size of a response body in bytes. Push services respond with hundreds of bytes.
    pub const MAX_ANSWER: usize = 64 * 1024;

    /// Creates a POST request without headers.
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
        // Paths may hold tokens, headers credentials, and bodies texts of users. Only host and size are safe to show.
        write!(
            f,
            "{} {}/… ({} bytes)",
            self.method,
            self.uri.authority().map_or("", |a| a.host()),
            self.body.len()
        )
    }
}

/// HTTP response, read completely.
#[derive(Clone)]
pub struct Response {
    /// HTTP status.
    pub status: StatusCode,
    /// Response headers.
    pub headers: HeaderMap,
    /// Response body, at most [`Request::max_answer`] bytes.
    pub body: Bytes,
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({} bytes)", self.status, self.body.len())
    }
}

/// Reason why there is no response. The texts name hosts and causes, never paths, headers or bodies.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// No connection could be established. The peer has received nothing.
    #[error("no connection to {host}: {why}")]
    Unreachable {
        /// Host of the request.
        host: String,
        /// Cause that an operator can act on.
        why: String,
    },
    /// Refused by the gateway's own rules, such as a forbidden address. The peer has received nothing.
    #[error("refused to connect to {host}: {why}")]
    Refused {
        /// Host of the request.
        host: String,
        /// Rule that forbids it.
        why: String,
    },
    /// The deadline passed before the response. The peer may have acted.
    #[error("no answer from {host} within {after:?}")]
    Timeout {
        /// Host of the request.
        host: String,
        /// Time limit that passed.
        after: Duration,
    },
    /// The connection broke after the request was sent. The peer may have acted.
    #[error("the connection to {host} broke before the answer: {why}")]
    Broken {
        /// Host of the request.
        host: String,
        /// Cause of the break.
        why: String,
    },
    /// The peer sent GOAWAY before it processed the request (RFC 9113 §6.8), and no other connection accepted the request.
    /// The peer has not acted.
    #[error("{host} went away without looking at the request: {reason}")]
    GoneAway {
        /// Host of the request.
        host: String,
        /// Reason that the peer gave: at most 256 bytes of its debug data in printable ASCII, or else the name of the error
        /// code. Some push services send JSON here.
        reason: String,
    },
    /// The response was larger than [`Request::max_answer`]. The peer has acted.
    #[error("the answer of {host} is longer than {limit} bytes")]
    AnswerTooLong {
        /// Host of the request.
        host: String,
        /// Maximum size in bytes.
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
