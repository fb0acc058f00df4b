//! Tests of each row of the error tables, and of hostile answers.

use proptest::prelude::*;
use pushgate::Scope;
use pushgate::vendor_response::MAX_QUOTE_CHARS;
use pushgate_kit::sample::message as sample;
use pushgate_kit::transport::{answer, answer_with};
use serde_json::json;

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const TOKEN: &str = "gAAAAABlVAaQ_the-token-itself";
const SERVICES: [Service; 5] =
    [Service::Mozilla, Service::Google, Service::Apple, Service::Windows, Service::Other];

fn outcome_of(service: Service, response: &Response) -> Outcome {
    let endpoint: Uri = format!("https://push.test/v2/{TOKEN}").parse().unwrap();
    let message = Message { title: "a title of a user".into(), ..sample() };
    outcome(response, &RequestContext { service, endpoint: &endpoint, message: &message, now: NOW })
}

fn fault(service: Service, response: &Response) -> Fault {
    match outcome_of(service, response) {
        Outcome::Failed(fault) => fault,
        other => panic!("{other:?}"),
    }
}

fn mozilla_error(code: u16, errno: u64, message: &str) -> Response {
    let body = json!({"code": code, "errno": errno, "error": "…", "message": message, "more_info": "http://autopush…"});
    answer(code, body.to_string())
}

