//! APNs: every rule that a push can violate, and the reason that APNs gives.

use std::time::{Duration, SystemTime};

use pushgate_emulator::{AppleRules, Environment, EventKind, MissingPushType, PushType, WrongSuffix};
use serde_json::json;

use crate::apns_client::{AppServer, TOPIC, now, send_on, status_and_reason};
use crate::fcm_client::Client;

fn expected(status: u16, reason: &str) -> (u16, String) {
    (status, reason.to_owned())
}

#[tokio::test]
async fn the_response_to_an_accepted_push_is_empty_and_has_its_id() {
    let app = AppServer::new().await;
    let id = "eabeae54-14a8-11e5-b60b-1697f925ec7b";
    let response = app.send(&app.valid_push().with_header("apns-id", id)).await;
    assert_eq!((response.status, response.header("apns-id"), response.body.len()), (200, Some(id), 0));
    assert_eq!(response.header("apns-unique-id"), None);
    let response = app.send(&app.valid_push()).await;
    assert_eq!(response.header("apns-id").unwrap().len(), 36, "APNs creates an id if the push has none");
    assert_eq!(app.shown_count(), 2);
}

#[tokio::test]
async fn the_syntax_of_every_header_is_checked() {
    let app = AppServer::new().await;
    let invalid = [
        ("apns-id", "17", "BadMessageId"),
        ("apns-id", "eabeae5414a811e5b60b1697f925ec7b", "BadMessageId"),
        ("apns-push-type", "telegram", "InvalidPushType"),
        ("apns-push-type", "Alert", "InvalidPushType"),
        ("apns-expiration", "tomorrow", "BadExpirationDate"),
        ("apns-expiration", "-1", "BadExpirationDate"),
        ("apns-expiration", "1.5", "BadExpirationDate"),
        ("apns-priority", "7", "BadPriority"),
        ("apns-priority", "high", "BadPriority"),
        ("apns-collapse-id", &"x".repeat(65), "BadCollapseId"),
        ("apns-topic", "com.example demo", "BadTopic"),
        ("apns-topic", "", "BadTopic"),
    ];
    for (name, value, reason) in invalid {
        assert_eq!(
            app.status_and_reason(&app.valid_push().with_header(name, value)).await,
            expected(400, reason),
            "{name}: {value}"
        );
    }
    let valid =
        app.valid_push().with_header("apns-collapse-id", &"x".repeat(64)).with_header("apns-priority", "5");
    assert_eq!(app.status_and_reason(&valid.with_header("apns-expiration", "0")).await, expected(200, ""));
}

#[tokio::test]
async fn a_duplicate_header_is_refused() {
    let app = AppServer::new().await;
    let mut push = app.valid_push();
    push.headers.push(("apns-topic".to_owned(), TOPIC.to_owned()));
    assert_eq!(app.status_and_reason(&push).await, expected(400, "DuplicateHeaders"));
}

#[tokio::test]
async fn topic_and_push_type_must_agree() {
    let app = AppServer::new().await;
    for (kind, suffix) in [
        ("alert", ""),
        ("background", ""),
        ("location", ".location-query"),
        ("voip", ".voip"),
        ("complication", ".complication"),
        ("fileprovider", ".pushkit.fileprovider"),
        ("mdm", ""),
        ("liveactivity", ".push-type.liveactivity"),
        ("pushtotalk", ".voip-ptt"),
        ("widgets", ".push-type.widgets"),
        ("controls", ".push-type.controls"),
    ] {
        let parsed: PushType = serde_json::from_value(kind.into()).unwrap();
        let token = app.emulator.apns().token("bob", parsed).unwrap();
        let push = app.valid_push().with_push_type(kind, suffix).to(&token);
        assert_eq!(app.status_and_reason(&push).await, expected(200, ""), "{kind}");
        let other = if suffix.is_empty() { ".voip" } else { "" };
        assert_eq!(
            app.status_and_reason(&push.with_push_type(kind, other)).await,
            expected(400, "BadTopic"),
            "{kind} to {other:?}"
        );
    }
    for invalid in
        [WrongSuffix::TopicDisallowed, WrongSuffix::InvalidPushType, WrongSuffix::DeviceTokenNotForTopic]
    {
        app.emulator.apns().set_rules(AppleRules { wrong_suffix: invalid, ..AppleRules::default() });
        assert_eq!(
            app.status_and_reason(&app.valid_push().with_push_type("voip", "")).await,
            expected(400, &format!("{invalid:?}"))
        );
    }
}

