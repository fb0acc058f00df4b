//! Classifies the answers of FCM: the only module that knows its errors. Pure.
//!
//! Sources: <https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode> and
//! <https://firebase.google.com/docs/cloud-messaging/error-codes>.

use std::time::Duration;

use http::StatusCode;
use pushgate::vendor_response::{retry_after, safe_quote, seconds};
use pushgate::{Fault, Kind, Outcome, Response, Timestamp};
use serde_json::Value;

/// Only text with which INVALID_ARGUMENT means a dead token and not a bad message.
const DEAD_TOKEN: &str = "The registration token is not a valid FCM registration token";
/// Pause after a 429 without a requested delay. Source: <https://firebase.google.com/docs/cloud-messaging/scale-fcm>.
const DEFAULT_PAUSE: Duration = Duration::from_secs(60);
/// Maximum length of a message name that is kept. Those of FCM have about 60 bytes.
const MAX_VENDOR_ID_BYTES: usize = 256;

/// Returns the outcome for the target of the request. It quotes no text of `private` (the token, the message texts), even if
/// Google repeats it.
pub(crate) fn outcome(response: &Response, private: &[&str], now: Timestamp) -> Outcome {
    if response.status.is_success() {
        return accepted(response);
    }
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    let error = ErrorBody::parse(&body);
    let mut fault = classify(response.status, &error, private);
    if let Some(code) = error.code.or(error.status) {
        fault = fault.with_code(code);
    }
    let requested_delay = retry_after(&response.headers, now).or(error.retry_delay);
    let default_pause = (fault.kind == Kind::Throttled).then_some(DEFAULT_PAUSE);
    Outcome::Failed(fault.retry_after(requested_delay.or(default_pause)))
}

/// Returns `true` if a refusal proves that Google accepted the access token and parsed the message.
pub(crate) fn accepted_credentials(response: &Response) -> bool {
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    matches!(ErrorBody::parse(&body).code, Some("UNREGISTERED" | "INVALID_ARGUMENT" | "SENDER_ID_MISMATCH"))
}

/// Returns the outcome of an answer with a success status. A JSON object is FCM's answer, even without a valid message name.
/// Any other body may come from a captive portal, so the send is retried; the device shows a duplicate once.
fn accepted(response: &Response) -> Outcome {
    match serde_json::from_slice::<Value>(&response.body) {
        Ok(Value::Object(body)) => Outcome::Accepted { vendor_id: body.get("name").and_then(parse_name) },
        Ok(_) | Err(_) => {
            let detail = format!(
                "fcm answers {} with a body in another form than FCM's; check base_url",
                response.status
            );
            Outcome::Failed(Fault::new(Kind::VendorDown, detail))
        }
    }
}

fn parse_name(name: &Value) -> Option<String> {
    let name = name.as_str()?;
    let is_valid =
        !name.is_empty() && name.len() <= MAX_VENDOR_ID_BYTES && name.bytes().all(|b| b.is_ascii_graphic());
    is_valid.then(|| name.to_owned())
}

/// Parsed error answer. All fields are optional, because the answer may come from a proxy.
struct ErrorBody<'a> {
    /// FCM's error code, which is more specific than `status`.
    code: Option<&'a str>,
    /// Status of Google's API framework.
    status: Option<&'a str>,
    message: &'a str,
    /// `true` if the exceeded quota is that of one device or topic, and not of the project.
    is_device_quota: bool,
    /// Requested delay in the body, used without a `retry-after` header.
    retry_delay: Option<Duration>,
}

impl<'a> ErrorBody<'a> {
    fn parse(body: &'a Value) -> Self {
        let error = &body["error"];
        let details = error["details"].as_array().map(Vec::as_slice).unwrap_or_default();
        let find_detail = |kind: &str| {
            details.iter().find(|detail| {
                detail["@type"].as_str().is_some_and(|name| name.rsplit(['.', '/']).next() == Some(kind))
            })
        };
        let violations = find_detail("QuotaFailure").and_then(|detail| detail["violations"].as_array());
        Self {
            code: find_detail("FcmError").and_then(|detail| parse_code(&detail["errorCode"])),
            status: parse_code(&error["status"]),
            message: error["message"].as_str().unwrap_or_default(),
            is_device_quota: violations.is_some_and(|violations| violations.iter().any(names_a_device)),
            retry_delay: find_detail("RetryInfo")
                .and_then(|detail| seconds(detail["retryDelay"].as_str()?.strip_suffix('s')?)),
        }
    }
}

