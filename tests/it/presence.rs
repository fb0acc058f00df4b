//! Tests of presence: online users get no push, absent users are pushed to as their rules say.

use std::time::Duration;

use http::Method;
use pushgate::{Platform, SkipReason, State, Takeover};
use serde_json::{Value, json};

use crate::setup::Setup;
use crate::simulation::{Answer, Simulation, user};

const LEASE: Duration = Duration::from_secs(30);

fn reasons(answer: &Value) -> Vec<(&str, &str)> {
    let skipped = answer["skipped"].as_array().unwrap();
    skipped.iter().map(|skip| (skip["device"].as_str().unwrap(), skip["reason"].as_str().unwrap())).collect()
}

const PRESENCE: &str = "/v1/apps/demo/users/bob/presence";

/// Bob's page, and what an IM server tells of it.
async fn bob_is(setup: &Setup, state: &str) {
    let told = json!({"platform": "web", "device": "bob-web", "state": state, "lease": "60s"});
    setup.client.ask(Method::PUT, PRESENCE, &told, 204).await;
}

fn hello_bob() -> Value {
    json!({"to": {"users": ["bob"]}, "title": "Ann"})
}

#[tokio::test(flavor = "multi_thread")]
async fn zpns_13_whether_the_receiver_is_online_is_known_and_decides() {
    let setup = Setup::open().await;
    setup.page_of("bob").await;
    bob_is(&setup, "online").await;
    let known = setup.client.ask(Method::GET, PRESENCE, &Value::Null, 200).await;
    assert_eq!(known["connections"], json!([{"platform": "web", "device": "bob-web"}]));
    let (_, answer) = setup.client.submit(&hello_bob(), "").await;
    assert_eq!((answer["accepted"].as_u64(), reasons(&answer)), (Some(0), vec![("bob-web", "online")]));
}

