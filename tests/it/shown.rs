//! Tests of the visible notification: texts of ZIM clients, profiles, categories, badges.

use http::Method;
use pushgate_emulator::{Environment, ShownNotification};
use serde_json::{Value, json};

use crate::setup::Setup;

const PREVIEW: &str = "/v1/apps/demo/notifications:preview";

const APP: &str = r#"
[apps.demo.profiles.default]
category = "messages"
[apps.demo.profiles.call_resource]
ttl = "45s"
priority = "high"
category = "calls"
[apps.demo.profiles.call_resource.options.fcm.webpush.notification]
icon = "/call.png"
data = { link = "/call?id={call_id}" }
[apps.demo.profiles.quiet]
mode = "silent"
priority = "low"
[apps.demo.profiles.quiet.options.fcm.webpush.headers]
Urgency = "very-low"
[apps.demo.categories.calls.fcm.android.notification]
channel_id = "calls-v2"
"#;

async fn previewed(setup: &Setup, more: Value) -> (Value, Value) {
    let mut asked = json!({"to": {"users": ["bob"]}});
    asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let answer = setup.client.ask(Method::POST, PREVIEW, &asked, 200).await;
    (answer["channels"][0]["body"]["message"].clone(), answer)
}

fn push_config(more: Value) -> Value {
    let mut config = json!({"title": "Ann", "content": "hello"});
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"pushConfig": config})
}

