//! APNs: its HTTP/2, connection faults, and injection of every reason.

use std::time::Duration;

use h2::Reason;
use pushgate_emulator::{AfterGoaway, Effect, EventKind, Fault, Goaway, LastStream, RetryAfter};

use crate::apns_client::{AppServer, send_on, status_and_reason};
use crate::fcm_client::{Client, TIMEOUT, tls, tls_with_certificate};

#[tokio::test]
async fn a_client_that_offers_no_protocol_is_served_over_http_2() {
    let app = AppServer::new().await;
    let stream = tls(app.emulator.apns().url(), app.emulator.ca_pem(), &[]).await;
    let client = Client::with_stream(stream, app.emulator.apns().url()).await;
    assert_eq!(status_and_reason(&send_on(&client, &app.valid_push()).await.unwrap()), (200, String::new()));
    assert_eq!(app.shown_count(), 1);
}

#[tokio::test]
async fn a_connection_without_http_2_is_refused_and_recorded() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let app = AppServer::new().await;
    let apns = app.emulator.apns();
    let assert_recorded = async |text: &str| {
        let matches = |event: &EventKind| matches!(event, EventKind::ConnectionRefused { reason } if reason.contains(text));
        assert!(apns.wait_for(matches, TIMEOUT).await.is_some(), "{text}: {:?}", apns.events(0));
    };
    let mut stream = tls(apns.url(), app.emulator.ca_pem(), &[]).await;
    stream.write_all(b"POST /3/device/ab HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    // The stream ends with or without a response in HTTP/2.
    let _ = stream.read_to_end(&mut Vec::new()).await;
    assert_recorded("does not speak HTTP/2").await;
    assert!(tls_with_certificate(None, apns.url(), app.emulator.ca_pem(), &["http/1.1"]).await.is_err());
    assert_recorded("TLS handshake failed").await;
}

#[tokio::test]
async fn a_request_that_is_not_valid_http_2_is_refused_and_recorded() {
    use tokio::io::AsyncWriteExt as _;
    let app = AppServer::new().await;
    let mut stream = tls(app.emulator.apns().url(), app.emulator.ca_pem(), &["h2"]).await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    // POST and / by their HPACK indexes, the authority "a", and the scheme "https:", which some clients write.
    let headers = *b"\x83\x84\x01\x01a\x06\x06https:";
    let head = [0, 0, 13, 1, 5, 0, 0, 0, 1];
    stream.write_all(&[preface.as_slice(), &settings, &head, &headers].concat()).await.unwrap();
    let refused = |event: &EventKind| matches!(event, EventKind::RequestRefused { stream: 1, .. });
    assert!(app.emulator.apns().wait_for(refused, TIMEOUT).await.is_some());
}

#[tokio::test]
async fn a_new_connection_carries_one_stream_until_a_valid_token() {
    let app = AppServer::new().await;
    app.client.wait_for_stream_limit(1).await;
    let invalid = app.valid_push().with_header("authorization", "bearer a.b.c");
    assert_eq!(app.status_and_reason(&invalid).await.0, 403);
    app.client.wait_for_stream_limit(1).await;
    app.emulator.apns().set_stream_limit(500);
    app.client.wait_for_stream_limit(1).await;
    assert_eq!(app.status_and_reason(&app.valid_push()).await.0, 200);
    app.client.wait_for_stream_limit(500).await;
    app.emulator.apns().set_stream_limit(2);
    app.client.wait_for_stream_limit(2).await;
}

#[tokio::test]
async fn a_second_stream_before_a_valid_token_is_refused() {
    let app = AppServer::new().await;
    app.emulator.apns().add_fault(Fault::next(1, Effect::Hang));
    // Both are sent before the peer's SETTINGS arrive, or the second waits for a free stream because of them.
    let new_connection = Client::connect_to(app.emulator.apns().url(), app.emulator.ca_pem(), None).await;
    let (hung, second) =
        (send_on(&new_connection, &app.valid_push()), send_on(&new_connection, &app.valid_push()));
    match tokio::time::timeout(Duration::from_millis(300), second).await {
        Ok(Err(error)) => assert_eq!(error.reason(), Some(Reason::REFUSED_STREAM)),
        Ok(Ok(response)) => panic!("two streams were carried: {response:?}"),
        Err(_) => new_connection.wait_for_stream_limit(1).await,
    }
    drop(hung);
}

