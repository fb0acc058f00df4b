//! APNs: its HTTP/2, its moods, and every reason on demand.

use std::time::Duration;

use h2::Reason;
use pushgate_emulator::{AfterGoaway, Effect, EventKind, Fault, Goaway, LastStream, RetryAfter};

use crate::apple::{App, send_on, verdict};
use crate::client::{Client, PATIENCE, tls, tls_as};

#[tokio::test]
async fn a_client_that_offers_no_protocol_is_served_over_http_2() {
    let app = App::new().await;
    let stream = tls(app.emulator.apns().url(), app.emulator.ca_pem(), &[]).await;
    let client = Client::on(stream, app.emulator.apns().url()).await;
    assert_eq!(verdict(&send_on(&client, &app.hello()).await.unwrap()), (200, String::new()));
    assert_eq!(app.seen(), 1);
}

#[tokio::test]
async fn a_connection_without_http_2_is_refused_and_recorded() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let app = App::new().await;
    let apns = app.emulator.apns();
    let refused = async |words: &str| {
        let with_words = |what: &EventKind| matches!(what, EventKind::ConnectionRefused { reason } if reason.contains(words));
        assert!(apns.wait_for(with_words, PATIENCE).await.is_some(), "{words}: {:?}", apns.events(0));
    };
    let mut stream = tls(apns.url(), app.emulator.ca_pem(), &[]).await;
    stream.write_all(b"POST /3/device/ab HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    // Ends, whether with an answer in HTTP/2 or without one.
    let _ = stream.read_to_end(&mut Vec::new()).await;
    refused("does not speak HTTP/2").await;
    assert!(tls_as(None, apns.url(), app.emulator.ca_pem(), &["http/1.1"]).await.is_err());
    refused("TLS handshake failed").await;
}

#[tokio::test]
async fn a_request_that_is_no_valid_http_2_is_refused_and_recorded() {
    use tokio::io::AsyncWriteExt as _;
    let app = App::new().await;
    let mut stream = tls(app.emulator.apns().url(), app.emulator.ca_pem(), &["h2"]).await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    // POST and / by their indexes, the authority "a", and the scheme "https:", which some clients write.
    let headers = *b"\x83\x84\x01\x01a\x06\x06https:";
    let head = [0, 0, 13, 1, 5, 0, 0, 0, 1];
    stream.write_all(&[preface.as_slice(), &settings, &head, &headers].concat()).await.unwrap();
    let refused = |what: &EventKind| matches!(what, EventKind::RequestRefused { stream: 1, .. });
    assert!(app.emulator.apns().wait_for(refused, PATIENCE).await.is_some());
}

#[tokio::test]
async fn a_new_connection_carries_one_stream_until_a_token_has_proved_good() {
    let app = App::new().await;
    app.client.knows_limit(1).await;
    let wrong = app.hello().header("authorization", "bearer a.b.c");
    assert_eq!(app.verdict(&wrong).await.0, 403);
    app.client.knows_limit(1).await;
    app.emulator.apns().set_stream_limit(500);
    app.client.knows_limit(1).await;
    assert_eq!(app.verdict(&app.hello()).await.0, 200);
    app.client.knows_limit(500).await;
    app.emulator.apns().set_stream_limit(2);
    app.client.knows_limit(2).await;
}

#[tokio::test]
async fn a_second_stream_before_that_is_refused() {
    let app = App::new().await;
    app.emulator.apns().add_fault(Fault::next(1, Effect::Hang));
    // Both leave before the peer's settings are known, or wait for them: then the second goes out when there is room.
    let fresh = Client::at(app.emulator.apns().url(), app.emulator.ca_pem(), None).await;
    let (hung, second) = (send_on(&fresh, &app.hello()), send_on(&fresh, &app.hello()));
    match tokio::time::timeout(Duration::from_millis(300), second).await {
        Ok(Err(error)) => assert_eq!(error.reason(), Some(Reason::REFUSED_STREAM)),
        Ok(Ok(answer)) => panic!("two streams were carried: {answer:?}"),
        Err(_) => fresh.knows_limit(1).await,
    }
    drop(hung);
}

