//! Firebase's REST services, called as its SDK does, and `messages:send` to their registrations.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{ECDH_P256, PrivateKey, UnparsedPublicKey, agree};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use base64::engine::general_purpose::URL_SAFE;
use bytes::Bytes;
use serde_json::Value;

use super::*;
use crate::fcm_client::{SEND, bearer};

const INSTALLATIONS: &str = "/v1/projects/demo/installations";
const REGISTRATIONS: &str = "/v1/projects/demo/registrations";

/// Sends a request with any method, as a page does.
async fn call(client: &Client, method: &str, path: &str, auth: &str) -> Response {
    let uri = format!("https://fcmregistrations.googleapis.com{path}");
    let request = http::Request::builder().method(method).uri(uri).header("origin", "http://localhost:1");
    let request = request.header("x-goog-firebase-installations-auth", auth).body(()).unwrap();
    let (head, mut body) =
        client.send.clone().send_request(request, true).unwrap().0.await.unwrap().into_parts();
    let mut content = Vec::new();
    while let Some(chunk) = body.data().await {
        content.extend_from_slice(&chunk.unwrap());
    }
    Response { status: head.status.as_u16(), headers: head.headers, body: Bytes::from(content) }
}

/// Page with the Firebase SDK in a browser that has a registration.
struct Page {
    setup: TestSetup,
    fid: String,
    auth: String,
    keys: PrivateKey,
    secret: [u8; 16],
}

impl Page {
    async fn new() -> Self {
        let setup = TestSetup::new().await;
        let installation = json!({"fid": "czUzh-257gTXIRPemCGGAN", "authVersion": "FIS_v2", "appId": "1:123456789012:web:1", "sdkVersion": "w:0.6.20"});
        let created = setup.client.post(INSTALLATIONS, &[], installation.to_string()).await.unwrap().json();
        let fid = created["fid"].as_str().unwrap().to_owned();
        let auth = format!("FIS {}", created["authToken"]["token"].as_str().unwrap());
        Self { setup, fid, auth, keys: PrivateKey::generate(&ECDH_P256).unwrap(), secret: [7; 16] }
    }

    fn web_subscription(&self) -> Value {
        let public = self.keys.compute_public_key().unwrap();
        json!({"endpoint": format!("https://jmt17.google.com/fcm/send/{}", self.setup.token),
            "auth": URL_SAFE_NO_PAD.encode(self.secret), "p256dh": URL_SAFE_NO_PAD.encode(public),
            "applicationPubKey": self.setup.app_server.key()})
    }

    async fn register(&self, body: &Value) -> Response {
        let auth = ("x-goog-firebase-installations-auth", self.auth.as_str());
        self.setup.client.post(REGISTRATIONS, &[auth], body.to_string()).await.unwrap()
    }

    async fn send(&self, target: &str, key: &str) -> Response {
        let message = json!({"message": {target: key, "notification": {"title": "Ann", "body": "hello"},
            "webpush": {"headers": {"TTL": "60"}, "fcm_options": {"link": "https://app.example/chat"}}}});
        self.post(&message).await
    }

    async fn post(&self, message: &Value) -> Response {
        let bearer = format!("Bearer {}", bearer(&self.setup.client, &self.setup.emulator).await);
        self.setup.client.post(SEND, &[("authorization", &bearer)], message.to_string()).await.unwrap()
    }

    /// Decrypts a push by the draft before RFC 8291, as the SDK's service worker gets it.
    fn decrypt(&self, push: &test_browser::Push) -> Value {
        let header_value = |key: &str, prefix: &str| {
            let value = push.data(key).unwrap();
            // Padding is required, because a Python client accepts nothing else.
            URL_SAFE.decode(value.strip_prefix(prefix).unwrap()).unwrap()
        };
        let (salt, sender_public) = (header_value("encryption", "salt="), header_value("crypto-key", "dh="));
        let peer = UnparsedPublicKey::new(&ECDH_P256, &sender_public);
        let shared = agree(&self.keys, peer, (), |secret| Ok(secret.to_vec())).unwrap();
        let own_public = self.keys.compute_public_key().unwrap();
        let context = [b"P-256\0\0\x41", own_public.as_ref(), b"\0\x41", &sender_public].concat();
        let key_material = hkdf(&self.secret, &shared, b"Content-Encoding: auth\0", 32);
        let key = hkdf(&salt, &key_material, &[b"Content-Encoding: aesgcm\0", &context[..]].concat(), 16);
        let nonce = hkdf(&salt, &key_material, &[b"Content-Encoding: nonce\0", &context[..]].concat(), 12);
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).unwrap());
        let mut body = push.raw().unwrap();
        let nonce = Nonce::try_assume_unique_for_key(&nonce).unwrap();
        let plain = key.open_in_place(nonce, Aad::empty(), &mut body).unwrap();
        let padding = usize::from(u16::from_be_bytes([plain[0], plain[1]]));
        serde_json::from_slice(&plain[2 + padding..]).unwrap()
    }
}

/// Returns `length` bytes of HKDF (RFC 5869), by a library.
pub(super) fn hkdf(salt: &[u8], key_material: &[u8], info: &[u8], length: usize) -> Vec<u8> {
    struct Length(usize);
    impl KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    let mut out = vec![0; length];
    let key = Salt::new(HKDF_SHA256, salt).extract(key_material);
    key.expand(&[info], Length(length)).unwrap().fill(&mut out).unwrap();
    out
}

