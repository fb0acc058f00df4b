//! A server with a small configuration, and clients that speak to it byte by byte.

use std::net::SocketAddr;

use async_trait::async_trait;
use pushgate::{AppId, ChannelName, Gateway, Platform, Presence, UserId};
use pushgate_config::{Config, Sources};
use pushgate_dummy::{Dummy, Script};
use pushgate_server::serve::{self, Running};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::setup::MAX_WAIT;

/// A request whose answer never comes from [`NeverAnswers`].
pub(crate) const ENDLESS: &str = "/v1/apps/demo/users/bob/presence";

/// Presence that never says who is online.
pub(crate) struct NeverAnswers;

#[async_trait]
impl Presence for NeverAnswers {
    async fn online_on(&self, _: &AppId, _: &UserId) -> Vec<Platform> {
        std::future::pending().await
    }
}

pub(crate) fn dummy() -> Dummy {
    Dummy::scripted(ChannelName::new("dummy").unwrap(), Script::default())
}

/// A gateway in memory.
pub(crate) async fn gateway() -> Gateway {
    Gateway::builder().channel(dummy()).presence(NeverAnswers).start().await.unwrap()
}

/// Serves a gateway with these lines under `[server]`. Returns a key that is good for everything.
pub(crate) async fn serve(gateway: Gateway, lines: &str) -> (Running, String) {
    let (key, digest) = pushgate_server::keys::new_key();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pushgate.toml");
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n{lines}\n[[keys]]\nid = \"all\"\nhash = \"sha256:{digest}\"\napps = [\"*\"]\nscopes = [\"send\", \"devices\", \"admin\"]\n"
    );
    std::fs::write(&file, text).unwrap();
    let config = Config::load(&Sources { file: Some(&file), ..Sources::default() }).unwrap();
    (serve::open(&config, gateway, None).await.unwrap(), key)
}

/// One connection.
pub(crate) struct Socket(pub(crate) TcpStream);

impl Socket {
    pub(crate) async fn open(address: SocketAddr, text: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        Self(stream)
    }

    /// Everything that comes until the server closes the connection.
    pub(crate) async fn read_all(&mut self) -> String {
        let mut bytes = Vec::new();
        let read = tokio::time::timeout(MAX_WAIT, self.0.read_to_end(&mut bytes)).await;
        // A reset ends it as well.
        drop(read.expect("the server closes the connection"));
        String::from_utf8(bytes).unwrap()
    }

    /// Reads until this text has come.
    pub(crate) async fn read_until(&mut self, end: &str) -> String {
        let mut bytes = Vec::new();
        let read = async {
            while !String::from_utf8_lossy(&bytes).contains(end) {
                bytes.push(self.0.read_u8().await.unwrap());
            }
        };
        tokio::time::timeout(MAX_WAIT, read).await.expect(end);
        String::from_utf8(bytes).unwrap()
    }
}

/// The head of a request, with these lines.
pub(crate) fn head(line: &str, fields: &[&str]) -> String {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    format!("{line} HTTP/1.1\r\nhost: localhost\r\n{fields}\r\n")
}

/// Asks on a connection of its own.
pub(crate) async fn get(address: SocketAddr, path: &str) -> String {
    let head = head(&format!("GET {path}"), &["connection: close"]);
    Socket::open(address, &head).await.read_all().await
}

/// A request that is served until the server ends it; returns when it is being served.
pub(crate) async fn endless(address: SocketAddr, key: &str) -> Socket {
    let bearer = format!("authorization: Bearer {key}");
    // The server says so when it reads the body, after everything else was found good.
    let fields = [&bearer, "content-type: application/json", "content-length: 50000", "expect: 100-continue"];
    let mut socket = Socket::open(address, &head("POST /v1/apps/demo/notifications", &fields)).await;
    socket.read_until("100 Continue").await;
    socket
}
