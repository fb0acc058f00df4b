//! Calls: they ring at once or not at all, and what comes of them takes the ring's place.

use std::time::{Duration, SystemTime};

use http::Method;
use pushgate::{Act, Call, CallId, Platform, Priority, Purpose, State};
use pushgate_emulator::{Environment, EventKind};
use serde_json::{Value, json};

use crate::desk::{Answer, Desk};
use crate::house::{House, PATIENCE};

fn call_id() -> CallId {
    CallId::new("call-1").unwrap()
}

fn ring(seconds: u64) -> Purpose {
    Purpose::Call(Call::new(call_id(), Duration::from_secs(seconds)).unwrap())
}

#[tokio::test]
async fn zpns_42_a_call_rings_for_1_to_600_seconds_and_90_by_default() {
    let house = House::open().await;
    house.page_of("bob").await;
    let asked = |call: serde_json::Value| json!({"to": {"users": ["bob"]}, "title": "Ann calls", "kind": "call", "call": call});
    for wrong in [
        json!({"id": "c", "timeout": 0}),
        json!({"id": "c", "timeout": 601}),
        json!({"id": "c", "timeout": "500ms"}),
    ] {
        assert_eq!(house.client.submit(&asked(wrong), "").await.0, 422);
    }
    assert_eq!(
        house.client.submit(&json!({"to": {"users": ["bob"]}, "title": "t", "kind": "call"}), "").await.0,
        422
    );
    for (call, ttl) in [(json!({"id": "c"}), "90"), (json!({"id": "c", "timeout": 600}), "600")] {
        let path = "/v1/apps/demo/notifications:preview";
        let answer = house.client.ask(Method::POST, path, &asked(call), 200).await;
        assert_eq!(answer["channels"][0]["body"]["message"]["webpush"]["headers"]["TTL"], ttl);
    }
}

#[tokio::test]
async fn zpns_43_an_offline_invitee_is_rung_urgently_under_the_calls_id() {
    let desk = Desk::open().await;
    desk.register("d", "bob", Platform::Web).await;
    let asked = Desk::to("bob").payload("p").ttl(Duration::from_secs(86_400)).purpose(ring(60));
    let ticket = desk.submit(asked).await;
    desk.status(ticket.id, |status| status.receipts[0].state == State::Sent).await;
    let (_, message) = &desk.got()[0];
    assert_eq!((message.tag().as_str(), message.priority), ("call-1", Priority::High));
    assert_eq!(message.ttl, Duration::from_secs(60), "no longer than it rings, whatever the caller says");
    assert_eq!(message.act, Act::Ring { call: call_id(), voip: false });
    assert_eq!((message.title.expose(), message.content.expose()), ("Ann", "hello"));
    assert_eq!(message.payload.as_ref().unwrap().expose(), "p");
}

#[tokio::test]
async fn a_call_never_rings_after_its_time() {
    let desk = Desk::answering(vec![Answer::Fault(pushgate::Kind::VendorDown)]).await;
    desk.register("d", "bob", Platform::Web).await;
    let start = desk.clock.now();
    let ticket = desk.submit(Desk::to("bob").purpose(ring(5))).await;
    desk.pass(|| desk.clock.now() > start + Duration::from_secs(60)).await;
    let status = desk.status(ticket.id, |status| status.receipts[0].state.is_final()).await;
    let receipt = &status.receipts[0];
    assert!(receipt.at < start + Duration::from_secs(5), "given up when no try fits any more: {receipt:?}");
    let tries = desk.sent().len();
    desk.pass(|| desk.clock.now() > start + Duration::from_secs(120)).await;
    assert_eq!(desk.sent().len(), tries);
}

/// Profiles by which a call rings on the platform's call screen, or is shown.
const PROFILES: &str =
    "[apps.demo.profiles.ring]\nmode = \"voip\"\n[apps.demo.profiles.plain]\nmode = \"alert\"\n";

/// An iPhone of Bob's with these of its tokens.
async fn iphone(house: &House, id: &str, kinds: &[&str]) {
    let phone = house.emulator.apns().add_device(id, Environment::Production);
    let token = |kind: &&str| match *kind {
        "voip" => json!({"channel": "apns", "voip": phone.voip_token}),
        _ => json!({"channel": "apns", "token": phone.token}),
    };
    let addresses: Vec<_> = kinds.iter().map(token).collect();
    let body = json!({"user": "bob", "platform": "ios", "addresses": addresses});
    house.client.ask(Method::PUT, &format!("/v1/apps/demo/devices/{id}"), &body, 201).await;
}

