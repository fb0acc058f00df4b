//! APNs: every rule a push may break, and the reason that is given.

use std::time::{Duration, SystemTime};

use pushgate_emulator::{ApnsRules, Environment, EventKind, MissingPushType, PushType, WrongSuffix};
use serde_json::json;

use crate::apple::{App, TOPIC, now, send_on, verdict};
use crate::client::Client;

fn said(status: u16, reason: &str) -> (u16, String) {
    (status, reason.to_owned())
}

#[tokio::test]
async fn an_accepted_push_has_an_empty_answer_under_its_own_id() {
    let app = App::new().await;
    let id = "eabeae54-14a8-11e5-b60b-1697f925ec7b";
    let answer = app.send(&app.hello().header("apns-id", id)).await;
    assert_eq!((answer.status, answer.header("apns-id"), answer.body.len()), (200, Some(id), 0));
    assert_eq!(answer.header("apns-unique-id"), None);
    let answer = app.send(&app.hello()).await;
    assert_eq!(answer.header("apns-id").unwrap().len(), 36, "one is made where none was given");
    assert_eq!(app.seen(), 2);
}

#[tokio::test]
async fn every_header_has_its_syntax() {
    let app = App::new().await;
    let wrong = [
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
    for (name, value, reason) in wrong {
        assert_eq!(app.verdict(&app.hello().header(name, value)).await, said(400, reason), "{name}: {value}");
    }
    let right = app.hello().header("apns-collapse-id", &"x".repeat(64)).header("apns-priority", "5");
    assert_eq!(app.verdict(&right.header("apns-expiration", "0")).await, said(200, ""));
}

#[tokio::test]
async fn a_header_given_twice_is_named() {
    let app = App::new().await;
    let mut push = app.hello();
    push.headers.push(("apns-topic".to_owned(), TOPIC.to_owned()));
    assert_eq!(app.verdict(&push).await, said(400, "DuplicateHeaders"));
}

#[tokio::test]
async fn topic_and_push_type_have_to_agree() {
    let app = App::new().await;
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
        let push = app.hello().kind(kind, suffix).to(&token);
        assert_eq!(app.verdict(&push).await, said(200, ""), "{kind}");
        let other = if suffix.is_empty() { ".voip" } else { "" };
        assert_eq!(app.verdict(&push.kind(kind, other)).await, said(400, "BadTopic"), "{kind} to {other:?}");
    }
    for wrong in
        [WrongSuffix::TopicDisallowed, WrongSuffix::InvalidPushType, WrongSuffix::DeviceTokenNotForTopic]
    {
        app.emulator.apns().set_rules(ApnsRules { wrong_suffix: wrong, ..ApnsRules::default() });
        assert_eq!(app.verdict(&app.hello().kind("voip", "")).await, said(400, &format!("{wrong:?}")));
    }
}

#[tokio::test]
async fn a_push_without_topic_or_type_is_refused() {
    let app = App::new().await;
    assert_eq!(app.verdict(&app.hello().without("apns-topic")).await, said(400, "MissingTopic"));
    let rules = ApnsRules { missing_push_type: MissingPushType::Refused, ..ApnsRules::default() };
    app.emulator.apns().set_rules(rules);
    let answer = app.send(&app.hello().without("apns-push-type")).await;
    assert_eq!(verdict(&answer), said(400, "InvalidPushType"));
    assert!(answer.header("x-emulator-hint").unwrap().contains("missing_push_type"));
    assert!(app.emulator.apns().events(0).iter().any(|event| matches!(event.kind, EventKind::Hint { .. })));
}

#[tokio::test]
async fn a_push_without_a_type_is_an_alert_unless_the_rules_say_otherwise() {
    let app = App::new().await;
    assert_eq!(app.verdict(&app.hello().without("apns-push-type")).await, said(200, ""));
    assert_eq!(app.seen(), 1);
}

#[tokio::test]
async fn a_missing_push_type_hides_no_other_error() {
    let app = App::new().await;
    let apns = app.emulator.apns();
    let untyped = app.hello().without("apns-push-type");
    let dead = apns.add_device("ann", Environment::Production);
    apns.unregister_since("ann", SystemTime::now());
    for rule in [MissingPushType::Alert, MissingPushType::Refused] {
        apns.set_rules(ApnsRules { missing_push_type: rule, ..ApnsRules::default() });
        assert_eq!(app.verdict(&untyped.clone().without("apns-topic")).await, said(400, "MissingTopic"));
        assert_eq!(app.verdict(&untyped.clone().body("")).await, said(400, "PayloadEmpty"));
        assert_eq!(app.verdict(&untyped.clone().to("xyz")).await, said(400, "BadDeviceToken"));
        assert_eq!(app.verdict(&untyped.clone().to(&dead.token)).await, said(410, "Unregistered"));
    }
}

#[tokio::test]
async fn the_background_may_not_hurry() {
    let app = App::new().await;
    let push =
        app.hello().header("apns-push-type", "background").body(json!({"aps": {"content-available": 1}}));
    assert_eq!(app.verdict(&push.clone().header("apns-priority", "10")).await, said(400, "BadPriority"));
    assert_eq!(app.verdict(&push.header("apns-priority", "5")).await, said(200, ""));
}

