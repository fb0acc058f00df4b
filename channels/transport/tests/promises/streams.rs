//! Streams and connections: the peer's limit as it is now, growth by need, nothing lost when somebody gives up.

use std::sync::Arc;
use std::time::Duration;

use pushgate::TransportError;
use pushgate_transport::HttpTransport;
use tokio::task::JoinHandle;

use crate::peer::{Event, Peer, Talk, post, send};

type Sent = JoinHandle<Result<pushgate::Response, TransportError>>;

fn burst(transport: &Arc<HttpTransport>, number: usize) -> Vec<Sent> {
    (0..number).map(|n| send(transport, post(&n.to_string()))).collect()
}

async fn all_answered(sent: Vec<Sent>) {
    for (n, one) in sent.into_iter().enumerate() {
        assert_eq!(one.await.unwrap().unwrap().body, n.to_string());
    }
}

async fn nothing_more(talk: &mut Talk) {
    talk.ping().await;
    assert_eq!(talk.event().await, Event::Pong);
}

#[tokio::test]
async fn the_peers_limit_of_streams_is_obeyed_as_it_shrinks_and_grows() {
    let peer = Peer::start().await;
    let transport = Arc::new(peer.builder().max_connections(1).build().unwrap());
    let sent = burst(&transport, 12);
    let mut talk = peer.accept(3).await;
    let first = talk.requests(3).await;
    nothing_more(&mut talk).await;
    talk.limit(1).await;
    for (stream, body) in &first[..2] {
        talk.answer(*stream, 200, body).await;
    }
    nothing_more(&mut talk).await; // One is still open, and one is the limit.
    talk.answer(first[2].0, 200, &first[2].1).await;
    let one = talk.request().await;
    nothing_more(&mut talk).await;
    talk.limit(5).await;
    let four = talk.requests(4).await;
    nothing_more(&mut talk).await;
    for (stream, body) in std::iter::once(one).chain(four) {
        talk.answer(stream, 200, &body).await;
    }
    for (stream, body) in talk.requests(4).await {
        talk.answer(stream, 200, &body).await;
    }
    all_answered(sent).await;
}

#[tokio::test]
async fn a_cold_burst_opens_as_many_connections_as_it_needs_and_no_more() {
    let peer = Peer::start().await;
    let transport = peer.transport();
    let sent = burst(&transport, 1000);
    let mut talks = vec![(peer.accept(100).await, Vec::new())];
    // The other nine are dialled side by side: all of them call before one is answered.
    let mut called = Vec::new();
    for _ in 0..9 {
        called.push(peer.accept_tcp().await);
    }
    for tcp in called {
        talks.push((peer.accept_on(tcp, 100).await, Vec::new()));
    }
    for (talk, requests) in &mut talks {
        *requests = talk.requests(100).await;
    }
    assert!(!peer.is_called().await, "1,000 requests need 10 connections of 100 streams");
    for (talk, requests) in &mut talks {
        nothing_more(talk).await;
        for (stream, body) in requests {
            talk.answer(*stream, 200, body).await;
        }
    }
    all_answered(sent).await;
    assert!(!peer.is_called().await);
}

#[tokio::test]
async fn growth_stops_at_the_most_connections_and_the_rest_wait_their_turn() {
    let peer = Peer::start().await;
    let transport = Arc::new(peer.builder().max_connections(2).build().unwrap());
    let sent = burst(&transport, 50);
    for _ in 0..2 {
        tokio::spawn(peer.accept(5).await.echo());
    }
    all_answered(sent).await;
    assert!(!peer.is_called().await);
}

#[tokio::test]
async fn a_cancelled_request_frees_its_stream() {
    let peer = Peer::start().await;
    let transport = Arc::new(peer.builder().max_connections(1).build().unwrap());
    let cancelled = send(&transport, post("first"));
    let mut talk = peer.accept(1).await;
    let (stream, _) = talk.request().await;
    let waits = send(&transport, post("second"));
    cancelled.abort();
    assert_eq!(talk.event().await, Event::Reset(stream));
    let (stream, body) = talk.request().await;
    talk.answer(stream, 200, &body).await;
    assert_eq!(waits.await.unwrap().unwrap().body, "second");
}

#[tokio::test]
async fn who_gives_up_waiting_takes_no_stream_with_him() {
    let peer = Peer::start().await;
    let transport = Arc::new(peer.builder().max_connections(1).build().unwrap());
    let first = send(&transport, post("first"));
    let mut talk = peer.accept(1).await;
    let (stream, _) = talk.request().await;
    let gives_up =
        send(&transport, pushgate::Request { timeout: Duration::from_millis(20), ..post("second") });
    let answer = gives_up.await.unwrap();
    assert!(matches!(answer, Err(TransportError::Timeout { .. })), "{answer:?}");
    let third = send(&transport, post("third"));
    talk.answer(stream, 200, "first").await;
    let (stream, body) = talk.request().await;
    talk.answer(stream, 200, &body).await;
    assert_eq!(third.await.unwrap().unwrap().body, "third");
    first.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_dial_outlives_the_request_that_asked_for_it() {
    let peer = Peer::start().await;
    let transport = peer.transport();
    let cancelled = send(&transport, post("first"));
    let tcp = peer.accept_tcp().await;
    cancelled.abort();
    let waits = send(&transport, post("second"));
    tokio::spawn(peer.accept_on(tcp, 10).await.echo());
    assert_eq!(waits.await.unwrap().unwrap().body, "second");
    assert!(!peer.is_called().await);
}

#[tokio::test]
async fn a_body_of_many_frames_arrives_whole() {
    let peer = Peer::start().await;
    let transport = peer.transport();
    let bodies =
        [0, 1, 1023, 1024, 2046, 4096, 30_000].map(|length| "é".repeat(length / 2) + &"x".repeat(length % 2));
    let mut talk = None;
    for body in bodies {
        let sent = send(&transport, post(&body));
        if talk.is_none() {
            talk = Some(peer.accept(10).await);
        }
        let talk = talk.as_mut().unwrap();
        let (stream, arrived) = talk.request().await;
        assert!(arrived == body, "{} bytes of {}", arrived.len(), body.len());
        talk.answer(stream, 200, "").await;
        sent.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_header_that_http2_forbids_costs_one_request_and_no_connection() {
    let peer = Peer::start().await;
    let transport = peer.transport();
    let good = send(&transport, post("good"));
    let talk = peer.accept(10).await;
    tokio::spawn(talk.echo());
    good.await.unwrap().unwrap();
    let mut bad = post("bad");
    bad.headers.insert("connection", http::HeaderValue::from_static("close"));
    let answer = send(&transport, bad).await.unwrap();
    assert!(matches!(answer, Err(TransportError::Refused { .. })), "{answer:?}");
    assert_eq!(send(&transport, post("good")).await.unwrap().unwrap().body, "good");
    assert!(!peer.is_called().await);
}
