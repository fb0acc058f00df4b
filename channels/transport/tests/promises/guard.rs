//! Where a transport for strangers' addresses does not go, and what stands in for a vendor all the same.

use std::net::IpAddr;
use std::sync::Arc;

use pushgate::{Request, Response, Transport, TransportError};
use pushgate_transport::{Destinations, HttpTransport};

use crate::peer::{Always, Event, HOST, PATIENCE, Peer, post, send};

async fn sent(transport: &HttpTransport, uri: &str) -> Result<Response, TransportError> {
    transport.send(Request::post(uri.parse().unwrap(), "x", PATIENCE)).await
}

async fn refusal(transport: &HttpTransport, uri: &str) -> String {
    match sent(transport, uri).await {
        Err(TransportError::Refused { why, .. }) => why,
        other => panic!("{uri}: {other:?}"),
    }
}

fn public(addresses: &[&str]) -> HttpTransport {
    let addresses: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
    HttpTransport::builder()
        .destinations(Destinations::Public)
        .resolver(Arc::new(Always(addresses)))
        .build()
        .unwrap()
}

#[tokio::test]
async fn the_metadata_service_of_a_cloud_is_not_reached() {
    let why = refusal(&public(&[]), "https://169.254.169.254/latest/meta-data").await;
    assert_eq!(why, "only DNS names are allowed, no addresses");
    refusal(&public(&["169.254.169.254"]), "https://push.evil.example.com/x").await;
    refusal(&public(&["169.254.169.254"]), "https://metadata.google.internal/x").await;
}

#[tokio::test]
async fn localhost_is_refused() {
    refusal(&public(&["127.0.0.1"]), "https://localhost/x").await;
    refusal(&public(&["127.0.0.1"]), "https://a.localhost./x").await;
}

#[tokio::test]
async fn a_literal_address_is_refused_in_every_spelling() {
    for host in [
        "127.0.0.1",
        "8.8.8.8",
        "[::1]",
        "[2606:4700::1111]",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
    ] {
        refusal(&public(&[]), &format!("https://{host}/x")).await;
    }
}

#[tokio::test]
async fn another_scheme_port_or_userinfo_is_refused() {
    refusal(&public(&["1.1.1.1"]), "http://push.example.com/x").await;
    refusal(&public(&["1.1.1.1"]), "https://push.example.com:8443/x").await;
    refusal(&public(&["1.1.1.1"]), "https://ann:secret@push.example.com/x").await;
}

macro_rules! a_name_that_resolves_to {
    ($($test:ident: $address:literal,)*) => { $(
        #[tokio::test]
        async fn $test() {
            let why = refusal(&public(&[$address]), "https://push.example.com/x").await;
            // The rule, and not what is behind the name: the asker may be scanning.
            assert_eq!(why, "the name leads to an address that is not public");
        }
    )* };
}

a_name_that_resolves_to! {
    a_name_that_resolves_to_a_private_address_is_refused: "10.0.0.1",
    a_name_that_resolves_to_loopback_is_refused: "127.0.0.1",
    a_name_that_resolves_to_ipv6_loopback_is_refused: "::1",
    a_name_that_resolves_to_mapped_loopback_is_refused: "::ffff:127.0.0.1",
    a_name_that_resolves_to_a_link_local_address_is_refused: "fe80::1",
    a_name_that_resolves_to_a_unique_local_address_is_refused: "fd00::1",
    a_name_that_resolves_to_a_carriers_shared_address_is_refused: "100.64.0.1",
    a_name_that_resolves_to_nowhere_is_refused: "0.0.0.0",
}

#[tokio::test]
async fn one_private_address_among_public_ones_spoils_the_name() {
    refusal(&public(&["1.1.1.1", "10.0.0.1"]), "https://push.example.com/x").await;
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let peer = Peer::start().await;
    let transport = Arc::new(peer.builder().destinations(Destinations::Public).build().unwrap());
    let sent = send(&transport, post("x"));
    let mut talk = peer.accept(10).await;
    let (stream, _) = talk.request().await;
    talk.answer_head(stream, 307, &[("location", "https://127.0.0.1/secret")]).await;
    talk.end(stream, "over there").await;
    let answer = sent.await.unwrap().unwrap();
    assert_eq!((answer.status.as_u16(), &*answer.body), (307, &b"over there"[..]));
    talk.ping().await;
    assert_eq!(
        (talk.event().await, peer.is_called().await),
        (Event::Pong, false),
        "something was sent after it"
    );
}

#[tokio::test]
async fn a_server_stands_in_for_a_vendor_under_its_name_whatever_the_guard_says() {
    let peer = Peer::start().await;
    let transport = peer
        .builder()
        .destinations(Destinations::Public)
        .connect_to("localhost", peer.address())
        .build()
        .unwrap();
    let transport = Arc::new(transport);
    for uri in
        [format!("https://{HOST}/x"), format!("https://{HOST}:8443/x"), "https://localhost:1/x".to_owned()]
    {
        let sent = send(&transport, Request::post(uri.parse().unwrap(), "x", PATIENCE));
        let talk = tokio::spawn(peer.accept(10).await.echo());
        assert_eq!(sent.await.unwrap().unwrap().body, "x", "{uri}");
        talk.abort();
    }
}

#[tokio::test]
async fn what_the_operator_allows_is_dialled_at_a_private_address() {
    let peer = Peer::start().await;
    let port = peer.address().port();
    let transport = peer
        .builder()
        .destinations(Destinations::Public)
        .resolver(Arc::new(Always(vec!["127.0.0.1".parse().unwrap()])))
        .allow([format!("localhost:{port}")])
        .build()
        .unwrap();
    let uri = format!("https://localhost:{port}/x");
    let sent = send(&Arc::new(transport), Request::post(uri.parse().unwrap(), "x", PATIENCE));
    tokio::spawn(peer.accept(10).await.echo());
    assert_eq!(sent.await.unwrap().unwrap().body, "x");
}

#[tokio::test]
async fn a_name_that_its_certificate_does_not_bear_is_not_spoken_to() {
    let peer = Peer::start().await;
    let transport = peer.builder().connect_to("other.example.org", peer.address()).build().unwrap();
    let called = tokio::spawn(async move { peer.accept_failing().await });
    let answer = sent(&transport, "https://other.example.org/x").await;
    assert!(matches!(answer, Err(TransportError::Unreachable { .. })), "{answer:?}");
    assert!(called.await.unwrap().contains("Certificate"));
}
