//! Bodies: strangers get 8 KiB, all requests together one budget, and nobody's is read before he is known.

use futures_util::future::join_all;

use crate::sockets::{Socket, endless, gateway, get, head, serve};

const MIB: usize = 1024 * 1024;
const ROTATE: &str = "POST /v1/apps/demo/devices:rotate";

/// Sends as much of the body as the server takes.
async fn post(address: std::net::SocketAddr, head: String, body: usize) -> String {
    let mut socket = Socket::open(address, &head).await;
    let (mut reading, mut writing) = socket.0.split();
    let write = async {
        let piece = vec![b' '; 32 * 1024];
        for _ in 0..body / piece.len() {
            if tokio::io::AsyncWriteExt::write_all(&mut writing, &piece).await.is_err() {
                break;
            }
        }
    };
    let read = async {
        let mut bytes = Vec::new();
        drop(tokio::io::AsyncReadExt::read_to_end(&mut reading, &mut bytes).await);
        String::from_utf8(bytes).unwrap()
    };
    tokio::join!(write, read).1
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_bodies_of_4_mib_are_refused_and_150_of_them_stay_within_a_small_budget() {
    // 64 KiB of each would not fit: then some would be refused with 503.
    let lines =
        "max_body = \"4MiB\"\nmax_body_bytes_in_flight = \"4MiB\"\n[limits]\nrotations_per_minute = 0";
    let (running, _) = serve(gateway().await, lines).await;
    for line in [ROTATE, "POST /v1/apps/demo/devices:unbind", "POST /v1/receipts"] {
        let head = head(line, &["connection: close", &format!("content-length: {}", 4 * MIB)]);
        let answers = join_all((0..150).map(|_| post(running.address, head.clone(), 64 * 1024))).await;
        let others: Vec<_> = answers.iter().filter(|answer| !answer.starts_with("HTTP/1.1 413")).collect();
        assert!(others.is_empty(), "{line}: {others:?}");
    }
    assert!(get(running.address, "/healthz").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_budget_for_all_bodies_refuses_what_does_not_fit_and_is_free_again_afterwards() {
    let lines = "max_body = \"64KiB\"\nmax_body_bytes_in_flight = \"64KiB\"";
    let (running, key) = serve(gateway().await, lines).await;
    let bearer = format!("authorization: Bearer {key}");
    let fields = [bearer.as_str(), "connection: close", "content-length: 32768"];
    let asked = head("POST /v1/apps/demo/notifications", &fields);
    // Whoever is slower is refused; should it be the holder, another one takes its place.
    let (holder, refused) = loop {
        let mut holder = endless(running.address, &key).await;
        tokio::io::AsyncWriteExt::write_all(&mut holder.0, &[b' '; 48 * 1024]).await.unwrap();
        let answer = post(running.address, asked.clone(), 32 * 1024).await;
        if !answer.starts_with("HTTP/1.1 400") {
            break (holder, answer);
        }
    };
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    assert!(
        refused.contains(r#""code":"overloaded""#) && refused.contains("retry-after: 1\r\n"),
        "{refused}"
    );
    drop(holder);
    while !post(running.address, asked.clone(), 32 * 1024).await.starts_with("HTTP/1.1 400") {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_without_a_key_is_refused_before_his_body_is_read() {
    let (running, _) = serve(gateway().await, "").await;
    for line in [
        "POST /v1/apps/demo/notifications",
        "POST /v1/apps/demo/notifications:preview",
        "POST /v1/apps/demo/notifications/0190b6d5-7a2c-7000-8000-000000000000:ack",
        "POST /v1/apps/demo/devices",
        "PUT /v1/apps/demo/devices/tab",
        "PUT /v1/apps/demo/devices/tab/user",
        "PUT /v1/apps/demo/users/bob/presence",
        "PUT /v1/apps/demo/users/bob/rules",
        "PUT /v1/apps/demo/users/bob/badge",
        "POST /v1/apps/demo/presence",
    ] {
        // Nothing of the body is ever sent.
        let mut socket = Socket::open(running.address, &head(line, &["content-length: 1000"])).await;
        let answer = socket.read_until("missing_key").await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{line}: {answer}");
    }
}