#[tokio::test]
async fn every_reason_can_be_injected() {
    let app = AppServer::new().await;
    let reasons = [
        (400, "IdleTimeout"),
        (403, "Forbidden"),
        (403, "BadEnvironmentKeyInToken"),
        (410, "ExpiredToken"),
        (429, "TooManyRequests"),
        (500, "InternalServerError"),
        (503, "ServiceUnavailable"),
        (503, "Shutdown"),
    ];
    for (status, reason) in reasons {
        app.emulator.apns().add_fault(Fault::next(1, Effect::error(status, reason)).device("bob"));
        let response = app.send(&app.valid_push()).await;
        assert_eq!(status_and_reason(&response), (status, reason.to_owned()));
        assert_eq!(response.json()["timestamp"].is_u64(), status == 410);
        assert!(response.header("apns-id").is_some());
    }
    let retry_after = Some(RetryAfter::Seconds(7));
    app.emulator.apns().add_fault(Fault::next(1, Effect::Error { status: 503, code: None, retry_after }));
    let response = app.send(&app.valid_push()).await;
    assert_eq!(
        (status_and_reason(&response).1.as_str(), response.header("retry-after")),
        ("ServiceUnavailable", Some("7"))
    );
    app.emulator.apns().add_fault(Fault::next(1, Effect::ExpiredBearer));
    assert_eq!(app.status_and_reason(&app.valid_push()).await.1, "ExpiredProviderToken");
    assert_eq!((app.shown_count(), app.status_and_reason(&app.valid_push()).await.0), (0, 200));
}

#[tokio::test]
async fn goaway_contains_its_reason_and_unprocessed_requests_can_be_repeated() {
    let app = AppServer::new().await;
    let debug = r#"{"reason":"Shutdown"}"#.to_owned();
    let goaway = Goaway { last: LastStream::Before, code: 0, debug, then: AfterGoaway::Drain };
    app.emulator.apns().add_fault(Fault::next(1, Effect::Goaway(goaway.clone())));
    let error = send_on(&app.client, &app.valid_push()).await.unwrap_err();
    assert!(error.is_go_away() && error.is_remote(), "{error}");
    let new_connection = Client::connect_to(app.emulator.apns().url(), app.emulator.ca_pem(), None).await;
    assert_eq!(send_on(&new_connection, &app.valid_push()).await.unwrap().status, 200);
    assert_eq!(app.shown_count(), 1);
    app.emulator.apns().send_goaway(&Goaway { code: 2, then: AfterGoaway::Abrupt, ..goaway });
    let ended = tokio::time::timeout(TIMEOUT, new_connection.ended).await.unwrap().unwrap().unwrap_err();
    assert!(ended.to_string().contains("Shutdown"), "{ended}");
}

#[tokio::test]
async fn a_reset_stream_leaves_the_connection_open() {
    let app = AppServer::new().await;
    app.emulator.apns().add_fault(Fault::next(1, Effect::Reset { code: Reason::REFUSED_STREAM.into() }));
    let error = send_on(&app.client, &app.valid_push()).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::REFUSED_STREAM));
    assert_eq!(app.status_and_reason(&app.valid_push()).await.0, 200);
}

#[tokio::test]
async fn a_stalled_service_reads_no_body_until_it_resumes() {
    let app = AppServer::new().await;
    assert_eq!(app.status_and_reason(&app.valid_push()).await.0, 200);
    app.emulator.apns().stall();
    // Once the client knows the window of 0 for new streams, it cannot send a body.
    let mut stalled = send_on(&app.client, &app.valid_push());
    let mut before = app.shown_count();
    while let Ok(response) = tokio::time::timeout(Duration::from_millis(200), &mut stalled).await {
        assert_eq!(response.unwrap().status, 200);
        before = app.shown_count();
        stalled = send_on(&app.client, &app.valid_push());
    }
    assert_eq!(app.shown_count(), before);
    let new_connection = Client::connect_to(app.emulator.apns().url(), app.emulator.ca_pem(), None).await;
    new_connection.wait_for_stream_limit(1).await;
    let other = send_on(&new_connection, &app.valid_push());
    app.emulator.apns().resume();
    assert_eq!((stalled.await.unwrap().status, other.await.unwrap().status), (200, 200));
}

#[tokio::test]
async fn a_ping_is_acknowledged_and_priority_is_tolerated() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let app = AppServer::new().await;
    let mut stream = tls(app.emulator.apns().url(), app.emulator.ca_pem(), &["h2"]).await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let priority = [0, 0, 5, 2, 0, 0, 0, 0, 3, 0, 0, 0, 0, 15];
    let ping = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    stream.write_all(&[preface.as_slice(), &settings, &priority, &ping].concat()).await.unwrap();
    let pong = [0, 0, 8, 6, 1, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    let mut read = Vec::new();
    while !read.windows(pong.len()).any(|window| window == pong) {
        let more = tokio::time::timeout(TIMEOUT, stream.read_buf(&mut read)).await.unwrap().unwrap();
        assert!(more > 0, "the connection was closed");
    }
}

#[tokio::test]
async fn events_contain_no_token() {
    let app = AppServer::new().await;
    app.send(&app.valid_push()).await;
    app.send(&app.valid_push().to("00fc")).await;
    let events = app.emulator.apns().events(0);
    let sent = EventKind::Send { status: 200, code: None, device: Some("bob".to_owned()) };
    let refused = EventKind::Send { status: 400, code: Some("BadDeviceToken".to_owned()), device: None };
    for kind in [sent, refused] {
        assert!(events.iter().any(|event| event.kind == kind), "{kind:?}");
    }
    assert!(!format!("{events:?}").contains(&app.device.token));
}
