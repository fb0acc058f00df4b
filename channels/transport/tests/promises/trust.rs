//! Who we are to a peer, and how it comes to trust a connection.

use std::sync::Arc;

use pushgate::TransportError;

use crate::peer::{Event, Peer, post, send};

#[tokio::test]
async fn a_client_certificate_is_shown_to_a_peer_that_asks() {
    let peer = Peer::with(&["h2"], true).await;
    let (chain, key) = peer.identity();
    let sent = send(&Arc::new(peer.builder().identity(chain, key).build().unwrap()), post("x"));
    let talk = peer.accept(10).await;
    assert_eq!(talk.stream.get_ref().1.peer_certificates().map(<[_]>::len), Some(1));
    tokio::spawn(talk.echo());
    assert_eq!(sent.await.unwrap().unwrap().body, "x");
}

#[tokio::test]
async fn a_new_connection_has_one_stream_until_the_first_success() {
    let peer = Peer::start().await;
    let transport = Arc::new(peer.builder().first_stream_alone().build().unwrap());
    let sent: Vec<_> = (0..5).map(|n| send(&transport, post(&n.to_string()))).collect();
    let mut talk = peer.accept(100).await;
    // Refusals are no success: the next request comes alone again.
    for status in [403, 400, 500] {
        let (stream, _) = talk.request().await;
        talk.answer(stream, status, "").await;
    }
    let (stream, _) = talk.request().await;
    talk.ping().await;
    assert_eq!(talk.event().await, Event::Pong, "a second stream before the first success");
    talk.answer(stream, 200, "").await;
    let (stream, _) = talk.request().await;
    talk.answer(stream, 200, "").await;
    for one in sent {
        one.await.unwrap().unwrap();
    }
    assert!(!peer.is_called().await, "one connection is enough for five requests");
}

#[tokio::test]
async fn after_the_first_success_the_peers_limit_counts() {
    let peer = Peer::start().await;
    let transport = Arc::new(peer.builder().first_stream_alone().build().unwrap());
    let sent: Vec<_> = (0..51).map(|n| send(&transport, post(&n.to_string()))).collect();
    // As Apple does it: one stream at first, a thousand once it knows us.
    let mut talk = peer.accept(1).await;
    let (stream, _) = talk.request().await;
    talk.limit(1000).await;
    talk.answer(stream, 200, "").await;
    for (stream, _) in talk.requests(50).await {
        talk.answer(stream, 200, "").await;
    }
    for one in sent {
        one.await.unwrap().unwrap();
    }
    assert!(!peer.is_called().await);
}

#[tokio::test]
async fn a_peer_that_nobody_we_trust_vouches_for_is_not_spoken_to() {
    let peer = Peer::start().await;
    let stranger = Peer::start().await;
    let transport =
        Arc::new(stranger.builder().connect_to(crate::peer::HOST, peer.address()).build().unwrap());
    let sent = send(&transport, post("x"));
    let alert = peer.accept_failing().await;
    assert!(alert.contains("UnknownCA"), "{alert}");
    match sent.await.unwrap() {
        Err(TransportError::Unreachable { why, .. }) => assert!(why.contains("transport.roots"), "{why}"),
        other => panic!("{other:?}"),
    }
}
