//! One notification to a user who is everywhere: a web page by FCM, a Firefox by Web Push, an iPhone by APNs.

use http::Method;
use pushgate_emulator::{Environment, Event, EventKind, WebPushService};
use serde_json::{Value, json};

use crate::secrecy::keep_secret;
use crate::setup::Setup;

async fn register(setup: &Setup, id: &str, platform: &str, address: &Value) {
    let body = json!({"user": "bob", "platform": platform, "addresses": [address]});
    setup.client.ask(Method::PUT, &format!("/v1/apps/demo/devices/{id}"), &body, 201).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn zpns_16_a_push_is_forwarded_to_fcm_and_to_a_web_push_service() {
    let setup = Setup::open().await;
    let emulator = &setup.emulator;
    setup.page_of("bob").await;
    let firefox = emulator.webpush().subscribe(WebPushService::Mozilla, emulator.vapid_public_key()).unwrap();
    keep_secret(&firefox.endpoint);
    register(&setup, "firefox", "web", &json!({"channel": "webpush", "subscription": firefox})).await;
    let asked = json!({"to": {"users": ["bob"]}, "title": "Ann", "content": "hello"});
    let (_, answer) = setup.client.submit(&asked, "?wait=20s").await;
    assert_eq!(answer["status"]["counts"], json!({"sent": 2}), "{answer}");
    let answered = |event: Event| match event.kind {
        EventKind::Send { status, .. } | EventKind::WebPush { status, .. } => Some(status),
        _ => None,
    };
    let by_fcm: Vec<_> = emulator.fcm().events(0).into_iter().filter_map(answered).collect();
    let by_mozilla: Vec<_> = emulator.webpush().events(0).into_iter().filter_map(answered).collect();
    assert_eq!((by_fcm, by_mozilla), (vec![200], vec![201]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_that_the_emulator_writes_reaches_a_page_a_firefox_and_an_iphone() {
    let setup = Setup::open().await;
    let emulator = &setup.emulator;
    let page = setup.page_of("bob").await;
    let firefox = emulator.webpush().subscribe(WebPushService::Mozilla, emulator.vapid_public_key()).unwrap();
    let phone = emulator.apns().add_device("phone", Environment::Production).token;
    for secret in [&firefox.endpoint, &phone] {
        keep_secret(secret);
    }
    register(&setup, "firefox", "web", &json!({"channel": "webpush", "subscription": firefox})).await;
    register(&setup, "phone", "ios", &json!({"channel": "apns", "token": phone})).await;

    let (title, content, payload) = ("Ann", "六点见 🧗", r#"{"conversation":"ann"}"#);
    let asked = json!({"to": {"users": ["bob"]}, "title": title, "content": content, "payload": payload});
    let (_, answer) = setup.client.submit(&asked, "?wait=20s").await;
    assert_eq!(answer["status"]["counts"], json!({"sent": 3}), "{answer}");

    for shown in [emulator.fcm().inbox(&page).unwrap(), emulator.apns().inbox("phone").unwrap()] {
        assert_eq!((shown.len(), shown[0].title.as_str(), shown[0].body.as_str()), (1, title, content));
        assert_eq!(shown[0].data["payload"], payload);
        assert_eq!(shown[0].tag.as_deref(), answer["id"].as_str(), "a duplicate would be seen once");
    }
    let pushes = emulator.webpush().inbox(&firefox);
    let push: Value = serde_json::from_str(pushes[0].text.as_deref().unwrap()).unwrap();
    assert_eq!((pushes.len(), &push["id"]), (1, &answer["id"]));
    let shown = &push["notification"];
    assert_eq!(
        (&shown["title"], &shown["body"], &shown["tag"]),
        (&title.into(), &content.into(), &answer["id"])
    );
    assert_eq!(push["data"]["payload"], payload);
}
