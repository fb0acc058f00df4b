//! Error responses of the API: `application/problem+json` (RFC 9457) with a stable `code`.

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use pushgate::gateway::DeviceEventError;
use pushgate::{StorageError, SubmitError};
use serde_json::json;

/// Error response: status, code and detail.
#[derive(Debug)]
pub(crate) struct Problem {
    status: u16,
    code: &'static str,
    detail: String,
    /// Path of the field of the body that is refused, or name of the query parameter.
    field: Option<String>,
    /// Seconds after which the same request may succeed.
    retry_after: Option<u32>,
}

impl Problem {
    pub(crate) fn new(status: u16, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), field: None, retry_after: None }
    }

    /// Returns 503 for a request that exceeds a limit of the whole server.
    pub(crate) fn overloaded(detail: impl Into<String>) -> Self {
        Self::new(503, "overloaded", detail).retry_after(1)
    }

    /// Returns 503 for a request during shutdown.
    pub(crate) fn shutting_down() -> Self {
        SubmitError::ShuttingDown.into()
    }

    /// Sets the name of the refused field. The detail begins with it already.
    pub(crate) fn about(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Prefixes the field and the detail with the path of the object that contains the field.
    pub(crate) fn within(mut self, path: &str) -> Self {
        if let Some(field) = &mut self.field {
            *field = format!("{path}.{field}");
            self.detail = format!("{path}.{}", self.detail);
        }
        self
    }

    /// Adds a `Retry-After` header, in seconds.
    pub(crate) const fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Returns `true` if the client may still be sending the body.
    pub(crate) const fn has_unread_body(&self) -> bool {
        matches!(self.status, 413 | 503)
    }

    /// Returns the stable code.
    #[cfg(test)]
    pub(crate) const fn code(&self) -> &'static str {
        self.code
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let title = status.canonical_reason().unwrap_or("error");
        let mut body = json!({"type": "about:blank", "title": title, "status": self.status, "code": self.code, "detail": self.detail});
        if let Some(field) = self.field {
            body["field"] = field.into();
        }
        let mut response = (status, body.to_string()).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl From<StorageError> for Problem {
    fn from(error: StorageError) -> Self {
        tracing::error!(%error, "storage failed");
        Self::new(503, "storage", "storage failed and nothing was changed; try again in a moment")
    }
}

impl From<DeviceEventError> for Problem {
    fn from(error: DeviceEventError) -> Self {
        match error {
            DeviceEventError::UnknownToken => Self::new(404, "unknown_receipt", error.to_string()),
            DeviceEventError::RetentionEnded => Self::new(410, "receipt_too_late", error.to_string()),
            DeviceEventError::Storage(error) => error.into(),
        }
    }
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Self {
        let (status, code) = match &error {
            SubmitError::UnknownApp(_) => (404, "unknown_app"),
            SubmitError::UnknownChannel(_) => (422, "unknown_channel"),
            SubmitError::BadAddress { .. } => (422, "bad_address"),
            SubmitError::EmptyAudience => (422, "empty_audience"),
            SubmitError::AudienceTooLarge { .. } => (422, "audience_too_large"),
            SubmitError::NothingToShow => (422, "nothing_to_show"),
            SubmitError::MissingCollapseKey => (422, "nothing_to_remove"),
            SubmitError::TooFarAhead => (422, "too_far_ahead"),
            SubmitError::TooLongAgo => (422, "too_long_ago"),
            SubmitError::TooLarge { .. } => (422, "too_large"),
            SubmitError::Template(_) => (422, "template"),
            SubmitError::KeyReused { .. } => (409, "idempotency_key_reused"),
            SubmitError::ShuttingDown => {
                return Self::new(503, "shutting_down", error.to_string()).retry_after(1);
            }
            SubmitError::Storage(_) => {
                tracing::error!(%error, "storage failed");
                return Self::new(
                    503,
                    "storage",
                    "storage failed and nothing was stored; try again in a moment",
                );
            }
        };
        Self::new(status, code, error.to_string())
    }
}
