//! Virtual devices: offline, muted, unregistered, and the notifications of each platform.

use std::time::Duration;

use pushgate_emulator::{DeviceChange, EventKind, Platform};
use serde_json::{Value, json};

use crate::fcm_client::AppServer;

fn titles(app: &AppServer, device: &str) -> Vec<String> {
    app.emulator.fcm().inbox(device).unwrap().into_iter().map(|shown| shown.title).collect()
}

async fn send(app: &AppServer, token: &str, title: &str, block: Value) {
    let mut message = json!({"token": token, "notification": {"title": title}});
    message.as_object_mut().unwrap().extend(block.as_object().unwrap().clone());
    assert_eq!(app.send(&json!({"message": message})).await.unwrap().status, 200);
}

#[tokio::test]
async fn pushes_for_an_offline_device_are_stored_for_their_ttl_and_shown_when_it_is_online() {
    let app = AppServer::new().await;
    app.emulator.fcm().set_offline("bob");
    let ttl = |seconds: &str| json!({"webpush": {"headers": {"TTL": seconds}}});
    send(&app, &app.device.token, "short", ttl("60")).await;
    send(&app, &app.device.token, "long", ttl("600")).await;
    send(&app, &app.device.token, "now or never", ttl("0")).await;
    assert_eq!((app.shown_count(), app.emulator.fcm().state("bob").unwrap().held), (0, 2));
    app.emulator.advance(Duration::from_secs(61));
    app.emulator.fcm().set_online("bob");
    assert_eq!(titles(&app, "bob"), ["long"]);
}

#[tokio::test]
async fn a_push_replaces_the_stored_one_with_its_topic_or_collapse_key() {
    let app = AppServer::new().await;
    let phone = app.emulator.fcm().add_device("phone", Platform::Android).unwrap();
    for device in ["bob", "phone"] {
        app.emulator.fcm().set_offline(device);
    }
    for title in ["one", "two"] {
        send(&app, &app.device.token, title, json!({"webpush": {"headers": {"TTL": "60", "Topic": "chat"}}}))
            .await;
        send(&app, &phone.token, title, json!({"android": {"collapse_key": "chat"}})).await;
        send(&app, &phone.token, title, json!({"android": {"ttl": "60s"}})).await;
    }
    for device in ["bob", "phone"] {
        app.emulator.fcm().set_online(device);
    }
    assert_eq!(titles(&app, "bob"), ["two"]);
    assert_eq!(
        titles(&app, "phone"),
        ["two", "two", "one"],
        "newest first, and pushes without a key are not collapsed"
    );
    let collapsed = |event: &EventKind| matches!(event, EventKind::Waits { replaced: true, .. });
    assert_eq!(app.emulator.fcm().events(0).iter().filter(|event| collapsed(&event.kind)).count(), 2);
}

#[tokio::test]
async fn a_muted_device_accepts_a_push_and_shows_nothing() {
    let app = AppServer::new().await;
    app.emulator.fcm().change("bob", DeviceChange { muted: Some(true), ..DeviceChange::default() });
    assert_eq!((app.send(&app.valid_message()).await.unwrap().status, app.shown_count()), (200, 0));
    app.emulator.fcm().change("bob", DeviceChange { muted: Some(false), ..DeviceChange::default() });
    assert_eq!((app.send(&app.valid_message()).await.unwrap().status, app.shown_count()), (200, 1));
}

#[tokio::test]
async fn a_notification_replaces_the_shown_one_with_its_tag() {
    let app = AppServer::new().await;
    for title in ["one", "two"] {
        send(&app, &app.device.token, title, json!({"webpush": {"notification": {"tag": "chat"}}})).await;
    }
    let inbox = app.emulator.fcm().inbox("bob").unwrap();
    assert_eq!((inbox.len(), inbox[0].title.as_str(), inbox[0].times_replaced), (1, "two", 1));
}

#[tokio::test]
async fn each_platform_shows_its_own_block_over_the_common_one() {
    let app = AppServer::new().await;
    let block = json!({"notification": {"title": "common", "body": "text"}, "data": {"k": "v"},
        "webpush": {"notification": {"title": "web"}, "fcm_options": {"link": "https://chat.example/7"}},
        "android": {"notification": {"title": "android", "sound": "ping", "notification_count": 3}},
        "apns": {"headers": {"apns-collapse-id": "c"}, "payload": {"aps": {"alert": {"title": "ios"}, "badge": 5, "thread-id": "t"}}}});
    for (id, platform) in [("web", Platform::Web), ("android", Platform::Android), ("ios", Platform::Ios)] {
        let device = app.emulator.fcm().add_device(id, platform).unwrap();
        send(&app, &device.token, "", block.clone()).await;
        let shown = app.emulator.fcm().inbox(id).unwrap().remove(0);
        assert_eq!((shown.title.as_str(), shown.body.as_str()), (id, "text"));
        assert_eq!(shown.data["k"], "v");
        match platform {
            Platform::Web => assert_eq!(shown.link.as_deref(), Some("https://chat.example/7")),
            Platform::Android => assert_eq!((shown.badge, shown.sound.as_deref()), (Some(3), Some("ping"))),
            Platform::Ios => assert_eq!(
                (shown.badge, shown.thread.as_deref(), shown.tag.as_deref()),
                (Some(5), Some("t"), Some("c"))
            ),
        }
    }
}
