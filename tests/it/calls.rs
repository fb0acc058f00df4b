//! Calls: they ring at once or not at all, and what comes of them takes the ring's place.

use std::time::{Duration, SystemTime};

use http::Method;
use pushgate::{Act, Call, CallId, Platform, Priority, Purpose, State};
use pushgate_emulator::{Environment, EventKind};
use serde_json::{Value, json};

use crate::setup::{MAX_WAIT, Setup};
use crate::simulation::{Answer, Simulation};

fn call_id() -> CallId {
    CallId::new("call-1").unwrap()
}

fn ring(seconds: u64) -> Purpose {
    Purpose::Call(Call::new(call_id(), Duration::from_secs(seconds)).unwrap())
}

#[tokio::test]
async fn zpns_42_a_call_rings_for_1_to_600_seconds_and_90_by_default() {
    let setup = Setup::open().await;
    setup.page_of("bob").await;
    let asked = |call: serde_json::Value| json!({"to": {"users": ["bob"]}, "title": "Ann calls", "kind": "call", "call": call});
    for wrong in [
        json!({"id": "c", "timeout": 0}),
        json!({"id": "c", "timeout": 601}),
        json!({"id": "c", "timeout": "500ms"}),
    ] {
        assert_eq!(setup.client.submit(&asked(wrong), "").await.0, 422);
    }
    assert_eq!(
        setup.client.submit(&json!({"to": {"users": ["bob"]}, "title": "t", "kind": "call"}), "").await.0,
        422
    );
    for (call, ttl) in [(json!({"id": "c"}), "90"), (json!({"id": "c", "timeout": 600}), "600")] {
        let path = "/v1/apps/demo/notifications:preview";
        let answer = setup.client.ask(Method::POST, path, &asked(call), 200).await;
        assert_eq!(answer["channels"][0]["body"]["message"]["webpush"]["headers"]["TTL"], ttl);
    }
}

#[tokio::test]
async fn zpns_43_an_offline_invitee_is_rung_urgently_under_the_calls_id() {
    let simulation = Simulation::open().await;
    simulation.register("d", "bob", Platform::Web).await;
    let asked = Simulation::to("bob").payload("p").ttl(Duration::from_secs(86_400)).purpose(ring(60));
    let ticket = simulation.submit(asked).await;
    simulation.status(ticket.id, |status| status.receipts[0].state == State::Sent).await;
    let (_, message) = &simulation.got()[0];
    assert_eq!((message.tag().as_str(), message.priority), ("call-1", Priority::High));
    assert_eq!(message.ttl, Duration::from_secs(60), "no longer than it rings, whatever the caller says");
    assert_eq!(message.act, Act::Ring { call: call_id(), voip: false });
    assert_eq!((message.title.expose(), message.content.expose()), ("Ann", "hello"));
    assert_eq!(message.payload.as_ref().unwrap().expose(), "p");
}

#[tokio::test]
async fn a_call_never_rings_after_its_time() {
    let simulation = Simulation::answering(vec![Answer::Fault(pushgate::Kind::VendorDown)]).await;
    simulation.register("d", "bob", Platform::Web).await;
    let start = simulation.clock.now();
    let ticket = simulation.submit(Simulation::to("bob").purpose(ring(5))).await;
    simulation.pass(|| simulation.clock.now() > start + Duration::from_secs(60)).await;
    let status = simulation.status(ticket.id, |status| status.receipts[0].state.is_final()).await;
    let receipt = &status.receipts[0];
    assert!(receipt.at < start + Duration::from_secs(5), "given up when no try fits any more: {receipt:?}");
    let tries = simulation.sent().len();
    simulation.pass(|| simulation.clock.now() > start + Duration::from_secs(120)).await;
    assert_eq!(simulation.sent().len(), tries);
}

/// Profiles by which a call rings on the platform's call screen, or is shown.
const PROFILES: &str =
    "[apps.demo.profiles.ring]\nmode = \"voip\"\n[apps.demo.profiles.plain]\nmode = \"alert\"\n";

/// An iPhone of Bob's with these of its tokens.
async fn iphone(setup: &Setup, id: &str, kinds: &[&str]) {
    let phone = setup.emulator.apns().add_device(id, Environment::Production);
    let token = |kind: &&str| match *kind {
        "voip" => json!({"channel": "apns", "voip": phone.voip_token}),
        _ => json!({"channel": "apns", "token": phone.token}),
    };
    let addresses: Vec<_> = kinds.iter().map(token).collect();
    let body = json!({"user": "bob", "platform": "ios", "addresses": addresses});
    setup.client.ask(Method::PUT, &format!("/v1/apps/demo/devices/{id}"), &body, 201).await;
}

