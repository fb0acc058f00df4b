//! Firebase's REST services, asked as its SDK asks them, and what `messages:send` makes of their registrations.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{ECDH_P256, PrivateKey, UnparsedPublicKey, agree};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use base64::engine::general_purpose::URL_SAFE;
use bytes::Bytes;
use serde_json::Value;

use super::*;
use crate::client::{SEND, bearer};

const INSTALLATIONS: &str = "/v1/projects/demo/installations";
const REGISTRATIONS: &str = "/v1/projects/demo/registrations";

/// A request with any method, as a page sends it.
async fn call(client: &Client, method: &str, path: &str, auth: &str) -> Answer {
    let uri = format!("https://fcmregistrations.googleapis.com{path}");
    let request = http::Request::builder().method(method).uri(uri).header("origin", "http://localhost:1");
    let request = request.header("x-goog-firebase-installations-auth", auth).body(()).unwrap();
    let (head, mut body) =
        client.send.clone().send_request(request, true).unwrap().0.await.unwrap().into_parts();
    let mut all = Vec::new();
    while let Some(chunk) = body.data().await {
        all.extend_from_slice(&chunk.unwrap());
    }
    Answer { status: head.status.as_u16(), headers: head.headers, body: Bytes::from(all) }
}

/// A page with the Firebase SDK in a browser that has subscribed.
struct Page {
    stage: Stage,
    fid: String,
    auth: String,
    keys: PrivateKey,
    secret: [u8; 16],
}

impl Page {
    async fn new() -> Self {
        let stage = Stage::new().await;
        let wish = json!({"fid": "czUzh-257gTXIRPemCGGAN", "authVersion": "FIS_v2", "appId": "1:123456789012:web:1", "sdkVersion": "w:0.6.20"});
        let made = stage.client.ask(INSTALLATIONS, &[], wish.to_string()).await.unwrap().json();
        let fid = made["fid"].as_str().unwrap().to_owned();
        let auth = format!("FIS {}", made["authToken"]["token"].as_str().unwrap());
        Self { stage, fid, auth, keys: PrivateKey::generate(&ECDH_P256).unwrap(), secret: [7; 16] }
    }

    fn web(&self) -> Value {
        let public = self.keys.compute_public_key().unwrap();
        json!({"endpoint": format!("https://jmt17.google.com/fcm/send/{}", self.stage.token),
            "auth": URL_SAFE_NO_PAD.encode(self.secret), "p256dh": URL_SAFE_NO_PAD.encode(public),
            "applicationPubKey": self.stage.sender.key()})
    }

    async fn register(&self, body: &Value) -> Answer {
        let auth = ("x-goog-firebase-installations-auth", self.auth.as_str());
        self.stage.client.ask(REGISTRATIONS, &[auth], body.to_string()).await.unwrap()
    }

    async fn send(&self, target: &str, key: &str) -> Answer {
        let message = json!({"message": {target: key, "notification": {"title": "Ann", "body": "hello"},
            "webpush": {"headers": {"TTL": "60"}, "fcm_options": {"link": "https://app.example/chat"}}}});
        self.post(&message).await
    }

    async fn post(&self, message: &Value) -> Answer {
        let bearer = format!("Bearer {}", bearer(&self.stage.client, &self.stage.emulator).await);
        self.stage.client.ask(SEND, &[("authorization", &bearer)], message.to_string()).await.unwrap()
    }

    /// What the worker's push event has, read by the draft before RFC 8291.
    fn decrypted(&self, push: &device::Push) -> Value {
        let part = |key: &str, prefix: &str| {
            let value = push.data(key).unwrap();
            // The Python client wants the padding and nothing else in the header.
            URL_SAFE.decode(value.strip_prefix(prefix).unwrap()).unwrap()
        };
        let (salt, theirs) = (part("encryption", "salt="), part("crypto-key", "dh="));
        let peer = UnparsedPublicKey::new(&ECDH_P256, &theirs);
        let shared = agree(&self.keys, peer, (), |secret| Ok(secret.to_vec())).unwrap();
        let ours = self.keys.compute_public_key().unwrap();
        let context = [b"P-256\0\0\x41", ours.as_ref(), b"\0\x41", &theirs].concat();
        let material = derived(&self.secret, &shared, b"Content-Encoding: auth\0", 32);
        let key = derived(&salt, &material, &[b"Content-Encoding: aesgcm\0", &context[..]].concat(), 16);
        let nonce = derived(&salt, &material, &[b"Content-Encoding: nonce\0", &context[..]].concat(), 12);
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).unwrap());
        let mut body = push.raw().unwrap();
        let nonce = Nonce::try_assume_unique_for_key(&nonce).unwrap();
        let plain = key.open_in_place(nonce, Aad::empty(), &mut body).unwrap();
        let padding = usize::from(u16::from_be_bytes([plain[0], plain[1]]));
        serde_json::from_slice(&plain[2 + padding..]).unwrap()
    }
}

/// HKDF (RFC 5869) as a library does it.
pub(super) fn derived(salt: &[u8], material: &[u8], info: &[u8], length: usize) -> Vec<u8> {
    struct Length(usize);
    impl KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    let mut out = vec![0; length];
    let key = Salt::new(HKDF_SHA256, salt).extract(material);
    key.expand(&[info], Length(length)).unwrap().fill(&mut out).unwrap();
    out
}

