//! The services over TLS: host names and certificates, HTTP/1.1 and HTTP/2, connection faults, and the control API.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::super::Subscription;
use super::*;
use crate::event::EventKind;
use crate::fault::{Effect, Fault};
use crate::{Emulator, Options};

const TIMEOUT: Duration = Duration::from_secs(10);

async fn emulator() -> Emulator {
    Emulator::start(Options::default()).await.unwrap()
}

fn subscribed(emulator: &Emulator, service: WebPushService) -> (AppServer, Subscription) {
    let app_server = AppServer::new();
    let subscription = emulator.webpush().subscribe(service, &app_server.application_server_key()).unwrap();
    (app_server, subscription)
}

/// Sends a request to the emulator's port, whatever its host is. The certificate is verified for that host.
async fn send(
    emulator: &Emulator,
    protocol: &[u8],
    request: &Request,
) -> Result<(http::response::Parts, Bytes), hyper::Error> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(emulator.ca_pem().as_bytes()).unwrap()).unwrap();
    let mut tls =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
    tls.alpn_protocols = vec![protocol.to_vec()];
    let mut request = request.to_http().map(|body| Full::new(Bytes::from(body)));
    let host = request.uri().host().unwrap().to_owned();
    let tcp = TcpStream::connect(emulator.url().strip_prefix("https://").unwrap()).await.unwrap();
    let name = ServerName::try_from(host.clone()).unwrap();
    let stream = TokioIo::new(TlsConnector::from(Arc::new(tls)).connect(name, tcp).await.unwrap());
    let response = if protocol == b"h2" {
        let (mut client, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await?;
        tokio::spawn(connection);
        client.send_request(request).await?
    } else {
        let authority = request.uri().authority().unwrap().to_string();
        request.headers_mut().insert("host", authority.parse().unwrap());
        *request.uri_mut() = request.uri().path_and_query().unwrap().as_str().parse().unwrap();
        let (mut client, connection) = hyper::client::conn::http1::handshake(stream).await?;
        tokio::spawn(connection);
        client.send_request(request).await?
    };
    let (head, body) = response.into_parts();
    Ok((head, body.collect().await?.to_bytes()))
}

#[tokio::test]
async fn every_service_responds_under_its_host_name_over_http1_and_http2() {
    let emulator = emulator().await;
    for service in WebPushService::ALL {
        let (app_server, subscription) = subscribed(&emulator, service);
        for protocol in [&b"h2"[..], b"http/1.1"] {
            let request = Request::valid(&subscription, &app_server, "hi");
            let (head, _) = send(&emulator, protocol, &request).await.unwrap();
            assert_eq!(head.status, 201, "{service:?}");
        }
        assert_eq!(emulator.webpush().inbox(&subscription).len(), 2, "{service:?}");
    }
}

#[tokio::test]
async fn a_subscription_works_behind_the_loopback_address_too() {
    let emulator = emulator().await;
    for service in WebPushService::ALL {
        let (app_server, subscription) = subscribed(&emulator, service);
        let here = subscription.with_origin(&emulator.url());
        let (head, _) = send(&emulator, b"h2", &Request::valid(&here, &app_server, "hi")).await.unwrap();
        assert_eq!(head.status, 201, "{service:?}");
        assert_eq!(emulator.webpush().inbox(&here).len(), 1, "{service:?}");
    }
}

#[tokio::test]
async fn debians_chromium_is_served_under_its_staging_host() {
    let emulator = emulator().await;
    let (app_server, subscription) = subscribed(&emulator, WebPushService::Google);
    let here = subscription.with_origin("https://jmt17.google.com");
    let (head, _) = send(&emulator, b"h2", &Request::valid(&here, &app_server, "hi")).await.unwrap();
    assert_eq!(head.status, 201);
}

#[tokio::test]
async fn hang_reset_and_lost_responses_have_their_documented_effect() {
    let emulator = Arc::new(emulator().await);
    let (app_server, subscription) = subscribed(&emulator, WebPushService::Google);
    let web_push = emulator.webpush();
    let add_fault = |effect| web_push.add_fault(Fault::next(1, effect));
    add_fault(Effect::reset());
    assert!(send(&emulator, b"h2", &Request::valid(&subscription, &app_server, "reset")).await.is_err());
    assert!(web_push.inbox(&subscription).is_empty());
    let lost = add_fault(Effect::LoseAnswer);
    let request = Request::valid(&subscription, &app_server, "arrives");
    let caller = tokio::spawn({
        let emulator = Arc::clone(&emulator);
        async move { send(&emulator, b"h2", &request).await.is_ok() }
    });
    web_push
        .wait_for(|event| *event == EventKind::Fault { rule: lost, effect: "lose_answer" }, TIMEOUT)
        .await
        .unwrap();
    web_push.wait_for(|event| matches!(event, EventKind::Arrived { .. }), TIMEOUT).await.unwrap();
    assert!(!caller.is_finished(), "no response comes");
    caller.abort();
    let hang = add_fault(Effect::Hang);
    let request = Request::valid(&subscription, &app_server, "never");
    let caller = tokio::spawn({
        let emulator = Arc::clone(&emulator);
        async move { send(&emulator, b"h2", &request).await.is_ok() }
    });
    web_push
        .wait_for(|event| *event == EventKind::Fault { rule: hang, effect: "hang" }, TIMEOUT)
        .await
        .unwrap();
    assert!(!caller.is_finished(), "no response comes");
    caller.abort();
    assert_eq!(web_push.inbox(&subscription).len(), 1);
}

