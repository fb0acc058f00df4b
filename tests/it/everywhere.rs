//! One notification to a user who is everywhere: a web page by FCM, a Firefox by Web Push, an iPhone by APNs.

use http::Method;
use pushgate_config::{Config, Sources};
use pushgate_emulator::{Emulator, Environment, Options, Platform, Service};
use pushgate_server::{assemble, serve};
use pushgate_webpush::KeyPair;
use serde_json::{Value, json};

use crate::house::{Client, configure};
use crate::secrecy::keep_secret;

/// The tables of the three channels, all of them leading to the emulator.
fn channels(emulator: &Emulator, vapid: &KeyPair) -> String {
    let apns = emulator.apns();
    let address = emulator.url().replace("https://", "");
    format!(
        r#"
[apps.demo.channels.fcm]
kind = "fcm"
service_account = "file:service-account.json"
base_url = "{}"
transport.roots = "file:ca.pem"
[apps.demo.channels.webpush]
kind = "webpush"
private_key = "{}"
subject = "mailto:push@example.com"
transport.roots = "file:ca.pem"
transport.connect_to = {{ "updates.push.services.mozilla.com" = "{address}" }}
[apps.demo.channels.apns]
kind = "apns"
topic = "{}"
key = "file:AuthKey_{key_id}.p8"
key_id = "{key_id}"
team_id = "{}"
base_url = "{}"
transport.roots = "file:ca.pem"
"#,
        emulator.url(),
        vapid.private.expose(),
        apns.topic(),
        apns.team_id(),
        apns.url(),
        key_id = apns.key().id,
    )
}

async fn register(client: &Client, id: &str, platform: &str, address: &Value) {
    let body = json!({"user": "bob", "platform": platform, "addresses": [address]});
    let (status, answer) =
        client.raw(Method::PUT, &format!("/v1/apps/demo/devices/{id}"), body.to_string()).await;
    assert!(status < 300, "{status} {answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_notification_arrives_in_a_page_in_a_firefox_and_on_an_iphone() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { directory: Some(folder.path().to_owned()), ..Options::default() };
    let emulator = Emulator::start(options).await.unwrap();
    let vapid = KeyPair::generate().unwrap();
    let file = folder.path().join("pushgate.toml");
    std::fs::write(&file, channels(&emulator, &vapid)).unwrap();
    let key = configure(folder.path());
    let config = Config::load(&Sources { file: Some(&file), ..Sources::default() }).unwrap();
    let running = serve::open(&config, assemble::gateway(&config).await.unwrap(), None).await.unwrap();
    let client = Client::new(&format!("http://{}", running.address), &key);

    let page = emulator.vendor().add_device("page", Platform::Web).unwrap().token;
    let firefox = emulator.webpush().subscribe(Service::Mozilla, &vapid.public).unwrap();
    let phone = emulator.apns().add_device("phone", Environment::Production).token;
    for secret in [vapid.private.expose(), &page, &firefox.endpoint, &phone] {
        keep_secret(secret);
    }
    register(&client, "page", "web", &json!({"channel": "fcm", "token": page})).await;
    register(&client, "firefox", "web", &json!({"channel": "webpush", "subscription": firefox})).await;
    register(&client, "phone", "ios", &json!({"channel": "apns", "token": phone})).await;

    let (title, content, payload) = ("Ann", "六点见 🧗", r#"{"conversation":"ann"}"#);
    let asked = json!({"to": {"users": ["bob"]}, "title": title, "content": content, "payload": payload});
    let (_, answer) = client.submit(&asked, "?wait=20s").await;
    assert_eq!(answer["status"]["counts"], json!({"sent": 3}), "{answer}");

    for shown in [emulator.vendor().inbox("page").unwrap(), emulator.apns().inbox("phone").unwrap()] {
        assert_eq!((shown.len(), shown[0].title.as_str(), shown[0].body.as_str()), (1, title, content));
        assert_eq!(shown[0].data["payload"], payload);
        assert_eq!(shown[0].tag.as_deref(), answer["id"].as_str(), "a duplicate would be seen once");
    }
    let pushes = emulator.webpush().inbox(&firefox);
    let push: Value = serde_json::from_str(pushes[0].text.as_deref().unwrap()).unwrap();
    assert_eq!((pushes.len(), &push["id"]), (1, &answer["id"]));
    let shown = &push["notification"];
    assert_eq!(
        (&shown["title"], &shown["body"], &shown["tag"]),
        (&title.into(), &content.into(), &answer["id"])
    );
    assert_eq!(push["data"]["payload"], payload);
}
