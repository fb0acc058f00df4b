//! Calls: they ring at once or not at all, and what comes of them takes the ring's place.

use std::time::Duration;

use http::Method;
use pushgate::{Act, Call, CallId, Platform, Priority, Purpose, State};
use serde_json::json;

use crate::desk::{Answer, Desk};
use crate::house::House;

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
