//! Connections: what a client does not send in time, or too often, stops nobody else.

use std::process::{Command, Stdio};

use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::setup::MAX_WAIT;
use crate::sockets::{Socket, endless, gateway, get, head, serve};

const HALF_A_HEAD: &str = "GET /healthz HTTP/1.1\r\nhost: local";

#[tokio::test(flavor = "multi_thread")]
async fn half_sent_heads_at_the_connection_limit_do_not_silence_the_server() {
    // Only their replacement can help: none of them runs out of time here.
    let (running, _) = serve(gateway().await, "max_connections = 8\nheader_timeout = \"1m\"").await;
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(Socket::open(running.address, HALF_A_HEAD).await);
    }
    for _ in 0..20 {
        let answer = get(running.address, "/healthz").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert_eq!(silent[0].read_all().await, "", "the oldest gave its place");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_not_complete_in_time_ends_its_connection() {
    let (running, _) = serve(gateway().await, "header_timeout = \"100ms\"").await;
    for begun in ["", HALF_A_HEAD, "PRI * HTTP/2.0\r\n\r\nSM"] {
        assert_eq!(Socket::open(running.address, begun).await.read_all().await, "", "{begun:?}");
    }
    let mut second = Socket::open(running.address, &head("GET /healthz", &[])).await;
    second.read_until("ok\n").await;
    tokio::io::AsyncWriteExt::write_all(&mut second.0, HALF_A_HEAD.as_bytes()).await.unwrap();
    assert_eq!(second.read_all().await, "", "so does the head of a further request");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_closed() {
    let (running, _) = serve(gateway().await, "header_timeout = \"1m\"\nidle_timeout = \"100ms\"").await;
    let mut kept = Socket::open(running.address, &head("GET /healthz", &[])).await;
    let answer = kept.read_all().await;
    assert!(answer.starts_with("HTTP/1.1 200") && !answer.contains("connection: close"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_refused_with_503_only_when_all_others_serve_requests() {
    let (running, key) = serve(gateway().await, "max_connections = 2").await;
    let mut idle = Socket::open(running.address, &head("GET /healthz", &[])).await;
    idle.read_until("ok\n").await;
    let _first = endless(running.address, &key).await;
    let _second = endless(running.address, &key).await;
    assert_eq!(idle.read_all().await, "", "an idle connection gives its place");
    let refused = get(running.address, "/healthz").await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after: 1\r\n"), "{refused}");
    assert!(refused.contains(r#""code":"overloaded""#), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_credentials_that_does_not_come_holds_no_connection() {
    let (running, _) = serve(gateway().await, "max_connections = 4").await;
    let begun = head("POST /v1/receipts", &["content-length: 100"]);
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(Socket::open(running.address, &begun).await);
    }
    assert!(get(running.address, "/healthz").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_in_time_is_answered_with_408() {
    let (running, key) = serve(gateway().await, "request_timeout = \"1s\"").await;
    let answer = endless(running.address, &key).await.read_all().await;
    assert!(answer.contains("HTTP/1.1 408"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_is_spoken_with_prior_knowledge() {
    let (running, _) = serve(gateway().await, "").await;
    let stream = tokio::net::TcpStream::connect(running.address).await.unwrap();
    let io = TokioIo::new(stream);
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let serving = tokio::spawn(connection);
    for _ in 0..3 {
        let uri = format!("http://{}/healthz", running.address);
        let request = http::Request::get(uri).body(Empty::<bytes::Bytes>::new()).unwrap();
        let response = client.send_request(request).await.unwrap();
        assert_eq!((response.status(), response.version()), (http::StatusCode::OK, http::Version::HTTP_2));
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok\n");
    }
    // An idle connection does not hold a shutdown.
    tokio::time::timeout(MAX_WAIT, running.stop()).await.unwrap();
    serving.await.unwrap().unwrap();
}

/// Runs `pushgate serve` with a configuration of its own and this address.
fn program(listen: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pushgate"));
    let listen = format!("server.listen={listen}");
    command.args(["serve", "--set", "storage.kind=memory", "--set", &listen]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn a_taken_port_is_named_with_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let output = program(&listen).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(
        errors.contains(&format!("server.listen = {listen} is in use; stop the other process")),
        "{errors}"
    );
}

#[test]
fn a_log_that_goes_to_a_file_has_no_escapes() {
    use std::io::{BufRead, BufReader, Read};
    let mut child = program("127.0.0.1:0").spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM)
        .unwrap();
    let mut log = String::new();
    child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(log.contains("stopping") && !log.contains('\u{1b}'), "{log:?}");
}
