//! HTTP/1.1 on the same port, for clients without HTTP/2. The client is hyper's.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use pushgate_emulator::{Effect, Fault, Goaway};

use crate::fcm_client::{AppServer, SEND, tls};

async fn connect(app: &AppServer) -> SendRequest<Full<Bytes>> {
    let stream = tls(&app.emulator.url(), app.emulator.ca_pem(), &["http/1.1"]).await;
    let (send, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    send
}

async fn send(
    app: &AppServer,
    connection: &mut SendRequest<Full<Bytes>>,
) -> hyper::Result<http::Response<Bytes>> {
    connection.ready().await?;
    let request = http::Request::post(SEND)
        .header("host", "127.0.0.1")
        .header("authorization", format!("Bearer {}", app.bearer))
        .body(Full::new(app.valid_message().to_string().into()))
        .unwrap();
    let (head, body) = connection.send_request(request).await?.into_parts();
    Ok(http::Response::from_parts(head, body.collect().await?.to_bytes()))
}

#[tokio::test]
async fn http_1_1_is_served_on_the_same_port_with_persistent_connections() {
    let app = AppServer::new().await;
    let mut connection = connect(&app).await;
    for _ in 0..3 {
        assert_eq!(send(&app, &mut connection).await.unwrap().status(), 200);
    }
    assert_eq!(app.shown_count(), 3);
}

#[tokio::test]
async fn a_client_without_alpn_gets_http_1_1() {
    let app = AppServer::new().await;
    let stream = tls(&app.emulator.url(), app.emulator.ca_pem(), &[]).await;
    let (mut connection, driver) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(driver);
    assert_eq!(send(&app, &mut connection).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_reset_closes_the_connection_and_a_goaway_adds_connection_close() {
    let app = AppServer::new().await;
    for effect in [Effect::reset(), Effect::Close] {
        let mut connection = connect(&app).await;
        app.emulator.fcm().add_fault(Fault::next(1, effect));
        assert!(send(&app, &mut connection).await.is_err());
        assert!(connection.is_closed());
    }
    let mut connection = connect(&app).await;
    app.emulator.fcm().add_fault(Fault::next(1, Effect::Goaway(Goaway::default())));
    let response = send(&app, &mut connection).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["connection"]),
        (200, &"close".parse().unwrap())
    );
    assert!(send(&app, &mut connection).await.is_err());
}
