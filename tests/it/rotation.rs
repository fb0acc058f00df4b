//! A token that changes with no page open: the worker knows the old one and the new one, and nothing else.

use http::Method;
use pushgate::observe::Event;
use pushgate::{Address, AppId, ChannelName, Device, DeviceId, Gateway, TokenKind, Traits, UserId};
use pushgate_emulator::{Platform, WebPushService as Browser};
use pushgate_server::push_id::{PushId, Service};
use serde_json::{Value, json};

use crate::secrecy::keep_secret;
use crate::setup::{Client, Setup, user_token};

const ROTATE: &str = "/v1/apps/demo/devices:rotate";

fn envelope(token: &str) -> Value {
    keep_secret(token);
    let (service, country, sdk) = (Service(7), String::new(), "2.5.0".to_owned());
    let text = PushId { production: true, service, country, sdk, token: token.into() }.encode().unwrap();
    json!({"push_id": text})
}

/// A gateway for which an old token is proof enough, whatever its kind.
async fn trusting() -> Setup {
    Setup::with("\n[server]\nlisten = \"127.0.0.1:0\"\nrotation_without_user_token = \"all\"\n").await
}

/// A virtual page that nobody has registered; its token.
fn token(setup: &Setup, id: &str) -> String {
    setup.emulator.fcm().add_device(id, Platform::Web).unwrap().token
}

/// One that is registered.
async fn page(setup: &Setup, id: &str, user: &str) -> String {
    let token = token(setup, id);
    setup.client.register(id, user, &token).await;
    token
}

/// Asks as a worker does: without a key.
async fn rotate(setup: &Setup, old: &Value, new: &Value) -> (u16, Value) {
    let body = json!({"old": old, "new": new}).to_string();
    Client::new(&setup.client.base, "").raw(Method::POST, ROTATE, body).await
}

/// Returns the number of addresses that a push to a user reaches.
async fn push(setup: &Setup, user: &str) -> Value {
    let asked = json!({"to": {"users": [user]}, "title": format!("for {user}")});
    setup.client.submit(&asked, "?wait=20s").await.1["accepted"].clone()
}