#[tokio::test]
async fn a_push_without_topic_or_type_is_refused() {
    let app = AppServer::new().await;
    assert_eq!(
        app.status_and_reason(&app.valid_push().without("apns-topic")).await,
        expected(400, "MissingTopic")
    );
    let rules = AppleRules { missing_push_type: MissingPushType::Refused, ..AppleRules::default() };
    app.emulator.apns().set_rules(rules);
    let response = app.send(&app.valid_push().without("apns-push-type")).await;
    assert_eq!(status_and_reason(&response), expected(400, "InvalidPushType"));
    assert!(response.header("x-emulator-hint").unwrap().contains("missing_push_type"));
    assert!(app.emulator.apns().events(0).iter().any(|event| matches!(event.kind, EventKind::Hint { .. })));
}

#[tokio::test]
async fn a_push_without_a_type_is_an_alert_by_default() {
    let app = AppServer::new().await;
    assert_eq!(app.status_and_reason(&app.valid_push().without("apns-push-type")).await, expected(200, ""));
    assert_eq!(app.shown_count(), 1);
}

#[tokio::test]
async fn a_missing_push_type_hides_no_other_error() {
    let app = AppServer::new().await;
    let apns = app.emulator.apns();
    let untyped = app.valid_push().without("apns-push-type");
    let dead = apns.add_device("ann", Environment::Production);
    apns.unregister_since("ann", SystemTime::now());
    for rule in [MissingPushType::Alert, MissingPushType::Refused] {
        apns.set_rules(AppleRules { missing_push_type: rule, ..AppleRules::default() });
        assert_eq!(
            app.status_and_reason(&untyped.clone().without("apns-topic")).await,
            expected(400, "MissingTopic")
        );
        assert_eq!(
            app.status_and_reason(&untyped.clone().with_body("")).await,
            expected(400, "PayloadEmpty")
        );
        assert_eq!(app.status_and_reason(&untyped.clone().to("xyz")).await, expected(400, "BadDeviceToken"));
        assert_eq!(
            app.status_and_reason(&untyped.clone().to(&dead.token)).await,
            expected(410, "Unregistered")
        );
    }
}

#[tokio::test]
async fn a_background_push_must_not_have_high_priority() {
    let app = AppServer::new().await;
    let push = app
        .valid_push()
        .with_header("apns-push-type", "background")
        .with_body(json!({"aps": {"content-available": 1}}));
    assert_eq!(
        app.status_and_reason(&push.clone().with_header("apns-priority", "10")).await,
        expected(400, "BadPriority")
    );
    assert_eq!(app.status_and_reason(&push.with_header("apns-priority", "5")).await, expected(200, ""));
}

#[tokio::test]
async fn a_payload_may_have_4096_bytes_and_that_of_a_call_5120() {
    let app = AppServer::new().await;
    let sized = |bytes: usize| {
        let frame = json!({"aps": {"alert": ""}}).to_string().len();
        json!({"aps": {"alert": "x".repeat(bytes - frame)}})
    };
    assert_eq!(app.status_and_reason(&app.valid_push().with_body(sized(4096))).await, expected(200, ""));
    assert_eq!(
        app.status_and_reason(&app.valid_push().with_body(sized(4097))).await,
        expected(413, "PayloadTooLarge")
    );
    let call = app.valid_push().with_push_type("voip", ".voip").to(&app.device.voip_token);
    assert_eq!(app.status_and_reason(&call.clone().with_body(sized(5120))).await, expected(200, ""));
    assert_eq!(app.status_and_reason(&call.with_body(sized(5121))).await, expected(413, "PayloadTooLarge"));
    assert_eq!(app.status_and_reason(&app.valid_push().with_body("")).await, expected(400, "PayloadEmpty"));
}

#[tokio::test]
async fn an_unknown_token_is_a_bad_device_token() {
    let app = AppServer::new().await;
    for token in
        ["00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0", "xyz", "abc", &"ab".repeat(500)]
    {
        assert_eq!(
            app.status_and_reason(&app.valid_push().to(token)).await,
            expected(400, "BadDeviceToken"),
            "{token}"
        );
    }
    let upper = app.device.token.to_uppercase();
    assert_eq!(
        app.status_and_reason(&app.valid_push().to(&upper)).await,
        expected(200, ""),
        "hexadecimal digits are case-insensitive"
    );
}

