//! Test setup: an emulator, a gateway that serves its APIs, and a client.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderValue, Method};
use pushgate::{Request, Transport};
use pushgate_config::{Config, Sources};
use pushgate_emulator::{Emulator, Options, Platform};
use pushgate_server::serve::Running;
use pushgate_server::{assemble, serve};
use pushgate_transport::HttpTransport;
use serde_json::{Value, json};

use crate::secrecy::{keep_secret, keep_texts_secret};

/// Long enough for anything that is going to happen.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(30);

pub(crate) struct Setup {
    pub(crate) emulator: Emulator,
    pub(crate) client: Client,
    _running: Running,
    _folder: tempfile::TempDir,
}

#[derive(Clone)]
pub(crate) struct Client {
    transport: Arc<HttpTransport>,
    pub(crate) base: String,
    pub(crate) key: String,
}

/// Key that signs the user tokens of the demo app.
pub(crate) const USER_KEY: &str = "user-key-user-key-user-key-user-";

/// A token by which a user of the demo app manages his own devices.
pub(crate) fn user_token(user: &str) -> String {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let claims = json!({"app": "demo", "user": user, "exp": now + 600});
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&json!({"alg": "HS256", "kid": "test"})), part(&claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, USER_KEY.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes())))
}

/// Writes what an emulator and a key need for a gateway in the folder; gives the key.
pub(crate) fn configure(folder: &Path) -> String {
    let (key, digest) = pushgate_server::keys::new_key();
    let (other, other_digest) = pushgate_server::keys::new_key();
    let (admin, admin_digest) = pushgate_server::keys::new_key();
    let path = folder.join("pushgate.toml");
    let mut text = std::fs::read_to_string(&path).unwrap();
    if !text.contains("[server]") {
        text.push_str("\n[server]\nlisten = \"127.0.0.1:0\"");
    }
    text.push_str(&format!(
        r#"
[log]
level = "trace"
[storage]
path = "{}"
[apps.other.channels.dummy]
kind = "dummy"
[apps.demo.templates.message]
title = "{{{{ sender }}}}"
content = "{{{{ text }}}}"
[[apps.demo.user_keys]]
id = "test"
alg = "HS256"
key = "{USER_KEY}"
[[keys]]
id = "demo"
hash = "sha256:{digest}"
apps = ["demo"]
scopes = ["send", "devices"]
[[keys]]
id = "other"
hash = "sha256:{other_digest}"
apps = ["other"]
scopes = ["send"]
[[keys]]
id = "admin"
hash = "sha256:{admin_digest}"
apps = "*"
scopes = ["admin"]
"#,
        folder.join("pushgate.db").display()
    ));
    std::fs::write(&path, text).unwrap();
    std::fs::write(folder.join("other.key"), other).unwrap();
    std::fs::write(folder.join("admin.key"), admin).unwrap();
    key
}

/// A gateway on the tables that stand in the folder, and a client of its demo app.
async fn open(folder: &Path) -> (Running, Client) {
    let key = configure(folder);
    let file = folder.join("pushgate.toml");
    let config = Config::load(&Sources { file: Some(&file), ..Sources::default() }).unwrap();
    let running = serve::open(&config, assemble::gateway(&config).await.unwrap(), None).await.unwrap();
    let client = Client::new(&format!("http://{}", running.address), &key);
    (running, client)
}

impl Setup {
    pub(crate) async fn open() -> Self {
        Self::with("").await
    }

    /// With more in the configuration.
    pub(crate) async fn with(more: &str) -> Self {
        Self::of(|_, written| written + more).await
    }

    /// With these tables in place of those that the emulator has written, or made of them.
    pub(crate) async fn of(tables: impl FnOnce(&Emulator, String) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { directory: Some(folder.path().to_owned()), ..Options::default() };
        let emulator = Emulator::start(options).await.unwrap();
        let file = folder.path().join("pushgate.toml");
        let text = tables(&emulator, std::fs::read_to_string(&file).unwrap());
        std::fs::write(&file, text).unwrap();
        let (running, client) = open(folder.path()).await;
        Self { emulator, client, _running: running, _folder: folder }
    }

    pub(crate) fn key_of_another_app(&self) -> String {
        std::fs::read_to_string(self._folder.path().join("other.key")).unwrap()
    }

    /// A key with the scope `admin`, for every app.
    pub(crate) fn admin_key(&self) -> String {
        std::fs::read_to_string(self._folder.path().join("admin.key")).unwrap()
    }

    pub(crate) fn folder(&self) -> &Path {
        self._folder.path()
    }

    /// A virtual web page of a user, registered with the gateway.
    pub(crate) async fn page_of(&self, user: &str) -> String {
        let id = format!("{user}-web");
        let device = self.emulator.fcm().add_device(&id, Platform::Web).unwrap();
        self.client.register(&id, user, &device.token).await;
        id
    }
}

impl Client {
    pub(crate) fn new(base: &str, key: &str) -> Self {
        keep_secret(key);
        let transport = Arc::new(HttpTransport::builder().max_connections(64).build().unwrap());
        Self { transport, base: base.to_owned(), key: key.to_owned() }
    }

    pub(crate) async fn raw(&self, method: Method, path: &str, body: impl Into<Vec<u8>>) -> (u16, Value) {
        let uri = format!("{}{path}", self.base).parse().unwrap();
        let mut request = Request::post(uri, body.into(), MAX_WAIT);
        request.method = method;
        if !self.key.is_empty() {
            let bearer = HeaderValue::try_from(format!("Bearer {}", self.key)).unwrap();
            request.headers.insert(http::header::AUTHORIZATION, bearer);
        }
        let response = self.transport.send(request).await.unwrap();
        (response.status.as_u16(), serde_json::from_slice(&response.body).unwrap_or_default())
    }

    /// Sends an empty request, and returns the status and the header `Allow`.
    pub(crate) async fn allow(&self, method: Method, path: &str) -> (u16, String) {
        let mut request =
            Request::post(format!("{}{path}", self.base).parse().unwrap(), Vec::new(), MAX_WAIT);
        request.method = method;
        let response = self.transport.send(request).await.unwrap();
        let allow = response.headers.get(http::header::ALLOW).map(|allow| allow.to_str().unwrap().to_owned());
        (response.status.as_u16(), allow.unwrap_or_default())
    }

    /// Asks, and expects to be answered with this status.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: &Value, status: u16) -> Value {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let (given, answer) = self.raw(method.clone(), path, text).await;
        assert_eq!(given, status, "{method} {path}: {answer}");
        answer
    }

    pub(crate) async fn register(&self, id: &str, user: &str, token: &str) {
        keep_secret(token);
        let body =
            json!({"user": user, "platform": "web", "addresses": [{"channel": "fcm", "token": token}]});
        let (status, answer) =
            self.raw(Method::PUT, &format!("/v1/apps/demo/devices/{id}"), body.to_string()).await;
        assert!(status < 300, "{status} {answer}");
    }

    pub(crate) async fn submit(&self, body: &Value, query: &str) -> (u16, Value) {
        keep_texts_secret(body);
        self.raw(Method::POST, &format!("/v1/apps/demo/notifications{query}"), body.to_string()).await
    }

    pub(crate) async fn status(&self, id: &Value) -> Value {
        let path = format!("/v1/apps/demo/notifications/{}", id.as_str().unwrap());
        self.raw(Method::GET, &path, "").await.1
    }
}
