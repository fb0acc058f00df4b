//! Asking twice notifies once.

use http::Method;
use pushgate::{
    Badge, CallId, Count, IdempotencyKey, Kind, Notification, NotificationId, Platform, Purpose, State,
    Ticket,
};
use pushgate_emulator::EventKind;
use serde_json::json;

use crate::desk::{Answer, Desk, demo, user};
use crate::house::House;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_concurrent_submits_with_one_key_are_one_notification() {
    let house = House::open().await;
    let page = house.page_of("bob").await;
    let asked = json!({"to": {"users": ["bob"]}, "title": "Ann", "content": "hello", "idempotency_key": "k"});
    let submits: Vec<_> = (0..1000)
        .map(|_| {
            let (client, asked) = (house.client.clone(), asked.clone());
            tokio::spawn(async move { client.submit(&asked, "").await })
        })
        .collect();
    let (mut ids, mut fresh) = (std::collections::BTreeSet::new(), 0);
    for submit in submits {
        let (status, answer) = submit.await.unwrap();
        assert_eq!(status, 202, "{answer}");
        ids.insert(answer["id"].as_str().unwrap().to_owned());
        fresh += u32::from(answer["replayed"] == false);
    }
    assert_eq!((ids.len(), fresh), (1, 1));
    let (_, answer) = house.client.submit(&asked, "?wait=20s").await;
    assert_eq!(answer["status"]["counts"], json!({"sent": 1}));
    assert_eq!(house.emulator.fcm().inbox(&page).unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_used_for_another_question_is_refused() {
    let house = House::open().await;
    house.page_of("bob").await;
    let asked = |title| json!({"to": {"users": ["bob"]}, "title": title, "idempotency_key": "k"});
    assert_eq!(house.client.submit(&asked("one"), "").await.0, 202);
    let (status, answer) = house.client.submit(&asked("two"), "").await;
    assert_eq!((status, &answer["code"]), (409, &"idempotency_key_reused".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_sends_on_a_revoked_bearer_fetch_one_new_one() {
    let house = House::open().await;
    house.page_of("bob").await;
    let asked = json!({"to": {"users": ["bob"]}, "title": "Ann"});
    house.client.submit(&asked, "?wait=20s").await;
    house.emulator.fcm().revoke_bearers();
    let submits: Vec<_> = (0..1000)
        .map(|_| {
            let (client, asked) = (house.client.clone(), asked.clone());
            tokio::spawn(async move { client.submit(&asked, "?wait=25s").await })
        })
        .collect();
    for submit in submits {
        let (_, answer) = submit.await.unwrap();
        assert_eq!(answer["status"]["counts"], json!({"sent": 1}), "{answer}");
    }
    let fetched = house.emulator.fcm().events(0);
    let fetched =
        fetched.iter().filter(|event| matches!(event.kind, EventKind::Token { status: 200 })).count();
    assert_eq!(fetched, 2, "one at the start, one after the revocation");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_the_same_whatever_the_order_of_its_members() {
    let house = House::open().await;
    house.page_of("bob").await;
    let path = "/v1/apps/demo/notifications";
    let first = r#"{"to": {"users": ["bob"]}, "title": "Ann", "silent": false, "idempotency_key": "k"}"#;
    let again = r#"{"idempotency_key":"k","silent":false,"title":"Ann","to":{"users":["bob"]}}"#;
    let (_, first) = house.client.raw(Method::POST, path, first).await;
    let (status, again) = house.client.raw(Method::POST, path, again).await;
    assert_eq!((status, &again["replayed"], &again["id"]), (202, &json!(true), &first["id"]), "{again}");
}

/// A gateway whose push service is down, so that all that is accepted waits.
async fn waiting() -> Desk {
    let desk = Desk::answering(vec![Answer::Fault(Kind::VendorDown)]).await;
    desk.register("d", "bob", Platform::Web).await;
    desk
}

async fn queued(desk: &Desk, id: NotificationId) {
    desk.status(id, |status| status.receipts.first().is_some_and(|receipt| receipt.attempts == 1)).await;
}

async fn state(desk: &Desk, id: NotificationId) -> State {
    desk.status(id, |_| true).await.receipts[0].state
}

fn under_key(notification: Notification) -> Notification {
    notification.idempotency_key(IdempotencyKey::new("k").unwrap())
}

/// Submits twice under one key, with a notification in between that the second one must leave alone.
async fn replay_around(desk: &Desk, withdrawing: Notification, withdrawn: Notification) -> (State, Ticket) {
    let earlier = desk.submit(withdrawn.clone()).await;
    queued(desk, earlier.id).await;
    let first = desk.submit(under_key(withdrawing.clone())).await;
    assert_eq!(state(desk, earlier.id).await, State::Revoked);
    let later = desk.submit(withdrawn).await;
    queued(desk, later.id).await;
    let replay = desk.submit(under_key(withdrawing)).await;
    assert_eq!((replay.id, replay.replayed), (first.id, true));
    (state(desk, later.id).await, replay)
}

#[tokio::test]
async fn a_replayed_removal_leaves_a_newer_message_alone() {
    let desk = waiting().await;
    let message = Notification { collapse_key: Some("c".to_owned()), ..Desk::to("bob") };
    let removal = message.clone().purpose(Purpose::Removal);
    let (newer, _) = replay_around(&desk, removal, message).await;
    assert_eq!(newer, State::Queued);
}

#[tokio::test]
async fn a_replayed_end_of_a_call_leaves_a_newer_ring_alone() {
    let desk = waiting().await;
    let call = CallId::new("c").unwrap();
    let ring = pushgate::Call::new(call.clone(), std::time::Duration::from_secs(60)).unwrap();
    let ring = Desk::to("bob").purpose(Purpose::Call(ring));
    let (newer, _) = replay_around(&desk, Desk::to("bob").purpose(Purpose::CallOver(call)), ring).await;
    assert_eq!(newer, State::Queued);
}

#[tokio::test]
async fn a_replay_does_not_touch_the_counter_of_unread_notifications() {
    let desk = Desk::open().await;
    desk.register("d", "bob", Platform::Web).await;
    let asked = under_key(Notification { badge: Some(Badge::Increment(1)), ..Desk::to("bob") });
    desk.submit(asked.clone()).await;
    let count = async |change| desk.gateway.store().count(&demo(), &[user("bob")], change).await.unwrap();
    // Raised and lowered again, a counter at its limit would not be what it was.
    count(Count::Set(u32::MAX)).await;
    assert!(desk.submit(asked).await.replayed);
    assert_eq!(count(Count::Raise(0)).await[&user("bob")], u32::MAX);
}

#[tokio::test]
async fn a_scheduled_notification_is_replayed_after_its_time_too() {
    let desk = Desk::open().await;
    desk.register("d", "bob", Platform::Web).await;
    let send_at = Some(desk.clock.now() + std::time::Duration::from_secs(60));
    let asked = under_key(Notification { send_at, ..Desk::to("bob") });
    let first = desk.submit(asked.clone()).await;
    desk.pass(|| desk.sent().len() == 1).await;
    let replay = desk.submit(asked).await;
    assert_eq!((replay.id, replay.replayed, replay.deferred_batches), (first.id, true, 1));
    assert_eq!(desk.sent().len(), 1);
}
