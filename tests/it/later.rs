//! Tests of deferred planning (unless acknowledged, at a time, in batches) and of withdrawals.

use std::time::Duration;

use http::Method;
use pushgate::{
    Act, Audience, DeviceId, Notification, Platform, Purpose, SkipReason, State, Status, SubmitError,
};
use pushgate_emulator::EventKind;
use serde_json::{Value, json};

use crate::setup::{MAX_WAIT, Setup};
use crate::simulation::{Answer, Simulation, demo, user};

const MINUTE: Duration = Duration::from_secs(60);
const WINDOW: Duration = Duration::from_secs(5);

fn settled(status: &Status) -> bool {
    status.is_settled()
}

#[tokio::test]
async fn zpns_57_no_acknowledgement_on_a_live_connection_in_time_is_a_push() {
    let simulation = Simulation::open().await;
    simulation.register("d", "bob", Platform::Web).await;
    simulation.online("bob", Platform::Web, MINUTE);
    let asked = Notification { ack_within: Some(WINDOW), ..Simulation::to("bob") };
    let ticket = simulation.submit(asked).await;
    assert_eq!((ticket.accepted, ticket.awaiting_ack, ticket.skipped.len()), (0, 1, 0));
    let start = simulation.clock.now();
    simulation.pass(|| !simulation.sent().is_empty()).await;
    assert!(simulation.clock.now() >= start + WINDOW, "not before the time to answer is over");
    let status = simulation.status(ticket.id, settled).await;
    assert_eq!(status.receipts[0].state, State::Sent, "though he is online all the time");
    assert_eq!(simulation.sent().len(), 1);
}

