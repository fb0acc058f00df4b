//! APNs through the whole gateway, against the emulator's: what an iPhone shows, and that no mood of Apple's loses a push.

use std::time::{Duration, SystemTime};

use http::Method;
use pushgate_config::{Config, Sources};
use pushgate_emulator::{Effect, Environment, Fault, Goaway, Last, Service, Then, What};
use pushgate_server::{assemble, serve};
use serde_json::{Value, json};

use crate::house::{Client, House};
use crate::secrecy::keep_secret;

/// An iPhone of a user, registered with the gateway.
async fn phone_of(house: &House, user: &str) -> String {
    phone_with(house, &house.client, user).await
}

async fn phone_with(house: &House, client: &Client, user: &str) -> String {
    let id = format!("{user}-iphone");
    let phone = house.emulator.apns().add_device(&id, Environment::Production);
    keep_secret(&phone.token);
    register(client, &id, user, &phone.token).await;
    id
}

async fn register(client: &Client, id: &str, user: &str, token: &str) {
    let body = json!({"user": user, "platform": "ios", "addresses": [{"channel": "apns", "token": token}]});
    let path = format!("/v1/apps/demo/devices/{id}");
    let (status, answer) = client.raw(Method::PUT, &path, body.to_string()).await;
    assert!(status < 300, "{status} {answer}");
}

fn told(house: &House, wanted: impl Fn(&What) -> bool) -> usize {
    house.emulator.apns().events(0).iter().filter(|event| wanted(&event.what)).count()
}

