//! Tests of whole deliveries. Single answers and requests are tested in `decode` and `golden`.

use pushgate::{EventEndpoint, Response, TransportError};
use pushgate_kit::clock::ManualClock;
use pushgate_kit::sample::{self, message as sample};
use pushgate_kit::transport::{ScriptedTransport, answer};

use super::*;
use crate::auth::tests::{PRIVATE, PUBLIC};
use crate::crypto::tests::Browser;
use crate::subscription::tests::subscription;

const MOZILLA: &str = "https://updates.push.services.mozilla.com/wpush/v2/gAAAAABlVAaQ";
const GOOGLE: &str = "https://fcm.googleapis.com/fcm/send/dXNlcjE:APA91bHr4kQ2";
const APPLE: &str = "https://web.push.apple.com/QGuQyavXutnMH7iOF";

struct Stage {
    channel: WebPush,
    transport: Arc<ScriptedTransport>,
    clock: Arc<ManualClock>,
}

fn stage_with(change: impl FnOnce(&mut Config), answers: impl IntoIterator<Item = Response>) -> Stage {
    let transport = Arc::new(ScriptedTransport::new());
    answers.into_iter().for_each(|answer| transport.then(answer));
    let clock = Arc::new(ManualClock::default());
    let mut config = Config::new(PRIVATE, "mailto:push@example.com");
    change(&mut config);
    let name = ChannelName::new("web").unwrap();
    let channel = WebPush::new(name, &config, transport.clone(), clock.clone()).unwrap();
    Stage { channel, transport, clock }
}

fn stage(answers: impl IntoIterator<Item = Response>) -> Stage {
    stage_with(|_| {}, answers)
}

fn address(endpoint: &str) -> Address {
    sample::address("web", TokenKind::Subscription, &subscription(endpoint))
}

fn delivery(endpoints: &[&str]) -> Delivery {
    delivery_of(sample(), endpoints)
}

fn delivery_of(message: Message, endpoints: &[&str]) -> Delivery {
    sample::delivery(message, endpoints.iter().map(|endpoint| address(endpoint)))
}

fn codes(report: &Report) -> Vec<&'static str> {
    report.outcomes().iter().map(Outcome::code).collect()
}

