//! Fault rules one by one, as an HTTP/2 client sees them. Faults that end connections are in `goaway.rs`.

use std::time::{Duration, Instant, SystemTime};

use h2::Reason;
use pushgate_emulator::{
    BearerLifetime, Effect, Emulator, EndpointKind, EventKind, Fault, Options, Platform, RetryAfter,
};
use serde_json::json;

use crate::fcm_client::{AppServer, Client, TIMEOUT, assertion, bearer, request_token};

async fn statuses(app: &AppServer, requests: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..requests {
        statuses.push(app.send(&app.valid_message()).await.unwrap().status);
    }
    statuses
}

#[tokio::test]
async fn an_error_has_its_status_its_code_and_retry_after_in_seconds() {
    let app = AppServer::new().await;
    let retry_after = Some(RetryAfter::Seconds(30));
    let effect = Effect::Error { status: 503, code: Some("UNAVAILABLE".to_owned()), retry_after };
    let rule = app.emulator.fcm().add_fault(Fault::next(1, effect));
    let response = app.send(&app.valid_message()).await.unwrap();
    assert_eq!((response.status, response.header("retry-after")), (503, Some("30")));
    assert_eq!(response.json()["error"]["details"][0]["errorCode"], "UNAVAILABLE");
    assert_eq!(app.shown_count(), 0, "the push was not accepted");
    let recorded = app
        .emulator
        .fcm()
        .wait_for(|event| *event == EventKind::Fault { rule, effect: "error" }, TIMEOUT)
        .await;
    assert!(recorded.is_some());
    assert_eq!(app.send(&app.valid_message()).await.unwrap().status, 200, "only the next one failed");
}

#[tokio::test]
async fn retry_after_may_be_a_date() {
    let app = AppServer::new().await;
    let retry_after = Some(RetryAfter::Date { date_in: 3600 });
    app.emulator.fcm().add_fault(Fault::next(1, Effect::Error { status: 429, code: None, retry_after }));
    let response = app.send(&app.valid_message()).await.unwrap();
    let date = response.header("retry-after").unwrap();
    assert!(date.len() == 29 && date.ends_with(" GMT"), "{date}");
}

#[tokio::test]
async fn a_raw_response_is_sent_unchanged() {
    let app = AppServer::new().await;
    let body = "<html>proxy</html>".to_owned();
    app.emulator.fcm().add_fault(Fault::next(1, Effect::Raw { status: 200, body: body.clone() }));
    let response = app.send(&app.valid_message()).await.unwrap();
    assert_eq!((response.status, response.body), (200, body.into()));
}

#[tokio::test]
async fn a_delay_postpones_the_normal_response() {
    let app = AppServer::new().await;
    app.emulator.fcm().add_fault(Fault::next(1, Effect::Delay { ms: 150 }));
    let started_at = Instant::now();
    let slow = app.send(&app.valid_message());
    let quick = app.send(&app.valid_message()).await.unwrap();
    assert_eq!(
        (quick.status, app.shown_count()),
        (200, 2),
        "both are accepted at once, and other requests do not wait"
    );
    assert_eq!(slow.await.unwrap().status, 200);
    assert!(started_at.elapsed() >= Duration::from_millis(150));
}

#[tokio::test]
async fn a_hung_request_is_not_accepted_and_one_with_a_lost_response_is() {
    let app = AppServer::new().await;
    app.emulator.fcm().add_fault(Fault::next(1, Effect::Hang));
    app.emulator.fcm().add_fault(Fault::next(1, Effect::LoseAnswer));
    let (hung, lost) = (app.send(&app.valid_message()), app.send(&app.valid_message()));
    assert_eq!(app.send(&app.valid_message()).await.unwrap().status, 200);
    assert_eq!(app.shown_count(), 2);
    let timed_out = tokio::time::timeout(Duration::from_millis(50), first_of(hung, lost)).await;
    assert!(timed_out.is_err(), "neither gets a response");
}

/// Returns the result of the future that completes first.
async fn first_of<T>(a: impl Future<Output = T>, b: impl Future<Output = T>) -> T {
    tokio::select! { result = a => result, result = b => result }
}

#[tokio::test]
async fn a_reset_has_the_given_code_and_leaves_the_connection_open() {
    let app = AppServer::new().await;
    for reason in [Reason::INTERNAL_ERROR, Reason::REFUSED_STREAM, Reason::ENHANCE_YOUR_CALM] {
        app.emulator.fcm().add_fault(Fault::next(1, Effect::Reset { code: reason.into() }));
        let error = app.send(&app.valid_message()).await.unwrap_err();
        assert_eq!((error.reason(), error.is_remote()), (Some(reason), true));
    }
    assert_eq!((app.shown_count(), statuses(&app, 1).await), (0, vec![200]));
}

#[tokio::test]
async fn a_share_of_requests_fails_and_it_is_the_same_for_the_same_seed() {
    let mut runs = Vec::new();
    for seed in [1, 1, 2] {
        let app =
            AppServer::with_emulator(Emulator::start(Options { seed, ..Options::default() }).await.unwrap())
                .await;
        app.emulator.fcm().add_fault(Fault::always(Effect::error(503, "UNAVAILABLE")).share(0.4));
        runs.push(statuses(&app, 60).await);
    }
    let failed = runs[0].iter().filter(|status| **status == 503).count();
    assert!((12..36).contains(&failed), "{failed} of 60 at a share of 0.4");
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
}

