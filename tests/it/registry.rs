//! Tests of device ownership: how login, logout and push ids change who a push reaches. Names begin with the line of
//! the acceptance list that they cover.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ORIGIN,
};
use http::{HeaderMap, HeaderValue, Method};
use pushgate::{Request, Transport as _};
use pushgate_emulator::{EventKind, Platform};
use pushgate_server::push_id::{PushId, Service};
use pushgate_transport::HttpTransport;
use serde_json::{Value, json};

use crate::setup::{Client, MAX_WAIT, Setup, user_token};

const DEVICES: &str = "/v1/apps/demo/devices";

fn envelope(token: &str) -> String {
    let (service, country, sdk) = (Service(7), String::new(), "2.5.0".to_owned());
    PushId { production: true, service, country, sdk, token: token.into() }.encode().unwrap()
}

/// A virtual web page that is registered by its push id, as a ZPNs client is.
async fn page(setup: &Setup, id: &str, user: &str) -> String {
    let device = setup.emulator.fcm().add_device(id, Platform::Web).unwrap();
    let body = json!({"user": user, "push_id": envelope(&device.token)});
    setup.client.ask(Method::PUT, &format!("{DEVICES}/{id}"), &body, 201).await;
    device.token
}

/// A push for a user: how many addresses it goes to, and why not to others.
async fn push(setup: &Setup, user: &str) -> (u64, Value) {
    let asked = json!({"to": {"users": [user]}, "title": format!("for {user}")});
    let (status, answer) = setup.client.submit(&asked, "?wait=20s").await;
    assert_eq!(status, 202, "{answer}");
    (answer["accepted"].as_u64().unwrap(), answer["skipped"].clone())
}