#[tokio::test]
async fn who_acknowledges_in_time_gets_no_push() {
    let simulation = Simulation::open().await;
    for name in ["ann", "bob"] {
        simulation.register(&format!("{name}-d"), name, Platform::Web).await;
        simulation.online(name, Platform::Web, MINUTE);
    }
    let both = Audience::Users(vec![user("ann"), user("bob")]);
    let asked = Notification { ack_within: Some(WINDOW), to: both, ..Simulation::to("bob") };
    let ticket = simulation.submit(asked).await;
    assert!(simulation.gateway.acknowledge(&demo(), ticket.id, &user("bob")).await.unwrap());
    simulation.pass(|| !simulation.sent().is_empty()).await;
    let status = simulation.status(ticket.id, settled).await;
    assert_eq!(status.skipped[0].reason, SkipReason::Acknowledged);
    assert_eq!(simulation.got().iter().map(|(device, _)| device.as_str()).collect::<Vec<_>>(), ["ann-d"]);
    assert!(!simulation.gateway.acknowledge(&demo(), ticket.id, &user("ann")).await.unwrap(), "too late");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_comes_in_at_the_door() {
    let setup = Setup::open().await;
    setup.page_of("bob").await;
    let online = json!({"platform": "web", "state": "online"});
    setup.client.ask(Method::PUT, "/v1/apps/demo/users/bob/presence", &online, 204).await;
    let asked = json!({"to": {"users": ["bob"]}, "title": "t", "ack_within": "60s"});
    let (_, answer) = setup.client.submit(&asked, "").await;
    assert_eq!((&answer["accepted"], &answer["awaiting"]), (&0.into(), &1.into()));
    let path = format!("/v1/apps/demo/notifications/{}", answer["id"].as_str().unwrap());
    let acked = setup.client.ask(Method::POST, &format!("{path}:ack"), &json!({"user": "bob"}), 200).await;
    assert_eq!(acked["in_time"], true);
    setup.client.ask(Method::POST, &format!("{path}:nack"), &json!({"user": "bob"}), 405).await;
    let bob = crate::setup::Client::new(&setup.client.base, &crate::setup::user_token("bob"));
    bob.ask(Method::POST, &format!("{path}:ack"), &json!({"user": "bob"}), 200).await;
    bob.ask(Method::POST, &format!("{path}:ack"), &json!({"user": "ann"}), 403).await;
    let status = setup.client.status(&answer["id"]).await;
    assert_eq!(status["progress"], json!({"done": 0, "open": 1}));
}

#[tokio::test]
async fn a_scheduled_notification_is_planned_at_its_hour_for_who_is_there_then() {
    let simulation = Simulation::open().await;
    let start = simulation.clock.now();
    let asked = Notification { send_at: Some(start + 3 * MINUTE), ..Simulation::to("bob").ttl(MINUTE) };
    let ticket = simulation.submit(asked).await;
    assert_eq!((ticket.accepted, ticket.deferred_batches), (0, 1));
    simulation.register("d", "bob", Platform::Web).await;
    simulation.pass(|| simulation.clock.now() >= start + 2 * MINUTE).await;
    assert!(simulation.sent().is_empty(), "not before its hour");
    simulation.pass(|| !simulation.sent().is_empty()).await;
    let (_, message) = &simulation.got()[0];
    assert_eq!(message.created_at, start + 3 * MINUTE, "its time to live begins at its hour");
    assert_eq!(simulation.status(ticket.id, settled).await.receipts[0].state, State::Sent);
}

#[tokio::test]
async fn a_scheduled_notification_can_be_cancelled_and_a_mistake_in_it_is_told_at_once() {
    let simulation = Simulation::open().await;
    simulation.register("d", "bob", Platform::Web).await;
    let start = simulation.clock.now();
    let asked = Notification { send_at: Some(start + MINUTE), ..Simulation::to("bob") };
    let ticket = simulation.submit(asked.clone()).await;
    let revoked = simulation.gateway.revoke(&demo(), ticket.id).await.unwrap().unwrap();
    assert_eq!((revoked.withdrawn, revoked.removals.len()), (1, 0));
    simulation.pass(|| simulation.clock.now() >= start + 3 * MINUTE).await;
    assert!(simulation.sent().is_empty());
    let blank = Notification { title: None, content: None, ..asked.clone() };
    assert!(matches!(simulation.gateway.submit(blank).await, Err(SubmitError::NothingToShow)));
    let at = |send_at| Notification { send_at: Some(send_at), ..asked.clone() };
    let far = at(simulation.clock.now() + Notification::MAX_TTL + MINUTE);
    assert!(matches!(simulation.gateway.submit(far).await, Err(SubmitError::TooFarAhead)));
    let ancient = at(simulation.clock.now() - Notification::MAX_TTL - MINUTE);
    assert!(matches!(simulation.gateway.submit(ancient).await, Err(SubmitError::TooLongAgo)));
}

#[tokio::test]
async fn a_large_group_and_everybody_are_reached_once_each_piece_by_piece() {
    let simulation = Simulation::open().await;
    let names: Vec<String> = (0..2500).map(|i| format!("u{i}")).collect();
    for name in &names {
        simulation.register(&format!("{name}-d"), name, Platform::Web).await;
    }
    let mut lonely = crate::simulation::device("nobodys", "x", Platform::Web);
    lonely.user = None;
    simulation.gateway.register(lonely).await.unwrap();
    let group = Audience::Users(names.iter().map(|name| user(name)).collect());
    for (to, parts) in [(group, 3), (Audience::All, 1)] {
        let ticket = simulation.submit(Notification { to, ..Simulation::to("bob") }).await;
        assert_eq!((ticket.accepted, ticket.deferred_batches), (0, parts));
        let status = simulation.status(ticket.id, settled).await;
        assert_eq!(status.counts.get(&State::Sent), Some(&2500));
        assert_eq!((status.receipts.len(), status.progress.unwrap().done), (Status::MAX_PAGE, 3));
        let receipts = simulation.gateway.queue().receipts(ticket.id, None, usize::MAX).await.unwrap();
        let reached: std::collections::BTreeSet<_> =
            receipts.into_iter().map(|one| one.device.unwrap()).collect();
        assert_eq!(reached.len(), 2500, "each device once");
        assert!(!reached.contains(&DeviceId::new("nobodys").unwrap()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_is_asked_for_at_the_door_and_who_has_logged_out_is_not_reached() {
    let setup = Setup::open().await;
    for user in ["ann", "bob", "cleo", "dan"] {
        setup.page_of(user).await;
    }
    setup.client.ask(Method::DELETE, "/v1/apps/demo/devices/dan-web/user", &Value::Null, 204).await;
    let (status, answer) = setup.client.submit(&json!({"to": {"all": true}, "title": "to all"}), "").await;
    assert_eq!((status, &answer["accepted"], &answer["parts"]), (202, &0.into(), &1.into()), "{answer}");
    let deadline = tokio::time::Instant::now() + MAX_WAIT;
    loop {
        let status = setup.client.status(&answer["id"]).await;
        if status["progress"]["open"] == 0 && status["counts"] == json!({"sent": 3}) {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{status}");
        tokio::task::yield_now().await;
    }
    let shown = |user: &str| setup.emulator.fcm().inbox(&format!("{user}-web")).unwrap().len();
    assert_eq!(["ann", "bob", "cleo", "dan"].map(shown), [1, 1, 1, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hour_is_asked_for_at_the_door_and_cancelled_there() {
    let setup = Setup::open().await;
    let page = setup.page_of("bob").await;
    let asked = |at: &str| json!({"to": {"users": ["bob"]}, "title": "see you at six", "send_at": at});
    let (status, answer) = setup.client.submit(&asked("2999-01-01T00:00:00Z"), "").await;
    assert_eq!((status, &answer["code"]), (422, &"too_far_ahead".into()));
    let in_an_hour = pushgate::Timestamp::from(std::time::SystemTime::now()) + 60 * MINUTE;
    let (_, answer) = setup.client.submit(&asked(&in_an_hour.to_string()), "").await;
    assert_eq!((&answer["accepted"], &answer["parts"]), (&0.into(), &1.into()), "{answer}");
    let status = setup.client.status(&answer["id"]).await;
    assert_eq!((&status["progress"], &status["counts"]), (&json!({"done": 0, "open": 1}), &json!({})));
    let path = format!("/v1/apps/demo/notifications/{}", answer["id"].as_str().unwrap());
    let revoked = setup.client.ask(Method::DELETE, &path, &Value::Null, 200).await;
    assert_eq!((&revoked["withdrawn"], &revoked["removals"]), (&1.into(), &json!([])));
    assert_eq!(setup.client.status(&answer["id"]).await["progress"]["open"], 0);
    assert!(setup.emulator.fcm().inbox(&page).unwrap().is_empty());
}

#[tokio::test]
async fn an_aborted_fan_out_plans_no_further_part() {
    let simulation = Simulation::open().await;
    simulation.register("d", "u1999", Platform::Web).await;
    let names = (0..2000).map(|i| user(&format!("u{i}"))).collect();
    let hour = simulation.clock.now() + MINUTE;
    let asked = Notification { to: Audience::Users(names), send_at: Some(hour), ..Simulation::to("bob") };
    let ticket = simulation.submit(asked).await;
    assert_eq!(simulation.gateway.revoke(&demo(), ticket.id).await.unwrap().unwrap().withdrawn, 2);
    simulation.pass(|| simulation.clock.now() > hour + MINUTE).await;
    let status = simulation.status(ticket.id, settled).await;
    assert_eq!((status.progress.unwrap().done, simulation.sent().len()), (0, 0));
    assert!(simulation.gateway.revoke(&demo(), pushgate::NotificationId::new()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_revoked_notification_goes_from_the_queue_and_from_the_screen() {
    let simulation =
        Simulation::answering(vec![Answer::Accepted, Answer::Fault(pushgate::Kind::VendorDown)]).await;
    simulation.register("a", "bob", Platform::Web).await;
    simulation.register("b", "bob", Platform::Web).await;
    let ticket = simulation.submit(Simulation::to("bob")).await;
    simulation.status(ticket.id, |status| status.receipts.iter().all(|one| one.attempts == 1)).await;
    let revoked = simulation.gateway.revoke(&demo(), ticket.id).await.unwrap().unwrap();
    assert_eq!((revoked.withdrawn, revoked.removals.len()), (1, 1));
    let removal = simulation.status(revoked.removals[0], settled).await;
    assert_eq!(removal.receipts[0].device, DeviceId::new("a").ok(), "only where it was shown");
    let (_, message) = simulation.got().pop().unwrap();
    assert_eq!((message.act.clone(), message.silent), (Act::Remove, true));
    assert_eq!(message.tag(), ticket.id.to_string(), "under the tag it was shown with");
    let states: Vec<_> =
        simulation.status(ticket.id, settled).await.receipts.iter().map(|one| one.state).collect();
    assert_eq!(states, [State::Sent, State::Revoked]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_read_elsewhere_goes_from_the_other_screens() {
    let setup = Setup::open().await;
    let page = setup.page_of("bob").await;
    let removal = json!({"to": {"users": ["bob"], "except_devices": ["bob-phone"]}, "kind": "removal"});
    assert_eq!(setup.client.submit(&removal, "").await.1["code"], "nothing_to_remove");
    let mut removal = removal;
    removal["collapse_key"] = "conversation-1".into();
    setup.client.submit(&removal, "?wait=20s").await;
    let arrived = &setup.emulator.fcm().inbox(&page).unwrap()[0];
    let zego: Value = serde_json::from_str(arrived.data["zego"].as_str().unwrap()).unwrap();
    assert_eq!((arrived.silent, &zego["revoke"]), (true, &"conversation-1".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_is_revoked_at_the_door() {
    let setup = Setup::open().await;
    let page = setup.page_of("bob").await;
    let asked = json!({"to": {"users": ["bob"]}, "title": "t", "collapse_key": "k"});
    let (_, answer) = setup.client.submit(&asked, "?wait=20s").await;
    let path = format!("/v1/apps/demo/notifications/{}", answer["id"].as_str().unwrap());
    let revoked = setup.client.ask(Method::DELETE, &path, &Value::Null, 200).await;
    assert_eq!((&revoked["withdrawn"], revoked["removals"].as_array().unwrap().len()), (&0.into(), 1));
    let silent = |what: &EventKind| matches!(what, EventKind::Arrived { .. });
    setup.emulator.fcm().wait_for(silent, MAX_WAIT).await.unwrap();
    loop {
        let inbox = setup.emulator.fcm().inbox(&page).unwrap();
        if inbox
            .iter()
            .any(|shown| shown.data["zego"].as_str().is_some_and(|zego| zego.contains("\"revoke\":\"k\"")))
        {
            break;
        }
        tokio::task::yield_now().await;
    }
    setup.client.ask(Method::DELETE, "/v1/apps/demo/notifications/no-uuid", &Value::Null, 404).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_schedule_says_so_and_an_empty_audience_does_not() {
    let setup = Setup::open().await;
    setup.page_of("bob").await;
    let send_at = pushgate::Timestamp::from(std::time::SystemTime::now()) + 60 * MINUTE;
    let asked = json!({"to": {"users": ["bob"]}, "title": "t", "send_at": send_at});
    let (_, scheduled) = setup.client.submit(&asked, "").await;
    let id = scheduled["id"].as_str().unwrap();
    assert_eq!(setup.client.status(&scheduled["id"]).await["revoked_at"], Value::Null);
    setup.client.ask(Method::DELETE, &format!("/v1/apps/demo/notifications/{id}"), &Value::Null, 200).await;
    let status = setup.client.status(&scheduled["id"]).await;
    assert!(status["revoked_at"].is_string(), "{status}");
    let nobody = json!({"to": {"users": ["nobody"]}, "title": "t"});
    let (_, empty) = setup.client.submit(&nobody, "").await;
    let status = setup.client.status(&empty["id"]).await;
    assert_eq!((&status["counts"], &status["revoked_at"]), (&json!({}), &Value::Null));
}

#[tokio::test]
async fn a_call_that_is_over_rings_nowhere_any_more() {
    let faults = vec![Answer::Fault(pushgate::Kind::VendorDown), Answer::Accepted];
    let simulation = Simulation::answering(faults).await;
    simulation.register("d", "bob", Platform::Web).await;
    let call = pushgate::CallId::new("c").unwrap();
    let ring = pushgate::Call::new(call.clone(), MINUTE).unwrap();
    let ringing = simulation.submit(Simulation::to("bob").purpose(Purpose::Call(ring))).await;
    simulation.status(ringing.id, |status| status.receipts[0].attempts == 1).await;
    let to_bob = Notification { title: None, content: None, ..Simulation::to("bob") };
    let over = simulation.submit(to_bob.purpose(Purpose::CallOver(call))).await;
    simulation.status(over.id, settled).await;
    let (_, message) = simulation.got().pop().unwrap();
    assert_eq!((&message.act, message.tag().as_str()), (&Act::Remove, "c"));
    let start = simulation.clock.now();
    simulation.pass(|| simulation.clock.now() > start + 2 * MINUTE).await;
    assert_eq!(simulation.status(ringing.id, settled).await.receipts[0].state, State::Revoked);
    assert_eq!(simulation.sent().len(), 2, "one ring that failed, and the removal");
}

#[tokio::test]
async fn what_comes_of_a_call_takes_the_place_of_its_ring() {
    let simulation = Simulation::open().await;
    simulation.register("d", "bob", Platform::Web).await;
    let call = pushgate::CallId::new("c").unwrap();
    let missed = simulation.submit(Simulation::to("bob").purpose(Purpose::CallOver(call))).await;
    simulation.status(missed.id, settled).await;
    let (_, message) = &simulation.got()[0];
    assert_eq!((&message.act, message.tag().as_str(), message.silent), (&Act::Show, "c", false));
}
