//! Nothing lasts longer than it may: not the wait for a stream, not a dial, not an answer, not a peer's silence.

use std::sync::Arc;
use std::time::Duration;

use pushgate::{Request, TransportError};
use pushgate_transport::HttpTransport;

use crate::peer::{Event, PATIENCE, Peer, Talk, post, send};

const SOON: Duration = Duration::from_millis(20);

/// A connection that has already answered once.
async fn warm(peer: &Peer, transport: &Arc<HttpTransport>) -> Talk {
    let sent = send(transport, post("warm"));
    let mut talk = peer.accept(10).await;
    let (stream, _) = talk.request().await;
    talk.answer(stream, 200, "").await;
    sent.await.unwrap().unwrap();
    talk
}

#[tokio::test]
async fn a_request_without_an_answer_ends_at_its_deadline_and_its_stream_is_reset() {
    let peer = Peer::start().await;
    let transport = peer.transport();
    let mut talk = warm(&peer, &transport).await;
    let sent = send(&transport, Request { timeout: SOON, ..post("x") });
    let (stream, _) = talk.request().await;
    match sent.await.unwrap() {
        Err(TransportError::Timeout { after, .. }) => assert_eq!(after, SOON),
        other => panic!("{other:?}"),
    }
    assert_eq!(talk.event().await, Event::Reset(stream));
}

#[tokio::test]
async fn a_dial_counts_against_the_deadline() {
    let peer = Peer::start().await;
    let answer = send(&peer.transport(), Request { timeout: SOON, ..post("x") }).await.unwrap();
    assert!(matches!(answer, Err(TransportError::Timeout { .. })), "{answer:?}");
}

#[tokio::test]
async fn a_dial_has_a_limit_of_its_own_with_tls_and_the_peers_settings_in_it() {
    let peer = Peer::start().await;
    for says_hello in [false, true] {
        let transport = Arc::new(peer.builder().connect_timeout(Duration::from_millis(200)).build().unwrap());
        let sent = send(&transport, post("x"));
        let tcp = peer.accept_tcp().await;
        let _open = if says_hello { Ok(peer.accept_silently(tcp).await) } else { Err(tcp) };
        match sent.await.unwrap() {
            Err(TransportError::Unreachable { why, .. }) => assert!(why.contains("within 200ms"), "{why}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn an_answer_that_drips_ends_at_the_deadline() {
    let peer = Peer::start().await;
    let transport = peer.transport();
    let mut talk = warm(&peer, &transport).await;
    tokio::time::pause();
    let sent = send(&transport, Request { timeout: Duration::from_secs(15), ..post("x") });
    let (stream, _) = talk.request().await;
    talk.answer_head(stream, 200, &[]).await;
    let mut drop_by_drop = tokio::time::interval(Duration::from_secs(1));
    while !sent.is_finished() {
        drop_by_drop.tick().await;
        talk.data(stream, b".").await;
    }
    let answer = sent.await.unwrap();
    assert!(matches!(answer, Err(TransportError::Timeout { .. })), "{answer:?}");
}

#[tokio::test]
async fn an_answer_longer_than_allowed_is_cut_off_and_its_connection_lives() {
    let peer = Peer::start().await;
    let transport = peer.transport();
    let mut talk = warm(&peer, &transport).await;
    let sent = send(&transport, Request { max_answer: 100, ..post("x") });
    let (stream, _) = talk.request().await;
    talk.answer_head(stream, 200, &[]).await;
    talk.data(stream, &[b'.'; 100]).await;
    talk.data(stream, b".").await;
    match sent.await.unwrap() {
        Err(TransportError::AnswerTooLong { limit, .. }) => assert_eq!(limit, 100),
        other => panic!("{other:?}"),
    }
    assert_eq!(talk.event().await, Event::Reset(stream));
    let exact = send(&transport, Request { max_answer: 100, ..post("x") });
    let (stream, _) = talk.request().await;
    talk.answer(stream, 200, &".".repeat(100)).await;
    assert_eq!(exact.await.unwrap().unwrap().body.len(), 100);
}

#[tokio::test]
async fn an_endless_head_is_cut_off() {
    let peer = Peer::start().await;
    let transport = peer.transport();
    let mut talk = warm(&peer, &transport).await;
    let sent = send(&transport, post("x"));
    let (stream, _) = talk.request().await;
    let long = "x".repeat(100);
    let headers: Vec<_> = (0..150).map(|_| ("x-long", long.as_str())).collect();
    talk.answer_head(stream, 200, &headers).await;
    let answer = sent.await.unwrap();
    assert!(matches!(answer, Err(TransportError::Broken { .. })), "{answer:?}");
}

#[tokio::test]
async fn an_idle_peer_is_asked_whether_it_lives_and_one_that_answers_is_kept() {
    let peer = Peer::start().await;
    let transport = Arc::new(peer.builder().idle_ping(SOON).build().unwrap());
    let mut talk = warm(&peer, &transport).await;
    for _ in 0..3 {
        let Event::Ping(payload) = talk.event().await else { panic!("something other than a PING") };
        talk.pong(payload).await;
    }
    tokio::spawn(talk.echo());
    assert_eq!(send(&transport, post("x")).await.unwrap().unwrap().body, "x");
    assert!(!peer.is_called().await);
}

#[tokio::test]
async fn a_peer_that_falls_silent_is_replaced() {
    let peer = Peer::start().await;
    let transport = peer.transport();
    let mut talk = warm(&peer, &transport).await;
    tokio::time::pause();
    let sent = send(&transport, Request { timeout: PATIENCE * 10, ..post("x") });
    talk.request().await;
    match sent.await.unwrap() {
        Err(TransportError::Broken { why, .. }) => assert!(why.contains("PING"), "{why}"),
        other => panic!("{other:?}"),
    }
    tokio::time::resume();
    let sent = send(&transport, post("x"));
    tokio::spawn(peer.accept(10).await.echo());
    assert_eq!(sent.await.unwrap().unwrap().body, "x");
}
