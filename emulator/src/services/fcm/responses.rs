//! Google's responses, with the original texts as far as they are known.

use serde_json::{Value, json};

use crate::wire::HttpResponse;

const CONTENT_TYPE: &str = "application/json; charset=UTF-8";

pub(super) fn ok(body: &Value) -> HttpResponse {
    HttpResponse::with_body(200, CONTENT_TYPE, body.to_string())
}

pub(super) fn not_found() -> HttpResponse {
    let page = "<!DOCTYPE html><title>Error 404 (Not Found)!!1</title>";
    HttpResponse::with_body(404, "text/html; charset=UTF-8", page)
}

/// Returns an OAuth 2.0 error (RFC 6749 §5.2).
pub(super) fn oauth_error(status: u16, error: &str, description: &str) -> HttpResponse {
    let body = json!({"error": error, "error_description": description});
    HttpResponse::with_body(status, CONTENT_TYPE, body.to_string())
}

/// Returns Google's error format with FCM's own error code.
pub(super) fn fcm_error(status: u16, state: &str, message: &str, code: &str) -> HttpResponse {
    let detail = json!({"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code});
    google_error(status, state, message, &[detail])
}

/// Returns the error for a message that FCM does not accept.
pub(super) fn invalid_argument(message: &str) -> HttpResponse {
    fcm_error(400, "INVALID_ARGUMENT", message, "INVALID_ARGUMENT")
}

/// Returns Google's error about one field of the request.
pub(super) fn field_violation(field: &str, description: &str) -> HttpResponse {
    let detail = json!({"@type": "type.googleapis.com/google.rpc.BadRequest",
        "fieldViolations": [{"field": field, "description": description}]});
    google_error(400, "INVALID_ARGUMENT", description, &[detail])
}

/// Returns Google's error format (`google.rpc.Status` as JSON).
pub(super) fn google_error(status: u16, state: &str, message: &str, details: &[Value]) -> HttpResponse {
    let mut error = json!({"code": status, "message": message, "status": state});
    if !details.is_empty() {
        error["details"] = details.into();
    }
    HttpResponse::with_body(status, CONTENT_TYPE, json!({"error": error}).to_string())
}

pub(super) fn unauthenticated() -> HttpResponse {
    let text = "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.";
    google_error(401, "UNAUTHENTICATED", text, &[])
}

pub(super) fn unregistered() -> HttpResponse {
    fcm_error(404, "NOT_FOUND", "Requested entity was not found.", "UNREGISTERED")
}

/// Returns the error that a fault rule asks for, in Google's format.
pub(super) fn fault_response(status: u16, code: Option<&str>) -> HttpResponse {
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
        Some(code) => fcm_error(status, state, "Fault injected by the emulator.", code),
        None if status == 401 => unauthenticated(),
        None => google_error(status, state, "Fault injected by the emulator.", &[]),
    }
}
