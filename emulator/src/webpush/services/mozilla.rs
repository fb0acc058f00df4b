//! Mozilla's autopush: JSON with an errno (<https://mozilla-services.github.io/autopush-rs/errors.html>).

use serde_json::json;

use super::{Answer, Personality, Refusal, unguessable};

pub(super) struct Mozilla;

/// What autopush tells to wait when it is short of breath, in seconds.
const PATIENCE: &str = "120";

impl Personality for Mozilla {
    fn origin(&self) -> &'static str {
        "https://updates.push.services.mozilla.com"
    }

    fn prefix(&self) -> &'static str {
        "/wpush/v2/"
    }

    /// `v2` endpoints are bound to a key.
    fn path(&self) -> String {
        format!("{}gAAAA{}", self.prefix(), unguessable::<135>())
    }

    fn longest_ttl(&self) -> u64 {
        2_592_000
    }

    fn message_path(&self) -> String {
        format!("/m/gAAAA{}", unguessable::<60>())
    }

    fn refused(&self, refusal: Refusal) -> Answer {
        let (status, errno, message) = match refusal {
            Refusal::Method => return Answer::bare(405).with("allow", "POST"),
            Refusal::Unknown | Refusal::Mangled => (404, 102, "Invalid URL endpoint"),
            Refusal::Gone => (410, 106, "No such subscription"),
            Refusal::TtlMissing => (400, 111, "Missing TTL value"),
            Refusal::Ttl | Refusal::CachePolicy => (400, 112, "Invalid TTL header value"),
            Refusal::Topic => (400, 113, "Invalid Topic header value"),
            Refusal::Encoding => (400, 110, "Invalid aes128gcm encryption headers"),
            // The table of errnos has no row of its own for it.
            Refusal::Urgency => (400, 110, "Invalid Urgency header value"),
            Refusal::TooLarge => {
                (413, 104, "This message is intended for a constrained device and is limited")
            }
            Refusal::Vapid(_) => (401, 109, "Request did not validate Invalid Authorization Header"),
            Refusal::OtherKey => (401, 109, "Request did not validate VAPID public key mismatch"),
        };
        error(status, errno, message)
    }

    fn injected(&self, status: u16, code: Option<&str>) -> Answer {
        let usual = match status {
            400 => 110,
            401 => 109,
            404 => 102,
            410 => 103,
            413 => 104,
            429 | 503 => 201,
            502 => 903,
            _ => 999,
        };
        let errno = code.and_then(|code| code.parse().ok()).unwrap_or(usual);
        let answer = error(status, errno, "An error was asked for.");
        if errno == 201 { answer.with("retry-after", PATIENCE) } else { answer }
    }
}

fn error(status: u16, errno: u16, message: &str) -> Answer {
    let name = http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    Answer::json(
        status,
        &json!({"code": status, "errno": errno, "error": name.unwrap_or("Error"), "message": message,
            "more_info": "http://autopush.readthedocs.io/en/latest/http.html#error-codes"}),
    )
}