fn hello() -> Value {
    json!({"to": {"users": ["bob"]}, "title": "Ann", "content": "hello"})
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_that_the_emulator_writes_reaches_a_page_a_firefox_and_an_iphone() {
    let house = House::open().await;
    let emulator = &house.emulator;
    let (page, phone) = (house.page_of("bob").await, phone_of(&house, "bob").await);
    let firefox = emulator.webpush().subscribe(Service::Mozilla, emulator.vapid_public_key()).unwrap();
    keep_secret(&firefox.endpoint);
    let device = json!({"user": "bob", "platform": "web", "addresses": [{"channel": "webpush", "subscription": firefox}]});
    let path = format!("/v1/apps/demo/devices/{}", firefox.id);
    assert!(house.client.raw(Method::PUT, &path, device.to_string()).await.0 < 300);
    let mut asked = hello();
    asked["payload"] = "{\"conversation\":\"ann\"}".into();
    let (_, answer) = house.client.submit(&asked, "?wait=20s").await;
    assert_eq!(answer["status"]["counts"], json!({"sent": 3}), "{answer}");
    let on_page = emulator.vendor().inbox(&page).unwrap();
    let on_phone = emulator.apns().inbox(&phone).unwrap();
    assert_eq!((on_page.len(), on_phone.len()), (1, 1));
    for shown in [&on_page[0], &on_phone[0]] {
        assert_eq!((shown.title.as_str(), shown.body.as_str()), ("Ann", "hello"));
        assert_eq!(shown.data["payload"], "{\"conversation\":\"ann\"}");
    }
    let in_firefox = emulator.webpush().inbox(&firefox);
    let read: Value = serde_json::from_str(in_firefox[0].text.as_deref().unwrap()).unwrap();
    assert_eq!(
        (&read["notification"]["title"], &read["notification"]["body"]),
        (&json!("Ann"), &json!("hello"))
    );
    assert_eq!((&read["data"]["payload"], in_firefox.len()), (&json!("{\"conversation\":\"ann\"}"), 1));
}

/// Sends so many notifications at once, and sees that each is sent and arrives exactly once.
async fn all_arrive_once(house: &House, notifications: usize) {
    let submits = (0..notifications).map(|n| {
        let (client, mut asked) = (house.client.clone(), hello());
        asked["title"] = format!("{n}").into();
        tokio::spawn(async move { client.submit(&asked, "?wait=25s").await })
    });
    for submit in submits.collect::<Vec<_>>() {
        let (_, answer) = submit.await.unwrap();
        assert_eq!(answer["status"]["counts"], json!({"sent": 1}), "{answer}");
    }
    let arrived = told(house, |what| matches!(what, What::Arrived { .. }));
    let inbox = house.emulator.apns().inbox("bob-iphone").unwrap();
    let mut titles: Vec<_> = inbox.into_iter().map(|shown| shown.title).collect();
    titles.sort();
    titles.dedup();
    assert_eq!((arrived, titles.len()), (notifications, notifications), "each one, and none twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_on_new_connections_waits_for_the_first_success_of_each() {
    let house = House::open().await;
    phone_of(&house, "bob").await;
    all_arrive_once(&house, 300).await;
    assert_eq!(told(&house, |what| matches!(what, What::Refused { .. })), 0, "no stream was one too many");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_goaway_with_a_reason_loses_nothing_and_duplicates_nothing() {
    for last in [Last::This, Last::Before] {
        let house = House::open().await;
        phone_of(&house, "bob").await;
        let debug = r#"{"reason":"Shutdown"}"#.to_owned();
        let goaway = Goaway { last, code: 0, debug, then: Then::Drain };
        house.emulator.apns().fail(Fault::next(5, Effect::Goaway(goaway)).share(0.05));
        all_arrive_once(&house, 200).await;
        assert!(told(&house, |what| matches!(what, What::Goaway { .. })) > 0, "{last:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_limit_that_shrinks_to_one_slows_apns_but_loses_nothing() {
    let house = House::open().await;
    phone_of(&house, "bob").await;
    house.emulator.apns().fail(Fault::next(1, Effect::StreamLimit(1)).skip(50));
    all_arrive_once(&house, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_provider_token_that_is_called_expired_is_not_minted_again_at_once_and_the_push_waits() {
    let house = House::open().await;
    phone_of(&house, "bob").await;
    house.emulator.apns().fail(Fault::next(1, Effect::ExpiredBearer));
    let (_, answer) = house.client.submit(&hello(), "").await;
    let receipt = loop {
        let status = house.client.status(&answer["id"]).await;
        if status["devices"][0]["attempts"] == 1 {
            break status["devices"][0].clone();
        }
        tokio::task::yield_now().await;
    };
    assert_eq!((&receipt["state"], &receipt["fault"]["code"]), (&json!("queued"), &json!("credentials")));
    let too_many = |what: &What| matches!(what, What::Send { status: 429, .. });
    assert_eq!(told(&house, too_many), 0, "no second token was minted in its twenty minutes");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_iphone_without_the_app_is_forgotten_unless_it_registered_after_apple_noticed() {
    let house = House::open().await;
    let phone = phone_of(&house, "bob").await;
    let path = format!("/v1/apps/demo/devices/{phone}");
    let addresses = async || {
        let (_, device) = house.client.raw(Method::GET, &path, "").await;
        device["addresses"].as_array().map(Vec::len)
    };
    house.emulator.apns().unregister_since(&phone, SystemTime::now() - Duration::from_secs(3600));
    let (_, answer) = house.client.submit(&hello(), "?wait=20s").await;
    assert_eq!(answer["status"]["devices"][0]["fault"]["code"], "token_gone", "{answer}");
    assert_eq!(addresses().await, Some(1), "what Apple knows is older than the registration");
    house.emulator.apns().unregister_since(&phone, SystemTime::now());
    house.client.submit(&hello(), "?wait=20s").await;
    assert_eq!(addresses().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_does_instead_of_a_key() {
    let house = House::open().await;
    let folder = tempfile::tempdir().unwrap();
    let apns = house.emulator.apns();
    keep_secret(apns.certificate_pem());
    std::fs::write(folder.path().join("apns.pem"), apns.certificate_pem()).unwrap();
    std::fs::write(folder.path().join("ca.pem"), house.emulator.ca_pem()).unwrap();
    let table = format!(
        "[apps.demo.channels.apns]\nkind = \"apns\"\nbase_url = \"{}\"\ntopic = \"{}\"\ncertificate = \"file:apns.pem\"\n[apps.demo.channels.apns.transport]\nroots = \"file:ca.pem\"\n",
        apns.url(),
        apns.topic()
    );
    let file = folder.path().join("pushgate.toml");
    std::fs::write(&file, table).unwrap();
    let key = crate::house::configure(folder.path());
    let config = Config::load(&Sources { file: Some(&file), ..Sources::default() }).unwrap();
    let running = serve::open(&config, assemble::gateway(&config).await.unwrap(), None).await.unwrap();
    let client = Client::new(&format!("http://{}", running.address), &key);
    let phone = phone_with(&house, &client, "bob").await;
    let (_, answer) = client.submit(&hello(), "?wait=20s").await;
    assert_eq!(answer["status"]["counts"], json!({"sent": 1}), "{answer}");
    assert_eq!(apns.inbox(&phone).unwrap().len(), 1);
    running.stop().await;
}
