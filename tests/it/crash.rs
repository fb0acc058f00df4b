//! Tests that acknowledged notifications survive `kill -9`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use futures_util::{StreamExt, stream};
use pushgate::{Address, AppId, Audience, ChannelName, Device, DeviceId, Store, TokenKind, Traits, UserId};
use pushgate_emulator::{Effect, Emulator, EventKind, Fault, Options, Platform};
use pushgate_sqlite::SqliteStore;
use serde_json::json;

use crate::setup::{Client, MAX_WAIT, configure};

/// A server in a process of its own, killed when dropped.
struct Server(Child);

impl Server {
    /// Started, and the address it says it listens on.
    fn start(folder: &Path) -> (Self, String) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_pushgate"))
            .args(["serve", "--config"])
            .arg(folder.join("pushgate.toml"))
            .stdout(Stdio::piped())
            .stderr(std::fs::File::options().create(true).append(true).open(folder.join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address =
            line.trim().strip_prefix("listening on ").expect("the server says where it listens").to_owned();
        (Self(child), address)
    }

    /// The most memory it has had.
    fn peak_kb(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// SIGKILL: nothing is flushed, nothing is said.
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_202_and_the_vendors_answer_it_is_delivered_under_the_same_id_and_shown_once() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { directory: Some(folder.path().to_owned()), ..Options::default() };
    let emulator = Emulator::start(options).await.unwrap();
    let key = configure(folder.path());
    let device = emulator.fcm().add_device("bob-web", Platform::Web).unwrap();
    // The vendor takes the first push, and its answer never comes.
    emulator.fcm().add_fault(Fault::next(1, Effect::LoseAnswer));

    let (server, address) = Server::start(folder.path());
    let client = Client::new(&address, &key);
    client.register("bob-web", "bob", &device.token).await;
    let asked = json!({"to": {"users": ["bob"]}, "title": "TITLE-SECRET", "content": "CONTENT-SECRET", "payload": "PAYLOAD-SECRET"});
    let (status, answer) = client.submit(&asked, "").await;
    assert_eq!(status, 202, "{answer}");
    emulator
        .fcm()
        .wait_for(|what| matches!(what, EventKind::Arrived { replaced: false, .. }), MAX_WAIT)
        .await
        .unwrap();
    let first = emulator.fcm().inbox("bob-web").unwrap();
    server.kill();

    let (server, address) = Server::start(folder.path());
    let again = emulator
        .fcm()
        .wait_for(|what| matches!(what, EventKind::Arrived { replaced: true, .. }), MAX_WAIT)
        .await;
    assert!(again.is_some(), "it is delivered again after the restart");
    let inbox = emulator.fcm().inbox("bob-web").unwrap();
    assert_eq!(inbox.len(), 1, "the device shows it once");
    assert_eq!(inbox[0].data["zego"], first[0].data["zego"], "under the same id");
    assert!(inbox[0].data["zego"].as_str().unwrap().contains(answer["id"].as_str().unwrap()));
    let client = Client::new(&address, &key);
    loop {
        let status = client.status(&answer["id"]).await;
        if status["counts"]["sent"] == 1 {
            break;
        }
        assert_eq!(status["counts"]["queued"], 1, "{status}");
        tokio::task::yield_now().await;
    }
    drop(server);
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
    assert!(log.contains("push attempted"), "the log is at its finest level");
    for secret in
        ["TITLE-SECRET", "CONTENT-SECRET", "PAYLOAD-SECRET", &device.token, &key, "ya29.", "PRIVATE KEY"]
    {
        assert!(!log.contains(secret), "{} stands in the log", &secret[..4]);
    }
}

/// As many as one notification names.
const MEMBERS: usize = Audience::MAX_RECIPIENTS;
/// Memory limit of a gateway in any build. It leaves no room for a few hundred bytes per member.
const MOST_MEMORY_KB: u64 = 128 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_100_000_survives_a_kill_in_the_middle_in_bounded_memory_and_each_device_shows_it_once() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { directory: Some(folder.path().to_owned()), ..Options::default() };
    let emulator = Emulator::start(options).await.unwrap();
    let vendor = emulator.fcm();
    let key = configure(folder.path());
    as_in_production(folder.path());
    let names: Vec<String> = (0..MEMBERS).map(|i| format!("u{i}")).collect();
    register_all(folder.path(), &emulator, &names).await;

    let (server, address) = Server::start(folder.path());
    let asked = json!({"to": {"users": names}, "title": "to the group"});
    let (status, answer) = Client::new(&address, &key).submit(&asked, "").await;
    assert_eq!((status, &answer["parts"]), (202, &(MEMBERS / Audience::BATCH_SIZE).into()), "{answer}");
    shown(&emulator, &names[MEMBERS / 20]).await;
    let before = server.peak_kb();
    server.kill();
    let reached = names.iter().filter(|name| !vendor.inbox(name).unwrap().is_empty()).count();
    assert!((1..MEMBERS).contains(&reached), "{reached} were reached: not killed in the middle");

    let (server, address) = Server::start(folder.path());
    let client = Client::new(&address, &key);
    for name in &names {
        shown(&emulator, name).await;
    }
    let path = format!("/v1/apps/demo/notifications/{}?devices=0", answer["id"].as_str().unwrap());
    let deadline = std::time::Instant::now() + MAX_WAIT;
    loop {
        let status = client.ask(http::Method::GET, &path, &serde_json::Value::Null, 200).await;
        if status["progress"]["open"] == 0 && status["counts"] == json!({"sent": MEMBERS}) {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{} {}", status["progress"], status["counts"]);
    }
    for name in &names {
        assert_eq!(vendor.inbox(name).unwrap().len(), 1, "{name}");
    }
    for peak in [before, server.peak_kb()] {
        assert!(peak < MOST_MEMORY_KB, "{peak} kB");
    }
}

/// Phones as well; and not the finest level of the log, which takes four fifths of the time.
fn as_in_production(folder: &Path) {
    let file = folder.join("pushgate.toml");
    let text = std::fs::read_to_string(&file).unwrap().replace("level = \"trace\"", "level = \"info\"");
    let route = "[[apps.demo.routes]]\nplatform = \"android\"\nchannels = [\"fcm\"]\n";
    std::fs::write(&file, text + route).unwrap();
}

/// A phone for each of them, straight in the file the server will open.
async fn register_all(folder: &Path, emulator: &Emulator, names: &[String]) {
    let store = SqliteStore::open(folder.join("pushgate.db")).unwrap();
    let registered = names.iter().map(|name| {
        let token = emulator.fcm().add_device(name, Platform::Android).unwrap().token.into();
        let channel = ChannelName::new("fcm").unwrap();
        let phone = Device {
            app: AppId::new("demo").unwrap(),
            id: DeviceId::new(name).unwrap(),
            user: UserId::new(name).ok(),
            traits: Traits::of(pushgate::Platform::Android),
            addresses: vec![Address { channel, kind: TokenKind::Token, token }],
            registered_at: pushgate_kit::sample::NOW,
        };
        store.register(phone.into())
    });
    let registered = stream::iter(registered).buffer_unordered(1000);
    assert!(registered.all(async |one| one.is_ok()).await);
}

/// Waits until the device shows something.
async fn shown(emulator: &Emulator, name: &str) {
    let arrived = |what: &EventKind| matches!(what, EventKind::Arrived { device, .. } if device == name);
    if emulator.fcm().inbox(name).unwrap().is_empty() {
        assert!(emulator.fcm().wait_for(arrived, MAX_WAIT).await.is_some(), "{name}");
    }
}
