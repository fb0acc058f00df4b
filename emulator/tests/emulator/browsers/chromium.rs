//! A real Chromium, if one is installed: a page subscribes, and its service worker gets a push and shows it.
//! There is no driver. Page and worker report to a small server of the test.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{ECDH_P256, PrivateKey, UnparsedPublicKey, agree};
use axum::extract::State;
use axum::response::{Html, IntoResponse as _};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::firebase::hkdf;
use super::*;

/// Timeout of the first start, which is slow on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(90);

const PAGE: &str = r#"<!doctype html><title>page</title><script>
const say = (what, value) => fetch("/said", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify([what, value]) });
(async () => {
  await navigator.serviceWorker.register("/worker.js");
  const worker = await navigator.serviceWorker.ready;
  const subscription = await worker.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: "KEY" });
  await say("subscribed", subscription.toJSON());
})().catch(error => say("failed", String(error)));
</script>"#;

const WORKER: &str = r#"
self.addEventListener("push", event => event.waitUntil((async () => {
  const { title, body } = event.data.json();
  await self.registration.showNotification(title, { body });
  const shown = (await self.registration.getNotifications()).map(({ title, body }) => [title, body]);
  await fetch("/said", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(["shown", shown]) });
})()));"#;

/// Server of the page, and receiver of its reports.
struct ReportServer {
    port: u16,
    reports: UnboundedReceiver<(String, Value)>,
}

impl ReportServer {
    async fn open(key: &str) -> Self {
        async fn record(
            State(reports): State<UnboundedSender<(String, Value)>>,
            Json(report): Json<(String, Value)>,
        ) {
            let _ = reports.send(report);
        }
        let (app_server, reports) = unbounded_channel();
        let page = PAGE.replace("KEY", key);
        let worker = async || ([("content-type", "text/javascript")], WORKER).into_response();
        let router = Router::new()
            .route("/", get(async || Html(page)))
            .route("/worker.js", get(worker))
            .route("/said", post(record))
            .with_state(app_server);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { port, reports }
    }

    /// Returns the value of the next report, which must have this name.
    async fn expect_report(&mut self, expected: &str, timeout: Duration) -> Value {
        let report = tokio::time::timeout(timeout, self.reports.recv()).await;
        let (name, value) = report.unwrap_or_else(|_| panic!("no report {expected:?}")).unwrap();
        assert_eq!(name, expected, "{value}");
        value
    }
}

/// Browser with a profile of its own. Dropping it ends all of its processes.
struct Chromium {
    process: Child,
    _profile: tempfile::TempDir,
}

impl Chromium {
    fn start(binary: &Path, emulator: &Emulator, url: &str) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let allowed = json!({"profile": {"default_content_setting_values": {"notifications": 1}}});
        std::fs::create_dir_all(profile.path().join("Default")).unwrap();
        std::fs::write(profile.path().join("Default/Preferences"), allowed.to_string()).unwrap();
        let process = Command::new(binary)
            .args(["--headless=new", "--no-sandbox", "--no-first-run", "--disable-component-update"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .args(emulator.chromium_switches())
            .arg(url)
            .env("HOME", profile.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        Self { process, _profile: profile }
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let group = format!("-{}", self.process.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.process.wait();
    }
}

#[expect(clippy::print_stdout, reason = "whoever runs the tests has to see that one was skipped")]
fn skipped(why: &str) -> Option<&'static Path> {
    println!("skipped: {why}");
    None
}

/// Returns the browser to test with. If there is none that can work, prints the reason and returns `None`.
fn chromium() -> Option<&'static Path> {
    let binary =
        ["/usr/bin/chromium", "/usr/bin/google-chrome"].map(Path::new).into_iter().find(|at| at.exists());
    match binary {
        None => skipped("no chromium"),
        Some(_) if !is_online() => skipped("chromium thinks itself offline without a network interface"),
        Some(binary) => Some(binary),
    }
}

/// Returns `true` if there is a route beside loopback. Without one Chromium never opens its push connection.
fn is_online() -> bool {
    // The first line is the header of the table.
    std::fs::read_to_string("/proc/self/net/route").is_ok_and(|routes| routes.lines().count() > 1)
}

/// Encrypts a message for the keys of a page by RFC 8291.
fn encrypt(keys: &Value, plaintext: &[u8]) -> Vec<u8> {
    let key = |name: &str| URL_SAFE_NO_PAD.decode(keys[name].as_str().unwrap()).unwrap();
    let (page_public, auth) = (key("p256dh"), key("auth"));
    let key_pair = PrivateKey::generate(&ECDH_P256).unwrap();
    let public = key_pair.compute_public_key().unwrap();
    let peer = UnparsedPublicKey::new(&ECDH_P256, &page_public);
    let secret = agree(&key_pair, peer, (), |secret| Ok(secret.to_vec())).unwrap();
    let info = [b"WebPush: info\0", page_public.as_slice(), public.as_ref()].concat();
    let key_material = hkdf(&auth, &secret, &info, 32);
    let salt = [5; 16];
    let key = hkdf(&salt, &key_material, b"Content-Encoding: aes128gcm\0", 16);
    let nonce = hkdf(&salt, &key_material, b"Content-Encoding: nonce\0", 12);
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).unwrap());
    let mut record = [plaintext, &[2]].concat();
    let nonce = Nonce::try_assume_unique_for_key(&nonce).unwrap();
    key.seal_in_place_append_tag(nonce, Aad::empty(), &mut record).unwrap();
    [&salt[..], &4096_u32.to_be_bytes(), &[65], public.as_ref(), &record].concat()
}

#[tokio::test]
async fn a_real_chromium_shows_a_push() {
    let Some(binary) = chromium() else { return };
    let emulator = emulator().await;
    let (client, app_server) = (Client::connect(&emulator).await, AppServer::new());
    let mut site = ReportServer::open(&app_server.key()).await;
    let _chromium = Chromium::start(binary, &emulator, &format!("http://localhost:{}/", site.port));
    let subscription = site.expect_report("subscribed", START_TIMEOUT).await;
    let endpoint = subscription["endpoint"].as_str().unwrap();
    let path = &endpoint[endpoint.find("/fcm/send/").expect("an endpoint of Google")..];
    let authorization = app_server.authorization(&emulator);
    let headers = [("ttl", "60"), ("authorization", &authorization), ("content-encoding", "aes128gcm")];
    let body = encrypt(&subscription["keys"], br#"{"title": "Ann", "body": "hello"}"#);
    assert_eq!(client.post(path, &headers, body).await.unwrap().status, 201);
    assert_eq!(site.expect_report("shown", START_TIMEOUT).await, json!([["Ann", "hello"]]));
    let arrived = |event: &EventKind| matches!(event, EventKind::Arrived { .. });
    emulator.browsers().wait_for(arrived, TIMEOUT).await.expect("the browser acknowledges it");
}