/// Returns an error code in Google's form. Returns `None` for any other text, which might be private.
fn parse_code(value: &Value) -> Option<&str> {
    let is_code = |text: &&str| {
        (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
    };
    value.as_str().filter(is_code)
}

fn names_a_device(violation: &Value) -> bool {
    ["subject", "description"].iter().filter_map(|key| violation[key].as_str()).any(|text| {
        let text = text.to_ascii_lowercase();
        text.contains("device") || text.contains("topic")
    })
}

/// Classifies an error by FCM's code, then by Google's status, then by the HTTP status.
fn classify(status: StatusCode, error: &ErrorBody<'_>, private: &[&str]) -> Fault {
    let fault = |kind| Fault::new(kind, describe(status, error.message, private));
    match (error.code, error.status) {
        (Some("UNREGISTERED"), _) => fault(Kind::TokenGone),
        // Google uses this code for bad messages and dead tokens. A bad message must not prune live tokens.
        (Some("INVALID_ARGUMENT"), _) if error.message.trim_end_matches('.') == DEAD_TOKEN => {
            fault(Kind::TokenGone)
        }
        (Some("INVALID_ARGUMENT"), _) => fault(Kind::BadMessage),
        (Some("SENDER_ID_MISMATCH"), _) => fault(Kind::WrongApp),
        (Some("QUOTA_EXCEEDED"), _) | (None, Some("RESOURCE_EXHAUSTED")) if error.is_device_quota => {
            fault(Kind::Throttled)
        }
        (Some("QUOTA_EXCEEDED"), _) => fault(Kind::Throttled).of_lane(),
        (Some("THIRD_PARTY_AUTH_ERROR"), _) => Fault::new(
            Kind::Credentials,
            "the APNs key or the Web Push key of this project is missing or no longer valid; check Cloud Messaging in the Firebase console",
        ),
        (Some("UNAVAILABLE" | "INTERNAL" | "UNSPECIFIED_ERROR"), _) => fault(Kind::VendorDown),
        (_, Some("INVALID_ARGUMENT")) => fault(Kind::BadMessage),
        (_, Some("UNAUTHENTICATED")) => fault(Kind::AuthExpired).of_lane(),
        (_, Some("PERMISSION_DENIED")) => fault(Kind::Credentials).of_lane(),
        (_, Some("RESOURCE_EXHAUSTED")) => fault(Kind::Throttled).of_lane(),
        (_, Some("UNAVAILABLE" | "INTERNAL" | "DEADLINE_EXCEEDED" | "ABORTED" | "UNKNOWN")) => {
            fault(Kind::VendorDown)
        }
        _ => match status.as_u16() {
            401 => fault(Kind::AuthExpired).of_lane(),
            // A 404 without FCM's code is not about a token: the project or base_url is wrong.
            403 | 404 => fault(Kind::Credentials).of_lane(),
            408 => fault(Kind::Timeout),
            413 => fault(Kind::TooLarge),
            429 => fault(Kind::Throttled).of_lane(),
            400..=499 => fault(Kind::BadMessage),
            _ => fault(Kind::VendorDown),
        },
    }
}

/// Describes a refusal with its text, without private texts.
fn describe(status: StatusCode, message: &str, private: &[&str]) -> String {
    match safe_quote(message, private) {
        text if text.is_empty() => format!("fcm answers {status}"),
        text => format!("fcm answers {status}: {text}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pushgate::Scope;
    use pushgate::vendor_response::MAX_QUOTE_CHARS;
    use pushgate_kit::transport::answer;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
    const TOKEN: &str = "the-token-itself";

    fn google(code: u16, status: &str, fcm: &str, message: &str) -> Response {
        let details = match fcm {
            "" => serde_json::json!([{"@type": "type.googleapis.com/google.rpc.BadRequest"}]),
            fcm => {
                serde_json::json!([{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": fcm}])
            }
        };
        let error =
            serde_json::json!({"code": code, "message": message, "status": status, "details": details});
        answer(code, serde_json::json!({ "error": error }).to_string())
    }

    fn fault_of(response: &Response) -> Fault {
        match outcome(response, &[TOKEN, "a title of a user"], NOW) {
            Outcome::Failed(fault) => fault,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_row_of_the_error_table_gives_its_kind() {
        use Kind::{AuthExpired, BadMessage, Credentials, Throttled, TokenGone, VendorDown, WrongApp};
        use Scope::{Address, Lane};
        let rows = [
            (google(404, "NOT_FOUND", "UNREGISTERED", "Requested entity was not found."), TokenGone, Address),
            (google(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", DEAD_TOKEN), TokenGone, Address),
            (google(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "Message too big"), BadMessage, Address),
            (google(400, "INVALID_ARGUMENT", "", DEAD_TOKEN), BadMessage, Address),
            (google(403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH", "SenderId mismatch"), WrongApp, Address),
            (google(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", "Quota exceeded"), Throttled, Lane),
            (google(429, "RESOURCE_EXHAUSTED", "", "Quota exceeded"), Throttled, Lane),
            (google(503, "UNAVAILABLE", "UNAVAILABLE", "overloaded"), VendorDown, Address),
            (google(503, "UNAVAILABLE", "", "overloaded"), VendorDown, Address),
            (google(500, "INTERNAL", "INTERNAL", "Internal error"), VendorDown, Address),
            (google(401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR", "APNs"), Credentials, Address),
            (google(401, "UNAUTHENTICATED", "", "invalid authentication credentials"), AuthExpired, Lane),
            (google(403, "PERMISSION_DENIED", "", "API disabled"), Credentials, Lane),
            (google(404, "NOT_FOUND", "", "Requested entity was not found."), Credentials, Lane),
            (google(400, "INVALID_ARGUMENT", "UNSPECIFIED_ERROR", ""), VendorDown, Address),
            (google(503, "UNAVAILABLE", "A_CODE_OF_TOMORROW", ""), VendorDown, Address),
        ];
        for (response, kind, scope) in rows {
            let fault = fault_of(&response);
            let body = String::from_utf8_lossy(&response.body).into_owned();
            assert_eq!((fault.kind, fault.scope), (kind, scope), "{body}");
        }
    }

    #[test]
    fn a_bad_message_never_prunes_a_token() {
        for text in [
            "The registration token is not a valid FCM registration token, or is it?",
            "Invalid registration token",
            "",
        ] {
            assert_eq!(
                fault_of(&google(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", text)).kind,
                Kind::BadMessage
            );
        }
    }

    #[test]
    fn a_throttle_without_a_requested_delay_pauses_for_one_minute() {
        assert_eq!(fault_of(&answer(429, "")).retry_after, Some(DEFAULT_PAUSE));
        assert_eq!(fault_of(&answer(503, "")).retry_after, None);
        let info = r#"{"error":{"details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"7.25s"}]}}"#;
        assert_eq!(fault_of(&answer(429, info)).retry_after, Some(Duration::from_secs(8)));
    }

    #[test]
    fn hostile_answers_are_classified_by_their_status() {
        let deep = "[".repeat(60_000);
        let bodies: [&[u8]; 10] = [
            b"",
            b"<html>",
            b"{\"error\":",
            b"[]",
            b"null",
            b"7",
            b"{\"error\":{\"details\":7,\"status\":[],\"message\":{}}}",
            b"{\"error\":{\"details\":[7,{\"@type\":7},{\"@type\":\"FcmError\",\"errorCode\":7}]}}",
            b"\xff\xfe\x00",
            deep.as_bytes(),
        ];
        for body in bodies {
            for (status, kind) in [
                (400, Kind::BadMessage),
                (401, Kind::AuthExpired),
                (403, Kind::Credentials),
                (404, Kind::Credentials),
                (413, Kind::TooLarge),
                (429, Kind::Throttled),
                (301, Kind::VendorDown),
                (502, Kind::VendorDown),
            ] {
                let fault = fault_of(&answer(status, body.to_vec()));
                assert_eq!((fault.kind, fault.vendor_code), (kind, None));
            }
        }
    }

    #[test]
    fn an_invalid_success_is_retried_and_one_without_a_name_is_accepted() {
        for body in
            ["", "<html>welcome to our hotel", "{\"name\":\"projects/demo/mess", "[]", "null", "\u{0}"]
        {
            assert_eq!(outcome(&answer(200, body), &[], NOW).code(), "vendor_down", "{body}");
        }
        let long = format!("{{\"name\":\"{}\"}}", "x".repeat(5000));
        for body in ["{}", "{\"name\":7}", "{\"name\":\"a\\u0000b\"}", &long] {
            let outcome = outcome(&answer(200, body.to_owned()), &[], NOW);
            assert_eq!(outcome, Outcome::Accepted { vendor_id: None });
        }
    }

    #[test]
    fn no_detail_contains_a_token_a_message_text_or_a_control_character() {
        let text = "bad: the-to\u{0}ken-\u{200b}itself\r\n«a title of a user» \u{1b}[31m\u{202e}";
        let fault = fault_of(&google(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", text));
        assert_eq!(fault.detail, "fcm answers 400 Bad Request: bad: … «…» [31m");
        let long = format!("{}{TOKEN}", "x".repeat(MAX_QUOTE_CHARS - 5));
        let fault = fault_of(&google(500, "INTERNAL", "", &long));
        assert!(!fault.detail.contains("the-"), "{}", fault.detail);
        let as_code = fault_of(&google(400, TOKEN, "the-token-itself", ""));
        assert_eq!(as_code.vendor_code, None);
    }

    proptest! {
        #[test]
        fn no_answer_causes_a_panic_or_reveals_the_token(
            status in 100u16..1000, head in ".{0,40}", tail in ".{0,40}", body in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let _ = outcome(&answer(status, body), &[TOKEN], NOW);
            let response = google(status, "X", "INTERNAL", &format!("{head}{TOKEN}{tail}"));
            if let Outcome::Failed(fault) = outcome(&response, &[TOKEN], NOW) {
                prop_assert!(!fault.to_string().contains(TOKEN));
            }
        }
    }
}
