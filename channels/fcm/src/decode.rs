//! From Google's answer to an outcome: the one place that knows FCM's errors. Pure; believes nothing it has not parsed.
//! Source: <https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode> and …/docs/cloud-messaging/error-codes.

use std::time::Duration;

use http::StatusCode;
use pushgate::answer::{retry_after, safe, seconds};
use pushgate::{Fault, Kind, Outcome, Response, Timestamp};
use serde_json::Value;

/// The only text under which INVALID_ARGUMENT means a dead token and not a bad message.
const DEAD_TOKEN: &str = "The registration token is not a valid FCM registration token";
/// What Google asks for where a 429 does not say how long (docs/cloud-messaging/scale-fcm).
const PAUSE: Duration = Duration::from_secs(60);
/// The longest message name kept, in bytes; Google's have some 60.
const LONGEST_NAME: usize = 256;

/// The outcome for the one target the request named. No word of `private` (the target, the user's texts) gets into it,
/// even where Google repeats it.
pub(crate) fn outcome(response: &Response, private: &[&str], now: Timestamp) -> Outcome {
    if response.status.is_success() {
        return taken(response);
    }
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    let said = Said::read(&body);
    let mut fault = told(response.status, &said, private);
    if let Some(code) = said.code.or(said.status) {
        fault = fault.with_code(code);
    }
    let wish = retry_after(&response.headers, now).or(said.retry_delay);
    let pause = (fault.kind == Kind::Throttled).then_some(PAUSE);
    Outcome::Failed(fault.retry_after(wish.or(pause)))
}

/// Returns `true` if a refusal proves that Google accepted the access token and parsed the message.
pub(crate) fn accepted_credentials(response: &Response) -> bool {
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    matches!(Said::read(&body).code, Some("UNREGISTERED" | "INVALID_ARGUMENT" | "SENDER_ID_MISMATCH"))
}

/// A success that names the message is Google's. One in JSON without a readable name still says that it was taken. Anything
/// else, a portal's page or half an answer, says nothing of the kind: it is tried again, and the device shows a
/// duplicate under the same tag once.
fn taken(response: &Response) -> Outcome {
    match serde_json::from_slice::<Value>(&response.body) {
        Ok(Value::Object(body)) => Outcome::Accepted { vendor_id: body.get("name").and_then(name) },
        Ok(_) | Err(_) => {
            let detail =
                format!("{} with a body that is not FCM's; does base_url lead to Google?", response.status);
            Outcome::Failed(Fault::new(Kind::VendorDown, detail))
        }
    }
}

fn name(name: &Value) -> Option<String> {
    let name = name.as_str()?;
    let readable =
        !name.is_empty() && name.len() <= LONGEST_NAME && name.bytes().all(|b| b.is_ascii_graphic());
    readable.then(|| name.to_owned())
}

/// What can be read of an error; everything is optional, because anybody may answer.
struct Said<'a> {
    /// FCM's own code, which is finer than the status beside it.
    code: Option<&'a str>,
    /// Google's status for any of its services.
    status: Option<&'a str>,
    message: &'a str,
    /// Whether a quota is one device's or one topic's, and not the project's.
    of_device: bool,
    /// Google's wish in the body, where the header is missing.
    retry_delay: Option<Duration>,
}

impl<'a> Said<'a> {
    fn read(body: &'a Value) -> Self {
        let error = &body["error"];
        let details = error["details"].as_array().map(Vec::as_slice).unwrap_or_default();
        let detail = |kind: &str| {
            details
                .iter()
                .find(|d| d["@type"].as_str().is_some_and(|it| it.rsplit(['.', '/']).next() == Some(kind)))
        };
        let violations = detail("QuotaFailure").and_then(|d| d["violations"].as_array());
        Self {
            code: detail("FcmError").and_then(|d| word(&d["errorCode"])),
            status: word(&error["status"]),
            message: error["message"].as_str().unwrap_or_default(),
            of_device: violations.is_some_and(|all| all.iter().any(names_a_device)),
            retry_delay: detail("RetryInfo")
                .and_then(|d| seconds(d["retryDelay"].as_str()?.strip_suffix('s')?)),
        }
    }
}

