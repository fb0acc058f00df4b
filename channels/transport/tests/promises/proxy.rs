//! Through a proxy: CONNECT, credentials, refusals, and who looks names up.

use std::sync::Arc;

use pushgate::{Response, TransportError};
use pushgate_transport::{Destinations, HttpTransport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::peer::{Always, HOST, Peer, post, send};

struct Proxy(TcpListener);

impl Proxy {
    async fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn transport(&self, peer: &Peer) -> Arc<HttpTransport> {
        let port = self.0.local_addr().unwrap().port();
        // The resolver knows the proxy alone: all names lead to it.
        let builder = HttpTransport::builder()
            .roots(peer.roots())
            .destinations(Destinations::Public)
            .resolver(Arc::new(Always(vec!["127.0.0.1".parse().unwrap()])))
            .proxy(Some(format!("http://ann:p%40ss@proxy.example:{port}")));
        Arc::new(builder.build().unwrap())
    }

    /// The next connection and what it asks for.
    async fn accept(&self) -> (TcpStream, String) {
        let (mut tcp, _) = self.0.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(tcp.read_u8().await.unwrap());
        }
        (tcp, String::from_utf8(head).unwrap())
    }

    /// What becomes of a request when the proxy answers so.
    async fn answered(&self, peer: &Peer, answer: &[u8]) -> String {
        let sent = send(&self.transport(peer), post("x"));
        let (mut tcp, _) = self.accept().await;
        tcp.write_all(answer).await.unwrap();
        drop(tcp);
        unreachable(sent).await
    }
}

async fn unreachable(sent: JoinHandle<Result<Response, TransportError>>) -> String {
    match sent.await.unwrap() {
        Err(TransportError::Unreachable { host, why }) => {
            assert_eq!(host, HOST);
            assert!(!why.contains("p@ss") && !why.contains("p%40ss"), "{why}");
            why
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_request_goes_through_the_proxy_which_is_told_name_port_and_credentials() {
    let (peer, proxy) = (Peer::start().await, Proxy::start().await);
    let sent = send(&proxy.transport(&peer), post("x"));
    let (mut tcp, head) = proxy.accept().await;
    assert!(head.starts_with(&format!("CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n")), "{head}");
    assert!(head.contains("Proxy-Authorization: Basic YW5uOnBAc3M=\r\n"), "{head}");
    tcp.write_all(b"HTTP/1.1 200 Connection established\r\nvia: x\r\n\r\n").await.unwrap();
    let mut beyond = TcpStream::connect(peer.address()).await.unwrap();
    tokio::spawn(async move { tokio::io::copy_bidirectional(&mut tcp, &mut beyond).await });
    tokio::spawn(peer.accept(10).await.echo());
    assert_eq!(sent.await.unwrap().unwrap().body, "x");
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named_as_the_cause() {
    let (peer, proxy) = (Peer::start().await, Proxy::start().await);
    let refusal = proxy.answered(&peer, b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await;
    assert!(refusal.contains("credentials (407)"), "{refusal}");
    let refusal = proxy.answered(&peer, b"HTTP/1.1 403 Forbidden\r\n\r\n").await;
    assert!(refusal.contains("refuses CONNECT (403)"), "{refusal}");
    let refusal = proxy.answered(&peer, b"SSH-2.0-OpenSSH_9.2\r\n\r\n").await;
    assert!(refusal.contains("not answer as an HTTP proxy"), "{refusal}");
    let refusal = proxy.answered(&peer, &[b'x'; 10_000]).await;
    assert!(refusal.contains("too long"), "{refusal}");
}

#[tokio::test]
async fn a_name_the_guard_refuses_does_not_get_to_the_proxy() {
    let (peer, proxy) = (Peer::start().await, Proxy::start().await);
    let mut request = post("x");
    request.uri = "https://169.254.169.254/latest".parse().unwrap();
    let answer = send(&proxy.transport(&peer), request).await.unwrap();
    assert!(matches!(answer, Err(TransportError::Refused { .. })), "{answer:?}");
}