#[tokio::test]
async fn a_fault_can_skip_requests_and_select_one_device_by_name_or_token() {
    let app = AppServer::new().await;
    let ann = app.emulator.fcm().add_device("ann", Platform::Android).unwrap();
    app.emulator.fcm().add_fault(Fault::next(1, Effect::error(500, "INTERNAL")).device("bob").skip(1));
    app.emulator.fcm().add_fault(Fault::next(1, Effect::error(503, "UNAVAILABLE")).device(&ann.token));
    let to_ann = json!({"message": {"token": ann.token, "data": {"a": "b"}}});
    assert_eq!(statuses(&app, 3).await, [200, 500, 200]);
    assert_eq!(app.send(&to_ann).await.unwrap().status, 503);
    assert_eq!(app.send(&to_ann).await.unwrap().status, 200);
}

#[tokio::test]
async fn clearing_removes_every_fault() {
    let app = AppServer::new().await;
    app.emulator.fcm().add_fault(Fault::always(Effect::Hang));
    app.emulator.fcm().clear_faults();
    assert_eq!(statuses(&app, 2).await, [200, 200]);
}

#[tokio::test]
async fn the_token_endpoint_has_faults_of_its_own() {
    let app = AppServer::new().await;
    app.emulator.fcm().add_fault(Fault::next(1, Effect::error(400, "invalid_grant")).at(EndpointKind::Token));
    assert_eq!(app.send(&app.valid_message()).await.unwrap().status, 200);
    let response = request_token(&app.client, &assertion(&app.emulator, &json!({}))).await;
    assert_eq!((response.status, &response.json()["error"]), (400, &"invalid_grant".into()));
}

#[tokio::test]
async fn a_bearer_expires_and_can_be_revoked() {
    let app = AppServer::new().await;
    app.emulator.fcm().age_bearers(Duration::from_secs(3590));
    assert_eq!(statuses(&app, 1).await, [200]);
    app.emulator.advance(Duration::from_secs(10));
    assert_eq!(statuses(&app, 1).await, [401]);
    let app_with_new_bearer = AppServer { bearer: bearer(&app.client, &app.emulator).await, ..app };
    assert_eq!(statuses(&app_with_new_bearer, 1).await, [200]);
    app_with_new_bearer.emulator.fcm().add_fault(Fault::next(1, Effect::ExpiredBearer));
    assert_eq!(statuses(&app_with_new_bearer, 2).await, [401, 200]);
    app_with_new_bearer.emulator.fcm().revoke_bearers();
    assert_eq!(statuses(&app_with_new_bearer, 1).await, [401]);
}

#[tokio::test]
async fn the_real_lifetime_of_a_bearer_can_differ_from_the_announced_one() {
    let app = AppServer::new().await;
    app.emulator.fcm().set_bearer_lifetime(BearerLifetime { announced_s: 60, real_s: 0 });
    let response = request_token(&app.client, &assertion(&app.emulator, &json!({}))).await.json();
    assert_eq!(response["expires_in"], 60);
    let short = AppServer { bearer: response["access_token"].as_str().unwrap().to_owned(), ..app };
    assert_eq!(statuses(&short, 1).await, [401]);
}

#[tokio::test]
async fn a_changed_stream_limit_applies_to_open_and_new_connections() {
    let app = AppServer::new().await;
    app.client.wait_for_stream_limit(100).await;
    app.emulator.fcm().set_stream_limit(3);
    app.client.wait_for_stream_limit(3).await;
    Client::connect(&app.emulator).await.wait_for_stream_limit(3).await;
    app.emulator.fcm().add_fault(Fault::next(1, Effect::StreamLimit(7)));
    assert_eq!(app.send(&app.valid_message()).await.unwrap().status, 200);
    app.client.wait_for_stream_limit(7).await;
}

#[tokio::test]
async fn a_stream_above_the_limit_is_refused_and_those_below_are_not() {
    let app = AppServer::new().await;
    app.client.wait_for_stream_limit(100).await;
    app.emulator.fcm().add_fault(Fault::next(2, Effect::Hang));
    let (first, second) = (app.send(&app.valid_message()), app.send(&app.valid_message()));
    let hung = |event: &EventKind| matches!(event, EventKind::Fault { .. });
    while app.emulator.fcm().events(0).iter().filter(|event| hung(&event.kind)).count() < 2 {
        tokio::task::yield_now().await;
    }
    // The third request is sent before the client knows the new limit, and exceeds it.
    app.emulator.fcm().set_stream_limit(2);
    let third = app.send(&app.valid_message());
    let error = third.await.unwrap_err();
    assert_eq!((error.reason(), error.is_remote()), (Some(Reason::REFUSED_STREAM), true));
    assert_eq!(app.shown_count(), 0);
    drop((first, second));
    assert_eq!(statuses(&app, 1).await, [200], "cancelled requests free their streams");
}

#[tokio::test]
async fn the_clock_can_be_advanced() {
    let app = AppServer::new().await;
    let before = SystemTime::now();
    app.emulator.advance(Duration::from_secs(600));
    app.send(&app.valid_message()).await.unwrap();
    let at = Duration::from_millis(app.emulator.fcm().inbox("bob").unwrap()[0].at_ms);
    assert!(SystemTime::UNIX_EPOCH + at >= before + Duration::from_secs(599));
}
