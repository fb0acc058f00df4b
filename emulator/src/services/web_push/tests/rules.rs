//! Every rule at every service, with the service's own error text, and the rules that only one service has.

use serde_json::{Value, json};

use super::super::app_server::now;
use super::*;
use crate::DecryptionError;
use crate::event::EventKind;
use crate::fault::{Effect, Fault, RetryAfter};

/// Expected status and part of the error text, for Mozilla, Google, Apple, Windows and the generic service.
type ExpectedErrors = [(u16, &'static str); 5];

/// Returns the error text of a response: WNS's header, or the body of the others.
fn error_text(response: &PushResponse) -> String {
    let description = response.header("x-wns-error-description").map(str::to_owned);
    description.unwrap_or_else(|| response.body.clone())
}

fn assert_refused(modify: impl Fn(Request, &AppServer) -> Request, expected: ExpectedErrors) {
    for (service, (status, text)) in WebPushService::ALL.into_iter().zip(expected) {
        let TestSetup { web_push, app_server, subscription } = subscribed(service);
        let request = modify(Request::valid(&subscription, &app_server, "hi"), &app_server);
        let response = request.send(&web_push);
        assert_eq!(response.status, status, "{service:?}: {response:?}");
        assert!(error_text(&response).contains(text), "{service:?}: {response:?}");
        assert!(web_push.inbox(&subscription).is_empty(), "{service:?}");
    }
}

#[test]
fn a_valid_push_arrives_at_every_service() {
    for service in WebPushService::ALL {
        let TestSetup { web_push, app_server, subscription } = subscribed(service);
        let request = Request::valid(&subscription, &app_server, "hi").with_header("urgency", Some("high"));
        let response = request.with_header("topic", Some("upd8")).send(&web_push);
        assert_eq!((response.status, response.header("ttl")), (201, Some("60")), "{service:?}");
        assert!(response.header("location").unwrap().starts_with("https://"), "{service:?}");
        let [push] = &web_push.inbox(&subscription)[..] else { panic!("{service:?}: one push") };
        assert_eq!((push.text.as_deref(), push.ttl), (Some("hi"), 60));
        assert_eq!((push.urgency, push.topic.as_deref()), (super::super::Urgency::High, Some("upd8")));
    }
}

#[test]
fn only_post_is_accepted() {
    let expected = [(405, ""), (405, ""), (405, "MethodNotAllowed"), (405, "POST"), (405, "")];
    assert_refused(|request, _| Request { method: http::Method::PUT, ..request }, expected);
}

#[test]
fn a_missing_ttl_is_refused() {
    assert_refused(
        |request, _| request.with_header("ttl", None),
        [(400, "\"errno\":111"), (400, "TTL"), (400, "BadTtl"), (400, "TTL"), (400, "TTL")],
    );
}

#[test]
fn a_ttl_that_is_not_a_number_is_refused() {
    assert_refused(
        |request, _| request.with_header("ttl", Some("soon")),
        [(400, "\"errno\":112"), (400, "TTL"), (400, "BadTtl"), (400, "TTL"), (400, "TTL")],
    );
}

#[test]
fn an_unknown_urgency_is_refused() {
    assert_refused(
        |request, _| request.with_header("urgency", Some("urgent")),
        [(400, "Urgency"), (400, "Urgency"), (400, "BadUrgency"), (400, "Urgency"), (400, "Urgency")],
    );
}

#[test]
fn a_topic_outside_its_alphabet_is_refused() {
    assert_refused(
        |request, _| request.with_header("topic", Some("a topic")),
        [(400, "\"errno\":113"), (400, "Topic"), (400, "BadWebPushTopic"), (400, "Topic"), (400, "Topic")],
    );
}

#[test]
fn another_encoding_is_refused() {
    let encoding = "Content-Encoding";
    assert_refused(
        |request, _| request.with_header("content-encoding", Some("aesgcm")),
        [
            (400, "\"errno\":110"),
            (400, encoding),
            (400, "BadWebPushRequest"),
            (400, encoding),
            (415, "aes128gcm"),
        ],
    );
}

#[test]
fn a_body_over_4096_bytes_is_refused() {
    assert_refused(
        |request, _| Request { body: vec![0; 4097], ..request },
        [(413, "\"errno\":104"), (413, "too large"), (413, "PayloadTooLarge"), (413, "size"), (413, "4096")],
    );
}

#[test]
fn a_push_without_vapid_is_refused() {
    assert_refused(
        |request, _| request.with_header("authorization", None),
        [
            (401, "\"errno\":109"),
            (400, "UnauthorizedRegistration"),
            (403, "BadAuthorizationHeader"),
            (401, "vapid"),
            (401, "vapid"),
        ],
    );
}

#[test]
fn vapid_for_another_origin_is_refused() {
    assert_refused(
        |request, app_server| {
            request.with_header(
                "authorization",
                Some(&app_server.authorization_for("https://elsewhere.example")),
            )
        },
        [
            (401, "\"errno\":109"),
            (400, "UnauthorizedRegistration"),
            (403, "BadJwtToken"),
            (401, ""),
            (403, ""),
        ],
    );
}

#[test]
fn vapid_with_another_key_has_its_own_error() {
    for (service, (status, text)) in WebPushService::ALL.into_iter().zip([
        (401, "mismatch"),
        (403, "do not correspond to the credentials used to create the subscriptions"),
        (400, "VapidPkHashMismatch"),
        (403, "does not match"),
        (403, "another key"),
    ]) {
        let TestSetup { web_push, subscription, .. } = subscribed(service);
        let response = Request::valid(&subscription, &AppServer::new(), "hi").send(&web_push);
        assert_eq!(response.status, status, "{service:?}");
        assert!(error_text(&response).contains(text), "{service:?}: {response:?}");
    }
}

#[test]
fn an_unknown_subscription_is_not_found() {
    assert_refused(
        |mut request, _| {
            request.url =
                format!("{}{}", request.url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/"), "/x");
            if request.url.starts_with("https://fcm.") {
                request.url = "https://fcm.googleapis.com/wp/x".to_owned();
            }
            request
        },
        [(404, "\"errno\":102"), (404, "endpoint"), (404, "BadPath"), (404, "not valid"), (404, "no such")],
    );
}

#[test]
fn an_expired_subscription_is_gone() {
    for (service, (status, text)) in WebPushService::ALL.into_iter().zip([
        (410, "\"errno\":106"),
        (410, "unsubscribed or expired"),
        (410, "Unregistered"),
        (410, "expired"),
        (404, "no such"),
    ]) {
        let TestSetup { web_push, app_server, subscription } = subscribed(service);
        assert!(web_push.expire(&subscription));
        let response = Request::valid(&subscription, &app_server, "hi").send(&web_push);
        assert_eq!(response.status, status, "{service:?}");
        assert!(error_text(&response).contains(text), "{service:?}: {response:?}");
        assert!(!web_push.come_online(&subscription), "an ended subscription stays ended");
    }
}

#[test]
fn a_push_that_cannot_be_decrypted_is_accepted_and_recorded() {
    let TestSetup { web_push, app_server, subscription } = subscribed(WebPushService::Mozilla);
    let other = web_push.subscribe(WebPushService::Mozilla, &app_server.application_server_key()).unwrap();
    let mut request = Request::valid(&subscription, &app_server, "hi");
    request.body = encrypted(&other, "hi");
    assert_eq!(request.send(&web_push).status, 201);
    assert!(web_push.inbox(&subscription).is_empty());
    let events: Vec<_> = web_push.events(0).into_iter().map(|event| event.kind).collect();
    assert!(
        events.contains(&EventKind::Unreadable {
            device: "mozilla-1".to_owned(),
            why: DecryptionError::Sealed
        })
    );
}

#[test]
fn the_event_names_the_violated_rule() {
    let TestSetup { web_push, app_server, subscription } = subscribed(WebPushService::Google);
    let expired = json!({"aud": "https://fcm.googleapis.com", "exp": now() - 1});
    let request = Request::valid(&subscription, &app_server, "hi");
    request
        .with_header("authorization", Some(&app_server.authorization_with_claims(&expired)))
        .send(&web_push);
    let device = Some("google-1".to_owned());
    let code = Some("vapid_expired".to_owned());
    let expected = EventKind::WebPush { service: WebPushService::Google, status: 400, code, device };
    assert_eq!(web_push.events(0).last().unwrap().kind, expected);
}

#[test]
fn apple_requires_a_positive_ttl_a_contact_and_base64url_topics() {
    let TestSetup { web_push, app_server, subscription } = subscribed(WebPushService::Apple);
    let valid = || Request::valid(&subscription, &app_server, "hi");
    let reason = |request: Request| -> Value {
        serde_json::from_str::<Value>(&request.send(&web_push).body).unwrap_or_default()["reason"].clone()
    };
    assert_eq!(reason(valid().with_header("ttl", Some("0"))), "BadTtl");
    assert_eq!(reason(valid().with_header("topic", Some("fives"))), "BadWebPushTopic");
    assert_eq!(reason(valid().with_header("topic", Some("thirteenchars"))), "BadWebPushTopic");
    let no_contact = app_server
        .authorization_with_claims(&json!({"aud": "https://web.push.apple.com", "exp": now() + 60}));
    assert_eq!(reason(valid().with_header("authorization", Some(&no_contact))), "BadJwtToken");
    let response = valid().with_header("topic", Some("twelve_chars")).send(&web_push);
    assert_eq!(response.status, 201);
    assert!(response.header("apns-id").is_some());
}

#[test]
fn other_services_accept_a_ttl_of_0_and_no_contact() {
    for service in [WebPushService::Mozilla, WebPushService::Google, WebPushService::Generic] {
        let TestSetup { web_push, app_server, subscription } = subscribed(service);
        let claims = json!({"aud": service.profile().origin(), "exp": now() + 60});
        let request = Request::valid(&subscription, &app_server, "hi").with_header("ttl", Some("0"));
        let response = request
            .with_header("authorization", Some(&app_server.authorization_with_claims(&claims)))
            .send(&web_push);
        assert_eq!(response.status, 201, "{service:?}");
    }
}

#[test]
fn windows_requires_ttl_and_cache_policy_to_agree() {
    let TestSetup { web_push, app_server, subscription } = subscribed(WebPushService::Windows);
    let send = |ttl: &str, policy: Option<&str>| {
        let request = Request::valid(&subscription, &app_server, "hi").with_header("ttl", Some(ttl));
        request.with_header("x-wns-cache-policy", policy).send(&web_push)
    };
    let conflict = send("0", None);
    assert_eq!((conflict.status, conflict.body.as_str()), (400, ""));
    assert_eq!(
        conflict.header("x-wns-error-description"),
        Some("Ttl value conflicts with X-WNS-Cache-Policy.")
    );
    assert_eq!(conflict.header("x-wns-status"), Some("dropped"));
    assert_eq!(send("0", Some("cache")).status, 400);
    assert_eq!(send("60", Some("no-cache")).status, 400);
    for (ttl, policy) in [("0", Some("no-cache")), ("60", Some("cache")), ("60", None)] {
        let response = send(ttl, policy);
        assert_eq!(
            (response.status, response.header("x-wns-status")),
            (201, Some("received")),
            "{ttl} {policy:?}"
        );
    }
}

#[test]
fn windows_requires_the_query_unchanged() {
    let TestSetup { web_push, app_server, subscription } = subscribed(WebPushService::Windows);
    assert!(subscription.endpoint.contains("%2b") && subscription.endpoint.contains("%2f"));
    let url = &subscription.endpoint;
    for (url, change) in [
        (url.replace("%2b", "+"), "decoded"),
        (url[..url.find('?').unwrap()].to_owned(), "without its query"),
        (url[..url.len() - 6].to_owned(), "shortened"),
    ] {
        let request = Request { url, ..Request::valid(&subscription, &app_server, "hi") };
        let response = request.send(&web_push);
        assert_eq!((response.status, response.body.as_str()), (400, ""), "{change}");
    }
    let upper =
        Request { url: url.replace("%2b", "%2B"), ..Request::valid(&subscription, &app_server, "hi") };
    assert_eq!(upper.send(&web_push).status, 201, "the same escape in upper case");
    let token = Request {
        url: url.replace("BQYAAAC", "bQYAAAC"),
        ..Request::valid(&subscription, &app_server, "hi")
    };
    assert_ne!(token.send(&web_push).status, 201, "the token in another case");
}

#[test]
fn a_ttl_above_the_maximum_of_the_service_is_shortened() {
    let TestSetup { web_push, app_server, subscription } = subscribed(WebPushService::Mozilla);
    let request = Request::valid(&subscription, &app_server, "hi").with_header("ttl", Some("9999999999"));
    assert_eq!(request.send(&web_push).header("ttl"), Some("2592000"));
}

#[test]
fn a_browser_that_comes_online_gets_the_newest_push_of_a_topic() {
    let TestSetup { web_push, app_server, subscription } = subscribed(WebPushService::Mozilla);
    assert!(web_push.go_offline(&subscription));
    for text in ["rings", "missed"] {
        let request = Request::valid(&subscription, &app_server, text).with_header("topic", Some("call"));
        assert_eq!(request.send(&web_push).status, 201);
    }
    let now_or_never = Request::valid(&subscription, &app_server, "typing").with_header("ttl", Some("0"));
    assert_eq!(now_or_never.send(&web_push).status, 201);
    assert!(web_push.inbox(&subscription).is_empty());
    assert!(web_push.come_online(&subscription));
    let texts: Vec<_> = web_push.inbox(&subscription).into_iter().map(|push| push.text.unwrap()).collect();
    assert_eq!(texts, ["missed"]);
}

fn fault(effect: Effect) -> Fault {
    Fault::next(1, effect)
}

fn error(status: u16, retry_after: Option<&str>) -> Fault {
    let retry_after = retry_after.map(|text| RetryAfter::Text(text.to_owned()));
    fault(Effect::Error { status, code: None, retry_after })
}

#[test]
fn injected_errors_have_the_format_of_the_service() {
    for (service, status, text) in [
        (WebPushService::Mozilla, 503, "\"errno\":201"),
        (WebPushService::Google, 410, "unsubscribed or expired"),
        (WebPushService::Apple, 429, "TooManyRequests"),
        (WebPushService::Windows, 406, "Throttled"),
        (WebPushService::Windows, 500, "\"ErrCode\":500"),
        (WebPushService::Generic, 503, "Fault injected"),
    ] {
        let TestSetup { web_push, app_server, subscription } = subscribed(service);
        web_push.add_fault(error(status, Some("7")));
        let response = Request::valid(&subscription, &app_server, "hi").send(&web_push);
        assert_eq!((response.status, response.header("retry-after")), (status, Some("7")), "{service:?}");
        assert!(error_text(&response).contains(text), "{service:?}: {response:?}");
        assert_eq!(
            Request::valid(&subscription, &app_server, "hi").send(&web_push).status,
            201,
            "only the next"
        );
    }
}

#[test]
fn mozilla_sends_a_retry_after_of_two_minutes_when_it_throttles() {
    let TestSetup { web_push, app_server, subscription } = subscribed(WebPushService::Mozilla);
    web_push.add_fault(error(429, None));
    assert_eq!(
        Request::valid(&subscription, &app_server, "hi").send(&web_push).header("retry-after"),
        Some("120")
    );
}

#[test]
fn an_injected_redirect_has_the_given_location() {
    let TestSetup { web_push, app_server, subscription } = subscribed(WebPushService::Generic);
    let location = "https://169.254.169.254/latest".to_owned();
    web_push.add_fault(fault(Effect::Redirect { status: 307, location: location.clone() }));
    let response = Request::valid(&subscription, &app_server, "hi").send(&web_push);
    assert_eq!((response.status, response.header("location")), (307, Some(location.as_str())));
    assert!(web_push.inbox(&subscription).is_empty());
}

#[test]
fn an_invalid_key_cannot_subscribe() {
    let web_push = WebPush::default();
    for bad in ["", "AAAA", &"A".repeat(87), &"!".repeat(87)] {
        assert!(web_push.subscribe(WebPushService::Google, bad).is_err(), "{bad}");
    }
}