fn shown(setup: &Setup, id: &str) -> Vec<String> {
    setup.emulator.fcm().inbox(id).unwrap().into_iter().map(|shown| shown.title).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_knows_the_old_token_puts_a_new_one_in_its_place_without_a_key() {
    let setup = trusting().await;
    let old = page(&setup, "old", "bob").await;
    let new = token(&setup, "new");
    let (status, answer) = rotate(&setup, &envelope(&old), &envelope(&new)).await;
    assert_eq!(status, 204, "{answer}");
    assert_eq!(push(&setup, "bob").await, 1);
    assert_eq!((shown(&setup, "old"), shown(&setup, "new")), (vec![], vec!["for bob".to_owned()]));
    let device = setup.client.ask(Method::GET, "/v1/apps/demo/devices/old", &Value::Null, 200).await;
    assert_eq!(device["user"], "bob", "it is the same device");
    // Told twice, and written as an address is.
    let address = |token: &str| json!({"channel": "fcm", "token": token});
    assert_eq!(rotate(&setup, &address(&old), &address(&new)).await.0, 204);
    assert_eq!(push(&setup, "bob").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guessed_token_changes_nothing_and_the_answer_does_not_tell() {
    let setup = trusting().await;
    page(&setup, "bobs", "bob").await;
    let thiefs = token(&setup, "thiefs");
    assert_eq!(rotate(&setup, &envelope("a-guess"), &envelope(&thiefs)).await, (204, Value::Null));
    let body = json!({"old": envelope("a-guess"), "new": envelope(&thiefs)}).to_string();
    let stranger = Client::new(&setup.client.base, "");
    let nowhere = stranger.raw(Method::POST, "/v1/apps/nosuch/devices:rotate", body).await;
    assert_eq!(nowhere, (204, Value::Null));
    push(&setup, "bob").await;
    assert_eq!((shown(&setup, "bobs").len(), shown(&setup, "thiefs").len()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_address_goes_to_another_user() {
    let setup = trusting().await;
    let (anns, bobs) = (page(&setup, "anns", "ann").await, page(&setup, "bobs", "bob").await);
    // Ann's own token proves who she is, and Bob's is not hers for that.
    rotate(&setup, &envelope(&anns), &envelope(&bobs)).await;
    assert_eq!((push(&setup, "ann").await, push(&setup, "bob").await), (json!(0), json!(1)));
    assert_eq!(shown(&setup, "bobs"), ["for bob"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_endpoint_is_looked_at_as_at_a_registration() {
    let setup = Setup::open().await;
    let browsers = setup.emulator.webpush();
    let subscribe = || {
        let key = setup.emulator.vapid_public_key();
        serde_json::to_value(browsers.subscribe(Browser::Mozilla, key).unwrap()).unwrap()
    };
    let (old, new) = (subscribe(), subscribe());
    let address = |subscription: &Value| json!({"channel": "webpush", "subscription": subscription});
    let body = json!({"user": "bob", "platform": "web", "addresses": [address(&old)]});
    setup.client.ask(Method::PUT, "/v1/apps/demo/devices/tab", &body, 201).await;
    let addressed = async || {
        let asked = json!({"to": {"users": ["bob"]}, "title": "t"});
        setup.client.submit(&asked, "?wait=20s").await.1["status"]["counts"].clone()
    };
    for inside in ["http://127.0.0.1/x", "https://169.254.169.254/latest", "https://evil.example/x"] {
        let mut hostile = new.clone();
        hostile["endpoint"] = inside.into();
        assert_eq!(rotate(&setup, &address(&old), &address(&hostile)).await.0, 204);
        assert_eq!(addressed().await, json!({"sent": 1}), "the old one still stands: {inside}");
    }
    // In another order and with more in it, as browsers write it: it is the same subscription.
    let written = |subscription: &Value| {
        let (endpoint, keys) = (&subscription["endpoint"], &subscription["keys"]);
        format!(r#"{{"keys":{keys},"expirationTime":null,"endpoint":{endpoint}}}"#)
    };
    assert_eq!(rotate(&setup, &envelope(&written(&old)), &envelope(&written(&new))).await.0, 204);
    let devices = setup.client.ask(Method::GET, "/v1/apps/demo/users/bob/devices", &Value::Null, 200).await;
    assert_eq!(devices["devices"][0]["addresses"].as_array().unwrap().len(), 1);
    let unbound = json!({"push_id": envelope(&written(&new))["push_id"]}).to_string();
    let stranger = Client::new(&setup.client.base, "");
    assert_eq!(addressed().await, json!({"sent": 1}));
    assert_eq!(stranger.raw(Method::POST, "/v1/apps/demo/devices:unbind", unbound).await.0, 204);
    let asked = json!({"to": {"users": ["bob"]}, "title": "t"});
    assert_eq!(setup.client.submit(&asked, "").await.1["accepted"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_rotation_is_refused_by_its_code() {
    let setup = trusting().await;
    let old = page(&setup, "old", "bob").await;
    for (new, code) in [
        (json!({"push_id": "nonsense"}), "invalid_push_id"),
        (envelope(""), "invalid_field"),
        (json!({"channel": "fcm"}), "invalid_field"),
        (json!({"channel": "fcm", "token": "x".repeat(5000)}), "invalid_field"),
        (json!({"user": "eve"}), "invalid_body"),
    ] {
        let (status, answer) = rotate(&setup, &envelope(&old), &new).await;
        assert_eq!((status, &answer["code"]), (422, &code.into()), "{new}");
    }
    assert_eq!(push(&setup, "bob").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_fcm_token_alone_is_no_proof_and_a_user_token_replaces_its_own_users_alone() {
    let setup = Setup::open().await;
    let (anns, bobs) = (page(&setup, "anns", "ann").await, page(&setup, "bobs", "bob").await);
    let thiefs = token(&setup, "thiefs");
    let (status, answer) = rotate(&setup, &envelope(&bobs), &envelope(&thiefs)).await;
    assert_eq!((status, &answer["code"]), (401, &"user_token_required".into()));
    let (status, guess) = rotate(&setup, &envelope("a-guess"), &envelope(&thiefs)).await;
    assert_eq!((status, guess), (401, answer), "the answer does not tell which tokens there are");

    let by_ann = Client::new(&setup.client.base, &user_token("ann"));
    let body = |old: &str, new: &str| json!({"old": envelope(old), "new": envelope(new)}).to_string();
    assert_eq!(by_ann.raw(Method::POST, ROTATE, body(&bobs, &thiefs)).await.0, 204);
    assert_eq!(push(&setup, "bob").await, 1);
    assert_eq!((shown(&setup, "bobs").len(), shown(&setup, "thiefs").len()), (1, 0), "Bob's is not Ann's");
    assert_eq!(by_ann.raw(Method::POST, ROTATE, body(&anns, &thiefs)).await.0, 204);
    assert_eq!(push(&setup, "ann").await, 1);
    assert_eq!((shown(&setup, "anns").len(), shown(&setup, "thiefs").len()), (0, 1));

    let unsigned = Client::new(&setup.client.base, "a.b.c");
    let (status, answer) = unsigned.raw(Method::POST, ROTATE, body(&anns, &thiefs)).await;
    assert_eq!((status, &answer["code"]), (401, &"invalid_user_token".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_without_its_secret_is_no_proof() {
    let setup = Setup::open().await;
    let browsers = setup.emulator.webpush();
    let subscribe = || browsers.subscribe(Browser::Mozilla, setup.emulator.vapid_public_key()).unwrap();
    let (old_browser, new_browser) = (subscribe(), subscribe());
    let inboxes = || (browsers.inbox(&old_browser).len(), browsers.inbox(&new_browser).len());
    let old = serde_json::to_value(&old_browser).unwrap();
    let new = serde_json::to_value(&new_browser).unwrap();
    let address = |subscription: &Value| json!({"channel": "webpush", "subscription": subscription});
    let body = json!({"user": "bob", "platform": "web", "addresses": [address(&old)]});
    setup.client.ask(Method::PUT, "/v1/apps/demo/devices/tab", &body, 201).await;
    let mut endpoint_alone = old.clone();
    endpoint_alone["keys"]["auth"] = "".into();
    assert_eq!(rotate(&setup, &address(&endpoint_alone), &address(&new)).await.0, 401);
    let mut guessed = old.clone();
    guessed["keys"]["auth"] = new["keys"]["auth"].clone();
    assert_eq!(rotate(&setup, &address(&guessed), &address(&new)).await.0, 204);
    push(&setup, "bob").await;
    assert_eq!(inboxes(), (1, 0), "a guessed secret changes nothing");
    assert_eq!(rotate(&setup, &address(&old), &address(&new)).await.0, 204);
    push(&setup, "bob").await;
    assert_eq!(inboxes(), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn rotations_from_one_address_are_limited_and_a_server_key_is_not() {
    let setup = Setup::with("\n[limits]\nrotations_per_minute = 2\n").await;
    let ask = async |client: &Client| {
        let body = json!({"old": envelope("x"), "new": envelope("y")}).to_string();
        let (status, answer) = client.raw(Method::POST, ROTATE, body).await;
        (status, answer["code"].as_str().unwrap_or_default().to_owned())
    };
    let stranger = Client::new(&setup.client.base, "");
    for _ in 0..2 {
        assert_eq!(ask(&stranger).await, (401, "user_token_required".to_owned()));
    }
    // A minute may pass meanwhile on a slow machine, but not between three requests each.
    let mut last = (0, String::new());
    for _ in 0..3 {
        last = ask(&stranger).await;
    }
    assert_eq!(last, (429, "too_many_rotations".to_owned()));
    assert_eq!(ask(&setup.client).await.0, 204);
}

#[tokio::test]
async fn each_rotation_is_told_to_observers_without_its_tokens() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let observer = move |event: &Event| {
        if matches!(event, Event::Rotated { .. }) {
            tell.send(event.clone()).unwrap();
        }
    };
    let gateway =
        Gateway::builder().channel(crate::sockets::dummy()).observer(observer).start().await.unwrap();
    let app = AppId::new("demo").unwrap();
    let address = |token: &str| Address {
        channel: ChannelName::new("dummy").unwrap(),
        kind: TokenKind::Token,
        token: token.into(),
    };
    let device = Device {
        app: app.clone(),
        id: DeviceId::new("d").unwrap(),
        user: Some(UserId::new("bob").unwrap()),
        traits: Traits::of(pushgate::Platform::Web),
        addresses: vec![address("old-token")],
        registered_at: gateway.now(),
    };
    gateway.register(device).await.unwrap();
    let eve = UserId::new("eve").unwrap();
    assert!(!gateway.rotate(&app, Some(&eve), &address("old-token"), &address("new-token")).await.unwrap());
    assert!(gateway.rotate(&app, None, &address("old-token"), &address("new-token")).await.unwrap());
    let event = told.try_recv().unwrap();
    let Event::Rotated { device, channel, .. } = &event else { panic!("{event:?}") };
    assert_eq!((device.as_str(), channel.as_str()), ("d", "dummy"));
    assert!(!format!("{event:?}").contains("token"), "{event:?}");
    assert!(told.try_recv().is_err(), "what changed nothing is not told");
}
