//! What becomes of requests whose connection or stream is taken from them: sent once more if the peer has certainly not
//! looked at them, never if it may have.

use std::sync::Arc;

use pushgate::TransportError;

use crate::peer::{Event, Peer, post, send};

#[tokio::test]
async fn above_a_goaway_requests_are_sent_once_on_another_connection_and_below_it_they_are_answered() {
    let peer = Peer::start().await;
    let transport = peer.transport();
    let sent: Vec<_> = (0..4).map(|n| send(&transport, post(&n.to_string()))).collect();
    let mut first = peer.accept(100).await;
    let requests = first.requests(4).await;
    first.go_away(requests[1].0, 0, b"").await;
    let mut second = peer.accept(100).await;
    let again = second.requests(2).await;
    let bodies = |requests: &[(u32, String)]| {
        let mut bodies: Vec<_> = requests.iter().map(|(_, body)| body.clone()).collect();
        bodies.sort();
        bodies
    };
    assert_eq!(bodies(&again), bodies(&requests[2..]));
    second.ping().await;
    assert_eq!(second.event().await, Event::Pong, "only those above the last stream are sent again");
    for (stream, body) in &requests[..2] {
        first.answer(*stream, 200, body).await;
    }
    for (stream, body) in &again {
        second.answer(*stream, 200, body).await;
    }
    for (n, one) in sent.into_iter().enumerate() {
        assert_eq!(one.await.unwrap().unwrap().body, n.to_string());
    }
    assert_eq!(first.event().await, Event::Closed, "a drained connection is closed");
}

#[tokio::test]
async fn a_peer_that_goes_away_each_time_is_asked_three_times_and_its_reason_is_told() {
    let peer = Peer::start().await;
    let transport = peer.transport();
    let sent = send(&transport, post("x"));
    for _ in 0..3 {
        let mut talk = peer.accept(100).await;
        talk.request().await;
        talk.go_away(0, 0, b"{\"reason\":\"BadCertificate\"}\x1b").await;
    }
    match sent.await.unwrap() {
        Err(TransportError::GoneAway { reason, .. }) => {
            assert_eq!(reason, "{\"reason\":\"BadCertificate\"}?")
        }
        other => panic!("{other:?}"),
    }
    assert!(!peer.is_called().await);
}

#[tokio::test]
async fn a_request_that_finds_no_other_connection_says_why_it_was_given_back() {
    let peer = Peer::start().await;
    let transport = peer.transport();
    let sent = send(&transport, post("x"));
    let mut talk = peer.accept(100).await;
    talk.request().await;
    drop(peer);
    talk.go_away(0, 11, b"").await;
    match sent.await.unwrap() {
        Err(TransportError::GoneAway { reason, .. }) => assert_eq!(reason, "ENHANCE_YOUR_CALM"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_request_the_peer_may_have_acted_on_is_not_repeated() {
    let peer = Peer::start().await;
    let transport = peer.transport();
    // The connection breaks; the stream is reset; the connection breaks after a GOAWAY that promised an answer.
    for case in 0..3 {
        let sent = send(&transport, post("x"));
        let mut talk = peer.accept(100).await;
        let (stream, _) = talk.request().await;
        match case {
            0 => {}
            1 => {
                talk.reset(stream, 2).await;
                talk.go_away(stream, 0, b"").await;
            }
            _ => talk.go_away(stream, 0, b"{\"reason\":\"Shutdown\"}").await,
        }
        drop(talk);
        let answer = sent.await.unwrap();
        assert!(matches!(answer, Err(TransportError::Broken { .. })), "case {case}: {answer:?}");
        assert!(!peer.is_called().await, "case {case}: dialled again for a request that may be done");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_asked_for_again() {
    let peer = Peer::start().await;
    let sent = send(&peer.transport(), post("x"));
    let mut talk = peer.accept(100).await;
    let (stream, _) = talk.request().await;
    talk.answer_head(stream, 200, &[]).await;
    talk.data(stream, b"half of it").await;
    talk.go_away(0, 0, b"").await;
    drop(talk);
    let answer = sent.await.unwrap();
    assert!(
        matches!(answer, Err(TransportError::GoneAway { .. } | TransportError::Broken { .. })),
        "{answer:?}"
    );
    assert!(!peer.is_called().await);
}

#[tokio::test]
async fn a_refused_stream_is_sent_once_on_another_connection() {
    let peer = Peer::start().await;
    let transport = peer.transport();
    let sent = send(&transport, post("x"));
    let mut first = peer.accept(100).await;
    let (stream, _) = first.request().await;
    first.refuse(stream).await;
    let mut second = peer.accept(100).await;
    let (stream, body) = second.request().await;
    second.answer(stream, 200, &body).await;
    assert_eq!(sent.await.unwrap().unwrap().body, "x");
    first.ping().await;
    assert_eq!(first.event().await, Event::Pong);
}

#[tokio::test]
async fn where_no_other_connection_may_be_had_a_refused_stream_is_sent_again_on_its_own() {
    let peer = Peer::start().await;
    let transport = Arc::new(peer.builder().max_connections(1).build().unwrap());
    let sent = send(&transport, post("x"));
    let mut talk = peer.accept(100).await;
    let (stream, _) = talk.request().await;
    talk.refuse(stream).await;
    let (stream, body) = talk.request().await;
    talk.answer(stream, 200, &body).await;
    assert_eq!(sent.await.unwrap().unwrap().body, "x");
}

#[tokio::test]
async fn a_stream_refused_three_times_is_given_up_as_not_sent() {
    let peer = Peer::start().await;
    let transport = Arc::new(peer.builder().max_connections(1).build().unwrap());
    let sent = send(&transport, post("x"));
    let mut talk = peer.accept(100).await;
    for _ in 0..3 {
        let (stream, _) = talk.request().await;
        talk.refuse(stream).await;
    }
    let answer = sent.await.unwrap();
    assert!(matches!(answer, Err(TransportError::Unreachable { .. })), "{answer:?}");
}
