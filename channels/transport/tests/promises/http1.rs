//! Peers that speak HTTP/1.1: what is kept open, how an answer ends, and what is no answer.

use std::sync::Arc;

use http::Uri;
use pushgate::{Request, Response, TransportError};
use pushgate_transport::HttpTransport;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::peer::{PATIENCE, Peer, post, send};

const EMPTY: &str = "HTTP/1.1 204 No Content\r\n\r\n";

/// A listener without TLS.
struct Plain(TcpListener);

struct Line(BufReader<TcpStream>);

impl Plain {
    async fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    async fn accept(&self) -> Line {
        Line(BufReader::new(self.0.accept().await.unwrap().0))
    }

    fn post(&self) -> Request {
        let uri: Uri = format!("http://{}/a%2Fb/?q=%20", self.0.local_addr().unwrap()).parse().unwrap();
        Request::post(uri, "hello", PATIENCE)
    }

    async fn is_called(&self) -> bool {
        std::future::poll_fn(|cx| std::task::Poll::Ready(self.0.poll_accept(cx))).await.is_ready()
    }

    /// What becomes of one request that is answered so, after which the connection is closed.
    async fn answered(&self, answer: &[u8]) -> Result<Response, TransportError> {
        let sent = send(&transport(), Request { max_answer: 100, ..self.post() });
        let mut line = self.accept().await;
        line.request().await;
        line.say(answer).await;
        drop(line);
        let answer = sent.await.unwrap();
        assert!(!self.is_called().await, "a request that may have been acted on was repeated");
        answer
    }
}

impl Line {
    /// The head of the next request, whose body is read too.
    async fn request(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.0.read_line(&mut head).await.unwrap(), 0, "the connection ended");
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        self.0.read_exact(&mut body).await.unwrap();
        head
    }

    async fn say(&mut self, text: &[u8]) {
        self.0.get_mut().write_all(text).await.unwrap();
    }
}

fn transport() -> Arc<HttpTransport> {
    Arc::new(HttpTransport::builder().build().unwrap())
}

#[tokio::test]
async fn a_connection_is_used_again_and_the_address_goes_out_byte_for_byte() {
    let peer = Plain::start().await;
    let transport = transport();
    let mut line = None;
    for _ in 0..3 {
        let sent = send(&transport, peer.post());
        if line.is_none() {
            line = Some(peer.accept().await);
        }
        let line = line.as_mut().unwrap();
        let head = line.request().await;
        assert!(head.starts_with("POST /a%2Fb/?q=%20 HTTP/1.1\r\n"), "{head}");
        assert!(head.contains(&format!("host: {}\r\n", peer.0.local_addr().unwrap())), "{head}");
        line.say(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        assert_eq!(sent.await.unwrap().unwrap().body, "ok");
    }
    assert!(!peer.is_called().await);
}

#[tokio::test]
async fn an_answer_may_be_chunked_or_end_with_its_connection() {
    let peer = Plain::start().await;
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    assert_eq!(peer.answered(chunked).await.unwrap().body, "abcde");
    assert_eq!(peer.answered(b"HTTP/1.1 200 OK\r\n\r\nto the end").await.unwrap().body, "to the end");
    assert_eq!(peer.answered(b"HTTP/1.0 200 OK\r\n\r\nold").await.unwrap().body, "old");
}

#[tokio::test]
async fn what_is_no_answer_is_broken_and_not_asked_for_again() {
    let peer = Plain::start().await;
    let endless_head = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(10_000));
    for garbage in [
        &b""[..],
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"\x00\xff\x00\xff\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nabc",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\nabc",
    ] {
        let answer = peer.answered(garbage).await;
        assert!(
            matches!(answer, Err(TransportError::Broken { .. })),
            "{}: {answer:?}",
            garbage.escape_ascii()
        );
    }
    // The rest of it is not read, so the peer may fail to write it.
    let sent = send(&transport(), peer.post());
    let mut line = peer.accept().await;
    line.request().await;
    let _ = line.0.get_mut().write_all(endless_head.as_bytes()).await;
    let answer = sent.await.unwrap();
    assert!(matches!(answer, Err(TransportError::Broken { .. })), "{answer:?}");
}

#[tokio::test]
async fn a_long_answer_is_cut_off_whether_its_length_is_announced_or_not() {
    let peer = Plain::start().await;
    let body = "x".repeat(101);
    for head in ["HTTP/1.1 200 OK\r\ncontent-length: 101\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"] {
        let answer = peer.answered(format!("{head}{body}").as_bytes()).await;
        assert!(matches!(answer, Err(TransportError::AnswerTooLong { limit: 100, .. })), "{answer:?}");
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_while_nobody_used_it_costs_nobody_his_request() {
    let peer = Plain::start().await;
    let transport = transport();
    let sent = send(&transport, peer.post());
    let mut line = peer.accept().await;
    line.request().await;
    line.say(EMPTY.as_bytes()).await;
    sent.await.unwrap().unwrap();
    drop(line);
    for _ in 0..2 {
        // Whoever waits for a socket hears what has become of the others.
        let _ = (TcpStream::connect(peer.0.local_addr().unwrap()).await, peer.accept().await);
        let sent = send(&transport, peer.post());
        let mut line = peer.accept().await;
        line.request().await;
        line.say(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await;
        assert_eq!(sent.await.unwrap().unwrap().status, 200);
    }
}

#[tokio::test]
async fn requests_side_by_side_have_a_connection_each_up_to_the_most() {
    let peer = Plain::start().await;
    let transport = Arc::new(HttpTransport::builder().max_connections(3).build().unwrap());
    let sent: Vec<_> = (0..7).map(|_| send(&transport, peer.post())).collect();
    let mut lines = Vec::new();
    for _ in 0..3 {
        let mut line = peer.accept().await;
        line.request().await;
        lines.push(line);
    }
    lines[0].say(EMPTY.as_bytes()).await;
    lines[0].request().await;
    assert!(!peer.is_called().await);
    for mut line in lines {
        line.say(EMPTY.as_bytes()).await;
        tokio::spawn(async move {
            loop {
                line.request().await;
                line.say(EMPTY.as_bytes()).await;
            }
        });
    }
    for one in sent {
        one.await.unwrap().unwrap();
    }
    assert!(!peer.is_called().await);
}

#[tokio::test]
async fn a_peer_with_tls_that_has_nothing_better_is_spoken_to_in_http1() {
    let peer = Peer::with(&["http/1.1"], false).await;
    let sent = send(&peer.transport(), post("hello"));
    let mut stream = peer.accept_tls().await;
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\nhello") {
        seen.push(stream.read_u8().await.unwrap());
    }
    assert!(seen.starts_with(b"POST /push HTTP/1.1\r\n"));
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
    assert_eq!(sent.await.unwrap().unwrap().body, "ok");
}
