//! The shape of Firebase's REST answers, which pages of any origin may read.

use serde_json::{Value, json};

use crate::wire::Reply;

const KIND: &str = "application/json; charset=UTF-8";

pub(super) fn ok(body: &Value) -> Reply {
    Reply::of(200, KIND, body.to_string())
}

/// `google.rpc.Status` as JSON.
pub(super) fn error(status: u16, state: &str, message: &str) -> Reply {
    let body = json!({"error": {"code": status, "message": message, "status": state}});
    Reply::of(status, KIND, body.to_string())
}

pub(super) fn bad(message: &str) -> Reply {
    error(400, "INVALID_ARGUMENT", message)
}

/// What a browser wants to hear before and with every call across origins; `*` alone does not cover `authorization`.
pub(super) fn cors(reply: Reply) -> Reply {
    let headers = "*, authorization, content-type, x-goog-api-key, x-firebase-client, x-goog-firebase-installations-auth, x-firebase-gmpid, accept";
    reply
        .with("access-control-allow-origin", "*".to_owned())
        .with("access-control-allow-methods", "GET,POST,PUT,PATCH,DELETE,OPTIONS".to_owned())
        .with("access-control-allow-headers", headers.to_owned())
}