/// Sends a request to the control API over plain HTTP.
async fn control(emulator: &Emulator, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let address = emulator.control_url().strip_prefix("http://").unwrap().to_owned();
    let stream = TokioIo::new(TcpStream::connect(&address).await.unwrap());
    let (mut client, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::builder().method(method).uri(path).header("host", address);
    let request = request.header("content-type", "application/json");
    let response = client.send_request(request.body(Full::new(Bytes::from(body.to_string()))).unwrap());
    let (head, body) = response.await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status.as_u16(), serde_json::from_slice(&body).unwrap_or_default())
}

#[tokio::test]
async fn the_control_api_has_all_operations_of_the_library() {
    let (emulator, app_server) = (emulator().await, AppServer::new());
    let new = json!({"service": "mozilla", "vapid_public_key": app_server.application_server_key()});
    let (status, created) = control(&emulator, "POST", "/control/webpush/subscriptions", &new).await;
    assert_eq!((status, &created["id"]), (201, &json!("mozilla-1")));
    let path = |route: &str| format!("/control/webpush/subscriptions/mozilla-1/{route}");
    let request = {
        let subscribers = emulator.webpush().subscribers.lock();
        let subscription = &subscribers[0].subscription;
        assert_eq!(created["subscription"], serde_json::to_value(subscription).unwrap());
        Request::valid(subscription, &app_server, r#"{"title":"Ann","body":"hello"}"#)
    };
    let rule = json!({"next": 1, "effect": {"error": {"status": 429, "retry_after": "30"}}});
    assert_eq!(control(&emulator, "POST", "/control/webpush/faults", &rule).await, (201, json!({"rule": 1})));
    assert_eq!(send(&emulator, b"h2", &request).await.unwrap().0.status, 429);
    assert_eq!(control(&emulator, "POST", &path("offline"), &json!({})).await.0, 204);
    assert_eq!(send(&emulator, b"h2", &request).await.unwrap().0.status, 201);
    assert_eq!(control(&emulator, "GET", &path("inbox"), &json!({})).await, (200, json!([])));
    assert_eq!(control(&emulator, "POST", &path("online"), &json!({})).await.0, 204);
    let (_, inbox) = control(&emulator, "GET", &path("inbox"), &json!({})).await;
    assert_eq!((&inbox[0]["ttl"], &inbox[0]["urgency"]), (&json!(60), &json!("normal")));
    let (_, shown) = control(&emulator, "GET", &path("shown"), &json!({})).await;
    assert_eq!((&shown[0]["title"], &shown[0]["body"]), (&json!("Ann"), &json!("hello")));
    assert_eq!(control(&emulator, "POST", &path("expired"), &json!({})).await.0, 204);
    assert_eq!(send(&emulator, b"h2", &request).await.unwrap().0.status, 410);
    let (_, all) = control(&emulator, "GET", "/control/webpush/subscriptions", &json!({})).await;
    assert_eq!(all, json!([{"id": "mozilla-1", "service": "mozilla", "state": "expired"}]));
    let (_, events) = control(&emulator, "GET", "/control/webpush/events", &json!({})).await;
    let kinds: Vec<_> =
        events.as_array().unwrap().iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["fault", "web_push", "web_push", "waits", "arrived", "web_push"]);
}

#[tokio::test]
async fn the_control_api_describes_errors_of_a_request() {
    let emulator = emulator().await;
    let bad_key = json!({"service": "mozilla", "vapid_public_key": "AAAA"});
    let (status, error) = control(&emulator, "POST", "/control/webpush/subscriptions", &bad_key).await;
    assert_eq!((status, &error["code"]), (400, &json!("bad_key")));
    let unknown = control(&emulator, "POST", "/control/webpush/subscriptions/x/expired", &json!({})).await;
    assert_eq!((unknown.0, &unknown.1["code"]), (404, &json!("unknown_subscription")));
    let unknown_service = json!({"service": "opera", "vapid_public_key": "AAAA"});
    assert_eq!(control(&emulator, "POST", "/control/webpush/subscriptions", &unknown_service).await.0, 400);
}
