//! Tests of whole deliveries, of the renewal of provider tokens, and of probes.

use std::time::Duration;

use pushgate::{Response, SystemClock, TransportError};
use pushgate_kit::clock::ManualClock;
use pushgate_kit::sample::{self, message as sample};
use pushgate_kit::transport::{ScriptedTransport, answer, answer_with};

use super::*;
use crate::auth::tests::{p8, verify};
use crate::certificate::tests::certificate;
use crate::config::Environment;

const TOKEN: &str = "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0";

fn config() -> Config {
    Config {
        key: Some(p8().into()),
        key_id: Some("ABC123DEFG".to_owned()),
        team_id: Some("DEF123GHIJ".to_owned()),
        ..Config::new("com.example.MyApp")
    }
}

fn with_certificate() -> Config {
    Config { certificate: Some(certificate().into()), ..Config::new("com.example.MyApp") }
}

struct Stage {
    apns: Apns,
    transport: Arc<ScriptedTransport>,
    clock: Arc<ManualClock>,
}

fn stage(config: &Config, answers: impl IntoIterator<Item = Response>) -> Stage {
    let transport = Arc::new(ScriptedTransport::new());
    answers.into_iter().for_each(|answer| transport.then(answer));
    let clock = Arc::new(ManualClock::default());
    let name = ChannelName::new("apns").unwrap();
    let tokens = ProviderTokens::default();
    let apns = Apns::new(name, config, transport.clone(), clock.clone(), &tokens).unwrap();
    Stage { apns, transport, clock }
}