#[tokio::test]
async fn a_token_is_refused_in_the_other_environment() {
    let app = AppServer::new().await;
    let apns = app.emulator.apns();
    let sandbox = apns.add_device("ann", Environment::Sandbox);
    assert_eq!(
        app.status_and_reason(&app.valid_push().to(&sandbox.token)).await,
        expected(400, "BadDeviceToken")
    );
    let client = Client::connect_to(apns.sandbox_url(), app.emulator.ca_pem(), None).await;
    assert_eq!(
        status_and_reason(&send_on(&client, &app.valid_push()).await.unwrap()),
        expected(400, "BadDeviceToken")
    );
    let response = send_on(&client, &app.valid_push().to(&sandbox.token)).await.unwrap();
    assert_eq!((response.status, response.header("apns-unique-id").is_some()), (200, true));
}

#[tokio::test]
async fn a_token_is_valid_only_for_its_own_topic() {
    let app = AppServer::new().await;
    let call = app.valid_push().with_push_type("voip", ".voip");
    assert_eq!(
        app.status_and_reason(&call).await,
        expected(400, "DeviceTokenNotForTopic"),
        "an alert token for a call"
    );
    assert_eq!(
        app.status_and_reason(&app.valid_push().to(&app.device.voip_token)).await,
        expected(400, "DeviceTokenNotForTopic")
    );
    let foreign = app.valid_push().with_header("apns-topic", "com.example.demolition");
    assert_eq!(app.status_and_reason(&foreign).await, expected(400, "DeviceTokenNotForTopic"));
}

#[tokio::test]
async fn a_removed_app_is_reported_with_the_time_of_removal() {
    let app = AppServer::new().await;
    let since = SystemTime::now() - Duration::from_secs(86_400);
    app.emulator.apns().unregister_since("bob", since);
    let response = app.send(&app.valid_push()).await;
    assert_eq!(status_and_reason(&response), expected(410, "Unregistered"));
    let ms = u64::try_from(since.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis()).unwrap();
    assert_eq!(response.json()["timestamp"], ms);
}

#[tokio::test]
async fn unknown_paths_and_methods_have_different_reasons() {
    let app = AppServer::new().await;
    let push_to_path = |path: &str| {
        let mut push = app.valid_push();
        push.path = path.to_owned();
        push
    };
    assert_eq!(app.status_and_reason(&push_to_path("/3/device/")).await, expected(400, "MissingDeviceToken"));
    for path in ["/", "/2/device/ab", "/3/devices/ab", "/3/device/ab/cd"] {
        assert_eq!(app.status_and_reason(&push_to_path(path)).await, expected(404, "BadPath"), "{path}");
    }
    let response = app.client.request_without_body(
        http::Method::GET,
        &app.valid_push().path,
        &[("authorization", &format!("bearer {}", app.token))],
    );
    assert_eq!(status_and_reason(&response.await.unwrap()), expected(405, "MethodNotAllowed"));
}

#[tokio::test]
async fn credentials_are_verified_before_anything_else() {
    let app = AppServer::new().await;
    let push =
        app.valid_push().without("authorization").with_header("apns-priority", "7").to("xyz").with_body("");
    assert_eq!(app.status_and_reason(&push).await, expected(403, "MissingProviderToken"));
}

#[tokio::test]
async fn only_the_newest_push_is_stored_for_an_offline_device_until_it_expires() {
    let app = AppServer::new().await;
    let apns = app.emulator.apns();
    apns.set_offline("bob");
    let expiring_in =
        |seconds: u64| app.valid_push().with_header("apns-expiration", &(now() + seconds).to_string());
    app.send(&expiring_in(600).with_body(json!({"aps": {"alert": "old"}}))).await;
    app.send(&expiring_in(600).with_body(json!({"aps": {"alert": "new"}}))).await;
    app.send(&app.valid_push().with_header("apns-expiration", "0")).await;
    assert_eq!(apns.state("bob").unwrap().held, 1);
    apns.set_online("bob");
    let bodies: Vec<_> = apns.inbox("bob").unwrap().into_iter().map(|shown| shown.body).collect();
    assert_eq!(bodies, ["new"]);
    apns.set_offline("bob");
    app.send(&expiring_in(60)).await;
    app.emulator.advance(Duration::from_secs(61));
    apns.set_online("bob");
    assert_eq!(app.shown_count(), 1);
}
