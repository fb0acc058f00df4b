//! Connection ends caused by faults: the content of GOAWAY, the streams that get a response, and that no response in
//! flight is lost.

use h2::Reason;
use pushgate_emulator::{AfterGoaway, Effect, EventKind, Fault, Goaway, LastStream};

use crate::fcm_client::{AppServer, Client, TIMEOUT};

fn goaway(last: LastStream, then: AfterGoaway) -> Goaway {
    Goaway { last, code: 0, debug: r#"{"reason":"Shutdown"}"#.to_owned(), then }
}

/// Waits until this number of requests is delayed.
async fn wait_for_delayed(app: &AppServer, requests: usize) {
    let is_delayed = |event: &EventKind| matches!(event, EventKind::Fault { effect: "delay", .. });
    while app.emulator.fcm().events(0).iter().filter(|event| is_delayed(&event.kind)).count() < requests {
        tokio::task::yield_now().await;
    }
}

/// Returns the error with which the connection ended.
async fn connection_error(client: Client) -> Option<h2::Error> {
    // The handle must stay alive, or the client closes the connection itself.
    let _open = client.send;
    tokio::time::timeout(TIMEOUT, client.ended).await.unwrap().unwrap().err()
}

#[tokio::test]
async fn a_draining_goaway_answers_processed_requests_and_then_closes() {
    let app = AppServer::new().await;
    app.emulator.fcm().add_fault(Fault::next(5, Effect::Delay { ms: 100 }));
    let slow: Vec<_> = (0..5).map(|_| app.send(&app.valid_message())).collect();
    wait_for_delayed(&app, 5).await;
    app.emulator
        .fcm()
        .add_fault(Fault::next(1, Effect::Goaway(goaway(LastStream::This, AfterGoaway::Drain))));
    assert_eq!(
        app.send(&app.valid_message()).await.unwrap().status,
        200,
        "the request that caused the GOAWAY"
    );
    for response in slow {
        assert_eq!(response.await.unwrap().status, 200);
    }
    assert_eq!(app.shown_count(), 6);
    // The sixth push has stream 13, because the token request was stream 1.
    let recorded =
        app.emulator.fcm().wait_for(|event| *event == EventKind::Goaway { last: 13 }, TIMEOUT).await;
    assert!(recorded.is_some());
    connection_error(app.client).await;
}

#[tokio::test]
async fn a_stream_above_the_last_stream_id_is_not_processed() {
    let app = AppServer::new().await;
    app.emulator
        .fcm()
        .add_fault(Fault::next(1, Effect::Goaway(goaway(LastStream::Before, AfterGoaway::Drain))));
    let error = app.send(&app.valid_message()).await.unwrap_err();
    assert!(error.is_go_away() && error.is_remote(), "{error}");
    assert_eq!(error.reason(), Some(Reason::NO_ERROR));
    assert_eq!(app.shown_count(), 0);
    let new_connection = Client::connect(&app.emulator).await;
    assert_eq!(
        (app.send_on(&new_connection, &app.valid_message()).await.unwrap().status, app.shown_count()),
        (200, 1)
    );
}

#[tokio::test]
async fn goaway_never_excludes_a_processed_stream() {
    let app = AppServer::new().await;
    // Fifty requests at once. One in the middle causes a GOAWAY that names the stream before it.
    app.emulator
        .fcm()
        .add_fault(Fault::next(1, Effect::Goaway(goaway(LastStream::Before, AfterGoaway::Drain))).skip(25));
    let requests: Vec<_> = (0..50).map(|_| app.send(&app.valid_message())).collect();
    let (mut response_count, mut refused_count) = (0, 0);
    for response in requests {
        match response.await {
            Ok(response) => {
                assert_eq!(response.status, 200);
                response_count += 1;
            }
            Err(error) => {
                let is_refused = error.reason() == Some(Reason::REFUSED_STREAM);
                assert!(error.is_remote() && (error.is_go_away() || is_refused), "{error}");
                refused_count += 1;
            }
        }
    }
    assert_eq!(
        (response_count, refused_count > 0),
        (app.shown_count(), true),
        "{refused_count} were refused"
    );
    assert_eq!(response_count + refused_count, 50);
}

#[tokio::test]
async fn an_abrupt_goaway_leaves_open_streams_without_a_response() {
    let app = AppServer::new().await;
    app.emulator.fcm().add_fault(Fault::next(1, Effect::Delay { ms: 60_000 }));
    let slow = app.send(&app.valid_message());
    wait_for_delayed(&app, 1).await;
    let abrupt = Goaway { code: 11, ..goaway(LastStream::This, AfterGoaway::Abrupt) };
    app.emulator.fcm().add_fault(Fault::next(1, Effect::Goaway(abrupt)));
    assert!(app.send(&app.valid_message()).await.is_err());
    assert!(slow.await.is_err());
    assert_eq!(app.shown_count(), 2, "both were processed");
    let error = connection_error(app.client).await.expect("the connection ends with an error");
    assert_eq!((error.is_go_away(), error.reason()), (true, Some(Reason::ENHANCE_YOUR_CALM)));
}

#[tokio::test]
async fn a_goaway_contains_its_debug_data() {
    let app = AppServer::new().await;
    app.emulator.fcm().send_goaway(&Goaway { code: 2, ..goaway(LastStream::This, AfterGoaway::Abrupt) });
    let error = connection_error(app.client).await.expect("the connection ends with an error");
    assert!(error.to_string().contains("Shutdown"), "{error}");
}

#[tokio::test]
async fn a_goaway_with_the_highest_stream_id_refuses_no_request() {
    let app = AppServer::new().await;
    app.emulator.fcm().add_fault(Fault::next(1, Effect::Delay { ms: 100 }));
    let slow = app.send(&app.valid_message());
    wait_for_delayed(&app, 1).await;
    app.emulator.fcm().send_goaway(&goaway(LastStream::Highest, AfterGoaway::Drain));
    assert_eq!(slow.await.unwrap().status, 200);
    connection_error(app.client).await;
    let recorded =
        app.emulator.fcm().wait_for(|event| *event == EventKind::Goaway { last: 0x7fff_ffff }, TIMEOUT).await;
    assert!(recorded.is_some());
}

#[tokio::test]
async fn goaway_can_be_sent_on_all_open_connections() {
    let app = AppServer::new().await;
    let other = Client::connect(&app.emulator).await;
    other.wait_for_stream_limit(100).await;
    assert_eq!(app.emulator.fcm().connections(), 2);
    app.emulator.fcm().send_goaway(&Goaway::default());
    connection_error(app.client).await;
    connection_error(other).await;
    assert_eq!(app.emulator.fcm().connections(), 0);
}

#[tokio::test]
async fn a_connection_closed_without_goaway_fails_its_streams() {
    let app = AppServer::new().await;
    app.emulator.fcm().add_fault(Fault::next(1, Effect::Close));
    let error = app.send(&app.valid_message()).await.unwrap_err();
    assert!(!error.is_go_away() && !error.is_reset(), "{error}");
    assert_eq!(app.shown_count(), 0);
}

#[tokio::test]
async fn responses_in_flight_survive_a_close_with_unread_requests() {
    // The client keeps sending while the connection closes. Responses sent before still arrive.
    let app = AppServer::new().await;
    let mut response_count = 0;
    for _ in 0..20 {
        let client = Client::connect(&app.emulator).await;
        app.emulator
            .fcm()
            .add_fault(Fault::next(1, Effect::Goaway(goaway(LastStream::This, AfterGoaway::Drain))).skip(10));
        let requests: Vec<_> = (0..90).map(|_| app.send_on(&client, &app.valid_message())).collect();
        for response in requests {
            match response.await {
                Ok(_) => response_count += 1,
                Err(error) => assert!(error.is_go_away() && error.is_remote(), "{error}"),
            }
        }
        assert_eq!(response_count, app.shown_count());
    }
}