#[tokio::test]
async fn a_payload_of_4096_bytes_is_taken_and_a_call_may_have_5120() {
    let app = App::new().await;
    let sized = |bytes: usize| {
        let frame = json!({"aps": {"alert": ""}}).to_string().len();
        json!({"aps": {"alert": "x".repeat(bytes - frame)}})
    };
    assert_eq!(app.verdict(&app.hello().body(sized(4096))).await, said(200, ""));
    assert_eq!(app.verdict(&app.hello().body(sized(4097))).await, said(413, "PayloadTooLarge"));
    let call = app.hello().kind("voip", ".voip").to(&app.phone.voip_token);
    assert_eq!(app.verdict(&call.clone().body(sized(5120))).await, said(200, ""));
    assert_eq!(app.verdict(&call.body(sized(5121))).await, said(413, "PayloadTooLarge"));
    assert_eq!(app.verdict(&app.hello().body("")).await, said(400, "PayloadEmpty"));
}

#[tokio::test]
async fn a_token_that_was_never_given_out_is_bad() {
    let app = App::new().await;
    for token in
        ["00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0", "xyz", "abc", &"ab".repeat(500)]
    {
        assert_eq!(app.verdict(&app.hello().to(token)).await, said(400, "BadDeviceToken"), "{token}");
    }
    let upper = app.phone.token.to_uppercase();
    assert_eq!(
        app.verdict(&app.hello().to(&upper)).await,
        said(200, ""),
        "digits mean the same in either case"
    );
}

#[tokio::test]
async fn a_sandbox_token_is_bad_in_production_and_the_other_way_round() {
    let app = App::new().await;
    let apns = app.emulator.apns();
    let sandbox = apns.add_device("ann", Environment::Sandbox);
    assert_eq!(app.verdict(&app.hello().to(&sandbox.token)).await, said(400, "BadDeviceToken"));
    let client = Client::at(apns.sandbox_url(), app.emulator.ca_pem(), None).await;
    assert_eq!(verdict(&send_on(&client, &app.hello()).await.unwrap()), said(400, "BadDeviceToken"));
    let answer = send_on(&client, &app.hello().to(&sandbox.token)).await.unwrap();
    assert_eq!((answer.status, answer.header("apns-unique-id").is_some()), (200, true));
}

#[tokio::test]
async fn a_token_is_good_for_its_own_topic_only() {
    let app = App::new().await;
    let call = app.hello().kind("voip", ".voip");
    assert_eq!(app.verdict(&call).await, said(400, "DeviceTokenNotForTopic"), "an alert token for a call");
    assert_eq!(
        app.verdict(&app.hello().to(&app.phone.voip_token)).await,
        said(400, "DeviceTokenNotForTopic")
    );
    let foreign = app.hello().header("apns-topic", "com.example.demolition");
    assert_eq!(app.verdict(&foreign).await, said(400, "DeviceTokenNotForTopic"));
}

#[tokio::test]
async fn a_removed_app_is_told_with_the_time_since_when() {
    let app = App::new().await;
    let since = SystemTime::now() - Duration::from_secs(86_400);
    app.emulator.apns().unregister_since("bob", since);
    let answer = app.send(&app.hello()).await;
    assert_eq!(verdict(&answer), said(410, "Unregistered"));
    let ms = u64::try_from(since.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis()).unwrap();
    assert_eq!(answer.json()["timestamp"], ms);
}

#[tokio::test]
async fn paths_and_methods_that_do_not_exist_are_told_apart() {
    let app = App::new().await;
    let at = |path: &str| {
        let mut push = app.hello();
        push.path = path.to_owned();
        push
    };
    assert_eq!(app.verdict(&at("/3/device/")).await, said(400, "MissingDeviceToken"));
    for path in ["/", "/2/device/ab", "/3/devices/ab", "/3/device/ab/cd"] {
        assert_eq!(app.verdict(&at(path)).await, said(404, "BadPath"), "{path}");
    }
    let answer = app.client.method(
        http::Method::GET,
        &app.hello().path,
        &[("authorization", &format!("bearer {}", app.token))],
    );
    assert_eq!(verdict(&answer.await.unwrap()), said(405, "MethodNotAllowed"));
}

#[tokio::test]
async fn credentials_are_looked_at_before_anything_else() {
    let app = App::new().await;
    let push = app.hello().without("authorization").header("apns-priority", "7").to("xyz").body("");
    assert_eq!(app.verdict(&push).await, said(403, "MissingProviderToken"));
}

#[tokio::test]
async fn what_is_kept_for_an_offline_phone_is_the_newest_push_until_it_expires() {
    let app = App::new().await;
    let apns = app.emulator.apns();
    apns.set_offline("bob");
    let later = |seconds: u64| app.hello().header("apns-expiration", &(now() + seconds).to_string());
    app.send(&later(600).body(json!({"aps": {"alert": "old"}}))).await;
    app.send(&later(600).body(json!({"aps": {"alert": "new"}}))).await;
    app.send(&app.hello().header("apns-expiration", "0")).await;
    assert_eq!(apns.state("bob").unwrap().held, 1);
    apns.set_online("bob");
    let bodies: Vec<_> = apns.inbox("bob").unwrap().into_iter().map(|shown| shown.body).collect();
    assert_eq!(bodies, ["new"]);
    apns.set_offline("bob");
    app.send(&later(60)).await;
    app.emulator.advance(Duration::from_secs(61));
    apns.set_online("bob");
    assert_eq!(app.seen(), 1);
}