#[tokio::test]
async fn each_target_gets_the_outcome_of_its_own_request() {
    let stage = stage([answer(201, ""), answer(503, ""), answer(410, r#"{"reason":"Unregistered"}"#)]);
    let report = stage.channel.send(&delivery(&[MOZILLA, GOOGLE, APPLE])).await;
    assert_eq!(codes(&report), ["accepted", "vendor_down", "token_gone"]);
}

#[tokio::test]
async fn targets_are_sent_side_by_side_and_not_one_after_the_other() {
    let Stage { channel, transport, .. } = stage(std::iter::repeat_n(answer(201, ""), 32));
    transport.hold();
    let sending = tokio::spawn(async move { channel.send(&delivery(&[GOOGLE; 32])).await });
    transport.arrived(32).await;
    transport.release();
    assert_eq!(sending.await.unwrap().outcomes().len(), 32);
}

#[tokio::test]
async fn each_subscription_gets_its_own_ciphertext_of_the_rendered_message() {
    let stage = stage([answer(201, ""), answer(201, "")]);
    let delivery = delivery(&[MOZILLA, MOZILLA]);
    let rendered = stage.channel.render(&delivery.message);
    stage.channel.send(&delivery).await;
    let bodies: Vec<_> = stage.transport.requests().into_iter().map(|request| request.body).collect();
    assert_ne!(bodies[0], bodies[1]);
    for body in bodies {
        let text = Browser::from_appendix_a().decrypt(&body).unwrap();
        assert_eq!(text.len(), rendered.counted);
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&text).unwrap(), rendered.body);
    }
}

#[tokio::test]
async fn the_largest_message_that_fits_is_sent_and_one_byte_more_is_not() {
    let stage = stage([answer(201, "")]);
    let with = |bytes: usize| Message { payload: Some("x".repeat(bytes).into()), ..sample() };
    let free = 3993 - stage.channel.render(&with(0)).counted;
    let report = stage.channel.send(&delivery_of(with(free), &[GOOGLE])).await;
    assert_eq!(codes(&report), ["accepted"]);
    assert_eq!(stage.transport.requests()[0].body.len(), 4096);
    assert_eq!(codes(&stage.channel.send(&delivery_of(with(free + 1), &[GOOGLE])).await), ["too_large"]);
    assert_eq!(stage.transport.requests().len(), 1);
}

#[tokio::test]
async fn each_target_gets_its_own_event_token_which_counts_towards_the_size() {
    let stage = stage([answer(201, ""), answer(201, "")]);
    let url = "https://push.example/v1/receipts".to_owned();
    let message = Message { event_endpoint: Some(EventEndpoint::new(url, "key".into())), ..sample() };
    let rendered = stage.channel.render(&message).counted;
    let to_two = delivery_of(message, &[GOOGLE, MOZILLA]);
    assert_eq!(codes(&stage.channel.send(&to_two).await), ["accepted", "accepted"]);
    let mut receipts = Vec::new();
    for request in stage.transport.requests() {
        let text = Browser::from_appendix_a().decrypt(&request.body).unwrap();
        assert_eq!(text.len(), rendered);
        let read: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let zego: serde_json::Value = serde_json::from_str(read["data"]["zego"].as_str().unwrap()).unwrap();
        receipts.push(zego["receipt"].as_str().unwrap().to_owned());
    }
    assert!(receipts.iter().all(|receipt| receipt.starts_with("https://push.example/v1/receipts#")));
    assert_ne!(receipts[0], receipts[1]);
    let with =
        |bytes: usize| Message { payload: Some("x".repeat(bytes).into()), ..(*to_two.message).clone() };
    let free = 3993 - stage.channel.render(&with(0)).counted;
    assert_eq!(codes(&stage.channel.send(&delivery_of(with(free + 1), &[GOOGLE])).await), ["too_large"]);
}

#[tokio::test]
async fn an_invalid_subscription_is_not_sent_to_and_delays_no_other() {
    let stage = stage([answer(201, "")]);
    let mut delivery = delivery(&[GOOGLE, "https://169.254.169.254/x", "https://evil.example/x", MOZILLA]);
    delivery.targets[0].address.kind = TokenKind::Token;
    let report = stage.channel.send(&delivery).await;
    assert_eq!(codes(&report), ["unsupported", "bad_message", "unsupported", "accepted"]);
    assert_eq!(stage.transport.requests().len(), 1);
}

#[tokio::test]
async fn addresses_are_admitted_by_the_rules_of_sending() {
    let channel = stage([]).channel;
    assert_eq!(channel.admits(&address(MOZILLA)), Ok(()));
    let as_token = Address { kind: TokenKind::Token, ..address(MOZILLA) };
    assert_eq!(channel.admits(&as_token).unwrap_err().detail, "webpush requires a subscription, not a token");
    let refused = channel.admits(&address("https://evil.example/x")).unwrap_err();
    assert!(refused.detail.contains("`endpoints`"), "{refused}");
    let permissive = stage_with(|config| config.endpoints = vec!["evil.example".to_owned()], []).channel;
    assert_eq!(permissive.admits(&address("https://evil.example/x")), Ok(()));
}

#[tokio::test]
async fn a_silent_message_is_not_sent_to_apple() {
    let stage = stage([answer(201, "")]);
    let silent = Message { silent: true, ..sample() };
    let report = stage.channel.send(&delivery_of(silent, &[APPLE, MOZILLA])).await;
    assert_eq!(codes(&report), ["unsupported", "accepted"]);
}

#[tokio::test]
async fn overrides_that_are_no_object_are_the_callers_fault() {
    let stage = stage([]);
    let message = Message { overrides: Some("all".into()), ..sample() };
    assert_eq!(codes(&stage.channel.send(&delivery_of(message, &[GOOGLE])).await), ["bad_message"]);
    assert!(stage.transport.requests().is_empty());
}

#[tokio::test]
async fn a_redirect_is_a_fault_and_is_not_followed() {
    let mut redirect = answer(307, "");
    redirect.headers.insert("location", "https://169.254.169.254/latest".parse().unwrap());
    let stage = stage([redirect]);
    assert_eq!(codes(&stage.channel.send(&delivery(&[MOZILLA])).await), ["vendor_down"]);
    assert_eq!(stage.transport.requests().len(), 1);
}

#[tokio::test]
async fn one_token_serves_all_messages_to_a_service_for_hours() {
    let stage = stage(std::iter::repeat_n(answer(201, ""), 5));
    stage.channel.send(&delivery(&[GOOGLE, GOOGLE, MOZILLA])).await;
    stage.clock.advance(Duration::from_secs(10 * 3600));
    stage.channel.send(&delivery(&[GOOGLE])).await;
    stage.clock.advance(Duration::from_secs(2 * 3600));
    stage.channel.send(&delivery(&[GOOGLE])).await;
    let tokens: Vec<_> =
        stage.transport.requests().iter().map(|request| request.headers["authorization"].clone()).collect();
    assert_eq!((&tokens[0], &tokens[0]), (&tokens[1], &tokens[3]));
    assert_ne!(tokens[0], tokens[2]);
    assert_ne!(tokens[0], tokens[4]);
    assert!(tokens.iter().all(http::HeaderValue::is_sensitive));
}

#[tokio::test]
async fn a_refused_token_is_replaced_for_the_next_send() {
    let refused = || answer(403, r#"{"reason":"BadJwtToken"}"#);
    let stage = stage([answer(201, ""), refused(), refused(), answer(201, "")]);
    stage.channel.send(&delivery(&[APPLE])).await;
    stage.clock.advance(Duration::from_secs(2 * 3600));
    for expected in ["auth_expired", "auth_expired", "accepted"] {
        assert_eq!(codes(&stage.channel.send(&delivery(&[APPLE])).await), [expected]);
    }
    let requests = stage.transport.requests();
    let token = |at: usize| &requests[at].headers["authorization"];
    assert_eq!(token(0), token(1));
    assert_ne!(token(1), token(2));
    // The second token was new. A third would break Apple's limit of one per hour.
    assert_eq!(token(2), token(3));
}

#[tokio::test]
async fn a_later_attempt_carries_what_is_left_of_the_time_to_live() {
    let stage = stage([answer(201, "")]);
    stage.clock.advance(Duration::from_millis(600_500));
    stage.channel.send(&delivery(&[MOZILLA])).await;
    assert_eq!(stage.transport.requests()[0].headers["ttl"], "3000");
}

#[tokio::test]
async fn transport_errors_become_faults_by_their_kind() {
    let stage = stage([]);
    let host = || "updates.push.services.mozilla.com".to_owned();
    stage.transport.then(TransportError::Timeout { host: host(), after: Duration::from_secs(15) });
    stage.transport.then(TransportError::Unreachable { host: host(), why: "refused".to_owned() });
    stage.transport.then(TransportError::Refused { host: host(), why: "10.0.0.1 is not public".to_owned() });
    let report = stage.channel.send(&delivery(&[MOZILLA; 3])).await;
    assert_eq!(codes(&report), ["timeout", "unreachable", "bad_message"]);
}

#[tokio::test]
async fn requests_have_the_channels_timeout_and_a_response_limit() {
    let stage = stage_with(|config| config.timeout = Duration::from_secs(7), [answer(201, "")]);
    stage.channel.send(&delivery(&[MOZILLA])).await;
    let request = stage.transport.requests().remove(0);
    assert_eq!((request.timeout, request.max_answer), (Duration::from_secs(7), 8192));
    assert_eq!(stage.channel.info().timeout, Duration::from_secs(7));
}

#[tokio::test]
async fn a_probe_returns_the_public_key_without_a_request() {
    let stage = stage([]);
    assert_eq!(
        stage.channel.probe().await.unwrap().identity,
        format!("applicationServerKey {PUBLIC} (no push service is asked)")
    );
    assert_eq!(stage.channel.public_key(), PUBLIC);
    assert!(stage.transport.requests().is_empty());
}

#[test]
fn a_configuration_error_names_the_key() {
    let error = |change: &dyn Fn(&mut Config)| {
        let mut config = Config::new(PRIVATE, "mailto:push@example.com");
        change(&mut config);
        let name = ChannelName::new("web").unwrap();
        let transport = Arc::new(ScriptedTransport::new());
        WebPush::new(name, &config, transport, Arc::new(SystemClock)).unwrap_err()
    };
    type Change<'a> = &'a dyn Fn(&mut Config);
    let cases: [(Change<'_>, &str); 5] = [
        (&|config| config.private_key = "s3cret".into(), "private_key"),
        (&|config| config.subject = "s3cret".to_owned(), "subject"),
        (&|config| config.endpoints = vec!["https://s3cret".to_owned()], "endpoints"),
        (&|config| config.padding = 4096, "padding"),
        (&|config| config.timeout = Duration::ZERO, "timeout"),
    ];
    for (change, key) in cases {
        let error = error(change);
        assert_eq!(error.key(), key);
        assert!(!error.to_string().contains("s3cret"));
    }
}

#[test]
fn debug_shows_no_secret() {
    let channel =
        WebPush::from_key(PRIVATE, "https://example.com", Arc::new(ScriptedTransport::new())).unwrap();
    let expected = format!(r#"WebPush {{ name: ChannelName("webpush"), public_key: "{PUBLIC}", .. }}"#);
    assert_eq!(format!("{channel:?}"), expected);
}
