//! Google's answers, word for word where the words are known.

use serde_json::{Value, json};

use crate::wire::Reply;

const JSON: &str = "application/json; charset=UTF-8";

pub(super) fn ok(body: &Value) -> Reply {
    Reply::of(200, JSON, body.to_string())
}

pub(super) fn not_found() -> Reply {
    let page = "<!DOCTYPE html><title>Error 404 (Not Found)!!1</title>";
    Reply::of(404, "text/html; charset=UTF-8", page)
}

/// The OAuth2 error of RFC 6749 §5.2.
pub(super) fn oauth(status: u16, error: &str, description: &str) -> Reply {
    let body = json!({"error": error, "error_description": description});
    Reply::of(status, JSON, body.to_string())
}

/// Google's error with FCM's own code.
pub(super) fn fcm(status: u16, state: &str, message: &str, code: &str) -> Reply {
    let detail = json!({"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code});
    google(status, state, message, &[detail])
}

/// A message that is not what FCM takes.
pub(super) fn invalid(message: &str) -> Reply {
    fcm(400, "INVALID_ARGUMENT", message, "INVALID_ARGUMENT")
}

/// Google's error about one field of the request.
pub(super) fn field(field: &str, description: &str) -> Reply {
    let detail = json!({"@type": "type.googleapis.com/google.rpc.BadRequest",
        "fieldViolations": [{"field": field, "description": description}]});
    google(400, "INVALID_ARGUMENT", description, &[detail])
}

pub(super) fn google(status: u16, state: &str, message: &str, details: &[Value]) -> Reply {
    let mut error = json!({"code": status, "message": message, "status": state});
    if !details.is_empty() {
        error["details"] = details.into();
    }
    Reply::of(status, JSON, json!({"error": error}).to_string())
}

pub(super) fn unauthenticated() -> Reply {
    let text = "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.";
    google(401, "UNAUTHENTICATED", text, &[])
}

pub(super) fn unregistered() -> Reply {
    fcm(404, "NOT_FOUND", "Requested entity was not found.", "UNREGISTERED")
}

/// An error on demand, as Google would word it.
pub(super) fn injected(status: u16, code: Option<&str>) -> Reply {
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
        Some("UNREGISTERED") => unregistered(),
        Some(code) => fcm(status, state, "An error was asked for.", code),
        None if status == 401 => unauthenticated(),
        None => google(status, state, "An error was asked for.", &[]),
    }
}
