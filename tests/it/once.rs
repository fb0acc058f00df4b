//! Asking twice notifies once.

use http::Method;
use pushgate::{
    Badge, CallId, Count, IdempotencyKey, Kind, Notification, NotificationId, Platform, Purpose, State,
    Ticket,
};
use pushgate_emulator::EventKind;
use serde_json::json;

use crate::setup::Setup;
use crate::simulation::{Answer, Simulation, demo, user};

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_concurrent_submits_with_one_key_are_one_notification() {
    let setup = Setup::open().await;
    let page = setup.page_of("bob").await;
    let asked = json!({"to": {"users": ["bob"]}, "title": "Ann", "content": "hello", "idempotency_key": "k"});
    let submits: Vec<_> = (0..1000)
        .map(|_| {
            let (client, asked) = (setup.client.clone(), asked.clone());
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
    let (_, answer) = setup.client.submit(&asked, "?wait=20s").await;
    assert_eq!(answer["status"]["counts"], json!({"sent": 1}));
    assert_eq!(setup.emulator.fcm().inbox(&page).unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_used_for_another_question_is_refused() {
    let setup = Setup::open().await;
    setup.page_of("bob").await;
    let asked = |title| json!({"to": {"users": ["bob"]}, "title": title, "idempotency_key": "k"});
    assert_eq!(setup.client.submit(&asked("one"), "").await.0, 202);
    let (status, answer) = setup.client.submit(&asked("two"), "").await;
    assert_eq!((status, &answer["code"]), (409, &"idempotency_key_reused".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_sends_on_a_revoked_bearer_fetch_one_new_one() {
    let setup = Setup::open().await;
    setup.page_of("bob").await;
    let asked = json!({"to": {"users": ["bob"]}, "title": "Ann"});
    setup.client.submit(&asked, "?wait=20s").await;
    setup.emulator.fcm().revoke_bearers();
    let submits: Vec<_> = (0..1000)
        .map(|_| {
            let (client, asked) = (setup.client.clone(), asked.clone());
            tokio::spawn(async move { client.submit(&asked, "?wait=25s").await })
        })
        .collect();
    for submit in submits {
        let (_, answer) = submit.await.unwrap();
        assert_eq!(answer["status"]["counts"], json!({"sent": 1}), "{answer}");
    }
    let fetched = setup.emulator.fcm().events(0);
    let fetched =
        fetched.iter().filter(|event| matches!(event.kind, EventKind::Token { status: 200 })).count();
    assert_eq!(fetched, 2, "one at the start, one after the revocation");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_the_same_whatever_the_order_of_its_members() {
    let setup = Setup::open().await;
    setup.page_of("bob").await;
    let path = "/v1/apps/demo/notifications";
    let first = r#"{"to": {"users": ["bob"]}, "title": "Ann", "silent": false, "idempotency_key": "k"}"#;
    let again = r#"{"idempotency_key":"k","silent":false,"title":"Ann","to":{"users":["bob"]}}"#;
    let (_, first) = setup.client.raw(Method::POST, path, first).await;
    let (status, again) = setup.client.raw(Method::POST, path, again).await;
    assert_eq!((status, &again["replayed"], &again["id"]), (202, &json!(true), &first["id"]), "{again}");
}

/// A gateway whose push service is down, so that all that is accepted waits.
async fn waiting() -> Simulation {
    let simulation = Simulation::answering(vec![Answer::Fault(Kind::VendorDown)]).await;
    simulation.register("d", "bob", Platform::Web).await;
    simulation
}

async fn queued(simulation: &Simulation, id: NotificationId) {
    simulation
        .status(id, |status| status.receipts.first().is_some_and(|receipt| receipt.attempts == 1))
        .await;
}

async fn state(simulation: &Simulation, id: NotificationId) -> State {
    simulation.status(id, |_| true).await.receipts[0].state
}

fn under_key(notification: Notification) -> Notification {
    notification.idempotency_key(IdempotencyKey::new("k").unwrap())
}

/// Submits twice under one key, with a notification in between that the second one must leave alone.
async fn replay_around(
    simulation: &Simulation,
    withdrawing: Notification,
    withdrawn: Notification,
) -> (State, Ticket) {
    let earlier = simulation.submit(withdrawn.clone()).await;
    queued(simulation, earlier.id).await;
    let first = simulation.submit(under_key(withdrawing.clone())).await;
    assert_eq!(state(simulation, earlier.id).await, State::Revoked);
    let later = simulation.submit(withdrawn).await;
    queued(simulation, later.id).await;
    let replay = simulation.submit(under_key(withdrawing)).await;
    assert_eq!((replay.id, replay.replayed), (first.id, true));
    (state(simulation, later.id).await, replay)
}

#[tokio::test]
async fn a_replayed_removal_leaves_a_newer_message_alone() {
    let simulation = waiting().await;
    let message = Notification { collapse_key: Some("c".to_owned()), ..Simulation::to("bob") };
    let removal = message.clone().purpose(Purpose::Removal);
    let (newer, _) = replay_around(&simulation, removal, message).await;
    assert_eq!(newer, State::Queued);
}

#[tokio::test]
async fn a_replayed_end_of_a_call_leaves_a_newer_ring_alone() {
    let simulation = waiting().await;
    let call = CallId::new("c").unwrap();
    let ring = pushgate::Call::new(call.clone(), std::time::Duration::from_secs(60)).unwrap();
    let ring = Simulation::to("bob").purpose(Purpose::Call(ring));
    let (newer, _) =
        replay_around(&simulation, Simulation::to("bob").purpose(Purpose::CallOver(call)), ring).await;
    assert_eq!(newer, State::Queued);
}

#[tokio::test]
async fn a_replay_does_not_touch_the_counter_of_unread_notifications() {
    let simulation = Simulation::open().await;
    simulation.register("d", "bob", Platform::Web).await;
    let asked = under_key(Notification { badge: Some(Badge::Increment(1)), ..Simulation::to("bob") });
    simulation.submit(asked.clone()).await;
    let count =
        async |change| simulation.gateway.store().count(&demo(), &[user("bob")], change).await.unwrap();
    // Raised and lowered again, a counter at its limit would not be what it was.
    count(Count::Set(u32::MAX)).await;
    assert!(simulation.submit(asked).await.replayed);
    assert_eq!(count(Count::Raise(0)).await[&user("bob")], u32::MAX);
}

#[tokio::test]
async fn a_scheduled_notification_is_replayed_after_its_time_too() {
    let simulation = Simulation::open().await;
    simulation.register("d", "bob", Platform::Web).await;
    let send_at = Some(simulation.clock.now() + std::time::Duration::from_secs(60));
    let asked = under_key(Notification { send_at, ..Simulation::to("bob") });
    let first = simulation.submit(asked.clone()).await;
    simulation.pass(|| simulation.sent().len() == 1).await;
    let replay = simulation.submit(asked).await;
    assert_eq!((replay.id, replay.replayed, replay.deferred_batches), (first.id, true, 1));
    assert_eq!(simulation.sent().len(), 1);
}
