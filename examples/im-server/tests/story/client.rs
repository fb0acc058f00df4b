//! A server with an emulator behind it, and clients: a WebSocket, and a virtual browser that is pushed to.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clap::Parser;
use futures_util::{SinkExt, StreamExt};
use pushgate_emulator::{Emulator, EventKind, Subscription, WebPushService};
use pushgate_im_server::{Options, Running};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// Timeout for anything that tests wait for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
const MOZILLA: &str = "updates.push.services.mozilla.com";

pub(crate) struct Stage {
    pub(crate) emulator: Emulator,
    running: Running,
    vapid_key: String,
    folder: tempfile::TempDir,
}

impl Stage {
    pub(crate) async fn open() -> Self {
        Self::open_with(&[]).await
    }

    pub(crate) async fn open_with(more: &[&str]) -> Self {
        let emulator = Emulator::start(pushgate_emulator::Options::default()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let roots = folder.path().join("ca.pem");
        std::fs::write(&roots, emulator.ca_pem()).unwrap();
        let vendors = emulator.url().replace("https://", "");
        let data = folder.path().join("data");
        let mut arguments = vec!["im-server".to_owned(), "--listen=127.0.0.1:0".to_owned()];
        arguments.push(format!("--data={}", data.display()));
        arguments.push(format!("--roots={}", roots.display()));
        arguments.push(format!("--connect-to={MOZILLA}={vendors}"));
        arguments.extend(more.iter().map(|&one| one.to_owned()));
        let running = Running::start(Options::parse_from(arguments)).await.unwrap();
        let config = get(running.address, "/config.json").await;
        let vapid_key = config["vapidKey"].as_str().unwrap().to_owned();
        Self { emulator, running, vapid_key, folder }
    }

    /// A browser that has subscribed to push.
    pub(crate) fn browser(&self) -> Subscription {
        self.emulator.webpush().subscribe(WebPushService::Mozilla, &self.vapid_key).unwrap()
    }

    /// Logs a user in.
    pub(crate) async fn login(&self, user: &str, device: &str, browser: Option<&Subscription>) -> Client {
        let token = get(self.running.address, &format!("/token?user={user}")).await["token"].clone();
        let (socket, _) = connect_async(format!("ws://{}/ws", self.running.address)).await.unwrap();
        let mut client = Client { socket, next: 1, events: Vec::new() };
        let push_token = browser.map(|browser| serde_json::to_string(browser).unwrap());
        let login = json!({"token": token, "device": device, "push_token": push_token});
        client.ask("login", login).await.unwrap();
        client
    }

    /// Tries to log in; what the server says against it.
    pub(crate) async fn try_login(&self, token: &str, device: &str, push_token: &str) -> Value {
        let (socket, _) = connect_async(format!("ws://{}/ws", self.running.address)).await.unwrap();
        let mut client = Client { socket, next: 1, events: Vec::new() };
        let login = json!({"token": token, "device": device, "push_token": push_token});
        client.ask("login", login).await.unwrap_err()
    }

    /// Logs a user in and closes the page: he has a browser, and is away.
    pub(crate) async fn away(&self, user: &str) -> Subscription {
        let browser = self.browser();
        self.login(user, &format!("{user}-web"), Some(&browser)).await.close().await;
        browser
    }

    /// Waits for the next push to any browser. Returns all pushes to this one.
    pub(crate) async fn pushed(&self, browser: &Subscription) -> Vec<Value> {
        let arrived =
            |what: &EventKind| matches!(what, EventKind::Arrived { device, .. } if *device == browser.id);
        let web_push = self.emulator.webpush();
        web_push.wait_for(arrived, PATIENCE).await.expect("a push comes");
        self.inbox(browser)
    }

    /// So many pushes that have come to this browser, oldest first.
    pub(crate) async fn pushes(&self, browser: &Subscription, count: usize) -> Vec<Value> {
        let seen = AtomicUsize::new(0);
        let last = |what: &EventKind| {
            let arrived = matches!(what, EventKind::Arrived { device, .. } if *device == browser.id);
            arrived && seen.fetch_add(1, Ordering::Relaxed) + 1 == count
        };
        self.emulator.webpush().wait_for(last, PATIENCE).await.expect("as many pushes come");
        self.inbox(browser)
    }

    /// Returns the pushes that a browser has received, oldest first.
    pub(crate) fn inbox(&self, browser: &Subscription) -> Vec<Value> {
        let inbox = self.emulator.webpush().inbox(browser);
        inbox.iter().rev().map(|push| serde_json::from_slice(push.data.as_ref().unwrap()).unwrap()).collect()
    }

    /// A table of the server's: `messages` or `push`.
    pub(crate) fn table(&self, name: &str) -> rusqlite::Connection {
        rusqlite::Connection::open(self.folder.path().join(format!("data/{name}.db"))).unwrap()
    }

    /// Posts to the server, as a service worker does; the status.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> u16 {
        let (address, body) = (self.running.address, body.to_string());
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: text/plain;charset=UTF-8\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        let answer = talk(address, &format!("{head}{body}")).await;
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

pub(crate) struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    next: u64,
    events: Vec<Value>,
}

impl Client {
    /// Asks and gives the answer; events that come in between are kept.
    pub(crate) async fn ask(&mut self, verb: &str, more: Value) -> Result<Value, Value> {
        let n = self.next;
        self.next += 1;
        let mut asked = json!({"n": n, "do": verb});
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.socket.send(Message::text(asked.to_string())).await.unwrap();
        loop {
            let heard = self.hear().await;
            match heard {
                answer if answer["n"] == n => {
                    return if answer["error"].is_null() {
                        Ok(answer["ok"].clone())
                    } else {
                        Err(answer["error"].clone())
                    };
                }
                event => self.events.push(event),
            }
        }
    }

