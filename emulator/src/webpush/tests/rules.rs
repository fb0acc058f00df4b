//! Every rule, at every service, in the service's own words; and what each service does that no other does.

use serde_json::{Value, json};

use super::super::sender::now;
use super::*;
use crate::Unreadable;
use crate::event::What;
use crate::fault::{Effect, Fault, RetryAfter};

/// Status and the telling part of the answer of Mozilla, Google, Apple, Windows and the generic service.
type Words = [(u16, &'static str); 5];

/// What the service says: the body, or WNS's header.
fn words(answer: &Answer) -> String {
    let described = answer.header("x-wns-error-description").map(str::to_owned);
    described.unwrap_or_else(|| answer.body.clone())
}

fn refused(spoil: impl Fn(Request, &Sender) -> Request, expected: Words) {
    for (service, (status, said)) in Service::ALL.into_iter().zip(expected) {
        let (webpush, sender, subscription) = subscribed(service);
        let request = spoil(Request::good(&subscription, &sender, "hi"), &sender);
        let answer = request.ask(&webpush);
        assert_eq!(answer.status, status, "{service:?}: {answer:?}");
        assert!(words(&answer).contains(said), "{service:?}: {answer:?}");
        assert!(webpush.inbox(&subscription).is_empty(), "{service:?}");
    }
}

#[test]
fn a_good_push_arrives_at_every_service() {
    for service in Service::ALL {
        let (webpush, sender, subscription) = subscribed(service);
        let request = Request::good(&subscription, &sender, "hi").header("urgency", Some("high"));
        let answer = request.header("topic", Some("upd8")).ask(&webpush);
        assert_eq!((answer.status, answer.header("ttl")), (201, Some("60")), "{service:?}");
        assert!(answer.header("location").unwrap().starts_with("https://"), "{service:?}");
        let [push] = &webpush.inbox(&subscription)[..] else { panic!("{service:?}: one push") };
        assert_eq!((push.text.as_deref(), push.ttl), (Some("hi"), 60));
        assert_eq!((push.urgency, push.topic.as_deref()), (super::super::Urgency::High, Some("upd8")));
    }
}

#[test]
fn only_post_is_taken() {
    let words = [(405, ""), (405, ""), (405, "MethodNotAllowed"), (405, "POST"), (405, "")];
    refused(|request, _| Request { method: http::Method::PUT, ..request }, words);
}

#[test]
fn a_missing_ttl_is_refused() {
    refused(
        |request, _| request.header("ttl", None),
        [(400, "\"errno\":111"), (400, "TTL"), (400, "BadTtl"), (400, "TTL"), (400, "TTL")],
    );
}

#[test]
fn a_ttl_that_is_no_number_is_refused() {
    refused(
        |request, _| request.header("ttl", Some("soon")),
        [(400, "\"errno\":112"), (400, "TTL"), (400, "BadTtl"), (400, "TTL"), (400, "TTL")],
    );
}

#[test]
fn an_unknown_urgency_is_refused() {
    refused(
        |request, _| request.header("urgency", Some("urgent")),
        [(400, "Urgency"), (400, "Urgency"), (400, "BadUrgency"), (400, "Urgency"), (400, "Urgency")],
    );
}

#[test]
fn a_topic_outside_its_alphabet_is_refused() {
    refused(
        |request, _| request.header("topic", Some("a topic")),
        [(400, "\"errno\":113"), (400, "Topic"), (400, "BadWebPushTopic"), (400, "Topic"), (400, "Topic")],
    );
}

#[test]
fn another_encoding_is_refused() {
    let encoding = "Content-Encoding";
    refused(
        |request, _| request.header("content-encoding", Some("aesgcm")),
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
    refused(
        |request, _| Request { body: vec![0; 4097], ..request },
        [(413, "\"errno\":104"), (413, "too large"), (413, "PayloadTooLarge"), (413, "size"), (413, "4096")],
    );
}

#[test]
fn a_push_without_vapid_is_refused() {
    refused(
        |request, _| request.header("authorization", None),
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
    refused(
        |request, sender| {
            request.header("authorization", Some(&sender.good_for("https://elsewhere.example")))
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
fn vapid_of_another_key_is_refused_as_such() {
    for (service, (status, said)) in Service::ALL.into_iter().zip([
        (401, "mismatch"),
        (403, "do not correspond to the credentials used to create the subscriptions"),
        (400, "VapidPkHashMismatch"),
        (403, "does not match"),
        (403, "another key"),
    ]) {
        let (webpush, _, subscription) = subscribed(service);
        let answer = Request::good(&subscription, &Sender::new(), "hi").ask(&webpush);
        assert_eq!(answer.status, status, "{service:?}");
        assert!(words(&answer).contains(said), "{service:?}: {answer:?}");
    }
}

#[test]
fn a_subscription_nobody_has_is_not_found() {
    refused(
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
    for (service, (status, said)) in Service::ALL.into_iter().zip([
        (410, "\"errno\":106"),
        (410, "unsubscribed or expired"),
        (410, "Unregistered"),
        (410, "expired"),
        (404, "no such"),
    ]) {
        let (webpush, sender, subscription) = subscribed(service);
        assert!(webpush.expire(&subscription));
        let answer = Request::good(&subscription, &sender, "hi").ask(&webpush);
        assert_eq!(answer.status, status, "{service:?}");
        assert!(words(&answer).contains(said), "{service:?}: {answer:?}");
        assert!(!webpush.come_online(&subscription), "the dead stay dead");
    }
}

#[test]
fn a_push_that_cannot_be_read_is_accepted_and_its_loss_is_told() {
    let (webpush, sender, subscription) = subscribed(Service::Mozilla);
    let other = webpush.subscribe(Service::Mozilla, &sender.application_server_key()).unwrap();
    let mut request = Request::good(&subscription, &sender, "hi");
    request.body = encrypted(&other, "hi");
    assert_eq!(request.ask(&webpush).status, 201);
    assert!(webpush.inbox(&subscription).is_empty());
    let events: Vec<_> = webpush.events(0).into_iter().map(|event| event.what).collect();
    assert!(events.contains(&What::Unreadable { device: "mozilla-1".to_owned(), why: Unreadable::Sealed }));
}

#[test]
fn the_event_says_which_rule_was_broken() {
    let (webpush, sender, subscription) = subscribed(Service::Google);
    let late = json!({"aud": "https://fcm.googleapis.com", "exp": now() - 1});
    let request = Request::good(&subscription, &sender, "hi");
    request.header("authorization", Some(&sender.authorization(&late))).ask(&webpush);
    let device = Some("google-1".to_owned());
    let code = Some("vapid_expired".to_owned());
    let what = What::WebPush { service: Service::Google, status: 400, code, device };
    assert_eq!(webpush.events(0).last().unwrap().what, what);
}

#[test]
fn apple_wants_a_positive_ttl_a_contact_and_topics_that_are_base64url() {
    let (webpush, sender, subscription) = subscribed(Service::Apple);
    let good = || Request::good(&subscription, &sender, "hi");
    let reason = |request: Request| -> Value {
        serde_json::from_str::<Value>(&request.ask(&webpush).body).unwrap_or_default()["reason"].clone()
    };
    assert_eq!(reason(good().header("ttl", Some("0"))), "BadTtl");
    assert_eq!(reason(good().header("topic", Some("fives"))), "BadWebPushTopic");
    assert_eq!(reason(good().header("topic", Some("thirteenchars"))), "BadWebPushTopic");
    let nobody = sender.authorization(&json!({"aud": "https://web.push.apple.com", "exp": now() + 60}));
    assert_eq!(reason(good().header("authorization", Some(&nobody))), "BadJwtToken");
    let answer = good().header("topic", Some("twelve_chars")).ask(&webpush);
    assert_eq!(answer.status, 201);
    assert!(answer.header("apns-id").is_some());
}

#[test]
fn others_take_a_ttl_of_0_and_no_contact() {
    for service in [Service::Mozilla, Service::Google, Service::Generic] {
        let (webpush, sender, subscription) = subscribed(service);
        let claims = json!({"aud": service.personality().origin(), "exp": now() + 60});
        let request = Request::good(&subscription, &sender, "hi").header("ttl", Some("0"));
        let answer = request.header("authorization", Some(&sender.authorization(&claims))).ask(&webpush);
        assert_eq!(answer.status, 201, "{service:?}");
    }
}

#[test]
fn windows_wants_ttl_and_cache_policy_to_agree() {
    let (webpush, sender, subscription) = subscribed(Service::Windows);
    let ask = |ttl: &str, policy: Option<&str>| {
        let request = Request::good(&subscription, &sender, "hi").header("ttl", Some(ttl));
        request.header("x-wns-cache-policy", policy).ask(&webpush)
    };
    let conflict = ask("0", None);
    assert_eq!((conflict.status, conflict.body.as_str()), (400, ""));
    assert_eq!(
        conflict.header("x-wns-error-description"),
        Some("Ttl value conflicts with X-WNS-Cache-Policy.")
    );
    assert_eq!(conflict.header("x-wns-status"), Some("dropped"));
    assert_eq!(ask("0", Some("cache")).status, 400);
    assert_eq!(ask("60", Some("no-cache")).status, 400);
    for (ttl, policy) in [("0", Some("no-cache")), ("60", Some("cache")), ("60", None)] {
        let answer = ask(ttl, policy);
        assert_eq!(
            (answer.status, answer.header("x-wns-status")),
            (201, Some("received")),
            "{ttl} {policy:?}"
        );
    }
}

#[test]
fn windows_wants_its_query_byte_for_byte() {
    let (webpush, sender, subscription) = subscribed(Service::Windows);
    assert!(subscription.endpoint.contains("%2b") && subscription.endpoint.contains("%2f"));
    let url = &subscription.endpoint;
    for (mangled, what) in [
        (url.replace("%2b", "+"), "decoded"),
        (url[..url.find('?').unwrap()].to_owned(), "cut"),
        (url[..url.len() - 6].to_owned(), "shortened"),
    ] {
        let request = Request { url: mangled, ..Request::good(&subscription, &sender, "hi") };
        let answer = request.ask(&webpush);
        assert_eq!((answer.status, answer.body.as_str()), (400, ""), "{what}");
    }
    let upper = Request { url: url.replace("%2b", "%2B"), ..Request::good(&subscription, &sender, "hi") };
    assert_eq!(upper.ask(&webpush).status, 201, "the same escape in upper case");
    let token =
        Request { url: url.replace("BQYAAAC", "bQYAAAC"), ..Request::good(&subscription, &sender, "hi") };
    assert_ne!(token.ask(&webpush).status, 201, "the token in another case");
}

#[test]
fn a_ttl_longer_than_the_service_keeps_is_cut() {
    let (webpush, sender, subscription) = subscribed(Service::Mozilla);
    let request = Request::good(&subscription, &sender, "hi").header("ttl", Some("9999999999"));
    assert_eq!(request.ask(&webpush).header("ttl"), Some("2592000"));
}

#[test]
fn a_closed_browser_gets_the_newest_of_a_topic_when_it_is_back() {
    let (webpush, sender, subscription) = subscribed(Service::Mozilla);
    assert!(webpush.go_offline(&subscription));
    for text in ["rings", "missed"] {
        let request = Request::good(&subscription, &sender, text).header("topic", Some("call"));
        assert_eq!(request.ask(&webpush).status, 201);
    }
    let now_or_never = Request::good(&subscription, &sender, "typing").header("ttl", Some("0"));
    assert_eq!(now_or_never.ask(&webpush).status, 201);
    assert!(webpush.inbox(&subscription).is_empty());
    assert!(webpush.come_online(&subscription));
    let texts: Vec<_> = webpush.inbox(&subscription).into_iter().map(|push| push.text.unwrap()).collect();
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
fn errors_on_demand_come_in_the_words_of_the_service() {
    for (service, status, said) in [
        (Service::Mozilla, 503, "\"errno\":201"),
        (Service::Google, 410, "unsubscribed or expired"),
        (Service::Apple, 429, "TooManyRequests"),
        (Service::Windows, 406, "Throttled"),
        (Service::Windows, 500, "\"ErrCode\":500"),
        (Service::Generic, 503, "asked for"),
    ] {
        let (webpush, sender, subscription) = subscribed(service);
        webpush.fail(error(status, Some("7")));
        let answer = Request::good(&subscription, &sender, "hi").ask(&webpush);
        assert_eq!((answer.status, answer.header("retry-after")), (status, Some("7")), "{service:?}");
        assert!(words(&answer).contains(said), "{service:?}: {answer:?}");
        assert_eq!(Request::good(&subscription, &sender, "hi").ask(&webpush).status, 201, "only the next");
    }
}

#[test]
fn mozilla_asks_for_two_minutes_when_it_is_throttled() {
    let (webpush, sender, subscription) = subscribed(Service::Mozilla);
    webpush.fail(error(429, None));
    assert_eq!(Request::good(&subscription, &sender, "hi").ask(&webpush).header("retry-after"), Some("120"));
}

#[test]
fn a_redirect_on_demand_leads_where_it_is_told_to() {
    let (webpush, sender, subscription) = subscribed(Service::Generic);
    let location = "https://169.254.169.254/latest".to_owned();
    webpush.fail(fault(Effect::Redirect { status: 307, location: location.clone() }));
    let answer = Request::good(&subscription, &sender, "hi").ask(&webpush);
    assert_eq!((answer.status, answer.header("location")), (307, Some(location.as_str())));
    assert!(webpush.inbox(&subscription).is_empty());
}

#[test]
fn a_key_that_is_none_cannot_subscribe() {
    let webpush = WebPush::default();
    for bad in ["", "AAAA", &"A".repeat(87), &"!".repeat(87)] {
        assert!(webpush.subscribe(Service::Google, bad).is_err(), "{bad}");
    }
}