fn shown(setup: &Setup, id: &str) -> Vec<String> {
    setup.emulator.fcm().inbox(id).unwrap().into_iter().map(|shown| shown.title).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_id_registers_the_device_for_its_user() {
    let setup = Setup::open().await;
    page(&setup, "d", "ann").await;
    assert_eq!(push(&setup, "ann").await.0, 1);
    let arrived = setup.emulator.fcm().wait_for(|what| matches!(what, EventKind::Arrived { .. }), MAX_WAIT);
    assert!(arrived.await.is_some());
    assert_eq!(shown(&setup, "d"), ["for ann"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn zpns_08_binding_by_login_and_again_by_report_gives_one_device() {
    let setup = Setup::open().await;
    let token = page(&setup, "d", "ann").await;
    let body = json!({"user": "ann", "push_id": envelope(&token)});
    setup.client.ask(Method::PUT, &format!("{DEVICES}/d"), &body, 200).await;
    // Without an id, too: the token says which device it is.
    let answer = setup.client.ask(Method::POST, DEVICES, &body, 200).await;
    assert_eq!(answer["id"], "d");
    assert_eq!(push(&setup, "ann").await.0, 1);
    assert_eq!(shown(&setup, "d").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn zpns_09_after_a_logout_the_device_gets_no_push_for_that_user() {
    let setup = Setup::open().await;
    page(&setup, "d", "ann").await;
    setup.client.ask(Method::DELETE, &format!("{DEVICES}/d/user"), &Value::Null, 204).await;
    assert_eq!(push(&setup, "ann").await, (0, json!([{"user": "ann", "reason": "no_device"}])));
    let device = setup.client.ask(Method::GET, &format!("{DEVICES}/d"), &Value::Null, 200).await;
    assert_eq!((&device["user"], device["addresses"].as_array().unwrap().len()), (&Value::Null, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn zpns_10_logout_a_login_b_on_the_same_device() {
    let setup = Setup::open().await;
    page(&setup, "d", "ann").await;
    setup.client.ask(Method::DELETE, &format!("{DEVICES}/d/user?user=ann"), &Value::Null, 204).await;
    setup.client.ask(Method::PUT, &format!("{DEVICES}/d/user"), &json!({"user": "bob"}), 200).await;
    // A logout of the first that comes late changes nothing.
    setup.client.ask(Method::DELETE, &format!("{DEVICES}/d/user?user=ann"), &Value::Null, 204).await;
    assert_eq!(push(&setup, "ann").await.0, 0);
    assert_eq!(push(&setup, "bob").await.0, 1);
    assert_eq!(shown(&setup, "d"), ["for bob"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn zpns_11_login_as_another_with_the_same_token_moves_the_binding() {
    let setup = Setup::open().await;
    let token = page(&setup, "d", "ann").await;
    let body = json!({"user": "bob", "push_id": envelope(&token)});
    setup.client.ask(Method::PUT, &format!("{DEVICES}/another-id"), &body, 201).await;
    assert_eq!(push(&setup, "ann").await.0, 0);
    assert_eq!(push(&setup, "bob").await.0, 1);
    assert_eq!(shown(&setup, "d"), ["for bob"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn zpns_19_a_user_who_never_registered_gets_no_push_and_the_answer_says_so() {
    let setup = Setup::open().await;
    assert_eq!(push(&setup, "nobody").await, (0, json!([{"user": "nobody", "reason": "no_device"}])));
}

#[tokio::test(flavor = "multi_thread")]
async fn zpns_26_register_unregister_and_register_works_again() {
    let setup = Setup::open().await;
    let token = page(&setup, "d", "ann").await;
    unregister(&setup, "d", "ann").await;
    assert_eq!(push(&setup, "ann").await.0, 0);
    let again = json!({"user": "ann", "push_id": envelope(&token)});
    setup.client.ask(Method::PUT, &format!("{DEVICES}/d"), &again, 200).await;
    assert_eq!(push(&setup, "ann").await.0, 1);
    assert_eq!(shown(&setup, "d"), ["for ann"]);
}

/// Returns a push id without a token, which a client reports to stop pushes.
async fn unregister(setup: &Setup, id: &str, user: &str) -> Value {
    let empty = json!({"user": user, "push_id": envelope("")});
    setup.client.ask(Method::PUT, &format!("{DEVICES}/{id}"), &empty, 200).await
}

/// A user with two devices, the first of which is unregistered; the devices that a push like this goes to then.
async fn reached_after_unregistering(setup: &Setup, more: &Value) -> Vec<Value> {
    page(setup, "d", "ann").await;
    page(setup, "e", "ann").await;
    unregister(setup, "d", "ann").await;
    let mut asked = json!({"to": {"users": ["ann"]}, "title": "t"});
    asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let (_, answer) = setup.client.submit(&asked, "?wait=20s").await;
    answer["status"]["devices"].as_array().unwrap().iter().map(|one| one["device"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn zpns_48_an_empty_push_id_unbinds_the_device() {
    let setup = Setup::open().await;
    page(&setup, "d", "ann").await;
    let device = unregister(&setup, "d", "ann").await;
    assert_eq!((&device["user"], &device["addresses"]), (&Value::Null, &json!([])));
    assert_eq!(push(&setup, "ann").await, (0, json!([{"user": "ann", "reason": "no_device"}])));
}

#[tokio::test(flavor = "multi_thread")]
async fn zpns_49_after_it_nothing_is_shown_on_this_device() {
    let setup = Setup::open().await;
    let reached = reached_after_unregistering(&setup, &json!({"content": "shown"})).await;
    assert!(!reached.contains(&json!("d")), "{reached:?}");
    assert!(setup.emulator.fcm().inbox("d").unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn zpns_50_after_it_no_silent_push_comes_to_this_device() {
    let setup = Setup::open().await;
    let reached = reached_after_unregistering(&setup, &json!({"silent": true, "payload": "p"})).await;
    assert!(!reached.contains(&json!("d")), "{reached:?}");
    assert!(setup.emulator.fcm().inbox("d").unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn zpns_51_the_users_other_devices_still_get_shown_and_silent_pushes() {
    let shown_and_silent = [json!({"content": "shown"}), json!({"silent": true, "payload": "p"})];
    for push in shown_and_silent {
        let setup = Setup::open().await;
        assert_eq!(reached_after_unregistering(&setup, &push).await, ["e"]);
        let inbox = setup.emulator.fcm().inbox("e").unwrap();
        assert_eq!((inbox.len(), inbox[0].silent), (1, push["silent"] == true));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn zpns_25_whoever_knows_the_token_can_unbind_it_without_a_key() {
    let setup = Setup::open().await;
    let token = page(&setup, "d", "ann").await;
    let stranger = Client::new(&setup.client.base, "");
    let path = format!("{DEVICES}:unbind");
    let wrong = json!({"push_id": envelope("another-token")});
    stranger.ask(Method::POST, &path, &wrong, 204).await;
    stranger.ask(Method::POST, "/v1/apps/nosuch/devices:unbind", &wrong, 204).await;
    assert_eq!(push(&setup, "ann").await.0, 1);
    stranger.ask(Method::POST, &path, &json!({"push_id": envelope(&token)}), 204).await;
    assert_eq!(push(&setup, "ann").await.0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_token_takes_the_place_of_the_old_one() {
    let setup = Setup::open().await;
    let old = page(&setup, "d", "ann").await;
    let new = setup.emulator.fcm().add_device("d2", Platform::Web).unwrap().token;
    let body = json!({"user": "ann", "platform": "web", "addresses": [{"channel": "fcm", "token": new}],
        "replaces": {"channel": "fcm", "token": old}});
    let answer = setup.client.ask(Method::POST, DEVICES, &body, 200).await;
    assert_eq!(answer["id"], "d", "the device keeps its id");
    assert_eq!(push(&setup, "ann").await.0, 1);
    assert_eq!((shown(&setup, "d"), shown(&setup, "d2")), (vec![], vec!["for ann".to_owned()]));
}

/// A template in two languages, and phones whose app takes messages.
const WORLD: &str = r#"
[apps.demo.templates.message.locales.zh-CN]
title = "{{ sender }} 发来消息"
[[apps.demo.routes]]
platform = "android"
capability = ["messages"]
channels = ["fcm"]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_device_says_of_itself_is_kept_and_chooses_its_language_and_its_route() {
    let setup = Setup::with(WORLD).await;
    let register = async |id: &str, more: Value| {
        let token = setup.emulator.fcm().add_device(id, Platform::Web).unwrap().token;
        let mut body = json!({"user": "ann", "platform": "android", "manufacturer": "Acme", "app_build": 7,
            "country": "cn", "locale": "zh-CN", "time_zone": "Asia/Shanghai",
            "addresses": [{"channel": "fcm", "token": token}]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        setup.client.ask(Method::PUT, &format!("{DEVICES}/{id}"), &body, 201).await
    };
    register("old", json!({})).await;
    register("phone", json!({"capabilities": ["messages", "calls"]})).await;
    let kept = setup.client.ask(Method::GET, &format!("{DEVICES}/phone"), &Value::Null, 200).await;
    let traits = json!({"platform": "android", "manufacturer": "acme", "app_build": 7, "country": "CN",
        "locale": "zh-CN", "time_zone": "Asia/Shanghai", "capabilities": ["messages", "calls"]});
    assert_eq!(kept["traits"], traits);
    let template = json!({"name": "message", "vars": {"sender": "Bob", "text": "hi"}});
    let asked = json!({"to": {"users": ["ann"]}, "template": template});
    let (_, answer) = setup.client.submit(&asked, "?wait=20s").await;
    assert_eq!(answer["skipped"], json!([{"user": "ann", "device": "old", "reason": "no_route"}]));
    assert_eq!(shown(&setup, "phone"), ["Bob 发来消息"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_users_eleventh_device_makes_the_first_one_go() {
    let setup = Setup::open().await;
    for i in 0..10 {
        page(&setup, &format!("d{i}"), "ann").await;
    }
    let token = setup.emulator.fcm().add_device("d10", Platform::Web).unwrap().token;
    let body = json!({"user": "ann", "push_id": envelope(&token)});
    let answer = setup.client.ask(Method::PUT, &format!("{DEVICES}/d10"), &body, 201).await;
    assert_eq!(answer["dropped"], json!(["d0"]));
    setup.client.ask(Method::GET, &format!("{DEVICES}/d0"), &Value::Null, 404).await;
    let listed = setup.client.ask(Method::GET, "/v1/apps/demo/users/ann/devices", &Value::Null, 200).await;
    assert_eq!(listed["devices"].as_array().unwrap().len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_token_manages_its_own_users_devices_only() {
    let setup = Setup::open().await;
    let anns = page(&setup, "anns", "ann").await;
    let bob = Client::new(&setup.client.base, &user_token("bob"));
    let token = setup.emulator.fcm().add_device("bobs", Platform::Web).unwrap().token;
    let body = |user: Option<&str>, token: &str| match user {
        Some(user) => json!({"user": user, "push_id": envelope(token)}),
        None => json!({"push_id": envelope(token)}),
    };
    let path = |id: &str| format!("{DEVICES}/{id}");
    bob.ask(Method::PUT, &path("bobs"), &body(None, &token), 201).await;
    let mine = bob.ask(Method::GET, &path("bobs"), &Value::Null, 200).await;
    assert_eq!(mine["user"], "bob", "he need not say who he is");
    bob.ask(Method::PUT, &path("bobs"), &body(Some("ann"), &token), 403).await;
    // Another's device is neither seen, taken, logged in on, nor forgotten.
    bob.ask(Method::GET, &path("anns"), &Value::Null, 403).await;
    bob.ask(Method::PUT, &path("anns"), &body(None, &token), 403).await;
    bob.ask(Method::PUT, &format!("{}/user", path("anns")), &json!({"user": "bob"}), 403).await;
    bob.ask(Method::DELETE, &format!("{}/user", path("anns")), &Value::Null, 204).await;
    bob.ask(Method::DELETE, &path("anns"), &Value::Null, 403).await;
    bob.ask(Method::GET, "/v1/apps/demo/users/ann/devices", &Value::Null, 403).await;
    assert_eq!(push(&setup, "ann").await.0, 1, "nothing of it touched her");
    // He cannot send, and the token is for one app.
    bob.ask(Method::POST, "/v1/apps/demo/notifications", &json!({"to": {"users": ["ann"]}}), 401).await;
    bob.ask(Method::GET, "/v1/apps/other/users/bob/devices", &Value::Null, 401).await;
    // But whoever holds the token sits in front of the device: a page where somebody else logs in.
    bob.ask(Method::PUT, &path("anns"), &body(None, &anns), 200).await;
    assert_eq!((push(&setup, "ann").await.0, push(&setup, "bob").await.0), (0, 2));
    let stale = Client::new(&setup.client.base, "a.b.c");
    let answer = stale.ask(Method::GET, &path("bobs"), &Value::Null, 401).await;
    assert_eq!(answer["code"], "invalid_user_token");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_concurrent_binds_of_one_address_end_with_one_owner() {
    let setup = Setup::open().await;
    let token = setup.emulator.fcm().add_device("d", Platform::Web).unwrap().token;
    let binds: Vec<_> = (0..1000)
        .map(|i| {
            let (client, body) =
                (setup.client.clone(), json!({"user": format!("u{i}"), "push_id": envelope(&token)}));
            tokio::spawn(async move { client.ask(Method::PUT, &format!("{DEVICES}/d{i}"), &body, 201).await })
        })
        .collect();
    for bind in binds {
        bind.await.unwrap();
    }
    let users: Vec<_> = (0..1000).map(|i| format!("u{i}")).collect();
    let mut accepted = 0;
    for some in users.chunks(100) {
        let asked = json!({"to": {"users": some}, "title": "t"});
        accepted += setup.client.submit(&asked, "?wait=20s").await.1["accepted"].as_u64().unwrap();
    }
    assert_eq!(accepted, 1, "one of them owns it");
    assert_eq!(shown(&setup, "d").len(), 1);
}

/// Users who claim the same device at once, each with a token of their own: how often each status was answered.
async fn claims(setup: &Setup, id: &str) -> std::collections::BTreeMap<u16, usize> {
    let claims: Vec<_> = (0..40)
        .map(|number| {
            let mut client = setup.client.clone();
            client.key = user_token(&format!("u{number}"));
            let address = json!({"channel": "fcm", "token": format!("{id}-{number}")});
            let body = json!({"platform": "web", "addresses": [address]}).to_string();
            let path = format!("{DEVICES}/{id}");
            tokio::spawn(async move { client.raw(Method::PUT, &path, body).await.0 })
        })
        .collect();
    let mut statuses = std::collections::BTreeMap::new();
    for claim in claims {
        *statuses.entry(claim.await.unwrap()).or_default() += 1;
    }
    statuses
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_user_tokens_that_claim_one_device_at_once_one_gets_it() {
    let setup = Setup::open().await;
    for round in 0..5 {
        let statuses = claims(&setup, &format!("claimed-{round}")).await;
        assert_eq!(statuses, [(201, 1), (403, 39)].into());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_push_id_is_refused_and_not_repeated() {
    let setup = Setup::open().await;
    for text in ["", "***", "rwABAQf/ABEyLjUuMA==", "rwABAWMABQARMi41LjB2ZXI6dG9rZW4tRVhBTVBMRQ=="] {
        let body = json!({"user": "ann", "push_id": text});
        let answer = setup.client.ask(Method::PUT, &format!("{DEVICES}/d"), &body, 422).await;
        assert_eq!(answer["code"], "invalid_push_id");
        assert!(text.is_empty() || !answer.to_string().contains(text));
    }
    setup.client.ask(Method::GET, &format!("{DEVICES}/d"), &Value::Null, 404).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_site_may_manage_devices_by_a_user_token_and_send_nothing() {
    let setup = Setup::open().await;
    let transport = HttpTransport::builder().build().unwrap();
    let rows = [
        (format!("{DEVICES}/page"), Method::PUT, true),
        (format!("{DEVICES}/page/user"), Method::DELETE, true),
        ("/v1/apps/demo/users/bob/devices".to_owned(), Method::GET, true),
        ("/v1/apps/demo/notifications".to_owned(), Method::POST, false),
    ];
    for (path, wanted, allowed) in rows {
        let ask = async |method: &Method| {
            let uri = format!("{}{path}", setup.client.base).parse().unwrap();
            let mut request = Request::post(uri, "", MAX_WAIT);
            request.method = method.clone();
            request.headers.insert(ORIGIN, HeaderValue::from_static("https://app.example"));
            transport.send(request).await.unwrap().headers
        };
        let word = |headers: &HeaderMap, name| headers.get(name).map(|v| v.to_str().unwrap().to_owned());
        let first = ask(&Method::OPTIONS).await;
        let methods = word(&first, ACCESS_CONTROL_ALLOW_METHODS).unwrap_or_default();
        assert_eq!(methods.contains(wanted.as_str()), allowed, "{path} {methods}");
        let headers = word(&first, ACCESS_CONTROL_ALLOW_HEADERS).unwrap_or_default();
        assert_eq!(headers.contains("authorization"), allowed, "{path} {headers}");
        for answer in [first, ask(&wanted).await] {
            let origin = word(&answer, ACCESS_CONTROL_ALLOW_ORIGIN);
            assert_eq!(origin.as_deref(), allowed.then_some("*"), "{path}");
        }
    }
}
