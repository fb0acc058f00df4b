//! The samples in a complete gateway: one binary, one configuration file, and an HTTP endpoint for the requests.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use http::Method;
use parking_lot::Mutex;
use pushgate_emulator::{Emulator, EventKind, Options, Platform};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;

use super::{PUSHGATE, compile};
use crate::secrecy::keep_secret;
use crate::setup::{Client, MAX_WAIT};

/// HTTP endpoint that records paths and bodies. Its response suits both samples.
#[derive(Clone, Default)]
struct Endpoint(Arc<Mutex<Vec<(String, Value)>>>);

impl Endpoint {
    /// Starts the endpoint. Returns its URL.
    async fn open(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(record_request).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}")
    }

    fn requests(&self) -> Vec<(String, Value)> {
        self.0.lock().clone()
    }
}

async fn record_request(State(endpoint): State<Endpoint>, request: Request) -> String {
    let path = request.uri().path().to_owned();
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
    endpoint.0.lock().push((path, serde_json::from_slice(&body).unwrap_or_default()));
    r#"{"ok":true,"result":{"message_id":77,"username":"acme_bot"}}"#.to_owned()
}

/// Returns the path of the Rust sample, which cargo builds next to these tests.
fn webhook() -> PathBuf {
    let name =
        format!("{}pushgate_plugin_webhook{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    std::env::current_exe().unwrap().with_file_name(name)
}

/// Gateway process, which is killed on drop.
struct Server {
    process: Child,
    client: Client,
    /// Output on stderr so far.
    log: watch::Receiver<String>,
}

/// Reads lines in a thread until the end of the output.
fn lines_of(output: impl Read + Send + 'static) -> watch::Receiver<String> {
    let (sender, log) = watch::channel(String::new());
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            sender.send_modify(|log| *log += &(line + "\n"));
        }
    });
    log
}