/// A call of Bob's by this profile, in the words of ZIM's clients.
fn call_bob(profile: &str) -> Value {
    let handle = json!({"iOSVoIPHandleType": 1, "iOSVoIPHandleValue": "ann", "iOSVoIPHasVideo": true});
    let config = json!({"title": "Ann", "content": "calls you", "payload": "p", "resourcesID": profile, "voIPConfig": handle});
    json!({"to": {"users": ["bob"]}, "kind": "call", "call": {"id": "c1", "timeout": 30}, "pushConfig": config})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voip_profile_rings_at_the_call_token_and_shows_no_alert_beside_it() {
    let house = House::with(PROFILES).await;
    iphone(&house, "phone", &["token", "voip"]).await;
    let (_, answer) = house.client.submit(&call_bob("ring"), "?wait=20s").await;
    assert_eq!(answer["status"]["counts"], json!({"sent": 1}), "{answer}");
    let inbox = house.emulator.apns().inbox("phone").unwrap();
    assert_eq!((inbox.len(), inbox[0].rings, inbox[0].title.as_str()), (1, true, "Ann"));
    assert_eq!((&inbox[0].data["payload"], &inbox[0].data["zego"]["call_id"]), (&json!("p"), &json!("c1")));
    let params = json!({"voip_handle_type": 1, "voip_handle_value": "ann", "voip_has_video": true});
    assert_eq!(inbox[0].data["sdk_params"], params);
    // By another profile, and when it is no call, the same iPhone gets an alert and does not ring.
    let message = json!({"to": {"users": ["bob"]}, "title": "Ann", "profile": "ring"});
    for asked in [call_bob("plain"), message] {
        let (_, answer) = house.client.submit(&asked, "?wait=20s").await;
        assert_eq!(answer["status"]["counts"], json!({"sent": 1}), "{answer}");
        assert!(!house.emulator.apns().inbox("phone").unwrap()[0].rings);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_iphone_without_a_call_token_gets_the_alert_and_one_with_no_other_gets_calls_alone() {
    let house = House::with(PROFILES).await;
    iphone(&house, "plain", &["token"]).await;
    iphone(&house, "calls", &["voip"]).await;
    let (_, answer) = house.client.submit(&call_bob("ring"), "?wait=20s").await;
    assert_eq!(answer["status"]["counts"], json!({"sent": 2}), "{answer}");
    for (id, rings) in [("plain", false), ("calls", true)] {
        let inbox = house.emulator.apns().inbox(id).unwrap();
        assert_eq!((inbox.len(), inbox[0].rings), (1, rings), "{id}");
    }
    let message = json!({"to": {"users": ["bob"]}, "title": "Ann"});
    let (_, answer) = house.client.submit(&message, "").await;
    assert_eq!(answer["skipped"], json!([{"user": "bob", "device": "calls", "reason": "no_address"}]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_token_takes_no_message_and_a_dead_one_is_forgotten_alone() {
    let house = House::with(PROFILES).await;
    iphone(&house, "phone", &["token", "voip"]).await;
    let other = house.emulator.apns().add_device("other", Environment::Production);
    let bare = json!({"to": {"addresses": [{"channel": "apns", "voip": other.voip_token}]}, "title": "t"});
    let (status, answer) = house.client.submit(&bare, "").await;
    assert_eq!((status, &answer["code"]), (422, &json!("bad_address")), "{answer}");
    // The prune guard believes no death in a window without a success.
    let (_, answer) = house.client.submit(&call_bob("ring"), "?wait=20s").await;
    assert_eq!(answer["status"]["counts"], json!({"sent": 1}), "{answer}");
    house.emulator.apns().unregister_since("phone", SystemTime::now());
    house.client.submit(&call_bob("ring"), "?wait=20s").await;
    let refused = |what: &EventKind| matches!(what, EventKind::Send { status: 410, .. });
    house.emulator.apns().wait_for(refused, PATIENCE).await.unwrap();
    let path = "/v1/apps/demo/devices/phone";
    let device = house.client.ask(Method::GET, path, &Value::Null, 200).await;
    assert_eq!(device["addresses"], json!([{"channel": "apns", "kind": "token"}]));
}