/// Returns what Bob's page shows for a push with this `pushConfig`.
async fn shown_of(config: Value, more: Value) -> ShownNotification {
    let setup = Setup::open().await;
    let page = setup.page_of("bob").await;
    let mut asked = push_config(config);
    asked["to"] = json!({"users": ["bob"]});
    asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let (status, answer) = setup.client.submit(&asked, "?wait=20s").await;
    assert_eq!((status, &answer["status"]["counts"]), (202, &json!({"sent": 1})), "{answer}");
    setup.emulator.fcm().inbox(&page).unwrap().remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn zpns_27_the_push_configs_title_is_the_notifications() {
    assert_eq!(shown_of(json!({"title": "安 “A” 🙂"}), json!({})).await.title, "安 “A” 🙂");
}

#[tokio::test(flavor = "multi_thread")]
async fn zpns_28_the_push_configs_content_is_the_notifications_body() {
    assert_eq!(shown_of(json!({"content": "一 \"b\" <i>"}), json!({})).await.body, "一 \"b\" <i>");
}

#[tokio::test(flavor = "multi_thread")]
async fn zpns_29_a_payload_arrives_unchanged_and_need_not_be_there() {
    let payload = r#"{"text":"“引号” \"quoted\" 👩‍👩‍👧", "n": 1e3 }"#;
    let with = shown_of(json!({"payload": payload}), json!({})).await;
    assert_eq!(with.data["payload"], payload);
    assert_eq!(shown_of(json!({}), json!({})).await.data.get("payload"), None);
}

/// The old name of the payload, alone and beside the new one, in a notification of this kind.
async fn payloads_by_both_names(kind: &str) -> [Value; 2] {
    let kind = json!({"kind": kind});
    let old = shown_of(json!({"extendedData": "ünï \"old\""}), kind.clone()).await;
    let both = shown_of(json!({"extendedData": "old", "payload": "new"}), kind).await;
    [old, both].map(|shown| shown.data["payload"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn zpns_30_the_old_name_extended_data_is_the_payload() {
    assert_eq!(payloads_by_both_names("message").await, ["ünï \"old\"", "new"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn zpns_38_a_group_message_has_a_payload_by_either_name() {
    assert_eq!(payloads_by_both_names("group").await, ["ünï \"old\"", "new"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn zpns_33_an_empty_title_or_content_means_no_push_and_the_answer_says_so() {
    let setup = Setup::open().await;
    let page = setup.page_of("bob").await;
    for empty in [json!({"title": ""}), json!({"content": ""})] {
        let mut asked = push_config(empty);
        asked["to"] = json!({"users": ["bob"]});
        let (status, answer) = setup.client.submit(&asked, "").await;
        assert_eq!((status, &answer["id"], &answer["accepted"]), (202, &Value::Null, &0.into()));
        assert_eq!(answer["skipped"], json!([{"reason": "empty_push_config"}]));
    }
    assert!(setup.emulator.fcm().inbox(&page).unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn zpns_44_a_resources_id_selects_urgency_icon_and_time_to_live() {
    let setup = Setup::with(APP).await;
    setup.page_of("bob").await;
    let call = |profile: &str| {
        let mut asked = push_config(json!({"resourcesID": profile}));
        asked["kind"] = "call".into();
        asked["call"] = json!({"id": "c-1", "timeout": 90});
        asked
    };
    let (ring, answer) = previewed(&setup, call("call_resource")).await;
    let web = &ring["webpush"];
    assert_eq!(
        (&web["headers"]["TTL"], &web["headers"]["Urgency"]),
        (&"45".into(), &"high".into()),
        "{answer}"
    );
    assert_eq!(web["notification"]["icon"], "/call.png");
    assert_eq!(web["notification"]["data"]["link"], "/call?id=c-1");
    assert_eq!(ring["android"]["notification"]["channel_id"], "calls-v2", "the category's word for it");
    let (plain, _) = previewed(&setup, push_config(json!({}))).await;
    assert_eq!(plain["android"]["notification"]["channel_id"], "messages", "the default profile");
    let (quiet, _) = previewed(&setup, push_config(json!({"resourcesID": "quiet"}))).await;
    assert_eq!(
        (&quiet["notification"], &quiet["webpush"]["headers"]["Urgency"]),
        (&Value::Null, &"very-low".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_resources_id_is_pushed_with_the_default_profile_and_a_warning() {
    let setup = Setup::with(APP).await;
    let page = setup.page_of("bob").await;
    let mut asked = push_config(json!({"resourcesID": "nosuch"}));
    asked["to"] = json!({"users": ["bob"]});
    let (_, answer) = setup.client.submit(&asked, "?wait=20s").await;
    assert_eq!((&answer["warnings"][0]["code"], &answer["accepted"]), (&json!("unknown_profile"), &1.into()));
    assert_eq!(setup.emulator.fcm().inbox(&page).unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_caller_says_goes_before_the_profile() {
    let setup = Setup::with(APP).await;
    setup.page_of("bob").await;
    let own = json!({"title": "t", "profile": "call_resource", "ttl": 7, "priority": "low",
        "overrides": {"fcm": {"webpush": {"notification": {"icon": "/mine.png"}}}}});
    let (message, _) = previewed(&setup, own).await;
    let web = &message["webpush"];
    assert_eq!((&web["headers"]["TTL"], &web["headers"]["Urgency"]), (&"7".into(), &"low".into()));
    assert_eq!(web["notification"]["icon"], "/mine.png");
    assert!(web["notification"]["data"].is_object(), "the profile's other options stay");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_users_badge_rises_by_his_own_counter() {
    let setup = Setup::open().await;
    for user in ["ann", "bob"] {
        setup.page_of(user).await;
    }
    let path = "/v1/apps/demo/users/ann/badge";
    assert_eq!(setup.client.ask(Method::PUT, path, &json!({"set": 5}), 200).await["badge"], 5);
    let mut asked = push_config(json!({"enableBadge": true, "badgeIncrement": 2}));
    asked["to"] = json!({"users": ["ann", "bob"]});
    asked["idempotency_key"] = "k".into();
    setup.client.submit(&asked, "?wait=20s").await;
    setup.client.submit(&asked, "").await;
    let preview = setup.client.ask(Method::POST, PREVIEW, &asked, 200).await;
    let count = |channel: &Value| {
        channel["body"]["message"]["android"]["notification"]["notification_count"].as_u64()
    };
    let mut counts: Vec<_> = preview["channels"].as_array().unwrap().iter().map(count).collect();
    counts.sort_unstable();
    assert_eq!(
        counts,
        [Some(4), Some(9)],
        "asked once, asked again under the same key, and what the next would be"
    );
    assert_eq!(setup.client.ask(Method::PUT, path, &json!({"increment": 0}), 200).await["badge"], 7);
    let over = push_config(json!({"enableBadge": true, "badgeIncrement": 1000}));
    let (message, _) = previewed(&setup, over).await;
    assert_eq!(message["android"]["notification"]["notification_count"], 2 + 99);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_badge_alone_is_pushed_without_showing_anything() {
    let setup = Setup::open().await;
    let page = setup.page_of("bob").await;
    let body = json!({"set": 3, "push": true});
    let answer = setup.client.ask(Method::PUT, "/v1/apps/demo/users/bob/badge", &body, 200).await;
    assert_eq!(answer["notification"]["accepted"], 1);
    let silent =
        |what: &pushgate_emulator::EventKind| matches!(what, pushgate_emulator::EventKind::Arrived { .. });
    setup.emulator.fcm().wait_for(silent, crate::setup::MAX_WAIT).await.unwrap();
    assert!(setup.emulator.fcm().inbox(&page).unwrap()[0].silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_badge_that_is_set_is_shown_and_leaves_the_users_counter_alone() {
    let setup = Setup::open().await;
    setup.page_of("bob").await;
    let path = "/v1/apps/demo/users/bob/badge";
    setup.client.ask(Method::PUT, path, &json!({"set": 5}), 200).await;
    let (message, _) = previewed(&setup, json!({"title": "t", "badge": {"set": 9}})).await;
    assert_eq!(message["android"]["notification"]["notification_count"], 9);
    let asked = json!({"to": {"users": ["bob"]}, "title": "t", "badge": {"set": 9}});
    assert_eq!(setup.client.submit(&asked, "?wait=20s").await.0, 202);
    assert_eq!(setup.client.ask(Method::PUT, path, &json!({"increment": 0}), 200).await["badge"], 5);
}

/// One word of the operator's, and what it is called at each push service.
const CALLS: &str = r#"
[apps.demo.categories.calls.fcm.android.notification]
channel_id = "calls-v2"
[apps.demo.categories.calls.apns.aps]
interruption-level = "time-sensitive"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_category_is_an_android_channel_here_and_an_interruption_level_there() {
    let setup = Setup::with(CALLS).await;
    setup.page_of("bob").await;
    let phone = setup.emulator.apns().add_device("phone", Environment::Production);
    let body =
        json!({"user": "bob", "platform": "ios", "addresses": [{"channel": "apns", "token": phone.token}]});
    setup.client.ask(Method::PUT, "/v1/apps/demo/devices/phone", &body, 201).await;
    let asked = json!({"to": {"users": ["bob"]}, "title": "Ann", "category": "calls"});
    let preview = setup.client.ask(Method::POST, PREVIEW, &asked, 200).await;
    let [apns, fcm] = ["apns", "fcm"].map(|name| {
        let all = preview["channels"].as_array().unwrap();
        all.iter().find(|one| one["channel"] == name).unwrap()["body"].clone()
    });
    let level = &apns["payload"]["aps"]["interruption-level"];
    let channel = &fcm["message"]["android"]["notification"]["channel_id"];
    assert_eq!((level, channel), (&json!("time-sensitive"), &json!("calls-v2")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_push_config_says_is_not_said_twice() {
    let setup = Setup::open().await;
    setup.page_of("bob").await;
    for (name, value) in [("title", json!("t")), ("badge", json!({"set": 1})), ("payload", json!("p"))] {
        let mut asked = push_config(json!({}));
        asked["to"] = json!({"users": ["bob"]});
        asked[name] = value;
        let (status, answer) = setup.client.submit(&asked, "").await;
        assert_eq!((status, &answer["code"]), (422, &"invalid_field".into()));
    }
}
