//! From Google's answer to an outcome: the one place that knows FCM's errors. Pure; believes nothing it has not parsed.
//! Source: <https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode> and …/cloud-messaging/error-codes.

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use pushgate::{Fault, Kind, Outcome, Response, Timestamp};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// The only text under which INVALID_ARGUMENT means a dead token and not a bad message.
const DEAD_TOKEN: &str = "The registration token is not a valid FCM registration token";
/// A longer wish than a day is a mistake somewhere.
const LONGEST_WISH: Duration = Duration::from_secs(24 * 3600);

/// The outcome for the one target the request named.
pub(crate) fn outcome(response: &Response, target: &str, now: Timestamp) -> Outcome {
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    if response.status.is_success() {
        // A 2xx is Google's word that it took the message; without a readable name we merely cannot quote it.
        return Outcome::Accepted { vendor_id: body["name"].as_str().map(str::to_owned) };
    }
    let error = &body["error"];
    let code = error_code(error).or_else(|| error["status"].as_str());
    let message = error["message"].as_str().unwrap_or_default();
    let fault = fault(response.status, code, message, error);
    let fault = if fault.detail.is_empty() { told(fault, response.status, message, target) } else { fault };
    let fault = match code {
        Some(code) => fault.with_code(code.chars().take(64).collect::<String>()),
        None => fault,
    };
    Outcome::Failed(fault.retry_after(retry_after(&response.headers, now)))
}

/// FCM's own code, which is finer than the status beside it.
fn error_code(error: &Value) -> Option<&str> {
    let details = error["details"].as_array()?;
    let fcm = details.iter().find(|d| d["@type"].as_str().is_some_and(|t| t.ends_with("FcmError")))?;
    fcm["errorCode"].as_str()
}

/// The table. What has no detail here gets Google's own words.
fn fault(status: StatusCode, code: Option<&str>, message: &str, error: &Value) -> Fault {
    let plain = |kind| Fault::new(kind, "");
    match code {
        Some("UNREGISTERED") => plain(Kind::TokenGone),
        Some("INVALID_ARGUMENT") if message.starts_with(DEAD_TOKEN) && error_code(error).is_some() => {
            plain(Kind::TokenGone)
        }
        Some("INVALID_ARGUMENT") => plain(Kind::BadMessage),
        Some("SENDER_ID_MISMATCH") => plain(Kind::WrongApp),
        Some("QUOTA_EXCEEDED" | "RESOURCE_EXHAUSTED") if of_device(error) => plain(Kind::Throttled),
        Some("QUOTA_EXCEEDED" | "RESOURCE_EXHAUSTED") => plain(Kind::Throttled).of_lane(),
        Some("THIRD_PARTY_AUTH_ERROR") => Fault::new(
            Kind::Credentials,
            "the APNs key or the Web Push key of this project is missing or expired; renew it in the Firebase console, Cloud Messaging",
        ),
        Some("UNAUTHENTICATED") => plain(Kind::AuthExpired).of_lane(),
        Some("PERMISSION_DENIED") => plain(Kind::Credentials).of_lane(),
        Some("UNAVAILABLE" | "INTERNAL" | "UNSPECIFIED_ERROR") => plain(Kind::VendorDown),
        _ => match status.as_u16() {
            401 => plain(Kind::AuthExpired).of_lane(),
            403 => plain(Kind::Credentials).of_lane(),
            408 => plain(Kind::Timeout),
            413 => plain(Kind::TooLarge),
            429 => plain(Kind::Throttled).of_lane(),
            // A bare 404 is a wrong project or address; it says nothing about a token.
            404 => plain(Kind::Credentials).of_lane(),
            400..=499 => plain(Kind::BadMessage),
            _ => plain(Kind::VendorDown),
        },
    }
}

/// Whether a quota is one device's or one topic's, and not the project's.
fn of_device(error: &Value) -> bool {
    let details = error["details"].as_array().map(Vec::as_slice).unwrap_or_default();
    details.iter().filter_map(|d| d["violations"].as_array()).flatten().any(|violation| {
        let said = |key: &str| violation[key].as_str().unwrap_or_default().to_ascii_lowercase();
        let (subject, description) = (said("subject"), said("description"));
        ["device", "topic"].iter().any(|what| subject.contains(what) || description.contains(what))
    })
}

/// With Google's own words, bounded, without control characters and without the token, which Google sometimes repeats.
fn told(fault: Fault, status: StatusCode, message: &str, target: &str) -> Fault {
    let clean: String = message.chars().filter(|c| !c.is_control()).collect();
    let clean = if target.len() < 8 { clean } else { clean.replace(target, "(the token)") };
    let clean: String = clean.chars().take(240).collect();
    let detail = if clean.is_empty() {
        format!("fcm answers {status}")
    } else {
        format!("fcm answers {status}: {clean}")
    };
    Fault { detail, ..fault }
}