/// A code as Google writes them; anything else is not repeated, because it could be anything.
fn word(value: &Value) -> Option<&str> {
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

/// The table: FCM's code first, then Google's status, then the status line.
fn told(status: StatusCode, said: &Said<'_>, private: &[&str]) -> Fault {
    let quoted = |kind| Fault::new(kind, quote(status, said.message, private));
    match (said.code, said.status) {
        (Some("UNREGISTERED"), _) => quoted(Kind::TokenGone),
        // Google uses one code for bad messages and dead tokens. Live tokens must not go with a bad message.
        (Some("INVALID_ARGUMENT"), _) if said.message.trim_end_matches('.') == DEAD_TOKEN => {
            quoted(Kind::TokenGone)
        }
        (Some("INVALID_ARGUMENT"), _) => quoted(Kind::BadMessage),
        (Some("SENDER_ID_MISMATCH"), _) => quoted(Kind::WrongApp),
        (Some("QUOTA_EXCEEDED"), _) | (None, Some("RESOURCE_EXHAUSTED")) if said.of_device => {
            quoted(Kind::Throttled)
        }
        (Some("QUOTA_EXCEEDED"), _) => quoted(Kind::Throttled).of_lane(),
        (Some("THIRD_PARTY_AUTH_ERROR"), _) => Fault::new(
            Kind::Credentials,
            "the APNs key or the Web Push key of this project is missing or no longer good; see Cloud Messaging in the Firebase console",
        ),
        (Some("UNAVAILABLE" | "INTERNAL" | "UNSPECIFIED_ERROR"), _) => quoted(Kind::VendorDown),
        (_, Some("INVALID_ARGUMENT")) => quoted(Kind::BadMessage),
        (_, Some("UNAUTHENTICATED")) => quoted(Kind::AuthExpired).of_lane(),
        (_, Some("PERMISSION_DENIED")) => quoted(Kind::Credentials).of_lane(),
        (_, Some("RESOURCE_EXHAUSTED")) => quoted(Kind::Throttled).of_lane(),
        (_, Some("UNAVAILABLE" | "INTERNAL" | "DEADLINE_EXCEEDED" | "ABORTED" | "UNKNOWN")) => {
            quoted(Kind::VendorDown)
        }
        _ => match status.as_u16() {
            401 => quoted(Kind::AuthExpired).of_lane(),
            // A 404 without FCM's code is no word about a token: the project or base_url is wrong.
            403 | 404 => quoted(Kind::Credentials).of_lane(),
            408 => quoted(Kind::Timeout),
            413 => quoted(Kind::TooLarge),
            429 => quoted(Kind::Throttled).of_lane(),
            400..=499 => quoted(Kind::BadMessage),
            _ => quoted(Kind::VendorDown),
        },
    }
}

fn quote(status: StatusCode, message: &str, private: &[&str]) -> String {
    match safe(message, private) {
        said if said.is_empty() => format!("fcm answers {status}"),
        said => format!("fcm answers {status}: {said}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pushgate::Scope;
    use pushgate::answer::LONGEST_QUOTE;
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
    fn a_bad_message_never_costs_a_token() {
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
    fn a_throttle_without_a_wish_is_a_minute_as_google_asks() {
        assert_eq!(fault_of(&answer(429, "")).retry_after, Some(PAUSE));
        assert_eq!(fault_of(&answer(503, "")).retry_after, None);
        let info = r#"{"error":{"details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"7.25s"}]}}"#;
        assert_eq!(fault_of(&answer(429, info)).retry_after, Some(Duration::from_secs(8)));
    }

    #[test]
    fn hostile_answers_are_judged_by_their_status() {
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
    fn a_success_nobody_can_read_is_tried_again_and_one_without_a_name_is_not() {
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
    fn neither_token_nor_text_nor_control_character_gets_into_a_detail() {
        let told = "bad: the-to\u{0}ken-\u{200b}itself\r\n«a title of a user» \u{1b}[31m\u{202e}";
        let fault = fault_of(&google(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", told));
        assert_eq!(fault.detail, "fcm answers 400 Bad Request: bad: … «…» [31m");
        let long = format!("{}{TOKEN}", "x".repeat(LONGEST_QUOTE - 5));
        let fault = fault_of(&google(500, "INTERNAL", "", &long));
        assert!(!fault.detail.contains("the-"), "{}", fault.detail);
        let as_code = fault_of(&google(400, TOKEN, "the-token-itself", ""));
        assert_eq!(as_code.vendor_code, None);
    }

    proptest! {
        #[test]
        fn no_answer_makes_a_panic_or_tells_the_token(
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