#[tokio::test(flavor = "multi_thread")]
async fn zpns_15_a_message_for_who_is_offline_is_taken_and_pushed() {
    let setup = Setup::open().await;
    let page = setup.page_of("bob").await;
    for state in ["online", "offline"] {
        bob_is(&setup, state).await;
    }
    let (status, answer) = setup.client.submit(&hello_bob(), "?wait=20s").await;
    assert_eq!((status, &answer["status"]["counts"]), (202, &json!({"sent": 1})));
    assert_eq!(setup.emulator.fcm().inbox(&page).unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_by_presence_unbinds_the_device_and_offline_does_not() {
    let setup = Setup::open().await;
    setup.page_of("bob").await;
    setup.page_of("ann").await;
    let word = |user: &str, state: &str| json!({"user": user, "platform": "web", "device": format!("{user}-web"), "state": state});
    let sessions =
        json!({"sessions": [word("bob", "logout"), word("ann", "online"), word("ann", "offline")]});
    setup.client.ask(Method::POST, "/v1/apps/demo/presence", &sessions, 204).await;
    let (_, answer) =
        setup.client.submit(&json!({"to": {"users": ["bob", "ann"]}, "title": "t"}), "?wait=20s").await;
    assert_eq!(answer["skipped"], json!([{"user": "bob", "reason": "no_device"}]));
    assert_eq!(answer["status"]["devices"][0]["user"], "ann");
    let no_device = json!({"platform": "web", "state": "logout"});
    setup.client.ask(Method::PUT, "/v1/apps/demo/users/ann/presence", &no_device, 422).await;
}

/// Sends Ann's message to a group of four, each with a page, while Cleo is online.
async fn group_message(setup: &Setup, more: &Value) -> Value {
    for member in ["ann", "bob", "cleo", "dan"] {
        setup.page_of(member).await;
    }
    let online = json!({"platform": "web", "state": "online"});
    setup.client.ask(Method::PUT, "/v1/apps/demo/users/cleo/presence", &online, 204).await;
    let mut asked = json!({"to": {"users": ["ann", "bob", "cleo", "dan"]}, "kind": "group",
        "title": "in Friends", "content": "hello"});
    asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    setup.client.submit(&asked, "?wait=20s").await.1
}

fn reached(answer: &Value) -> Vec<&str> {
    let devices = answer["status"]["devices"].as_array().unwrap();
    devices.iter().map(|one| one["device"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn zpns_35_a_group_message_is_pushed_to_offline_members_only() {
    let setup = Setup::open().await;
    let answer = group_message(&setup, &json!({})).await;
    assert_eq!(reasons(&answer), [("cleo-web", "online")]);
    assert_eq!(reached(&answer), ["ann-web", "bob-web", "dan-web"]);
    for member in ["ann", "bob", "dan"] {
        assert_eq!(setup.emulator.fcm().inbox(&format!("{member}-web")).unwrap().len(), 1);
    }
    assert!(setup.emulator.fcm().inbox("cleo-web").unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn zpns_61_the_senders_own_devices_get_no_push() {
    let setup = Setup::open().await;
    let answer = group_message(&setup, &json!({"sender": "ann"})).await;
    assert_eq!(reasons(&answer), [("ann-web", "sender"), ("cleo-web", "online")]);
    assert_eq!(reached(&answer), ["bob-web", "dan-web"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_excepted_gets_no_push() {
    let setup = Setup::open().await;
    let to = json!({"users": ["bob", "cleo", "dan"], "except_devices": ["dan-web"]});
    let answer = group_message(&setup, &json!({"to": to})).await;
    assert_eq!(reasons(&answer), [("cleo-web", "online"), ("dan-web", "excepted")]);
    assert_eq!(reached(&answer), ["bob-web"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn zpns_59_a_muted_conversation_gets_no_push_except_for_who_is_mentioned() {
    let setup = Setup::open().await;
    for member in ["ann", "bob"] {
        setup.page_of(member).await;
        let rules = json!({"muted_conversations": ["friends"]});
        setup.client.ask(Method::PUT, &format!("/v1/apps/demo/users/{member}/rules"), &rules, 200).await;
    }
    let mut asked = json!({"to": {"users": ["ann", "bob"]}, "conversation": "friends", "title": "t"});
    let (_, answer) = setup.client.submit(&asked, "").await;
    assert_eq!(reasons(&answer), [("ann-web", "muted_conversation"), ("bob-web", "muted_conversation")]);
    asked["mentions"] = json!(["bob"]);
    let (_, answer) = setup.client.submit(&asked, "").await;
    assert_eq!(reasons(&answer), [("ann-web", "muted_conversation")]);
    asked["conversation"] = "others".into();
    assert_eq!(setup.client.submit(&asked, "").await.1["accepted"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn zpns_60_while_he_is_online_on_one_platform_the_platforms_it_mutes_get_no_push() {
    let setup = Setup::with("[[apps.demo.routes]]\nplatform = \"android\"\nchannels = [\"fcm\"]\n").await;
    for (id, platform) in [("phone", "android"), ("page", "web")] {
        let device = setup.emulator.fcm().add_device(id, pushgate_emulator::Platform::Web).unwrap();
        let body = json!({"user": "bob", "platform": platform, "addresses": [{"channel": "fcm", "token": device.token}]});
        setup.client.ask(Method::PUT, &format!("/v1/apps/demo/devices/{id}"), &body, 201).await;
    }
    let asked = json!({"to": {"users": ["bob"]}, "title": "t"});
    let online = json!({"platform": "windows", "state": "online"});
    setup.client.ask(Method::PUT, "/v1/apps/demo/users/bob/presence", &online, 204).await;
    assert_eq!(
        setup.client.submit(&asked, "").await.1["accepted"],
        2,
        "without a rule, every device that is away"
    );
    let rules = json!({"mutes": [{"while_online": ["macos", "windows"], "muted": ["android"]}]});
    let path = "/v1/apps/demo/users/bob/rules";
    setup.client.ask(Method::PUT, path, &rules, 200).await;
    assert_eq!(setup.client.ask(Method::GET, path, &Value::Null, 200).await, rules);
    let (_, answer) = setup.client.submit(&asked, "").await;
    assert_eq!((answer["accepted"].as_u64(), reasons(&answer)), (Some(1), vec![("phone", "muted_platform")]));
    // Replaced as a whole, and an unknown platform is an error.
    setup.client.ask(Method::PUT, path, &json!({}), 200).await;
    assert_eq!(setup.client.submit(&asked, "").await.1["accepted"], 2);
    let unknown = json!({"mutes": [{"while_online": ["toaster"], "muted": ["android"]}]});
    setup.client.ask(Method::PUT, path, &unknown, 422).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quiet_hours_hold_back_what_is_shown_and_let_calls_through_where_the_user_says_so() {
    let setup = Setup::open().await;
    setup.page_of("bob").await;
    let path = "/v1/apps/demo/users/bob/rules";
    let all_day = |calls: bool| json!({"quiet_hours": {"from": "00:00", "to": "00:00", "time_zone": "Asia/Shanghai", "calls": calls}});
    setup.client.ask(Method::PUT, path, &all_day(true), 200).await;
    let asked = |more: Value| {
        let mut asked = json!({"to": {"users": ["bob"]}, "title": "t"});
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        asked
    };
    let accepted = async |more: Value| setup.client.submit(&asked(more), "").await.1["accepted"].as_u64();
    let call = json!({"kind": "call", "call": {"id": "c"}});
    assert_eq!(accepted(json!({})).await, Some(0));
    assert_eq!(accepted(json!({"silent": true})).await, Some(1));
    assert_eq!(accepted(call.clone()).await, Some(1));
    setup.client.ask(Method::PUT, path, &all_day(false), 200).await;
    assert_eq!(accepted(call).await, Some(0));
    let zone = json!({"quiet_hours": {"from": "22:00", "to": "07:00", "time_zone": "Mars/Olympus"}});
    setup.client.ask(Method::PUT, path, &zone, 422).await;
}

#[tokio::test]
async fn zpns_58_silence_of_thirty_seconds_is_offline() {
    let simulation = Simulation::open().await;
    simulation.register("d", "bob", Platform::Web).await;
    simulation.online("bob", Platform::Web, LEASE);
    simulation.clock.advance(Duration::from_secs(29));
    let ticket = simulation.submit(Simulation::to("bob")).await;
    assert_eq!((ticket.accepted, ticket.skipped[0].reason), (0, SkipReason::Online));
    simulation.clock.advance(Duration::from_secs(1));
    assert_eq!(simulation.submit(Simulation::to("bob")).await.accepted, 1);
}

#[tokio::test]
async fn a_push_that_had_to_wait_is_cancelled_when_its_user_comes_online() {
    let simulation =
        Simulation::answering(vec![Answer::Fault(pushgate::Kind::VendorDown), Answer::Accepted]).await;
    simulation.register("d", "bob", Platform::Web).await;
    let ticket = simulation.submit(Simulation::to("bob")).await;
    simulation.status(ticket.id, |status| status.receipts[0].attempts == 1).await;
    simulation.online("bob", Platform::Web, Duration::from_millis(1));
    simulation.offline("bob", Platform::Web);
    simulation.pass(|| simulation.clock.now() > pushgate_kit::sample::NOW + Duration::from_secs(20)).await;
    let status = simulation.status(ticket.id, |status| status.receipts[0].state.is_final()).await;
    assert_eq!((status.receipts[0].state, simulation.sent().len()), (State::Revoked, 1));
}

#[tokio::test]
async fn a_push_that_had_to_wait_does_not_go_to_whoever_has_the_device_by_then() {
    let simulation =
        Simulation::answering(vec![Answer::Fault(pushgate::Kind::VendorDown), Answer::Accepted]).await;
    simulation.register("d", "bob", Platform::Web).await;
    let ticket = simulation.submit(Simulation::to("bob")).await;
    simulation.status(ticket.id, |status| status.receipts[0].attempts == 1).await;
    let device = pushgate::DeviceId::new("d").unwrap();
    simulation
        .gateway
        .login(&crate::simulation::demo(), &device, &user("ann"), Takeover::Always)
        .await
        .unwrap()
        .unwrap();
    simulation.pass(|| simulation.clock.now() > pushgate_kit::sample::NOW + Duration::from_secs(20)).await;
    let status = simulation.status(ticket.id, |status| status.receipts[0].state.is_final()).await;
    assert_eq!((status.receipts[0].state, simulation.sent().len()), (State::Revoked, 1));
}
