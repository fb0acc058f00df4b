//! Web Push through the whole gateway: the emulator stands in for each browser's service under the service's own name.

use http::Method;
use pushgate_emulator::{Emulator, ReceivedPush, Subscription, WebPushService};
use pushgate_webpush::KeyPair;
use serde_json::{Value, json};

use crate::secrecy::keep_secret;
use crate::setup::Setup;

const HOSTS: [&str; 5] = [
    "updates.push.services.mozilla.com",
    "fcm.googleapis.com",
    "web.push.apple.com",
    "wns2-par02p.notify.windows.com",
    "push.example.org",
];

/// A gateway with a channel to every browser's service and no other.
struct WebPushSetup {
    setup: Setup,
    public_key: String,
}

/// The channel's table: each service's name leads to the emulator.
fn tables(emulator: &Emulator, pair: &KeyPair) -> String {
    let address = emulator.url().replace("https://", "");
    let hosts: Vec<_> = HOSTS.iter().map(|host| format!("\"{host}\" = \"{address}\"")).collect();
    format!(
        r#"
[apps.demo.channels.webpush]
kind = "webpush"
private_key = "{}"
subject = "mailto:push@example.com"
endpoints = ["push.example.org"]
transport.roots = "file:ca.pem"
transport.connect_to = {{ {} }}
"#,
        pair.private.expose(),
        hosts.join(", ")
    )
}

impl WebPushSetup {
    async fn open() -> Self {
        let pair = KeyPair::generate().unwrap();
        keep_secret(pair.private.expose());
        let setup = Setup::of(|emulator, _| tables(emulator, &pair)).await;
        Self { setup, public_key: pair.public }
    }

    /// A browser of this service, subscribed with the gateway's key and registered for the user.
    async fn browser_of(&self, user: &str, service: WebPushService) -> Subscription {
        let subscription = self.setup.emulator.webpush().subscribe(service, &self.public_key).unwrap();
        let (status, answer) = self.register(user, &subscription).await;
        assert!(status < 300, "{status} {answer}");
        subscription
    }

    async fn register(&self, user: &str, subscription: &Subscription) -> (u16, Value) {
        keep_secret(&subscription.endpoint);
        let body = json!({"user": user, "platform": "web", "addresses": [{"channel": "webpush", "subscription": subscription}]});
        let path = format!("/v1/apps/demo/devices/{}", subscription.id);
        self.setup.client.raw(Method::PUT, &path, body.to_string()).await
    }

    fn inbox(&self, subscription: &Subscription) -> Vec<ReceivedPush> {
        self.setup.emulator.webpush().inbox(subscription)
    }
}

fn read(push: &ReceivedPush) -> Value {
    serde_json::from_str(push.text.as_deref().unwrap()).unwrap()
}

