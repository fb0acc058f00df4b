//! Autopush over WebSocket (RFC 6455), used by a small client that does not share the emulator's library.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;

const CHANNEL: &str = "5f0774ac-09a3-45d9-91e4-f4ebebe6c7e0";

/// Firefox as autopush sees it.
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
            "the example of RFC 6455 §1.3"
        );
        assert!(head.contains("sec-websocket-protocol: push-notification"), "{head}");
        Self { stream }
    }

    /// Connects and sends a hello. Returns the connection and its identity.
    pub(super) async fn hello(emulator: &Emulator, uaid: Option<&str>) -> (Self, String) {
        let mut firefox = Self::connect(emulator).await;
        let mut hello = json!({"messageType": "hello", "broadcasts": {}, "use_webpush": true});
        if let Some(uaid) = uaid {
            hello["uaid"] = uaid.into();
        }
        firefox.send(&hello).await;
        let hello_response = firefox.read().await.unwrap();
        assert_eq!(
            (&hello_response["messageType"], &hello_response["status"]),
            (&json!("hello"), &json!(200))
        );
        assert_eq!(hello_response["use_webpush"], true);
        let uaid = hello_response["uaid"].as_str().unwrap().to_owned();
        assert_eq!(uaid.len(), 32);
        (firefox, uaid)
    }

    async fn send(&mut self, message: &serde_json::Value) {
        let text = message.to_string().into_bytes();
        let length = u16::try_from(text.len()).unwrap();
        // A complete text message with a mask of zeros, which is valid and readable on the wire.
        let mut frame = vec![0x81];
        match u8::try_from(length) {
            Ok(short) if short < 126 => frame.push(0x80 | short),
            _ => frame.extend([[0xfe].as_slice(), &length.to_be_bytes()].concat()),
        }
        frame.extend([0; 4]);
        frame.extend(text);
        self.stream.write_all(&frame).await.unwrap();
    }

    /// Returns the next message. `None` at the end of the connection.
    pub(super) async fn read(&mut self) -> Option<serde_json::Value> {
        let head = self.stream.read_u16().await.ok()?;
        if head >> 8 == 0x88 {
            return None;
        }
        assert_eq!(head & 0xff80, 0x8100, "a complete text message without mask");
        let length = match head & 0x7f {
            126 => self.stream.read_u16().await.unwrap(),
            short => short,
        };
        let mut text = vec![0; usize::from(length)];
        self.stream.read_exact(&mut text).await.unwrap();
        Some(serde_json::from_slice(&text).unwrap())
    }

    /// Registers for an application server. Returns the endpoint.
    pub(super) async fn register(&mut self, key: &str) -> String {
        // Firefox pads the key.
        self.send(&json!({"messageType": "register", "channelID": CHANNEL, "key": format!("{key}=")})).await;
        let response = self.read().await.unwrap();
        assert_eq!((&response["status"], &response["channelID"]), (&json!(200), &json!(CHANNEL)));
        response["pushEndpoint"].as_str().unwrap().to_owned()
    }

    async fn acknowledge(&mut self, push: &serde_json::Value) {
        let update = json!({"channelID": CHANNEL, "version": push["version"], "code": 100});
        self.send(&json!({"messageType": "ack", "updates": [update]})).await;
    }
}

async fn push(setup: &TestSetup, endpoint: &str, body: &'static [u8]) -> u16 {
    let path = endpoint.strip_prefix("https://updates.push.services.mozilla.com").unwrap();
    let authorization = setup.app_server.authorization(&setup.emulator);
    let headers = [("ttl", "60"), ("authorization", &authorization), ("content-encoding", "aes128gcm")];
    setup.client.post(path, &headers, body).await.unwrap().status
}

#[tokio::test]
async fn a_push_to_firefox_is_delivered_unchanged_until_it_is_acknowledged() {
    let setup = TestSetup::new().await;
    let (mut firefox, uaid) = Firefox::hello(&setup.emulator, None).await;
    let endpoint = firefox.register(&setup.app_server.key()).await;
    assert_eq!(
        firefox.register(&setup.app_server.key()).await,
        endpoint,
        "the same registration keeps its endpoint"
    );
    for body in [&b"one"[..], b"two"] {
        assert_eq!(push(&setup, &endpoint, body).await, 201);
    }
    let first = firefox.read().await.unwrap();
    assert_eq!((&first["messageType"], &first["channelID"]), (&json!("notification"), &json!(CHANNEL)));
    assert_eq!((&first["data"], &first["headers"]), (&json!("b25l"), &json!({"encoding": "aes128gcm"})));
    assert_eq!(firefox.read().await.unwrap()["data"], "dHdv");
    firefox.acknowledge(&first).await;
    setup.wait_for_arrival().await;
    let (mut second_connection, confirmed) = Firefox::hello(&setup.emulator, Some(&uaid)).await;
    assert_eq!(confirmed, uaid);
    assert_eq!(second_connection.read().await.unwrap()["data"], "dHdv");
    assert!(firefox.read().await.is_none(), "a later hello ends the earlier connection");
}

#[tokio::test]
async fn a_push_without_data_to_firefox_has_neither_data_nor_headers() {
    let setup = TestSetup::new().await;
    let (mut firefox, _) = Firefox::hello(&setup.emulator, None).await;
    let endpoint = firefox.register(&setup.app_server.key()).await;
    assert_eq!(push(&setup, &endpoint, b"").await, 201);
    let push = firefox.read().await.unwrap();
    assert!(push.get("data").is_none() && push.get("headers").is_none(), "{push}");
}

#[tokio::test]
async fn an_unregistered_channel_is_refused_and_a_ping_gets_a_response() {
    let setup = TestSetup::new().await;
    let (mut firefox, _) = Firefox::hello(&setup.emulator, None).await;
    let endpoint = firefox.register(&setup.app_server.key()).await;
    firefox.send(&json!({})).await;
    assert_eq!(firefox.read().await.unwrap(), json!({}));
    firefox.send(&json!({"messageType": "unregister", "channelID": CHANNEL})).await;
    assert_eq!(firefox.read().await.unwrap()["status"], 200);
    assert_eq!(push(&setup, &endpoint, b"late").await, 410);
    assert_ne!(firefox.register(&setup.app_server.key()).await, endpoint);
}

#[tokio::test]
async fn a_registration_needs_a_key_and_a_connection_needs_a_hello() {
    let setup = TestSetup::new().await;
    let (mut firefox, uaid) = Firefox::hello(&setup.emulator, None).await;
    firefox.send(&json!({"messageType": "register", "channelID": CHANNEL})).await;
    assert_eq!(firefox.read().await.unwrap()["status"], 400);
    let mut without_hello = Firefox::connect(&setup.emulator).await;
    without_hello
        .send(&json!({"messageType": "register", "channelID": CHANNEL, "key": setup.app_server.key()}))
        .await;
    assert!(without_hello.read().await.is_none());
    // With another secret for the same id, a new identity is issued.
    let forged = format!("{}{:016x}", &uaid[..16], 1);
    let (_, new_uaid) = Firefox::hello(&setup.emulator, Some(&forged)).await;
    assert_ne!(new_uaid[..16], uaid[..16]);
}