#[tokio::test]
async fn a_message_to_a_page_s_token_comes_down_its_browser_s_connection() {
    let page = Page::new().await;
    let mut connection = page.stage.log_in(&[]).await;
    let made = page.register(&json!({"web": page.web()})).await.json();
    let token = made["token"].as_str().unwrap();
    assert_eq!(made["name"], format!("projects/demo/registrations/{token}"));
    let answer = page.send("token", token).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let push = connection.push().await;
    assert_eq!((push.text(3), push.data("subtype").as_deref()), (page.stage.sender.key(), Some(SUBTYPE)));
    let shown = page.decrypted(&push);
    assert_eq!(shown["notification"], json!({"title": "Ann", "body": "hello"}));
    assert_eq!(shown["fcmOptions"]["link"], "https://app.example/chat");
    assert_eq!(page.register(&json!({"web": page.web()})).await.json()["token"], token, "asked again");
}

#[tokio::test]
async fn a_message_of_data_alone_has_no_notification_for_the_sdk_to_show() {
    let page = Page::new().await;
    let mut connection = page.stage.log_in(&[]).await;
    let made = page.register(&json!({"web": page.web()})).await.json();
    let message = json!({"message": {"token": made["token"], "data": {"payload": "p"}}});
    assert_eq!(page.post(&message).await.status, 200);
    let push = page.decrypted(&connection.push().await);
    assert_eq!(push["data"], json!({"payload": "p"}));
    for absent in ["notification", "fcmOptions"] {
        assert!(push.get(absent).is_none(), "{push}");
    }
}

#[tokio::test]
async fn a_page_without_a_token_is_reached_by_its_installation() {
    let page = Page::new().await;
    let mut connection = page.stage.log_in(&[]).await;
    let made = page.register(&json!({"web": page.web(), "fcm_sdk_version": "0.13.3"})).await.json();
    assert_eq!(made["name"], format!("projects/demo/registrations/{}", page.fid));
    assert!(made.get("token").is_none());
    assert_eq!(page.send("fid", &page.fid).await.status, 200);
    assert_eq!(page.decrypted(&connection.push().await)["notification"]["title"], "Ann");
}

#[tokio::test]
async fn a_firefox_with_the_sdk_is_reached_through_mozilla_s_connection() {
    let mut page = Page::new().await;
    let (mut firefox, _) = autopush::Firefox::hello(&page.stage.emulator, None).await;
    let endpoint = firefox.register(&page.stage.sender.key()).await;
    page.stage.token = endpoint.rsplit('/').next().unwrap().to_owned();
    let made = page.register(&json!({"web": page.web()})).await.json();
    assert_eq!(page.send("token", made["token"].as_str().unwrap()).await.status, 200);
    let headers = firefox.read().await.unwrap()["headers"].clone();
    assert_eq!(headers["encoding"], "aesgcm");
    assert!(headers["encryption"].as_str().unwrap().starts_with("salt="));
    assert!(headers["crypto_key"].as_str().unwrap().starts_with("dh="));
}

#[tokio::test]
async fn a_deleted_token_is_unregistered() {
    for by in ["token", "fid"] {
        let page = Page::new().await;
        let made = page.register(&json!({"web": page.web()})).await.json();
        let token = made["token"].as_str().unwrap().to_owned();
        let id = if by == "token" { &token } else { &page.fid };
        let answer = call(&page.stage.client, "DELETE", &format!("{REGISTRATIONS}/{id}"), &page.auth).await;
        assert_eq!((answer.status, &answer.body[..]), (200, &b"{}"[..]));
        let answer = page.send("token", &token).await;
        assert_eq!(
            (answer.status, &answer.json()["error"]["details"][0]["errorCode"]),
            (404, &json!("UNREGISTERED"))
        );
        let again = page.register(&json!({"web": page.web()})).await.json();
        assert_ne!(again["token"], token);
    }
}

#[tokio::test]
async fn a_registration_needs_an_installation_and_a_subscription_that_exist() {
    let page = Page::new().await;
    let status = async |body: Value| page.register(&body).await.status;
    for (field, wrong) in [
        ("endpoint", json!("https://jmt17.google.com/fcm/send/unknown")),
        ("endpoint", json!("http://jmt17.google.com/fcm/send/x")),
        ("p256dh", json!("AAAA")),
        ("auth", json!(null)),
        ("applicationPubKey", json!(Sender::new().key())),
    ] {
        let mut web = page.web();
        web[field] = wrong;
        assert_eq!(status(json!({"web": web})).await, 400, "{field}");
    }
    assert_eq!(status(json!({})).await, 400);
    let stranger = Page { auth: "FIS a.b.c".to_owned(), ..page };
    assert_eq!(stranger.register(&json!({"web": stranger.web()})).await.status, 401);
    let bare = Page { auth: stranger.auth.replace("FIS ", ""), ..stranger };
    assert_eq!(bare.register(&json!({"web": bare.web()})).await.status, 401);
}

#[tokio::test]
async fn a_page_of_any_origin_may_ask_and_read() {
    let stage = Stage::new().await;
    for path in [INSTALLATIONS, REGISTRATIONS, "/v1/projects/demo/registrations/x"] {
        let answer = call(&stage.client, "OPTIONS", path, "").await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, Some("*")), "{path}");
        let headers = answer.header("access-control-allow-headers").unwrap();
        assert!(headers.contains("authorization") && headers.contains("x-goog-firebase-installations-auth"));
    }
    let refused = call(&stage.client, "DELETE", "/v1/projects/demo/registrations/x", "").await;
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (404, Some("*")));
    let other = call(&stage.client, "POST", "/v1/projects/other/registrations", "").await;
    assert_eq!(other.status, 403);
}
