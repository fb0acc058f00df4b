//! Autopush over WebSocket, asked by a client of a few lines that is not the emulator's library (RFC 6455).

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;

const CHANNEL: &str = "5f0774ac-09a3-45d9-91e4-f4ebebe6c7e0";

/// A Firefox, as far as autopush sees it.
pub(super) struct Firefox {
    stream: TcpStream,
}

impl Firefox {
    async fn connect(emulator: &Emulator) -> Self {
        let url = emulator.autopush_url();
        let (host, path) = url.strip_prefix("ws://").unwrap().split_once('/').unwrap();
        let mut stream = TcpStream::connect(host).await.unwrap();
        let request = format!(
            "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: push-notification\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        assert!(head.starts_with("http/1.1 101"), "{head}");
        assert!(
            head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="),
            "the one of RFC 6455 §1.3"
        );
        assert!(head.contains("sec-websocket-protocol: push-notification"), "{head}");
        Self { stream }
    }

    /// Connects and says hello; the connection and its identity.
    pub(super) async fn hello(emulator: &Emulator, uaid: Option<&str>) -> (Self, String) {
        let mut firefox = Self::connect(emulator).await;
        let mut hello = json!({"messageType": "hello", "broadcasts": {}, "use_webpush": true});
        if let Some(uaid) = uaid {
            hello["uaid"] = uaid.into();
        }
        firefox.say(&hello).await;
        let welcome = firefox.read().await.unwrap();
        assert_eq!((&welcome["messageType"], &welcome["status"]), (&json!("hello"), &json!(200)));
        assert_eq!(welcome["use_webpush"], true);
        let uaid = welcome["uaid"].as_str().unwrap().to_owned();
        assert_eq!(uaid.len(), 32);
        (firefox, uaid)
    }

    async fn say(&mut self, message: &serde_json::Value) {
        let text = message.to_string().into_bytes();
        let length = u16::try_from(text.len()).unwrap();
        // A whole text message, masked with zeros: legal, and readable on the wire.
        let mut frame = vec![0x81];
        match u8::try_from(length) {
            Ok(short) if short < 126 => frame.push(0x80 | short),
            _ => frame.extend([[0xfe].as_slice(), &length.to_be_bytes()].concat()),
        }
        frame.extend([0; 4]);
        frame.extend(text);
        self.stream.write_all(&frame).await.unwrap();
    }

    /// The next message; none at the end of the connection.
    pub(super) async fn read(&mut self) -> Option<serde_json::Value> {
        let head = self.stream.read_u16().await.ok()?;
        if head >> 8 == 0x88 {
            return None;
        }
        assert_eq!(head & 0xff80, 0x8100, "a whole text message, not masked");
        let length = match head & 0x7f {
            126 => self.stream.read_u16().await.unwrap(),
            short => short,
        };
        let mut text = vec![0; usize::from(length)];
        self.stream.read_exact(&mut text).await.unwrap();
        Some(serde_json::from_slice(&text).unwrap())
    }

    /// The endpoint for an application server, behind the emulator's own port.
    pub(super) async fn register(&mut self, key: &str) -> String {
        // Firefox pads the key.
        self.say(&json!({"messageType": "register", "channelID": CHANNEL, "key": format!("{key}=")})).await;
        let answer = self.read().await.unwrap();
        assert_eq!((&answer["status"], &answer["channelID"]), (&json!(200), &json!(CHANNEL)));
        answer["pushEndpoint"].as_str().unwrap().to_owned()
    }

    async fn acknowledge(&mut self, push: &serde_json::Value) {
        let update = json!({"channelID": CHANNEL, "version": push["version"], "code": 100});
        self.say(&json!({"messageType": "ack", "updates": [update]})).await;
    }
}

async fn push(stage: &Stage, endpoint: &str, body: &'static [u8]) -> u16 {
    let path = endpoint.strip_prefix("https://updates.push.services.mozilla.com").unwrap();
    let authorization = stage.sender.authorization(&stage.emulator);
    let headers = [("ttl", "60"), ("authorization", &authorization), ("content-encoding", "aes128gcm")];
    stage.client.ask(path, &headers, body).await.unwrap().status
}

#[tokio::test]
async fn a_push_to_firefox_comes_as_it_was_sent_and_again_until_it_is_acknowledged() {
    let stage = Stage::new().await;
    let (mut firefox, uaid) = Firefox::hello(&stage.emulator, None).await;
    let endpoint = firefox.register(&stage.sender.key()).await;
    assert_eq!(firefox.register(&stage.sender.key()).await, endpoint, "asked again");
    for body in [&b"one"[..], b"two"] {
        assert_eq!(push(&stage, &endpoint, body).await, 201);
    }
    let first = firefox.read().await.unwrap();
    assert_eq!((&first["messageType"], &first["channelID"]), (&json!("notification"), &json!(CHANNEL)));
    assert_eq!((&first["data"], &first["headers"]), (&json!("b25l"), &json!({"encoding": "aes128gcm"})));
    assert_eq!(firefox.read().await.unwrap()["data"], "dHdv");
    firefox.acknowledge(&first).await;
    stage.arrived().await;
    let (mut again, same) = Firefox::hello(&stage.emulator, Some(&uaid)).await;
    assert_eq!(same, uaid);
    assert_eq!(again.read().await.unwrap()["data"], "dHdv");
    assert!(firefox.read().await.is_none(), "a later hello ends the earlier connection");
}

#[tokio::test]
async fn a_push_without_data_to_firefox_has_neither_data_nor_headers() {
    let stage = Stage::new().await;
    let (mut firefox, _) = Firefox::hello(&stage.emulator, None).await;
    let endpoint = firefox.register(&stage.sender.key()).await;
    assert_eq!(push(&stage, &endpoint, b"").await, 201);
    let push = firefox.read().await.unwrap();
    assert!(push.get("data").is_none() && push.get("headers").is_none(), "{push}");
}

#[tokio::test]
async fn an_unregistered_channel_is_gone_and_a_ping_is_answered() {
    let stage = Stage::new().await;
    let (mut firefox, _) = Firefox::hello(&stage.emulator, None).await;
    let endpoint = firefox.register(&stage.sender.key()).await;
    firefox.say(&json!({})).await;
    assert_eq!(firefox.read().await.unwrap(), json!({}));
    firefox.say(&json!({"messageType": "unregister", "channelID": CHANNEL})).await;
    assert_eq!(firefox.read().await.unwrap()["status"], 200);
    assert_eq!(push(&stage, &endpoint, b"late").await, 410);
    assert_ne!(firefox.register(&stage.sender.key()).await, endpoint);
}

#[tokio::test]
async fn a_channel_needs_a_key_and_a_connection_a_hello() {
    let stage = Stage::new().await;
    let (mut firefox, uaid) = Firefox::hello(&stage.emulator, None).await;
    firefox.say(&json!({"messageType": "register", "channelID": CHANNEL})).await;
    assert_eq!(firefox.read().await.unwrap()["status"], 400);
    let mut rude = Firefox::connect(&stage.emulator).await;
    rude.say(&json!({"messageType": "register", "channelID": CHANNEL, "key": stage.sender.key()})).await;
    assert!(rude.read().await.is_none());
    // Another secret under the same id: the identity is lost, and a new one is given.
    let forged = format!("{}{:016x}", &uaid[..16], 1);
    let (_, given) = Firefox::hello(&stage.emulator, Some(&forged)).await;
    assert_ne!(given[..16], uaid[..16]);
}
