//! What was acknowledged survives `kill -9`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use pushgate_emulator::{Effect, Emulator, Fault, Options, Platform, What};
use serde_json::json;

use crate::house::{Client, PATIENCE, configure};

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
    let device = emulator.vendor().add_device("bob-web", Platform::Web).unwrap();
    // The vendor takes the first push, and its answer never comes.
    emulator.vendor().fail(Fault::next(1, Effect::LoseAnswer));

    let (server, address) = Server::start(folder.path());
    let client = Client::new(&address, &key);
    client.register("bob-web", "bob", &device.token).await;
    let asked = json!({"to": {"users": ["bob"]}, "title": "TITLE-SECRET", "content": "CONTENT-SECRET", "payload": "PAYLOAD-SECRET"});
    let (status, answer) = client.submit(&asked, "").await;
    assert_eq!(status, 202, "{answer}");
    emulator
        .vendor()
        .wait_for(|what| matches!(what, What::Arrived { replaced: false, .. }), PATIENCE)
        .await
        .unwrap();
    let first = emulator.vendor().inbox("bob-web").unwrap();
    server.kill();

    let (server, address) = Server::start(folder.path());
    let again = emulator
        .vendor()
        .wait_for(|what| matches!(what, What::Arrived { replaced: true, .. }), PATIENCE)
        .await;
    assert!(again.is_some(), "it is delivered again after the restart");
    let inbox = emulator.vendor().inbox("bob-web").unwrap();
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

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_thousands_survives_a_kill_in_the_middle_and_each_device_shows_it_once() {
    const MEMBERS: usize = 2500;
    let folder = tempfile::tempdir().unwrap();
    let options = Options { directory: Some(folder.path().to_owned()), ..Options::default() };
    let emulator = Emulator::start(options).await.unwrap();
    let key = configure(folder.path());
    let (server, address) = Server::start(folder.path());
    let client = Client::new(&address, &key);
    let names: Vec<String> = (0..MEMBERS).map(|i| format!("u{i}")).collect();
    let registered =
        names.iter().map(|name| {
            let token = emulator.vendor().add_device(name, Platform::Android).unwrap().token;
            let client = client.clone();
            // Not kept secret one by one, as `register` does: the log would be searched for thousands of tokens.
            let body =
                json!({"user": name, "platform": "web", "addresses": [{"channel": "fcm", "token": token}]});
            async move {
                client.ask(http::Method::PUT, &format!("/v1/apps/demo/devices/{name}"), &body, 201).await
            }
        });
    futures_util::future::join_all(registered).await;
    let asked = json!({"to": {"users": names}, "title": "to the group"});
    let (status, answer) = client.submit(&asked, "").await;
    assert_eq!((status, &answer["parts"]), (202, &3.into()), "{answer}");
    emulator.vendor().wait_for(|what| matches!(what, What::Arrived { .. }), PATIENCE).await.unwrap();
    server.kill();
    let reached = |emulator: &Emulator| {
        names.iter().filter(|name| !emulator.vendor().inbox(name).unwrap().is_empty()).count()
    };
    assert!(reached(&emulator) < MEMBERS, "it was killed in the middle");

    let (_server, address) = Server::start(folder.path());
    let client = Client::new(&address, &key);
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let path = format!("/v1/apps/demo/notifications/{}?devices=0", answer["id"].as_str().unwrap());
        let status = client.ask(http::Method::GET, &path, &serde_json::Value::Null, 200).await;
        if status["progress"]["open"] == 0 && status["counts"] == json!({"sent": MEMBERS}) {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{} {}", status["progress"], status["counts"]);
    }
    for name in &names {
        assert_eq!(emulator.vendor().inbox(name).unwrap().len(), 1, "{name}");
    }
}