/// A call of Bob's by this profile, in the words of ZIM's clients.
fn call_bob(profile: &str) -> Value {
    let handle = json!({"iOSVoIPHandleType": 1, "iOSVoIPHandleValue": "ann", "iOSVoIPHasVideo": true});
    let config = json!({"title": "Ann", "content": "calls you", "payload": "p", "resourcesID": profile, "voIPConfig": handle});
    json!({"to": {"users": ["bob"]}, "kind": "call", "call": {"id": "c1", "timeout": 30}, "pushConfig": config})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voip_profile_rings_at_the_call_token_and_shows_no_alert_beside_it() {
    let setup = Setup::with(PROFILES).await;
    iphone(&setup, "phone", &["token", "voip"]).await;
    let (_, answer) = setup.client.submit(&call_bob("ring"), "?wait=20s").await;
    assert_eq!(answer["status"]["counts"], json!({"sent": 1}), "{answer}");
    let inbox = setup.emulator.apns().inbox("phone").unwrap();
    assert_eq!((inbox.len(), inbox[0].rings, inbox[0].title.as_str()), (1, true, "Ann"));
    assert_eq!((&inbox[0].data["payload"], &inbox[0].data["zego"]["call_id"]), (&json!("p"), &json!("c1")));
    let params = json!({"voip_handle_type": 1, "voip_handle_value": "ann", "voip_has_video": true});
    assert_eq!(inbox[0].data["sdk_params"], params);
    // By another profile, and when it is no call, the same iPhone gets an alert and does not ring.
    let message = json!({"to": {"users": ["bob"]}, "title": "Ann", "profile": "ring"});
    for asked in [call_bob("plain"), message] {
        let (_, answer) = setup.client.submit(&asked, "?wait=20s").await;
        assert_eq!(answer["status"]["counts"], json!({"sent": 1}), "{answer}");
        assert!(!setup.emulator.apns().inbox("phone").unwrap()[0].rings);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_iphone_without_a_call_token_gets_the_alert_and_one_with_no_other_gets_calls_alone() {
    let setup = Setup::with(PROFILES).await;
    iphone(&setup, "plain", &["token"]).await;
    iphone(&setup, "calls", &["voip"]).await;
    let (_, answer) = setup.client.submit(&call_bob("ring"), "?wait=20s").await;
    assert_eq!(answer["status"]["counts"], json!({"sent": 2}), "{answer}");
    for (id, rings) in [("plain", false), ("calls", true)] {
        let inbox = setup.emulator.apns().inbox(id).unwrap();
        assert_eq!((inbox.len(), inbox[0].rings), (1, rings), "{id}");
    }
    let message = json!({"to": {"users": ["bob"]}, "title": "Ann"});
    let (_, answer) = setup.client.submit(&message, "").await;
    assert_eq!(answer["skipped"], json!([{"user": "bob", "device": "calls", "reason": "no_address"}]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_token_takes_no_message_and_a_dead_one_is_forgotten_alone() {
    let setup = Setup::with(PROFILES).await;
    iphone(&setup, "phone", &["token", "voip"]).await;
    let other = setup.emulator.apns().add_device("other", Environment::Production);
    let bare = json!({"to": {"addresses": [{"channel": "apns", "voip": other.voip_token}]}, "title": "t"});
    let (status, answer) = setup.client.submit(&bare, "").await;
    assert_eq!((status, &answer["code"]), (422, &json!("bad_address")), "{answer}");
    // The prune guard believes no death in a window without a success.
    let (_, answer) = setup.client.submit(&call_bob("ring"), "?wait=20s").await;
    assert_eq!(answer["status"]["counts"], json!({"sent": 1}), "{answer}");
    setup.emulator.apns().unregister_since("phone", SystemTime::now());
    setup.client.submit(&call_bob("ring"), "?wait=20s").await;
    let refused = |what: &EventKind| matches!(what, EventKind::Send { status: 410, .. });
    setup.emulator.apns().wait_for(refused, MAX_WAIT).await.unwrap();
    let path = "/v1/apps/demo/devices/phone";
    let device = setup.client.ask(Method::GET, path, &Value::Null, 200).await;
    assert_eq!(device["addresses"], json!([{"channel": "apns", "kind": "token"}]));
}
