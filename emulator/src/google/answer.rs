//! Google's answers, word for word where the words are known.

use serde_json::{Value, json};

/// A status, a body, and what else is said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
    pub(crate) retry_after: Option<String>,
    pub(crate) location: Option<String>,
    pub(crate) json: bool,
}

impl Answer {
    pub(crate) fn ok(body: &Value) -> Self {
        Self { status: 200, body: body.to_string(), retry_after: None, location: None, json: true }
    }

    pub(crate) fn raw(status: u16, body: String) -> Self {
        Self { status, body, retry_after: None, location: None, json: false }
    }

    pub(crate) fn retry_after(mut self, value: Option<String>) -> Self {
        self.retry_after = value;
        self
    }

    /// The OAuth2 error of RFC 6749 §5.2.
    pub(crate) fn oauth(status: u16, error: &str, description: &str) -> Self {
        let body = json!({"error": error, "error_description": description});
        Self { status, ..Self::ok(&body) }
    }

    /// Google's error with FCM's own code.
    pub(crate) fn fcm(status: u16, state: &str, message: &str, code: &str) -> Self {
        let detail =
            json!({"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code});
        Self::google(status, state, message, &[detail])
    }

    /// Google's error about one field of the request.
    pub(crate) fn field(field: &str, description: &str) -> Self {
        let detail = json!({"@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [{"field": field, "description": description}]});
        Self::google(400, "INVALID_ARGUMENT", description, &[detail])
    }

    pub(crate) fn google(status: u16, state: &str, message: &str, details: &[Value]) -> Self {
        let mut error = json!({"code": status, "message": message, "status": state});
        if !details.is_empty() {
            error["details"] = details.into();
        }
        Self { status, ..Self::ok(&json!({"error": error})) }
    }

    pub(crate) fn unauthenticated() -> Self {
        let text = "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.";
        Self::google(401, "UNAUTHENTICATED", text, &[])
    }

    pub(crate) fn unregistered() -> Self {
        Self::fcm(404, "NOT_FOUND", "Requested entity was not found.", "UNREGISTERED")
    }

    /// An error on demand, as Google would word it.
    pub(crate) fn injected(status: u16, code: Option<&str>) -> Self {
        let state = match status {
            400 => "INVALID_ARGUMENT",
            401 => "UNAUTHENTICATED",
            403 => "PERMISSION_DENIED",
            404 => "NOT_FOUND",
            429 => "RESOURCE_EXHAUSTED",
            500 => "INTERNAL",
            503 => "UNAVAILABLE",
            _ => "UNKNOWN",
        };
        match code {
            Some("UNREGISTERED") => Self::unregistered(),
            Some(code) => Self::fcm(status, state, "An error was asked for.", code),
            None if status == 401 => Self::unauthenticated(),
            None => Self::google(status, state, "An error was asked for.", &[]),
        }
    }
}
