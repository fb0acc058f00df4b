//! Format of Firebase's REST responses, which pages of any origin may read.

use serde_json::{Value, json};

use crate::wire::HttpResponse;

const CONTENT_TYPE: &str = "application/json; charset=UTF-8";

pub(super) fn ok(body: &Value) -> HttpResponse {
    HttpResponse::with_body(200, CONTENT_TYPE, body.to_string())
}

/// Returns an error as the JSON of `google.rpc.Status`.
pub(super) fn error(status: u16, state: &str, message: &str) -> HttpResponse {
    let body = json!({"error": {"code": status, "message": message, "status": state}});
    HttpResponse::with_body(status, CONTENT_TYPE, body.to_string())
}

pub(super) fn invalid_argument(message: &str) -> HttpResponse {
    error(400, "INVALID_ARGUMENT", message)
}

/// Adds the CORS headers that a browser requires. `*` alone does not cover the header `authorization`.
pub(super) fn with_cors(response: HttpResponse) -> HttpResponse {
    let headers = "*, authorization, content-type, x-goog-api-key, x-firebase-client, x-goog-firebase-installations-auth, x-firebase-gmpid, accept";
    response
        .with_header("access-control-allow-origin", "*".to_owned())
        .with_header("access-control-allow-methods", "GET,POST,PUT,PATCH,DELETE,OPTIONS".to_owned())
        .with_header("access-control-allow-headers", headers.to_owned())
}
