//! APNs through the whole gateway, against the emulator's: what an iPhone shows, and that no mood of Apple's loses a push.

use std::time::{Duration, SystemTime};

use http::Method;
use pushgate_emulator::{AfterGoaway, Effect, Environment, EventKind, Fault, Goaway, LastStream};
use serde_json::{Value, json};

use crate::secrecy::keep_secret;
use crate::setup::Setup;

/// An iPhone of a user, registered with the gateway.
async fn phone_of(setup: &Setup, user: &str) -> String {
    let id = format!("{user}-iphone");
    let phone = setup.emulator.apns().add_device(&id, Environment::Production);
    keep_secret(&phone.token);
    let body =
        json!({"user": user, "platform": "ios", "addresses": [{"channel": "apns", "token": phone.token}]});
    setup.client.ask(Method::PUT, &format!("/v1/apps/demo/devices/{id}"), &body, 201).await;
    id
}

fn told(setup: &Setup, wanted: impl Fn(&EventKind) -> bool) -> usize {
    setup.emulator.apns().events(0).iter().filter(|event| wanted(&event.kind)).count()
}

fn hello() -> Value {
    json!({"to": {"users": ["bob"]}, "title": "Ann", "content": "hello"})
}

/// Sends so many notifications at once, and sees that each is sent and arrives exactly once.
async fn all_arrive_once(setup: &Setup, notifications: usize) {
    let submits = (0..notifications).map(|n| {
        let (client, mut asked) = (setup.client.clone(), hello());
        asked["title"] = format!("{n}").into();
        tokio::spawn(async move { client.submit(&asked, "?wait=25s").await })
    });
    for submit in submits.collect::<Vec<_>>() {
        let (_, answer) = submit.await.unwrap();
        assert_eq!(answer["status"]["counts"], json!({"sent": 1}), "{answer}");
    }
    let arrived = told(setup, |what| matches!(what, EventKind::Arrived { .. }));
    let inbox = setup.emulator.apns().inbox("bob-iphone").unwrap();
    let mut titles: Vec<_> = inbox.into_iter().map(|shown| shown.title).collect();
    titles.sort();
    titles.dedup();
    assert_eq!((arrived, titles.len()), (notifications, notifications), "each one, and none twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_on_new_connections_waits_for_the_first_success_of_each() {
    let setup = Setup::open().await;
    phone_of(&setup, "bob").await;
    all_arrive_once(&setup, 300).await;
    assert_eq!(
        told(&setup, |what| matches!(what, EventKind::Refused { .. })),
        0,
        "no stream was one too many"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_goaway_with_a_reason_loses_nothing_and_duplicates_nothing() {
    for last in [LastStream::This, LastStream::Before] {
        let setup = Setup::open().await;
        phone_of(&setup, "bob").await;
        let debug = r#"{"reason":"Shutdown"}"#.to_owned();
        let goaway = Goaway { last, code: 0, debug, then: AfterGoaway::Drain };
        setup.emulator.apns().add_fault(Fault::next(5, Effect::Goaway(goaway)).share(0.05));
        all_arrive_once(&setup, 200).await;
        assert!(told(&setup, |what| matches!(what, EventKind::Goaway { .. })) > 0, "{last:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_limit_that_shrinks_to_one_slows_apns_but_loses_nothing() {
    let setup = Setup::open().await;
    phone_of(&setup, "bob").await;
    setup.emulator.apns().add_fault(Fault::next(1, Effect::StreamLimit(1)).skip(50));
    all_arrive_once(&setup, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_provider_token_that_is_called_expired_is_not_minted_again_at_once_and_the_push_waits() {
    let setup = Setup::open().await;
    phone_of(&setup, "bob").await;
    setup.emulator.apns().add_fault(Fault::next(1, Effect::ExpiredBearer));
    let (_, answer) = setup.client.submit(&hello(), "").await;
    let receipt = loop {
        let status = setup.client.status(&answer["id"]).await;
        if status["devices"][0]["attempts"] == 1 {
            break status["devices"][0].clone();
        }
        tokio::task::yield_now().await;
    };
    assert_eq!((&receipt["state"], &receipt["fault"]["code"]), (&json!("queued"), &json!("credentials")));
    let too_many = |what: &EventKind| matches!(what, EventKind::Send { status: 429, .. });
    assert_eq!(told(&setup, too_many), 0, "no second token was minted in its twenty minutes");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_iphone_without_the_app_is_forgotten_unless_it_registered_after_apple_noticed() {
    let setup = Setup::open().await;
    let phone = phone_of(&setup, "bob").await;
    let path = format!("/v1/apps/demo/devices/{phone}");
    let addresses = async || {
        let (_, device) = setup.client.raw(Method::GET, &path, "").await;
        device["addresses"].as_array().map(Vec::len)
    };
    // The prune guard believes no death in a window without a success.
    let (_, answer) = setup.client.submit(&hello(), "?wait=20s").await;
    assert_eq!(answer["status"]["counts"], json!({"sent": 1}), "{answer}");
    setup.emulator.apns().unregister_since(&phone, SystemTime::now() - Duration::from_secs(3600));
    let (_, answer) = setup.client.submit(&hello(), "?wait=20s").await;
    assert_eq!(answer["status"]["devices"][0]["fault"]["code"], "token_gone", "{answer}");
    assert_eq!(addresses().await, Some(1), "what Apple knows is older than the registration");
    setup.emulator.apns().unregister_since(&phone, SystemTime::now());
    setup.client.submit(&hello(), "?wait=20s").await;
    assert_eq!(addresses().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_does_instead_of_a_key() {
    let setup = Setup::of(|emulator, _| {
        let apns = emulator.apns();
        keep_secret(apns.certificate_pem());
        format!(
            "[apps.demo.channels.apns]\nkind = \"apns\"\nbase_url = \"{}\"\ntopic = \"{}\"\ncertificate = \"\"\"{}\"\"\"\ntransport.roots = \"file:ca.pem\"\n",
            apns.url(),
            apns.topic(),
            apns.certificate_pem(),
        )
    })
    .await;
    let phone = phone_of(&setup, "bob").await;
    let (_, answer) = setup.client.submit(&hello(), "?wait=20s").await;
    assert_eq!(answer["status"]["counts"], json!({"sent": 1}), "{answer}");
    assert_eq!(setup.emulator.apns().inbox(&phone).unwrap().len(), 1);
}
