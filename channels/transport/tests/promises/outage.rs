//! Peers that cannot be reached: said at once to everybody, remembered for a moment, looked up anew afterwards.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use parking_lot::Mutex;
use pushgate::{Request, TransportError};
use pushgate_transport::{HttpTransport, Resolve};

use crate::peer::{Always, Event, HOST, PATIENCE, Peer, post, send};

/// Says one thing after the other, `None` for a name that is not known.
struct Script(Mutex<VecDeque<Option<Vec<IpAddr>>>>);

impl Script {
    fn new(says: &[Option<&[&str]>]) -> Arc<Self> {
        let parsed = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        Arc::new(Self(Mutex::new(says.iter().map(|say| say.map(parsed)).collect())))
    }

    fn left(&self) -> usize {
        self.0.lock().len()
    }
}

#[async_trait::async_trait]
impl Resolve for Script {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        self.0.lock().pop_front().flatten().ok_or_else(|| io::Error::other("no such name"))
    }
}

fn to(peer: &Peer) -> Request {
    let uri: Uri = format!("https://localhost:{}/push", peer.address().port()).parse().unwrap();
    Request::post(uri, "x", PATIENCE)
}

fn transport(peer: &Peer, resolver: &Arc<Script>) -> Arc<HttpTransport> {
    Arc::new(peer.builder().resolver(Arc::clone(resolver) as Arc<dyn Resolve>).build().unwrap())
}

#[tokio::test]
async fn a_failed_dial_is_told_to_everybody_who_waits_and_dialled_once() {
    let peer = Peer::start().await;
    let resolver = Script::new(&[None, Some(&["127.0.0.1"])]);
    let transport = transport(&peer, &resolver);
    let sent: Vec<_> = (0..100).map(|_| send(&transport, to(&peer))).collect();
    for one in sent {
        match one.await.unwrap() {
            Err(TransportError::Unreachable { why, .. }) => assert_eq!(why, "no such name"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(resolver.left(), 1, "one look-up for a hundred requests");
}

#[tokio::test]
async fn an_outage_is_remembered_for_a_moment_and_then_dialled_again() {
    let peer = Peer::start().await;
    let resolver = Script::new(&[None, Some(&["127.0.0.1"])]);
    let transport = transport(&peer, &resolver);
    tokio::time::pause();
    for _ in 0..2 {
        let answer = send(&transport, to(&peer)).await.unwrap();
        assert!(matches!(answer, Err(TransportError::Unreachable { .. })), "{answer:?}");
        assert_eq!(resolver.left(), 1);
    }
    tokio::time::advance(Duration::from_millis(250)).await;
    tokio::time::resume();
    let sent = send(&transport, to(&peer));
    tokio::spawn(peer.accept(10).await.echo());
    assert_eq!(sent.await.unwrap().unwrap().body, "x");
}

#[tokio::test]
async fn a_new_connection_goes_where_the_name_leads_now() {
    let old = Peer::start().await;
    let new = Peer::at(format!("127.0.0.2:{}", old.address().port()).parse().unwrap()).await;
    let resolver = Script::new(&[Some(&["127.0.0.1"]), Some(&["127.0.0.2"])]);
    let both =
        Arc::new(old.builder_with(&new).resolver(Arc::clone(&resolver) as Arc<dyn Resolve>).build().unwrap());
    let sent = send(&both, to(&old));
    let mut talk = old.accept(10).await;
    let (stream, _) = talk.request().await;
    talk.go_away(stream, 0, b"").await;
    talk.answer(stream, 200, "old").await;
    assert_eq!(sent.await.unwrap().unwrap().body, "old");
    let sent = send(&both, to(&old));
    tokio::spawn(new.accept(10).await.echo());
    assert_eq!(sent.await.unwrap().unwrap().body, "x");
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_does_not_answer() {
    let peer = Peer::start().await;
    let resolver = Script::new(&[Some(&["127.0.0.3", "127.0.0.1"])]);
    let sent = send(&transport(&peer, &resolver), to(&peer));
    tokio::spawn(peer.accept(10).await.echo());
    assert_eq!(sent.await.unwrap().unwrap().body, "x");
}

#[tokio::test]
async fn while_one_connection_lives_those_who_wait_for_another_wait_for_its_streams() {
    let peer = Peer::start().await;
    let transport = peer.transport();
    let sent: Vec<_> = (0..3).map(|n| send(&transport, post(&n.to_string()))).collect();
    let mut talk = peer.accept_last(1).await;
    for _ in 0..3 {
        let (stream, body) = talk.request().await;
        talk.answer(stream, 200, &body).await;
    }
    for (n, one) in sent.into_iter().enumerate() {
        assert_eq!(one.await.unwrap().unwrap().body, n.to_string());
    }
}

#[tokio::test]
async fn a_refused_request_goes_back_to_its_connection_when_there_is_no_other() {
    let peer = Peer::start().await;
    let sent = send(&peer.transport(), post("x"));
    let mut talk = peer.accept_last(10).await;
    let (stream, _) = talk.request().await;
    talk.refuse(stream).await;
    let (stream, body) = talk.request().await;
    talk.answer(stream, 200, &body).await;
    assert_eq!(sent.await.unwrap().unwrap().body, "x");
}

#[tokio::test]
async fn connections_to_ever_new_origins_do_not_pile_up() {
    let peer = Peer::start().await;
    let transport = Arc::new(peer.builder().resolver(Arc::new(Always(vec![]))).build().unwrap());
    let strangers = async || {
        for n in 0..520 {
            let uri = format!("https://h{n}.example/push").parse().unwrap();
            let answer = send(&transport, Request { uri, ..post("x") }).await.unwrap();
            assert!(matches!(answer, Err(TransportError::Unreachable { .. })), "{answer:?}");
        }
    };
    let first = send(&transport, post("x"));
    let mut talk = peer.accept(10).await;
    let (stream, _) = talk.request().await;
    // A connection at work stays, however many strangers come along.
    strangers().await;
    let second = send(&transport, post("x"));
    let (another, _) = talk.request().await;
    for stream in [stream, another] {
        talk.answer(stream, 200, "").await;
    }
    for one in [first, second] {
        one.await.unwrap().unwrap();
    }
    // An idle one goes when it is the oldest.
    strangers().await;
    assert_eq!(talk.event().await, Event::Closed);
}

#[tokio::test]
async fn a_port_nobody_listens_on_is_unreachable_by_name() {
    let peer = Peer::start().await;
    let transport = peer.transport();
    drop(peer);
    match send(&transport, post("x")).await.unwrap() {
        Err(TransportError::Unreachable { host, why }) => {
            assert_eq!(host, HOST);
            assert!(why.contains("refused"), "{why}");
        }
        other => panic!("{other:?}"),
    }
}