#[tokio::test]
async fn a_message_to_a_pages_token_is_delivered_over_its_browsers_connection() {
    let page = Page::new().await;
    let mut connection = page.setup.log_in(&[]).await;
    let created = page.register(&json!({"web": page.web_subscription()})).await.json();
    let token = created["token"].as_str().unwrap();
    assert_eq!(created["name"], format!("projects/demo/registrations/{token}"));
    let response = page.send("token", token).await;
    assert_eq!(response.status, 200, "{response:?}");
    let push = connection.push().await;
    assert_eq!((push.text(3), push.data("subtype").as_deref()), (page.setup.app_server.key(), Some(SUBTYPE)));
    let shown = page.decrypt(&push);
    assert_eq!(shown["notification"], json!({"title": "Ann", "body": "hello"}));
    assert_eq!(shown["fcmOptions"]["link"], "https://app.example/chat");
    assert_eq!(
        page.register(&json!({"web": page.web_subscription()})).await.json()["token"],
        token,
        "the same subscription keeps its token"
    );
}

#[tokio::test]
async fn a_data_message_has_no_notification() {
    let page = Page::new().await;
    let mut connection = page.setup.log_in(&[]).await;
    let created = page.register(&json!({"web": page.web_subscription()})).await.json();
    let message = json!({"message": {"token": created["token"], "data": {"payload": "p"}}});
    assert_eq!(page.post(&message).await.status, 200);
    let push = page.decrypt(&connection.push().await);
    assert_eq!(push["data"], json!({"payload": "p"}));
    for absent in ["notification", "fcmOptions"] {
        assert!(push.get(absent).is_none(), "{push}");
    }
}

#[tokio::test]
async fn a_page_without_a_token_is_addressed_by_its_installation_id() {
    let page = Page::new().await;
    let mut connection = page.setup.log_in(&[]).await;
    let created =
        page.register(&json!({"web": page.web_subscription(), "fcm_sdk_version": "0.13.3"})).await.json();
    assert_eq!(created["name"], format!("projects/demo/registrations/{}", page.fid));
    assert!(created.get("token").is_none());
    assert_eq!(page.send("fid", &page.fid).await.status, 200);
    assert_eq!(page.decrypt(&connection.push().await)["notification"]["title"], "Ann");
}

#[tokio::test]
async fn a_firefox_with_the_sdk_gets_its_pushes_over_autopush() {
    let mut page = Page::new().await;
    let (mut firefox, _) = autopush::Firefox::hello(&page.setup.emulator, None).await;
    let endpoint = firefox.register(&page.setup.app_server.key()).await;
    page.setup.token = endpoint.rsplit('/').next().unwrap().to_owned();
    let created = page.register(&json!({"web": page.web_subscription()})).await.json();
    assert_eq!(page.send("token", created["token"].as_str().unwrap()).await.status, 200);
    let headers = firefox.read().await.unwrap()["headers"].clone();
    assert_eq!(headers["encoding"], "aesgcm");
    assert!(headers["encryption"].as_str().unwrap().starts_with("salt="));
    assert!(headers["crypto_key"].as_str().unwrap().starts_with("dh="));
}

#[tokio::test]
async fn a_deleted_registration_is_unregistered() {
    for id_kind in ["token", "fid"] {
        let page = Page::new().await;
        let created = page.register(&json!({"web": page.web_subscription()})).await.json();
        let token = created["token"].as_str().unwrap().to_owned();
        let id = if id_kind == "token" { &token } else { &page.fid };
        let response = call(&page.setup.client, "DELETE", &format!("{REGISTRATIONS}/{id}"), &page.auth).await;
        assert_eq!((response.status, &response.body[..]), (200, &b"{}"[..]));
        let response = page.send("token", &token).await;
        assert_eq!(
            (response.status, &response.json()["error"]["details"][0]["errorCode"]),
            (404, &json!("UNREGISTERED"))
        );
        let registered_again = page.register(&json!({"web": page.web_subscription()})).await.json();
        assert_ne!(registered_again["token"], token);
    }
}

#[tokio::test]
async fn a_registration_needs_an_existing_installation_and_subscription() {
    let page = Page::new().await;
    let status = async |body: Value| page.register(&body).await.status;
    for (field, invalid) in [
        ("endpoint", json!("https://jmt17.google.com/fcm/send/unknown")),
        ("endpoint", json!("http://jmt17.google.com/fcm/send/x")),
        ("p256dh", json!("AAAA")),
        ("auth", json!(null)),
        ("applicationPubKey", json!(AppServer::new().key())),
    ] {
        let mut web = page.web_subscription();
        web[field] = invalid;
        assert_eq!(status(json!({"web": web})).await, 400, "{field}");
    }
    assert_eq!(status(json!({})).await, 400);
    let unknown_token = Page { auth: "FIS a.b.c".to_owned(), ..page };
    assert_eq!(unknown_token.register(&json!({"web": unknown_token.web_subscription()})).await.status, 401);
    let without_prefix = Page { auth: unknown_token.auth.replace("FIS ", ""), ..unknown_token };
    assert_eq!(without_prefix.register(&json!({"web": without_prefix.web_subscription()})).await.status, 401);
}

#[tokio::test]
async fn pages_of_any_origin_may_call_the_services() {
    let setup = TestSetup::new().await;
    for path in [INSTALLATIONS, REGISTRATIONS, "/v1/projects/demo/registrations/x"] {
        let response = call(&setup.client, "OPTIONS", path, "").await;
        assert_eq!(
            (response.status, response.header("access-control-allow-origin")),
            (204, Some("*")),
            "{path}"
        );
        let headers = response.header("access-control-allow-headers").unwrap();
        assert!(headers.contains("authorization") && headers.contains("x-goog-firebase-installations-auth"));
    }
    let refused = call(&setup.client, "DELETE", "/v1/projects/demo/registrations/x", "").await;
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (404, Some("*")));
    let other_project = call(&setup.client, "POST", "/v1/projects/other/registrations", "").await;
    assert_eq!(other_project.status, 403);
}