fn refused(status: u16, reason: &str) -> Response {
    answer(status, format!(r#"{{"reason":"{reason}"}}"#))
}

fn delivery(tokens: &[&str]) -> Delivery {
    let address = |token: &&str| sample::address("apns", TokenKind::Token, token);
    sample::delivery(sample(), tokens.iter().map(address))
}

fn codes(report: &Report) -> Vec<&'static str> {
    report.outcomes().iter().map(Outcome::code).collect()
}

#[tokio::test]
async fn each_device_gets_the_outcome_of_its_own_request() {
    let gone = answer(410, r#"{"reason":"Unregistered","timestamp":1699999000000}"#);
    let stage = stage(&config(), [answer(200, ""), refused(503, "Shutdown"), gone]);
    let report = stage.apns.send(&delivery(&[TOKEN, TOKEN, TOKEN])).await;
    assert_eq!(codes(&report), ["accepted", "vendor_down", "token_gone"]);
}

#[tokio::test]
async fn a_token_that_could_lead_elsewhere_is_never_sent() {
    let stage = stage(&config(), [answer(200, "")]);
    let report = stage.apns.send(&delivery(&["../../1/apps", TOKEN, "", "zz"])).await;
    assert_eq!(codes(&report), ["bad_message", "accepted", "bad_message", "bad_message"]);
    assert_eq!(stage.transport.requests_at(&format!("/3/device/{TOKEN}")).len(), 1);
    assert_eq!(stage.transport.requests().len(), 1);
}

#[test]
fn a_token_is_hexadecimal_bytes_and_nothing_else() {
    let apns = stage(&config(), []).apns;
    let code = |kind, token: &str| {
        let refusal = apns.admits(&sample::address("apns", kind, token)).err()?;
        assert!(token.is_empty() || !refusal.detail.contains(token));
        Some(refusal.kind)
    };
    for good in [TOKEN.to_owned(), TOKEN.to_uppercase(), "ab".repeat(80), "ab".repeat(100)] {
        assert_eq!(code(TokenKind::Token, &good), None);
    }
    let short = "ab".repeat(31);
    let long = "ab".repeat(101);
    let odd = format!("{TOKEN}a");
    let spaced = format!("<{}>", &TOKEN[..62]);
    for bad in ["", &short, &long, &odd, &spaced] {
        assert_eq!(code(TokenKind::Token, bad), Some(Kind::BadMessage), "{bad}");
    }
    assert_eq!(code(TokenKind::Subscription, TOKEN), Some(Kind::Unsupported));
}

#[test]
fn a_broadcast_channel_is_addressed_by_its_id_and_nothing_else() {
    let apns = stage(&config(), []).apns;
    let code = |token: &str| {
        let address = sample::address("apns", TokenKind::Token, token);
        apns.admits(&address).err().map(|fault| fault.kind)
    };
    assert_eq!(code("broadcast:dHN0LXNyY2gtY2hubA=="), None);
    let long = format!("broadcast:{}", "aaaa".repeat(65));
    for bad in ["broadcast:", "broadcast:a b", "broadcast:a\r\nb", "broadcast:x", "Broadcast:aaaa", &long] {
        assert_eq!(code(bad), Some(Kind::BadMessage), "{bad}");
    }
}

#[tokio::test]
async fn a_message_that_is_not_a_live_activity_is_not_broadcast() {
    let stage = stage(&config(), [answer(200, "")]);
    let report = stage.apns.send(&delivery(&["broadcast:dHN0LXNyY2gtY2hubA==", TOKEN])).await;
    assert_eq!(codes(&report), ["unsupported", "accepted"]);
    assert!(report.outcomes()[0].fault().unwrap().detail.contains("apns-push-type to liveactivity"));
    assert_eq!(stage.transport.requests().len(), 1);
}

#[tokio::test]
async fn a_transport_error_becomes_the_fault_of_each_device() {
    let stage = stage(&config(), []);
    let host = || "api.push.apple.com".to_owned();
    stage.transport.then(TransportError::Timeout { host: host(), after: Duration::from_secs(15) });
    stage.transport.then(TransportError::Unreachable { host: host(), why: "no route".to_owned() });
    let report = stage.apns.send(&delivery(&[TOKEN, TOKEN])).await;
    assert_eq!(codes(&report), ["timeout", "unreachable"]);
}

#[tokio::test]
async fn every_request_has_the_same_provider_token_and_the_full_timeout() {
    let stage = stage(&config(), [answer(200, ""), answer(200, "")]);
    stage.apns.send(&delivery(&[TOKEN])).await;
    stage.clock.advance(Duration::from_secs(900));
    stage.apns.send(&delivery(&[TOKEN])).await;
    let requests = stage.transport.requests();
    let bearers: Vec<_> = requests.iter().map(|request| &request.headers[AUTHORIZATION]).collect();
    assert_eq!(bearers[0], bearers[1]);
    assert!(bearers[0].is_sensitive());
    assert_eq!(verify(bearers[0]).1, r#"{"iss":"DEF123GHIJ","iat":1699999200}"#);
    assert!(requests.iter().all(|request| request.timeout == Duration::from_secs(15)));
}

#[tokio::test]
async fn an_expired_provider_token_is_replaced_once_for_a_whole_batch() {
    let expired = || refused(403, "ExpiredProviderToken");
    let stage = stage(&config(), [answer(200, ""), expired(), expired(), answer(200, ""), answer(200, "")]);
    // A token signed at the start of its window, 22:00, is used for half an hour.
    stage.clock.set(Timestamp::from_millis(1_699_999_200_000));
    stage.apns.send(&delivery(&[TOKEN])).await;
    stage.clock.advance(Duration::from_secs(21 * 60));
    let report = stage.apns.send(&delivery(&[TOKEN, TOKEN])).await;
    assert_eq!(codes(&report), ["auth_expired", "auth_expired"]);
    let report = stage.apns.send(&delivery(&[TOKEN, TOKEN])).await;
    assert_eq!(codes(&report), ["accepted", "accepted"]);
    let requests = stage.transport.requests();
    let bearer = |i: usize| &requests[i].headers[AUTHORIZATION];
    assert!(bearer(0) == bearer(2) && bearer(2) != bearer(3) && bearer(3) == bearer(4));
}

#[tokio::test]
async fn a_fresh_token_reported_as_expired_is_kept_and_the_fault_names_the_clock() {
    let stage = stage(&config(), [refused(403, "ExpiredProviderToken"), answer(200, "")]);
    let report = stage.apns.send(&delivery(&[TOKEN])).await;
    let fault = report.outcomes()[0].fault().unwrap();
    assert_eq!((fault.kind, fault.scope), (Kind::Credentials, pushgate::Scope::Lane));
    assert_eq!(fault.retry_after, Some(Duration::from_secs(20 * 60)));
    assert!(fault.detail.contains("clock"));
    stage.apns.send(&delivery(&[TOKEN])).await;
    let requests = stage.transport.requests();
    assert_eq!(requests[0].headers[AUTHORIZATION], requests[1].headers[AUTHORIZATION]);
}

#[tokio::test]
async fn after_too_many_token_updates_the_token_is_kept() {
    let stage = stage(&config(), [refused(429, "TooManyProviderTokenUpdates"), answer(200, "")]);
    // The first token would be renewed at 22:33:20.
    stage.apns.auth.signed_token(stage.clock.now()).unwrap();
    stage.clock.advance(Duration::from_secs(19 * 60));
    let report = stage.apns.send(&delivery(&[TOKEN])).await;
    assert_eq!(report.outcomes()[0].fault().unwrap().scope, pushgate::Scope::Lane);
    stage.clock.advance(Duration::from_secs(19 * 60));
    stage.apns.send(&delivery(&[TOKEN])).await;
    let requests = stage.transport.requests();
    assert_eq!(requests[0].headers[AUTHORIZATION], requests[1].headers[AUTHORIZATION]);
}

#[tokio::test]
async fn invalid_overrides_are_refused_before_any_request() {
    let stage = stage(&config(), []);
    let mut delivery = delivery(&[TOKEN, TOKEN]);
    let message = Message { overrides: Some(serde_json::json!({"headers": {"x": 1}})), ..sample() };
    delivery.message = Arc::new(message);
    assert_eq!(codes(&stage.apns.send(&delivery).await), ["bad_message", "bad_message"]);
    assert!(stage.transport.requests().is_empty());
    // Rendering still returns the size.
    assert!(stage.apns.render(&delivery.message).counted > 0);
}

#[tokio::test]
async fn the_request_is_as_rendered() {
    let stage = stage(&config(), [answer(200, "")]);
    let delivery = delivery(&[TOKEN]);
    let rendered = stage.apns.render(&delivery.message);
    stage.apns.send(&delivery).await;
    let request = stage.transport.requests().remove(0);
    assert_eq!(rendered.body["payload"], serde_json::from_slice::<serde_json::Value>(&request.body).unwrap());
    assert_eq!(rendered.counted, request.body.len());
    let headers = rendered.body["headers"].as_object().unwrap();
    assert!(headers.iter().all(|(name, value)| request.headers[name] == value.as_str().unwrap()));
    assert!(!headers.contains_key("authorization"));
}

#[tokio::test]
async fn with_a_certificate_requests_have_no_authorization() {
    let stage = stage(&with_certificate(), [answer(200, "")]);
    assert_eq!(codes(&stage.apns.send(&delivery(&[TOKEN])).await), ["accepted"]);
    let request = stage.transport.requests().remove(0);
    assert!(!request.headers.contains_key(AUTHORIZATION));
    assert_eq!(request.headers["apns-topic"], "com.example.MyApp");
}

#[tokio::test]
async fn an_expired_certificate_is_reported_without_a_request() {
    let stage = stage(&with_certificate(), []);
    stage.clock.set(Timestamp::from_millis(1_735_700_000_000));
    let report = stage.apns.send(&delivery(&[TOKEN])).await;
    let fault = report.outcomes()[0].fault().unwrap();
    assert_eq!(fault.kind, Kind::Credentials);
    assert!(fault.detail.contains("2024-12-31T00:00:00Z"), "{fault}");
    assert_eq!(stage.apns.probe().await.unwrap_err().kind, Kind::Credentials);
    assert!(stage.transport.requests().is_empty());
}

#[tokio::test]
async fn a_probe_that_finds_no_device_proves_the_credentials_and_reaches_no_user() {
    let good = [
        refused(400, "BadDeviceToken"),
        refused(400, "DeviceTokenNotForTopic"),
        answer(410, r#"{"reason":"Unregistered","timestamp":1}"#),
        answer_with(200, &[("apns-id", "a")], ""),
    ];
    for answer in good {
        let stage = stage(&config(), [answer]);
        let probe = stage.apns.probe().await.unwrap();
        assert_eq!(
            probe.identity,
            "team DEF123GHIJ, key ABC123DEFG, com.example.MyApp at https://api.push.apple.com"
        );
        assert_eq!(probe.expires_at, None);
        let request = stage.transport.requests_at(&format!("/3/device/{PROBE_TOKEN}")).remove(0);
        let header = |name: &str| request.headers[name].to_str().unwrap().to_owned();
        assert_eq!(
            [header("apns-push-type"), header("apns-priority"), header("apns-expiration")],
            ["background", "5", "0"]
        );
        let payload: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(payload["aps"], serde_json::json!({"content-available": 1}));
    }
}

#[tokio::test]
async fn a_probe_returns_the_expiry_of_a_certificate_and_reports_a_wrong_topic() {
    let stage_of = |config: &Config| stage(config, [refused(400, "BadDeviceToken")]);
    let probe = stage_of(&with_certificate()).apns.probe().await.unwrap();
    assert_eq!(probe.identity, "certificate, com.example.MyApp at https://api.push.apple.com");
    assert_eq!(probe.expires_at.unwrap().to_string(), "2024-12-31T00:00:00Z");
    let other = Config { topic: "com.example.Other".to_owned(), ..with_certificate() };
    let stage = stage_of(&other);
    let fault = stage.apns.probe().await.unwrap_err();
    assert_eq!(fault.kind, Kind::Credentials);
    assert!(
        fault.detail.contains("com.example.MyApp, com.example.MyApp.voip, not for com.example.Other"),
        "{fault}"
    );
    assert!(stage.transport.requests().is_empty());
}

#[tokio::test]
async fn a_failed_probe_reports_the_kind_of_fault() {
    let cases = [
        (refused(403, "InvalidProviderToken"), Kind::Credentials),
        (refused(400, "TopicDisallowed"), Kind::Credentials),
        (refused(400, "BadTopic"), Kind::Credentials),
        (refused(403, "ExpiredProviderToken"), Kind::Credentials),
        (refused(503, "ServiceUnavailable"), Kind::VendorDown),
        (answer(404, "<html>"), Kind::BadMessage),
        (answer(200, "<html>"), Kind::VendorDown),
    ];
    for (answer, kind) in cases {
        let fault = stage(&config(), [answer]).apns.probe().await.unwrap_err();
        assert_eq!(fault.kind, kind, "{fault}");
    }
}

#[tokio::test]
async fn the_environment_chooses_the_host_unless_base_url_is_set() {
    let host = async |config: Config| {
        let stage = stage(&config, [answer(200, "")]);
        stage.apns.send(&delivery(&[TOKEN])).await;
        stage.transport.requests().remove(0).uri.to_string().replace(TOKEN, "…")
    };
    assert_eq!(host(config()).await, "https://api.push.apple.com/3/device/…");
    let sandbox = Config { environment: Environment::Sandbox, ..config() };
    assert_eq!(host(sandbox).await, "https://api.sandbox.push.apple.com/3/device/…");
    let local = Config { base_url: Some("http://127.0.0.1:9090/".to_owned()), ..config() };
    assert_eq!(host(local).await, "http://127.0.0.1:9090/3/device/…");
}

#[test]
fn debug_shows_no_secret() {
    let name = ChannelName::new("apns").unwrap();
    let transport = Arc::new(ScriptedTransport::new());
    let tokens = ProviderTokens::default();
    let apns = Apns::new(name, &config(), transport, Arc::new(SystemClock), &tokens).unwrap();
    let shown = format!("{apns:?} {:?} {:?}", config(), with_certificate());
    assert!(shown.starts_with("Apns(apns: com.example.MyApp at https://api.push.apple.com)"), "{shown}");
    assert!(!shown.contains("PRIVATE KEY") && !shown.contains("CERTIFICATE"), "{shown}");
}