    /// The next event of that name, acknowledged.
    pub(crate) async fn event(&mut self, name: &str) -> Value {
        let event = self.unacknowledged(name).await;
        if !event["seq"].is_null() {
            self.ask("ack", json!({"seq": event["seq"]})).await.unwrap();
        }
        event["data"].clone()
    }

    /// The next event of that name.
    pub(crate) async fn unacknowledged(&mut self, name: &str) -> Value {
        if let Some(at) = self.events.iter().position(|event| event["event"] == name) {
            return self.events.remove(at);
        }
        loop {
            let heard = self.hear().await;
            if heard["event"] == name {
                return heard;
            }
            self.events.push(heard);
        }
    }

    /// Returns the events received so far that no test has read.
    pub(crate) async fn heard(&mut self) -> Vec<String> {
        self.ask("beat", json!({})).await.unwrap();
        self.events.iter().map(|event| event["event"].as_str().unwrap().to_owned()).collect()
    }

    pub(crate) async fn send(
        &mut self,
        to: &str,
        kind: &str,
        text: &str,
        push: Value,
    ) -> Result<Value, Value> {
        let message = json!({"type": 1, "message": text});
        self.ask("send", json!({"to": to, "kind": kind, "message": message, "push": push})).await
    }

    /// Sends nothing and waits until the server closes the connection.
    pub(crate) async fn closed(&mut self) {
        let hangs_up = async { while let Some(Ok(_)) = self.socket.next().await {} };
        tokio::time::timeout(PATIENCE, hangs_up).await.expect("the server hangs up");
    }

    /// Closes the page, and waits until the server has noticed.
    pub(crate) async fn close(mut self) {
        self.socket.close(None).await.unwrap();
        while let Some(Ok(_)) = self.socket.next().await {}
    }

    async fn hear(&mut self) -> Value {
        let message = tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("the server speaks");
        serde_json::from_str(message.unwrap().unwrap().to_text().unwrap()).unwrap()
    }
}

/// The JSON at an address of the server.
async fn get(address: std::net::SocketAddr, path: &str) -> Value {
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    let answer = talk(address, &request).await;
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

async fn talk(address: std::net::SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
