//! Promises about hostile and broken answers.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use http::header::RETRY_AFTER;
use pushgate::{Fault, Kind, Message, Outcome, Request, Response, Secret};
use serde_json::{Value, json};

use super::theatre::{Theatre, accepted, play, took};
use super::{Subject, Verdict};
use crate::sample;
use crate::transport::answer;

const STATUSES: [u16; 26] = [
    200, 201, 202, 204, 206, 301, 302, 304, 307, 400, 401, 403, 404, 405, 408, 409, 410, 413, 415, 422, 429,
    451, 500, 502, 503, 504,
];

/// Returns hostile bodies, and variants of `good` that are truncated, doubled, or have values of wrong types.
pub(super) fn bodies(good: &[u8]) -> Vec<Vec<u8>> {
    let mut bodies: Vec<Vec<u8>> =
        ["", "null", "7", "[]", "[[[]]]", "\"ok\"", "{}", "\0", "<html><body>502 Bad Gateway</body></html>"]
            .map(|body| body.as_bytes().to_vec())
            .into();
    bodies.push(b"\xff\xfe{\"\x80\":\xc3}".to_vec());
    bodies.push("[".repeat(60_000).into_bytes());
    bodies.push("{\"error\":".repeat(7_000).into_bytes());
    bodies.push(b" ".repeat(64 * 1024));
    if good.len() > 1 {
        bodies.push(good[..good.len() / 2].to_vec());
        bodies.push([good, good].concat());
    }
    if let Ok(value) = serde_json::from_slice(good) {
        bodies.push(turned(value).to_string().into_bytes());
    }
    bodies
}

/// Returns the JSON with the type of each value changed.
fn turned(value: Value) -> Value {
    match value {
        Value::String(_) => json!({"a": [1]}),
        Value::Number(_) => json!("\u{0}"),
        Value::Bool(_) | Value::Null => json!(-1.5e300),
        Value::Array(_) => json!({"0": {}}),
        Value::Object(object) => object.into_iter().map(|(name, value)| (name, turned(value))).collect(),
    }
}

/// Calls `judge` for the result of each combination of status and body.
fn each<S: Subject>(subject: S, judge: impl Fn(&S, u16, &[u8], &Outcome)) {
    let subject = Arc::new(subject);
    for status in STATUSES {
        let good = subject.answer(&[Verdict::Accepted; 2]).body;
        for body in bodies(&good).into_iter().chain([good.to_vec()]) {
            let given = body.clone();
            let theatre = Theatre::ruled(Arc::clone(&subject), move |subject, _, request| {
                Ok(subject.grant(request).unwrap_or_else(|| answer(status, given.clone())))
            });
            let numbers = 0..theatre.batch(2);
            let outcomes = play(theatre.send(&theatre.delivery(sample::message(), numbers)));
            for outcome in outcomes {
                judge(&*subject, status, &body, &outcome);
            }
        }
    }
}

/// Checks that a message counts as accepted only after a success by the vendor's rules: by status where declared,
/// else by body.
pub fn no_success_is_read_from_a_hostile_answer<S: Subject>(subject: S) {
    each(subject, |subject, status, body, outcome| {
        assert!(!matches!(outcome, Outcome::Replaced { .. }), "{status}: a token from nowhere");
        let is_object = matches!(serde_json::from_slice(body), Ok(Value::Object(_)));
        let good = subject.answer(&[Verdict::Accepted; 2]);
        let as_ever = good.status == status && good.body == body;
        let by_status = subject.signs().taken.contains(&status);
        let may_be = as_ever || by_status || (200..300).contains(&status) && is_object;
        let body = String::from_utf8_lossy(&body[..body.len().min(80)]);
        assert!(!took(outcome) || may_be, "{status} {body:?} is no success");
    });
}

/// Checks that a token counts as dead only if the vendor itself says so.
pub fn no_token_is_given_up_on_a_hostile_answer<S: Subject>(subject: S) {
    each(subject, |subject, status, body, outcome| {
        let gone = outcome.fault().is_some_and(|fault| fault.kind == Kind::TokenGone);
        let body = String::from_utf8_lossy(&body[..body.len().min(80)]);
        assert!(!gone || subject.signs().gone.contains(&status), "{status} {body:?} costs a token");
    });
}

/// Checks that requests limit the response size, so that the transport cuts off an answer of ten megabytes.
pub fn an_answer_of_ten_megabytes_is_not_read<S: Subject>(subject: S) {
    let theatre = Theatre::answering(subject, |subject, request| {
        let mut answer = accepted(subject, request);
        answer.body = [&answer.body[..], &b" ".repeat(10 * 1024 * 1024)].concat().into();
        Ok(answer)
    });
    let outcomes = play(theatre.send(&theatre.delivery(sample::message(), [0])));
    assert!(!took(&outcomes[0]), "{outcomes:?}");
    for request in theatre.transport.requests() {
        assert!(request.max_answer <= 1024 * 1024, "{} bytes are read", request.max_answer);
    }
}