/// Retry-After in seconds or as a date (RFC 9110 §10.2.3). What is neither, or negative, is no wish.
pub(crate) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wish = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = OffsetDateTime::parse(&text.replace("GMT", "+0000"), &Rfc2822).ok()?;
            let at = Timestamp::from_millis(date.unix_timestamp().saturating_mul(1000));
            at.since(now)
        }
    };
    Some(wish.min(LONGEST_WISH))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pushgate::Scope;
    use pushgate_kit::transport::{answer, answer_with};

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn google(status: u16, state: &str, code: &str, message: &str) -> Response {
        let details = if code.is_empty() {
            serde_json::json!([{"@type": "type.googleapis.com/google.rpc.BadRequest"}])
        } else {
            serde_json::json!([{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code}])
        };
        let body = serde_json::json!({"error": {"code": status, "message": message, "status": state, "details": details}});
        answer(status, body.to_string())
    }

    fn fault_of(response: &Response) -> Fault {
        match outcome(response, "the-token-itself", NOW) {
            Outcome::Failed(fault) => fault,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_row_of_the_error_table_gives_its_kind() {
        use Kind::{AuthExpired, BadMessage, Credentials, Throttled, TokenGone, VendorDown, WrongApp};
        use Scope::{Address, Lane};
        let dead = "The registration token is not a valid FCM registration token";
        let rows = [
            (google(404, "NOT_FOUND", "UNREGISTERED", "Requested entity was not found."), TokenGone, Address),
            (google(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", dead), TokenGone, Address),
            (google(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "Message too big"), BadMessage, Address),
            (google(400, "INVALID_ARGUMENT", "", dead), BadMessage, Address),
            (google(403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH", "SenderId mismatch"), WrongApp, Address),
            (google(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", "Quota exceeded"), Throttled, Lane),
            (google(503, "UNAVAILABLE", "UNAVAILABLE", "overloaded"), VendorDown, Address),
            (google(500, "INTERNAL", "INTERNAL", "Internal error"), VendorDown, Address),
            (google(401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR", "APNs"), Credentials, Address),
            (google(401, "UNAUTHENTICATED", "", "invalid authentication credentials"), AuthExpired, Lane),
            (google(403, "PERMISSION_DENIED", "", "API disabled"), Credentials, Lane),
            (google(400, "INVALID_ARGUMENT", "UNSPECIFIED_ERROR", ""), VendorDown, Address),
        ];
        for (response, kind, scope) in rows {
            let fault = fault_of(&response);
            assert_eq!(
                (fault.kind, fault.scope),
                (kind, scope),
                "{}",
                String::from_utf8_lossy(&response.body)
            );
        }
    }

    #[test]
    fn a_device_quota_does_not_pause_the_project() {
        let body = r#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[
            {"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"QUOTA_EXCEEDED"},
            {"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"subject":"device:1","description":"Device message rate"}]}]}}"#;
        assert_eq!(fault_of(&answer(429, body)).scope, Scope::Address);
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let wish = |value: &str| fault_of(&answer_with(503, &[("retry-after", value)], "")).retry_after;
        assert_eq!(wish("120"), Some(Duration::from_secs(120)));
        assert_eq!(wish("Tue, 14 Nov 2023 22:15:20 GMT"), Some(Duration::from_secs(120)));
        assert_eq!(wish("Tue, 14 Nov 2023 22:11:20 GMT"), Some(Duration::ZERO));
        assert_eq!(wish("-5"), None);
        assert_eq!(wish("soon"), None);
    }

    #[test]
    fn hostile_answers_are_judged_by_their_status() {
        for body in ["<html>", "{\"error\":", "[]", "null", "{\"error\":{\"details\":7}}", "\u{0}"] {
            assert_eq!(fault_of(&answer(502, body.to_owned())).kind, Kind::VendorDown);
            assert_eq!(fault_of(&answer(400, body.to_owned())).kind, Kind::BadMessage);
            assert_eq!(outcome(&answer(200, body.to_owned()), "t", NOW).code(), "accepted");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(fault_of(&answer(500, deep)).kind, Kind::VendorDown);
        assert_eq!(fault_of(&answer(500, vec![0xff, 0xfe])).kind, Kind::VendorDown);
    }

    #[test]
    fn the_token_is_never_repeated_in_a_detail() {
        let fault =
            fault_of(&google(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "bad: the-token-itself\n!"));
        assert!(
            !fault.detail.contains("the-token-itself") && !fault.detail.contains('\n'),
            "{}",
            fault.detail
        );
    }
}
