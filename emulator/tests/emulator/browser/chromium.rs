//! A real Chromium, where there is one: a page subscribes, its worker gets a push and shows it. No driver: page and worker
//! tell a small server of the test what they see.

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

use super::firebase::derived;
use super::*;

/// A first start on a busy machine takes its time.
const START: Duration = Duration::from_secs(90);

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

/// Where the page comes from and what it says.
struct Site {
    port: u16,
    said: UnboundedReceiver<(String, Value)>,
}

impl Site {
    async fn open(key: &str) -> Self {
        async fn note(
            State(said): State<UnboundedSender<(String, Value)>>,
            Json(what): Json<(String, Value)>,
        ) {
            let _ = said.send(what);
        }
        let (sender, said) = unbounded_channel();
        let page = PAGE.replace("KEY", key);
        let worker = async || ([("content-type", "text/javascript")], WORKER).into_response();
        let router = Router::new()
            .route("/", get(async || Html(page)))
            .route("/worker.js", get(worker))
            .route("/said", post(note))
            .with_state(sender);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { port, said }
    }

    /// What is said next, which has to be this.
    async fn hear(&mut self, wanted: &str, patience: Duration) -> Value {
        let heard = tokio::time::timeout(patience, self.said.recv()).await;
        let (what, value) = heard.unwrap_or_else(|_| panic!("nothing of {wanted:?}")).unwrap();
        assert_eq!(what, wanted, "{value}");
        value
    }
}

/// A browser with a profile of its own; it ends with all its processes when dropped.
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

/// The browser to test with; none, with the reason said, where it could not work.
fn chromium() -> Option<&'static Path> {
    let binary =
        ["/usr/bin/chromium", "/usr/bin/google-chrome"].map(Path::new).into_iter().find(|at| at.exists());
    match binary {
        None => skipped("no chromium"),
        Some(_) if !is_online() => skipped("chromium thinks itself offline without a network interface"),
        Some(binary) => Some(binary),
    }
}

/// Whether an interface beside loopback leads anywhere: without one Chromium never opens its push connection.
fn is_online() -> bool {
    // The first line is the heading.
    std::fs::read_to_string("/proc/self/net/route").is_ok_and(|routes| routes.lines().count() > 1)
}

/// RFC 8291, for the keys a page gives.
fn encrypted(keys: &Value, plaintext: &[u8]) -> Vec<u8> {
    let part = |name: &str| URL_SAFE_NO_PAD.decode(keys[name].as_str().unwrap()).unwrap();
    let (theirs, auth) = (part("p256dh"), part("auth"));
    let own = PrivateKey::generate(&ECDH_P256).unwrap();
    let public = own.compute_public_key().unwrap();
    let peer = UnparsedPublicKey::new(&ECDH_P256, &theirs);
    let secret = agree(&own, peer, (), |secret| Ok(secret.to_vec())).unwrap();
    let info = [b"WebPush: info\0", theirs.as_slice(), public.as_ref()].concat();
    let material = derived(&auth, &secret, &info, 32);
    let salt = [5; 16];
    let key = derived(&salt, &material, b"Content-Encoding: aes128gcm\0", 16);
    let nonce = derived(&salt, &material, b"Content-Encoding: nonce\0", 12);
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).unwrap());
    let mut record = [plaintext, &[2]].concat();
    let nonce = Nonce::try_assume_unique_for_key(&nonce).unwrap();
    key.seal_in_place_append_tag(nonce, Aad::empty(), &mut record).unwrap();
    [&salt[..], &4096_u32.to_be_bytes(), &[65], public.as_ref(), &record].concat()
}

#[tokio::test]
async fn a_real_chromium_shows_a_real_push() {
    let Some(binary) = chromium() else { return };
    let emulator = emulator().await;
    let (client, sender) = (Client::connect(&emulator).await, Sender::new());
    let mut site = Site::open(&sender.key()).await;
    let _chromium = Chromium::start(binary, &emulator, &format!("http://localhost:{}/", site.port));
    let subscription = site.hear("subscribed", START).await;
    let endpoint = subscription["endpoint"].as_str().unwrap();
    let path = &endpoint[endpoint.find("/fcm/send/").expect("an endpoint of Google")..];
    let authorization = sender.authorization(&emulator);
    let headers = [("ttl", "60"), ("authorization", &authorization), ("content-encoding", "aes128gcm")];
    let body = encrypted(&subscription["keys"], br#"{"title": "Ann", "body": "hello"}"#);
    assert_eq!(client.ask(path, &headers, body).await.unwrap().status, 201);
    assert_eq!(site.hear("shown", START).await, json!([["Ann", "hello"]]));
    let arrived = |what: &EventKind| matches!(what, EventKind::Arrived { .. });
    emulator.browsers().wait_for(arrived, PATIENCE).await.expect("the browser acknowledges it");
}