/// Returns the requested delay read from a refusal with this header, for each status that may have one.
fn hints<S: Subject>(subject: &Arc<S>, value: &'static [u8]) -> Vec<(u16, Option<Duration>)> {
    let mut hints = Vec::new();
    for status in [429, 503] {
        let theatre = Theatre::ruled(Arc::clone(subject), move |subject, _, request| {
            Ok(subject.grant(request).unwrap_or_else(|| {
                let mut answer = answer(status, "");
                let value = HeaderValue::from_bytes(value).expect("a header may hold these bytes");
                answer.headers.insert(RETRY_AFTER, value);
                answer
            }))
        });
        let outcomes = play(theatre.send(&theatre.delivery(sample::message(), [0])));
        let fault = outcomes[0].fault().unwrap_or_else(|| panic!("{status} is no success"));
        hints.push((status, fault.retry_after));
    }
    hints
}

/// Checks both forms of `retry-after` (RFC 9110 §10.2.3).
pub fn a_retry_after_is_a_hint_in_seconds_or_as_a_date<S: Subject>(subject: S) {
    let subject = Arc::new(subject);
    for value in [&b"120"[..], b"Tue, 14 Nov 2023 22:15:20 GMT"] {
        for (status, hint) in hints(&subject, value) {
            let shown = String::from_utf8_lossy(value);
            assert_eq!(hint, Some(Duration::from_secs(120)), "{status} with retry-after: {shown}");
        }
    }
}

/// Checks that a wrong header cannot pause a lane for long.
pub fn an_absurd_retry_after_closes_nothing_for_longer_than_a_day<S: Subject>(subject: S) {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let subject = Arc::new(subject);
    let absurd: [&[u8]; 10] = [
        b"99999999999999999999999999",
        b"18446744073709551615",
        b"-5",
        b"",
        b"soon",
        b"1e9",
        b"0x10",
        b"\xff\xfe",
        b"Tue, 14 Nov 2090 22:13:20 GMT",
        b"Tue, 14 Nov 1990 22:13:20 GMT",
    ];
    for value in absurd {
        for (status, hint) in hints(&subject, value) {
            let shown = String::from_utf8_lossy(value);
            assert!(hint.is_none_or(|hint| hint <= DAY), "{status} with retry-after: {shown} is {hint:?}");
        }
    }
}

/// Returns an answer with `text` in all places where vendors put texts.
fn echo(status: u16, text: &str) -> Response {
    let mut said = json!({});
    for name in [
        "message",
        "msg",
        "reason",
        "code",
        "status",
        "desc",
        "description",
        "error_description",
        "detail",
        "id",
    ] {
        said[name] = text.into();
    }
    said["details"] = json!([said, text]);
    said["results"] = json!([said, said]);
    said["error"] = said.clone();
    answer(status, said.to_string())
}

/// Asserts that the output contains none of these texts.
pub(super) fn shows_none(shown: &str, private: &[&str]) {
    for word in private {
        assert!(!shown.contains(word), "shows {word:?}: {shown}");
    }
}

fn printed(fault: &Fault) -> String {
    let json = serde_json::to_string(fault).expect("a fault has a JSON form");
    format!("{fault} {fault:?} {json} {}", fault.detail)
}

/// Checks that no fault quotes token, title, content, payload or access token from an answer, joined or escaped.
pub fn no_fault_repeats_what_the_vendor_echoes<S: Subject>(subject: S) {
    let (title, content) = ("a title of a user", "what a user says 👩‍👧");
    let payload = r#"{"conversation":"ann and bob"}"#;
    let message = || Message {
        title: title.into(),
        content: content.into(),
        payload: Some(Secret::from(payload)),
        ..sample::message()
    };
    let subject = Arc::new(subject);
    for status in STATUSES {
        let theatre = Theatre::ruled(Arc::clone(&subject), move |subject, _, request| {
            Ok(subject.grant(request).unwrap_or_else(|| echo(status, &everything(subject, request))))
        });
        let delivery = theatre.delivery(message(), [0]);
        let token = delivery.targets[0].address.token.expose().to_owned();
        let secrets = theatre.subject.secrets();
        let private = [&token, title, content, "what a user says", payload, "ann and bob"];
        let private: Vec<_> = private.into_iter().chain(secrets.iter().map(String::as_str)).collect();
        for outcome in play(theatre.send(&delivery)) {
            match outcome {
                Outcome::Failed(fault) => shows_none(&printed(&fault), &private),
                taken => shows_none(&format!("{taken:?}"), &private),
            }
        }
    }
}

/// Returns all texts of a request that a vendor might repeat: URL, headers, body, and the texts in the body.
fn everything<S: Subject>(subject: &S, request: &Request) -> String {
    let headers: Vec<_> = request
        .headers
        .values()
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .collect();
    let sent = subject.read(request, sample::NOW);
    let body = String::from_utf8_lossy(&subject.plain(request)).into_owned();
    let texts = [sent.title, sent.content, sent.payload].map(Option::unwrap_or_default);
    let parts = [texts.join(" "), headers.join(" "), request.uri.to_string(), body];
    // Each part first by itself: what is far behind is cut off anyhow.
    parts.into_iter().filter(|part| part.len() < 150).collect::<Vec<_>>().join(" ")
}