impl Server {
    fn start(directory: &Path, key: &str) -> Self {
        let mut process = Command::new(PUSHGATE)
            .args(["serve", "--config"])
            .arg(directory.join("pushgate.toml"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = lines_of(process.stderr.take().unwrap());
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ");
        let address = address.unwrap_or_else(|| panic!("{}", *log.borrow()));
        Self { client: Client::new(address, key), process, log }
    }

    fn send_sighup(&self) {
        Command::new("kill").args(["-HUP", &self.process.id().to_string()]).status().unwrap();
    }

    fn log(&self) -> String {
        self.log.borrow().clone()
    }

    async fn log_says(&self, text: &str) {
        let mut log = self.log.clone();
        let result = timeout(MAX_WAIT, log.wait_for(|log| log.contains(text))).await;
        assert!(matches!(result, Ok(Ok(_))), "no {text:?} in {}", self.log());
    }

    /// Kills the process and returns its complete log.
    async fn whole_log(mut self) -> String {
        self.process.kill().unwrap();
        // The log is complete when the reading thread has ended.
        let mut log = self.log.clone();
        let end = async { while log.changed().await.is_ok() {} };
        timeout(MAX_WAIT, end).await.unwrap();
        self.log()
    }

    /// Submits a notification to one address. Returns its delivery status.
    async fn send(&self, channel: &str, query: &str) -> Value {
        let to = json!({"addresses": [{"channel": channel, "token": "42"}]});
        let notification = json!({"to": to, "title": "Ann", "content": "hello", "when": "always"});
        let (status, answer) = self.client.submit(&notification, query).await;
        assert!(status < 300, "{answer}");
        answer["status"]["devices"][0].clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Writes a configuration that contains `text`. Returns the API key.
fn configure(directory: &Path, text: &str) -> String {
    let (key, digest) = pushgate_server::keys::new_key();
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[log]\nlevel = \"debug\"\nformat = \"json\"\n[storage]\nkind = \"memory\"\n\
         [[keys]]\nid = \"demo\"\nhash = \"sha256:{digest}\"\napps = [\"*\"]\nscopes = [\"send\"]\n\
         [apps.demo.channels.dummy]\nkind = \"dummy\"\n{text}"
    );
    std::fs::write(directory.join("pushgate.toml"), text).unwrap();
    key
}

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const TOKEN: &str = "123456:ABC-DEF1234ghIkl-zyx57W2v1u123ew11";

fn both_samples(webhook: &Path, telegram: &Path, endpoint: &str) -> String {
    format!(
        "[[plugins]]\npath = \"{}\"\nnetwork = \"any\"\n\
         [[plugins]]\npath = \"{}\"\nisolation = \"none\"\nnetwork = \"any\"\n\
         [apps.demo.channels.hook]\nkind = \"webhook\"\nurl = \"{endpoint}/first\"\nsecret = \"{SECRET}\"\n\
         [apps.demo.channels.bot]\nkind = \"telegram\"\nbot_token = \"{TOKEN}\"\nbase_url = \"{endpoint}\"\n",
        webhook.display(),
        telegram.display()
    )
}

fn telegram(directory: &Path) -> PathBuf {
    compile("cc", &["-std=c99"], &["samples/telegram/telegram.c", "samples/telegram/json.c"], directory)
}

#[tokio::test]
async fn both_samples_send_through_the_gateway_and_are_replaced_while_it_runs() {
    let directory = tempfile::tempdir().unwrap();
    let endpoint = Endpoint::default();
    let url = endpoint.open().await;
    let text = both_samples(&webhook(), &telegram(directory.path()), &url);
    let key = configure(directory.path(), &text);
    let server = Server::start(directory.path(), &key);
    assert_eq!(server.send("hook", "?wait=20s").await["state"], "sent", "{}", server.log());
    let receipt = server.send("bot", "?wait=20s").await;
    assert_eq!(
        (&receipt["state"], &receipt["vendor_id"]),
        (&json!("sent"), &json!("77")),
        "{}",
        server.log()
    );
    let requests = endpoint.requests();
    assert_eq!((requests[0].0.as_str(), &requests[0].1["data"]["title"]), ("/first", &json!("Ann")));
    assert_eq!(requests[1].0, format!("/bot{TOKEN}/sendMessage"));
    assert_eq!(requests[1].1["chat_id"], "42");

    // A new URL for the first channel and an invalid value for the second: only the first is replaced.
    let file = directory.path().join("pushgate.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("/first", "/second").replace("bot_token", "bot_tokn")).unwrap();
    server.send_sighup();
    server.log_says("\"replaced\":1").await;
    server.log_says("continues unchanged").await;
    assert_eq!(server.send("hook", "?wait=20s").await["state"], "sent");
    assert_eq!(server.send("bot", "?wait=20s").await["state"], "sent");
    assert_eq!(endpoint.requests()[2].0, "/second");
    std::fs::write(&file, "[server").unwrap();
    server.send_sighup();
    server.log_says("everything continues unchanged").await;
    assert_eq!(server.send("hook", "?wait=20s").await["state"], "sent");
    let log = server.whole_log().await;
    assert!(log.contains("everything continues unchanged"));
    for secret in [SECRET, TOKEN, "hello"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_by_platform_leads_to_a_built_in_channel_for_one_device_and_to_a_plugin_for_another() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { directory: Some(directory.path().to_owned()), ..Options::default() };
    let emulator = Emulator::start(options).await.unwrap();
    let endpoint = Endpoint::default();
    let url = endpoint.open().await;
    let plugin = webhook();
    let more = format!(
        r#"
[[plugins]]
path = "{}"
network = "any"
[apps.demo.channels.hook]
kind = "webhook"
url = "{url}/windows"
secret = "{SECRET}"
[[apps.demo.routes]]
platform = "web"
channels = ["fcm"]
[[apps.demo.routes]]
platform = "windows"
channels = ["hook"]
"#,
        plugin.display()
    );
    let file = directory.path().join("pushgate.toml");
    std::fs::write(&file, std::fs::read_to_string(&file).unwrap() + &more).unwrap();
    let key = crate::setup::configure(directory.path());
    let server = Server::start(directory.path(), &key);

    // Both devices have addresses on both channels, so only the route decides.
    let page = emulator.fcm().add_device("page", Platform::Web).unwrap();
    keep_secret(&page.token);
    let addresses =
        json!([{"channel": "hook", "token": "of-a-page"}, {"channel": "fcm", "token": page.token}]);
    let body = json!({"user": "bob", "platform": "web", "addresses": addresses});
    server.client.ask(Method::PUT, "/v1/apps/demo/devices/page", &body, 201).await;
    let desktop = emulator.fcm().add_device("desktop", Platform::Web).unwrap();
    keep_secret(&desktop.token);
    let addresses =
        json!([{"channel": "fcm", "token": desktop.token}, {"channel": "hook", "token": "of-a-desktop"}]);
    let body = json!({"user": "bob", "platform": "windows", "addresses": addresses});
    server.client.ask(Method::PUT, "/v1/apps/demo/devices/desktop", &body, 201).await;

    let notification =
        json!({"to": {"users": ["bob"]}, "title": "Ann", "content": "hello", "when": "always"});
    let (_, answer) = server.client.submit(&notification, "?wait=20s").await;
    assert_eq!(answer["status"]["counts"], json!({"sent": 2}), "{answer} {}", server.log());
    let arrived = emulator.fcm().wait_for(|what| matches!(what, EventKind::Arrived { .. }), MAX_WAIT);
    assert!(arrived.await.is_some());
    let shown = emulator.fcm().inbox("page").unwrap();
    assert_eq!((shown.len(), shown[0].title.as_str(), shown[0].body.as_str()), (1, "Ann", "hello"));
    assert_eq!(emulator.fcm().inbox("desktop").unwrap().len(), 0, "the route selects the plugin");
    let requests = endpoint.requests();
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert_eq!((requests[0].0.as_str(), &requests[0].1["to"]), ("/windows", &json!("of-a-desktop")));
    assert_eq!(requests[0].1["data"]["title"], "Ann");
}

#[tokio::test]
async fn a_plugin_that_cannot_be_loaded_is_reported_and_the_gateway_runs_on() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("text.so"), "no library").unwrap();
    let hash = "11".repeat(32);
    let text = format!(
        "[[plugins]]\npath = \"text.so\"\nisolation = \"none\"\n[[plugins]]\npath = \"{}\"\nsha256 = \"{hash}\"\n\
         [apps.demo.channels.hook]\nkind = \"webhook\"\nurl = \"https://im.example\"\nsecret = \"{SECRET}\"\n",
        webhook().display()
    );
    let key = configure(directory.path(), &text);
    let server = Server::start(directory.path(), &key);
    server.log_says("text.so is not a shared library for this system").await;
    server.log_says("which is not the configured one").await;
    assert_eq!(server.send("dummy", "?wait=20s").await["state"], "sent");
    let receipt = server.send("hook", "?wait=1s").await;
    assert_eq!(receipt["state"], "queued", "it waits for its plugin: {receipt}");
    let fault = &receipt["fault"];
    assert_eq!(fault["code"], "channel_down", "the push service has nothing to do with it: {receipt}");
    assert!(fault["detail"].as_str().unwrap().contains("plugin is not loaded"), "{receipt}");
}

#[test]
fn two_plugins_of_one_kind_and_a_kind_that_is_built_in_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let checked = |text: &str| {
        configure(directory.path(), text);
        let file = directory.path().join("pushgate.toml");
        let ran = Command::new(PUSHGATE).args(["check", "--config"]).arg(file).output().unwrap();
        assert!(!ran.status.success());
        String::from_utf8(ran.stderr).unwrap()
    };
    let copy = directory.path().join("copy.so");
    std::fs::copy(webhook(), &copy).unwrap();
    let told = checked(&format!(
        "[[plugins]]\npath = \"{}\"\n[[plugins]]\npath = \"{}\"\n",
        webhook().display(),
        copy.display()
    ));
    assert!(told.contains("provides the kind \"webhook\", which another plugin provides already"), "{told}");
    let usurper = compile("cc", &["-DKIND=\"dummy\""], &["host/tests/rogue.c"], directory.path());
    let told = checked(&format!("[[plugins]]\npath = \"{}\"\n", usurper.display()));
    assert!(told.contains("provides the kind \"dummy\", which is built in"), "{told}");
}

#[test]
fn inspect_prints_the_description_of_a_plugin() {
    let ran = |arguments: &[&str]| {
        let ran = Command::new(PUSHGATE).args(["plugin", "inspect"]).args(arguments).output().unwrap();
        (ran.status.success(), String::from_utf8(ran.stdout).unwrap(), String::from_utf8(ran.stderr).unwrap())
    };
    let plugin = webhook();
    let (good, told, _) = ran(&[plugin.to_str().unwrap()]);
    assert!(good && told.contains("kind         webhook") && told.contains("\"secret\""), "{told}");
    let (_, told, _) = ran(&[plugin.to_str().unwrap(), "--json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["abi"], &told["capability"]["max_batch"]), (&json!([1, 0]), &json!(16)));
    let (good, _, told) = ran(&["/nowhere.so"]);
    assert!(!good && told.contains("/nowhere.so cannot be read"), "{told}");
}
