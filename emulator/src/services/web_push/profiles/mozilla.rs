//! Mozilla's autopush: JSON errors with an errno (<https://mozilla-services.github.io/autopush-rs/errors.html>).

use serde_json::json;

use super::{PushResponse, Refusal, ServiceProfile, random_id};

pub(super) struct Mozilla;

/// Retry-After of an overloaded autopush, in seconds.
const RETRY_AFTER: &str = "120";

impl ServiceProfile for Mozilla {
    fn origin(&self) -> &'static str {
        "https://updates.push.services.mozilla.com"
    }

    fn path_prefix(&self) -> &'static str {
        "/wpush/v2/"
    }

    /// Returns a `v2` path. Those endpoints are bound to a VAPID key.
    fn random_path(&self) -> String {
        format!("{}gAAAA{}", self.path_prefix(), random_id::<135>())
    }

    fn max_ttl(&self) -> u64 {
        2_592_000
    }

    fn message_path(&self) -> String {
        format!("/m/gAAAA{}", random_id::<60>())
    }

    fn refusal_response(&self, refusal: Refusal) -> PushResponse {
        let (status, errno, message) = match refusal {
            Refusal::Method => return PushResponse::empty(405).with_header("allow", "POST"),
            Refusal::Unknown | Refusal::Mangled => (404, 102, "Invalid URL endpoint"),
            Refusal::Gone => (410, 106, "No such subscription"),
            Refusal::TtlMissing => (400, 111, "Missing TTL value"),
            Refusal::Ttl | Refusal::CachePolicy => (400, 112, "Invalid TTL header value"),
            Refusal::Topic => (400, 113, "Invalid Topic header value"),
            Refusal::Encoding => (400, 110, "Invalid aes128gcm encryption headers"),
            // The table of errnos has no entry for the urgency.
            Refusal::Urgency => (400, 110, "Invalid Urgency header value"),
            Refusal::TooLarge => {
                (413, 104, "This message is intended for a constrained device and is limited")
            }
            Refusal::Vapid(_) => (401, 109, "Request did not validate Invalid Authorization Header"),
            Refusal::OtherKey => (401, 109, "Request did not validate VAPID public key mismatch"),
        };
        error(status, errno, message)
    }

    fn fault_response(&self, status: u16, code: Option<&str>) -> PushResponse {
        let default_errno = match status {
            400 => 110,
            401 => 109,
            404 => 102,
            410 => 103,
            413 => 104,
            429 | 503 => 201,
            502 => 903,
            _ => 999,
        };
        let errno = code.and_then(|code| code.parse().ok()).unwrap_or(default_errno);
        let response = error(status, errno, "Fault injected by the emulator.");
        if errno == 201 { response.with_header("retry-after", RETRY_AFTER) } else { response }
    }
}

fn error(status: u16, errno: u16, message: &str) -> PushResponse {
    let name = http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    PushResponse::json(
        status,
        &json!({"code": status, "errno": errno, "error": name.unwrap_or("Error"), "message": message,
            "more_info": "http://autopush.readthedocs.io/en/latest/http.html#error-codes"}),
    )
}