/// The faults of the devices that have one.
fn codes(answer: &Value) -> Vec<&str> {
    let devices = answer["status"]["devices"].as_array().unwrap();
    devices.iter().filter_map(|device| device["fault"]["code"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_notification_reaches_a_browser_of_every_push_service() {
    let web_push = WebPushSetup::open().await;
    let mut browsers = Vec::new();
    for service in WebPushService::ALL {
        browsers.push(web_push.browser_of("bob", service).await);
    }
    let asked = json!({"to": {"users": ["bob"]}, "title": "Ann", "content": "六点见 🧗", "payload": "{\"conversation\":\"ann\"}"});
    let (_, answer) = web_push.setup.client.submit(&asked, "?wait=20s").await;
    assert_eq!(answer["status"]["counts"], json!({"sent": 5}), "{answer}");
    for browser in browsers {
        let inbox = web_push.inbox(&browser);
        assert_eq!(inbox.len(), 1, "{}", browser.id);
        let text = read(&inbox[0]);
        assert_eq!(text["notification"]["title"], "Ann");
        assert_eq!(text["notification"]["body"], "六点见 🧗");
        assert_eq!(text["data"]["payload"], "{\"conversation\":\"ann\"}");
        assert_eq!(text["id"], answer["id"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn now_or_never_with_a_collapse_key_is_taken_by_every_push_service() {
    let web_push = WebPushSetup::open().await;
    for service in WebPushService::ALL {
        web_push.browser_of("bob", service).await;
    }
    let asked = json!({"to": {"users": ["bob"]}, "title": "Ann", "content": "is calling you", "ttl": 0, "collapse_key": "call:7"});
    let (_, answer) = web_push.setup.client.submit(&asked, "?wait=20s").await;
    assert_eq!(answer["status"]["counts"], json!({"sent": 5}), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_has_unsubscribed_is_forgotten_at_every_push_service() {
    let web_push = WebPushSetup::open().await;
    // The prune guard believes no death in a window without a success.
    web_push.browser_of("ann", WebPushService::Mozilla).await;
    let to_ann = json!({"to": {"users": ["ann"]}, "title": "Bob"});
    let (_, reached) = web_push.setup.client.submit(&to_ann, "?wait=20s").await;
    assert_eq!(reached["status"]["counts"], json!({"sent": 1}), "{reached}");
    for service in WebPushService::ALL {
        let browser = web_push.browser_of("bob", service).await;
        assert!(web_push.setup.emulator.webpush().expire(&browser));
    }
    let asked = json!({"to": {"users": ["bob"]}, "title": "Ann"});
    let (_, answer) = web_push.setup.client.submit(&asked, "?wait=20s").await;
    assert_eq!(answer["status"]["counts"], json!({"failed": 5}), "{answer}");
    assert_eq!(codes(&answer), ["token_gone"; 5], "{answer}");
    let (_, again) = web_push.setup.client.submit(&asked, "?wait=20s").await;
    assert_eq!(again["status"]["counts"], json!({}), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_made_for_another_key_fails_alone_and_is_kept() {
    let web_push = WebPushSetup::open().await;
    let ours = web_push.browser_of("bob", WebPushService::Mozilla).await;
    let other = KeyPair::generate().unwrap();
    for service in [WebPushService::Mozilla, WebPushService::Google, WebPushService::Apple] {
        let theirs = web_push.setup.emulator.webpush().subscribe(service, &other.public).unwrap();
        assert!(web_push.register("bob", &theirs).await.0 < 300);
    }
    let asked = json!({"to": {"users": ["bob"]}, "title": "Ann"});
    let (_, answer) = web_push.setup.client.submit(&asked, "?wait=20s").await;
    assert_eq!(answer["status"]["counts"], json!({"sent": 1, "failed": 3}), "{answer}");
    assert_eq!(codes(&answer), ["wrong_app"; 3], "{answer}");
    assert_eq!(web_push.inbox(&ours).len(), 1);
    let (_, again) = web_push.setup.client.submit(&asked, "?wait=20s").await;
    assert_eq!(again["status"]["counts"], json!({"sent": 1, "failed": 3}), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_leads_inside_is_refused_where_it_is_registered_and_nothing_is_stored() {
    let web_push = WebPushSetup::open().await;
    let subscription =
        web_push.setup.emulator.webpush().subscribe(WebPushService::Mozilla, &web_push.public_key).unwrap();
    for origin in [
        "https://169.254.169.254",
        "https://localhost",
        "https://127.0.0.1",
        "https://[::1]",
        "https://[::ffff:127.0.0.1]",
        "https://push.example.org:8443",
        "http://push.example.org",
        "https://intranet",
        "https://another.example.net",
    ] {
        let (status, answer) = web_push.register("bob", &subscription.with_origin(origin)).await;
        assert_eq!((status, &answer["code"]), (422, &"bad_address".into()), "{origin} {answer}");
    }
    let (_, answer) =
        web_push.setup.client.submit(&json!({"to": {"users": ["bob"]}, "title": "Ann"}), "?wait=20s").await;
    assert_eq!(answer["status"]["counts"], json!({}), "{answer}");
    assert!(web_push.inbox(&subscription).is_empty());
}