#[tokio::test]
async fn every_reason_can_be_asked_for() {
    let app = App::new().await;
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
        let answer = app.send(&app.hello()).await;
        assert_eq!(verdict(&answer), (status, reason.to_owned()));
        assert_eq!(answer.json()["timestamp"].is_u64(), status == 410);
        assert!(answer.header("apns-id").is_some());
    }
    let retry_after = Some(RetryAfter::Seconds(7));
    app.emulator.apns().add_fault(Fault::next(1, Effect::Error { status: 503, code: None, retry_after }));
    let answer = app.send(&app.hello()).await;
    assert_eq!(
        (verdict(&answer).1.as_str(), answer.header("retry-after")),
        ("ServiceUnavailable", Some("7"))
    );
    app.emulator.apns().add_fault(Fault::next(1, Effect::ExpiredBearer));
    assert_eq!(app.verdict(&app.hello()).await.1, "ExpiredProviderToken");
    assert_eq!((app.seen(), app.verdict(&app.hello()).await.0), (0, 200));
}

#[tokio::test]
async fn goaway_brings_its_reason_and_what_it_did_not_process_can_be_sent_again() {
    let app = App::new().await;
    let debug = r#"{"reason":"Shutdown"}"#.to_owned();
    let goaway = Goaway { last: LastStream::Before, code: 0, debug, then: AfterGoaway::Drain };
    app.emulator.apns().add_fault(Fault::next(1, Effect::Goaway(goaway.clone())));
    let error = send_on(&app.client, &app.hello()).await.unwrap_err();
    assert!(error.is_go_away() && error.is_remote(), "{error}");
    let fresh = Client::at(app.emulator.apns().url(), app.emulator.ca_pem(), None).await;
    assert_eq!(send_on(&fresh, &app.hello()).await.unwrap().status, 200);
    assert_eq!(app.seen(), 1);
    app.emulator.apns().send_goaway(&Goaway { code: 2, then: AfterGoaway::Abrupt, ..goaway });
    let ended = tokio::time::timeout(PATIENCE, fresh.ended).await.unwrap().unwrap().unwrap_err();
    assert!(ended.to_string().contains("Shutdown"), "{ended}");
}

#[tokio::test]
async fn a_reset_spares_the_connection() {
    let app = App::new().await;
    app.emulator.apns().add_fault(Fault::next(1, Effect::Reset { code: Reason::REFUSED_STREAM.into() }));
    let error = send_on(&app.client, &app.hello()).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::REFUSED_STREAM));
    assert_eq!(app.verdict(&app.hello()).await.0, 200);
}

#[tokio::test]
async fn a_stalled_service_reads_no_body_until_it_goes_on() {
    let app = App::new().await;
    assert_eq!(app.verdict(&app.hello()).await.0, 200);
    app.emulator.apns().stall();
    // Once the window of new streams is known to be nothing, a push stays where it is.
    let mut stalled = send_on(&app.client, &app.hello());
    let mut before = app.seen();
    while let Ok(answer) = tokio::time::timeout(Duration::from_millis(200), &mut stalled).await {
        assert_eq!(answer.unwrap().status, 200);
        before = app.seen();
        stalled = send_on(&app.client, &app.hello());
    }
    assert_eq!(app.seen(), before);
    let fresh = Client::at(app.emulator.apns().url(), app.emulator.ca_pem(), None).await;
    fresh.knows_limit(1).await;
    let other = send_on(&fresh, &app.hello());
    app.emulator.apns().resume();
    assert_eq!((stalled.await.unwrap().status, other.await.unwrap().status), (200, 200));
}

#[tokio::test]
async fn a_ping_is_answered_and_priority_is_tolerated() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let app = App::new().await;
    let mut stream = tls(app.emulator.apns().url(), app.emulator.ca_pem(), &["h2"]).await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let priority = [0, 0, 5, 2, 0, 0, 0, 0, 3, 0, 0, 0, 0, 15];
    let ping = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    stream.write_all(&[preface.as_slice(), &settings, &priority, &ping].concat()).await.unwrap();
    let pong = [0, 0, 8, 6, 1, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    let mut read = Vec::new();
    while !read.windows(pong.len()).any(|window| window == pong) {
        let more = tokio::time::timeout(PATIENCE, stream.read_buf(&mut read)).await.unwrap().unwrap();
        assert!(more > 0, "the connection was closed");
    }
}

#[tokio::test]
async fn what_happens_is_told_without_a_token() {
    let app = App::new().await;
    app.send(&app.hello()).await;
    app.send(&app.hello().to("00fc")).await;
    let events = app.emulator.apns().events(0);
    let sent = EventKind::Send { status: 200, code: None, device: Some("bob".to_owned()) };
    let refused = EventKind::Send { status: 400, code: Some("BadDeviceToken".to_owned()), device: None };
    for what in [sent, refused] {
        assert!(events.iter().any(|event| event.kind == what), "{what:?}");
    }
    assert!(!format!("{events:?}").contains(&app.phone.token));
}