#[test]
fn every_row_of_mozillas_table_gives_its_kind() {
    use Kind::{AuthExpired, BadMessage, TokenGone, TooLarge, VendorDown};
    let rows = [
        (400, 101, BadMessage),
        (404, 102, TokenGone),
        (410, 103, TokenGone),
        (413, 104, TooLarge),
        (410, 105, TokenGone),
        (410, 106, TokenGone),
        (400, 108, TokenGone),
        (401, 109, AuthExpired),
        (400, 110, BadMessage),
        (400, 111, BadMessage),
        (400, 112, BadMessage),
        (400, 113, BadMessage),
        (503, 201, VendorDown),
        (503, 202, VendorDown),
        (502, 900, VendorDown),
        (502, 901, VendorDown),
        (502, 902, VendorDown),
        (502, 903, VendorDown),
        (500, 999, VendorDown),
    ];
    for (status, errno, kind) in rows {
        let fault = fault(Service::Mozilla, &mozilla_error(status, errno, "why"));
        assert_eq!((fault.kind, fault.vendor_code), (kind, Some(errno.to_string())));
        assert_eq!(fault.scope, Scope::Address);
    }
    let null =
        answer(500, r#"{"code":500,"errno":null,"error":"Internal Server Error","message":"General error"}"#);
    assert_eq!(fault(Service::Mozilla, &null).kind, VendorDown);
}

#[test]
fn a_subscription_made_for_another_key_is_kept_and_proves_nothing_about_the_credentials() {
    let cases = [
        (Service::Mozilla, mozilla_error(401, 109, "VAPID public key mismatch")),
        (
            Service::Google,
            answer(
                403,
                "the VAPID credentials in the authorization header do not correspond to the credentials used to create the subscriptions.\n",
            ),
        ),
        (
            Service::Google,
            answer(
                403,
                "the key in the authorization header does not correspond to the sender ID used to subscribe this user.",
            ),
        ),
        (Service::Google, answer(403, "<HTML>\n<HEAD>\n<TITLE>MismatchSenderId</TITLE>\n</HEAD></HTML>")),
        (Service::Apple, answer(403, r#"{"reason":"VapidPkHashMismatch"}"#)),
        (Service::Apple, answer(400, r#"{"reason":"VapidPkHashMismatch"}"#)),
    ];
    for (service, response) in cases {
        let fault = fault(service, &response);
        assert_eq!((fault.kind, fault.scope), (Kind::WrongApp, Scope::Address), "{fault}");
    }
}

#[test]
fn a_refused_vapid_token_costs_no_subscription() {
    let cases = [
        (Service::Mozilla, mozilla_error(401, 109, "InvalidSignature")),
        (Service::Mozilla, mozilla_error(401, 109, "Missing VAPID token")),
        (Service::Google, answer(400, "<HTML><HEAD><TITLE>UnauthorizedRegistration</TITLE></HEAD></HTML>")),
        (Service::Google, answer(403, "invalid JWT provided\n")),
        (Service::Google, answer(401, "")),
        (Service::Apple, answer(403, r#"{"reason":"BadJwtToken"}"#)),
        (Service::Apple, answer(403, r#"{"reason":"BadAuthorizationHeader"}"#)),
        (Service::Apple, answer(403, r#"{"reason":"BadVapidPublicKey"}"#)),
        (Service::Windows, answer_with(401, &[("x-wns-error-description", "The JWT is invalid.")], "")),
        (Service::Other, answer(401, "VapidPkHashMismatch")),
        (Service::Other, answer(403, "MismatchSenderId")),
    ];
    for (service, response) in cases {
        let fault = fault(service, &response);
        assert_eq!((fault.kind, fault.scope), (Kind::AuthExpired, Scope::Address), "{fault}");
    }
}

#[test]
fn a_key_that_an_unknown_service_refuses_in_its_own_words_is_a_fault_of_the_credentials() {
    let refusals = [
        r#"{"reason":"VapidPkHashMismatch"}"#,
        "Request did not validate VAPID public key mismatch",
        "the key in the Authorization header is not that of the subscription",
        "<TITLE>MismatchSenderId</TITLE>",
        "invalid JWT",
    ];
    for text in refusals {
        let fault = fault(Service::Other, &answer(400, text));
        assert_eq!((fault.kind, fault.scope), (Kind::Credentials, Scope::Address), "{fault}");
    }
    for (status, text) in [(400, "the TTL is missing"), (422, "vapid")] {
        assert_eq!(fault(Service::Other, &answer(status, text)).kind, Kind::BadMessage, "{status} {text}");
    }
    assert_eq!(fault(Service::Other, &answer(410, "no VAPID subscription")).kind, Kind::TokenGone);
}

#[test]
fn every_row_of_apples_table_gives_its_kind() {
    use Kind::{BadMessage, Throttled, TokenGone, TooLarge, VendorDown};
    let rows = [
        (400, "BadTtl", BadMessage),
        (400, "BadUrgency", BadMessage),
        (400, "BadWebPushTopic", BadMessage),
        (400, "BadWebPushRequest", BadMessage),
        (404, "BadPath", TokenGone),
        (405, "MethodNotAllowed", BadMessage),
        (410, "Unregistered", TokenGone),
        (410, "ExpiredToken", TokenGone),
        (413, "PayloadTooLarge", TooLarge),
        (429, "TooManyRequests", Throttled),
        (400, "IdleTimeout", VendorDown),
        (500, "InternalServerError", VendorDown),
        (503, "ServiceUnavailable", VendorDown),
        (503, "Shutdown", VendorDown),
        (400, "AReasonOfTomorrow", BadMessage),
    ];
    for (status, reason, kind) in rows {
        let fault = fault(Service::Apple, &answer(status, json!({ "reason": reason }).to_string()));
        assert_eq!((fault.kind, fault.vendor_code.as_deref()), (kind, Some(reason)));
    }
}

#[test]
fn windows_errors_are_read_from_headers_and_body() {
    let conflict = [
        ("x-wns-error-description", "Ttl value conflicts with X-WNS-Cache-Policy."),
        ("x-wns-status", "dropped"),
    ];
    let refused = fault(Service::Windows, &answer_with(400, &conflict, ""));
    assert_eq!((refused.kind, refused.vendor_code.as_deref()), (Kind::BadMessage, Some("dropped")));
    assert!(refused.detail.ends_with("Ttl value conflicts with X-WNS-Cache-Policy."));
    for status in [406, 429] {
        let fault = fault(Service::Windows, &answer_with(status, &[("retry-after", "30")], ""));
        assert_eq!((fault.kind, fault.retry_after), (Kind::Throttled, Some(Duration::from_secs(30))));
    }
    assert_eq!(fault(Service::Windows, &answer(403, "")).kind, Kind::WrongApp);
    let numbered = fault(Service::Windows, &answer(500, r#"{"ErrCode":500,"ErrDesc":""}"#));
    assert_eq!((numbered.kind, numbered.vendor_code.as_deref()), (Kind::VendorDown, Some("500")));
    let body = r#"{"MsgID":"7","DebugTrace":"DB5","DeviceStatus":"","ErrCode":"InternalError","ErrDesc":"try again"}"#;
    let trouble = fault(Service::Windows, &answer(500, body));
    assert_eq!((trouble.kind, trouble.vendor_code.as_deref()), (Kind::VendorDown, Some("InternalError")));
    let status = |status: &str| {
        let headers = [("x-wns-status", status), ("x-wns-msg-id", "4B2F6C")];
        outcome_of(Service::Windows, &answer_with(201, &headers, ""))
    };
    assert_eq!(status("received"), Outcome::accepted("4B2F6C"));
    assert_eq!(status("channelthrottled").code(), "throttled");
    assert_eq!(status("dropped").code(), "token_muted");
}

#[test]
fn without_a_code_or_text_the_status_decides() {
    use Kind::{AuthExpired, BadMessage, Throttled, Timeout, TooLarge, VendorDown};
    for service in SERVICES {
        for (status, kind) in [
            (400, BadMessage),
            (401, AuthExpired),
            (408, Timeout),
            (413, TooLarge),
            (429, Throttled),
            (301, VendorDown),
            (307, VendorDown),
            (308, VendorDown),
            (500, VendorDown),
            (502, VendorDown),
            (503, VendorDown),
        ] {
            assert_eq!(fault(service, &answer(status, "")).kind, kind, "{service:?} {status}");
        }
    }
    assert_eq!(fault(Service::Windows, &answer(406, "")).kind, Throttled);
    assert_eq!(fault(Service::Google, &answer(406, "")).kind, BadMessage);
}

#[test]
fn only_an_answer_in_the_services_own_form_proves_a_subscription_dead() {
    let genuine = [
        (Service::Mozilla, mozilla_error(404, 102, "Invalid URL endpoint")),
        (Service::Mozilla, mozilla_error(410, 106, "No such subscription")),
        (Service::Google, answer(410, "push subscription has unsubscribed or expired.\n")),
        (Service::Google, answer(404, "A valid push subscription endpoint should be specified in the URL")),
        (Service::Google, answer(410, "<HTML>\n<HEAD>\n<TITLE>NotRegistered</TITLE>\n</HEAD></HTML>")),
        (Service::Apple, answer(410, r#"{"reason":"Unregistered"}"#)),
        (Service::Apple, answer(404, r#"{"reason":"BadPath"}"#)),
        (Service::Windows, answer_with(410, &[("x-wns-error-description", "The channel has expired.")], "")),
        (Service::Windows, answer_with(404, &[("x-wns-msg-id", "7")], "")),
        (Service::Other, answer(404, "no such push subscription\n")),
        (Service::Other, answer(410, "")),
        (Service::Other, answer(410, "the subscription has expired")),
    ];
    for (service, response) in genuine {
        assert_eq!(fault(service, &response).kind, Kind::TokenGone, "{service:?} {response:?}");
    }
    let of_a_proxy = [
        "",
        "404 page not found\n",
        "<html><head><title>404 Not Found</title></head><body><center>nginx</center></body></html>",
        "<HTML><HEAD><TITLE>Gone</TITLE></HEAD></HTML>",
    ];
    let refused = |status| of_a_proxy.map(|body| answer(status, body));
    let refused: Vec<_> = refused(404).into_iter().chain(refused(410)).collect();
    for (service, response) in
        SERVICES.iter().flat_map(|service| refused.iter().map(|answer| (*service, answer)))
    {
        let is_page = response.body.first() == Some(&b'<');
        if service == Service::Other && response.status == 410 && !is_page {
            continue;
        }
        let fault = fault(service, response);
        assert_eq!(fault.kind, Kind::VendorDown, "{service:?} {response:?}");
        assert!(fault.detail.contains("check for a proxy"), "{}", fault.detail);
    }
}

#[test]
fn an_accepted_message_carries_the_vendor_id() {
    for service in SERVICES {
        for status in [200, 201, 202, 204] {
            assert_eq!(outcome_of(service, &answer(status, "<html>")), Outcome::Accepted { vendor_id: None });
        }
    }
    for service in SERVICES {
        assert_eq!(fault(service, &answer(206, "{}")).kind, Kind::VendorDown);
    }
    let located =
        |location: &str| outcome_of(Service::Google, &answer_with(201, &[("location", location)], ""));
    assert_eq!(
        located("https://fcm.googleapis.com/0:1700000000123456%7031b2e6f9fd7ecd"),
        Outcome::accepted("0:1700000000123456%7031b2e6f9fd7ecd")
    );
    let id = answer_with(201, &[("apns-id", "eabeae54-14a8-11e5-b60b-1697f925ec7b")], "");
    assert_eq!(outcome_of(Service::Apple, &id), Outcome::accepted("eabeae54-14a8-11e5-b60b-1697f925ec7b"));
    let long = format!("https://push.test/{}", "x".repeat(257));
    let echo = format!("https://push.test/m/{TOKEN}");
    for nothing in ["", "/", "https://push.test/m/", &long, &echo, "https://push.test/a b"] {
        assert_eq!(located(nothing), Outcome::Accepted { vendor_id: None }, "{nothing}");
    }
}

#[test]
fn retry_after_is_read_as_seconds_and_as_a_date() {
    let delay =
        |value: &str| fault(Service::Mozilla, &answer_with(503, &[("retry-after", value)], "")).retry_after;
    assert_eq!(delay("120"), Some(Duration::from_secs(120)));
    assert_eq!(delay("Tue, 14 Nov 2023 22:15:20 GMT"), Some(Duration::from_secs(120)));
    assert_eq!(delay("99999999999999999999999"), Some(Fault::MAX_RETRY_AFTER));
    assert_eq!(delay("Tue, 14 Nov 2090 22:11:20 GMT"), Some(Fault::MAX_RETRY_AFTER));
    // Zero would cause a loop without a pause.
    for nonsense in ["0", "Tue, 14 Nov 2023 22:11:20 GMT", "-5", "soon", "", "5x"] {
        assert_eq!(delay(nonsense), None, "{nonsense}");
    }
    assert_eq!(fault(Service::Apple, &answer(429, "")).retry_after, Some(DEFAULT_PAUSE));
}

#[test]
fn a_refused_token_with_a_wrong_clock_is_explained_by_the_clock() {
    let detail = |date: &str| fault(Service::Google, &answer_with(403, &[("date", date)], "no")).detail;
    let behind = detail("Wed, 15 Nov 2023 22:13:20 GMT");
    assert!(behind.starts_with("this machine's clock is 86400 s behind the service's"), "{behind}");
    let ahead = detail("Tue, 14 Nov 2023 12:13:20 GMT");
    assert!(ahead.starts_with("this machine's clock is 36000 s ahead of the service's"), "{ahead}");
    assert_eq!(detail("Tue, 14 Nov 2023 22:14:20 GMT"), "google answers 403 Forbidden: no");
}

#[test]
fn hostile_answers_are_classified_by_their_status() {
    let deep = "[".repeat(8000);
    let bodies: [&[u8]; 11] = [
        b"",
        b"<html>",
        b"<TITLE>",
        b"{\"errno\":",
        b"[]",
        b"null",
        b"7",
        b"{\"errno\":[],\"reason\":{},\"message\":7,\"ErrCode\":{}}",
        b"{\"errno\":-1,\"reason\":\"\"}",
        b"\xff\xfe\x00",
        deep.as_bytes(),
    ];
    for service in SERVICES {
        for body in bodies {
            for (status, kind) in [(400, Kind::BadMessage), (401, Kind::AuthExpired), (502, Kind::VendorDown)]
            {
                let fault = fault(service, &answer(status, body.to_vec()));
                assert_eq!((fault.kind, fault.vendor_code), (kind, None));
            }
        }
    }
}

#[test]
fn no_detail_contains_the_endpoint_a_message_text_or_a_control_character() {
    let text = "bad: gAAAAABl\u{0}VAaQ_the-\u{200b}token-itself\r\n«a title of a user» \u{1b}[31m\u{202e}";
    let quoted = fault(Service::Mozilla, &mozilla_error(400, 110, text));
    assert_eq!(quoted.detail, "mozilla answers 400 Bad Request: bad: … «…» [31m");
    let endpoint: Uri = format!("https://push.test/v2/{TOKEN}").parse().unwrap();
    let context =
        RequestContext { service: Service::Other, endpoint: &endpoint, message: &sample(), now: NOW };
    let reason = format!("busy with {TOKEN}\u{1b}[31m");
    let gone = transport_fault(TransportError::GoneAway { host: "push.test".to_owned(), reason }, &context);
    assert_eq!(gone.detail, "push.test went away without looking at the request: busy with …[31m");
    let long = format!("{}{TOKEN}", "x".repeat(MAX_QUOTE_CHARS - 5));
    assert!(!fault(Service::Other, &answer(500, long)).detail.contains("gAAA"));
    let as_code = fault(Service::Apple, &answer(400, json!({ "reason": TOKEN }).to_string()));
    assert_eq!(as_code.vendor_code, None);
    let endpoint: Uri = "https://web.push.apple.com/QGuQyavXutnMH7iOFqLz".parse().unwrap();
    let context =
        RequestContext { service: Service::Apple, endpoint: &endpoint, message: &sample(), now: NOW };
    let echoed = outcome(&answer(400, r#"{"reason":"QGuQyavXutnMH7iOFqLz"}"#), &context);
    assert_eq!(echoed.fault().unwrap().vendor_code, None);
}

proptest! {
    #[test]
    fn no_answer_causes_a_panic_or_reveals_the_token(
        status in 100u16..1000, head in ".{0,40}", tail in ".{0,40}", body in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        for service in SERVICES {
            let _ = outcome_of(service, &answer(status, body.clone()));
            let text = format!("{head}{TOKEN}{tail}");
            let body = json!({"errno": 110, "message": text, "reason": text, "ErrDesc": text}).to_string();
            for body in [body, text.clone(), format!("<TITLE>{text}</TITLE>")] {
                if let Outcome::Failed(fault) = outcome_of(service, &answer(status, body)) {
                    prop_assert!(!fault.to_string().contains(TOKEN));
                }
            }
        }
    }
}
