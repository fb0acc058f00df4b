//! Faults on demand, one by one, as an HTTP/2 client sees them. Those that end connections are in `goaway.rs`.

use std::time::{Duration, Instant, SystemTime};

use h2::Reason;
use pushgate_emulator::{
    BearerLifetime, Effect, Emulator, EndpointKind, EventKind, Fault, Options, Platform, RetryAfter,
};
use serde_json::json;

use crate::client::{App, Client, PATIENCE, assertion, bearer, token};

async fn statuses(app: &App, requests: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..requests {
        statuses.push(app.send(&app.hello()).await.unwrap().status);
    }
    statuses
}

#[tokio::test]
async fn an_error_has_its_status_its_code_and_retry_after_in_seconds() {
    let app = App::new().await;
    let retry_after = Some(RetryAfter::Seconds(30));
    let effect = Effect::Error { status: 503, code: Some("UNAVAILABLE".to_owned()), retry_after };
    let rule = app.emulator.fcm().add_fault(Fault::next(1, effect));
    let answer = app.send(&app.hello()).await.unwrap();
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("30")));
    assert_eq!(answer.json()["error"]["details"][0]["errorCode"], "UNAVAILABLE");
    assert_eq!(app.seen(), 0, "the push was not taken");
    let told = app
        .emulator
        .fcm()
        .wait_for(|what| *what == EventKind::Fault { rule, effect: "error" }, PATIENCE)
        .await;
    assert!(told.is_some());
    assert_eq!(app.send(&app.hello()).await.unwrap().status, 200, "only the next one failed");
}

#[tokio::test]
async fn retry_after_may_be_a_date() {
    let app = App::new().await;
    let retry_after = Some(RetryAfter::Date { date_in: 3600 });
    app.emulator.fcm().add_fault(Fault::next(1, Effect::Error { status: 429, code: None, retry_after }));
    let answer = app.send(&app.hello()).await.unwrap();
    let date = answer.header("retry-after").unwrap();
    assert!(date.len() == 29 && date.ends_with(" GMT"), "{date}");
}

#[tokio::test]
async fn a_raw_answer_is_whatever_was_asked_for() {
    let app = App::new().await;
    let body = "<html>proxy</html>".to_owned();
    app.emulator.fcm().add_fault(Fault::next(1, Effect::Raw { status: 200, body: body.clone() }));
    let answer = app.send(&app.hello()).await.unwrap();
    assert_eq!((answer.status, answer.body), (200, body.into()));
}

#[tokio::test]
async fn a_delayed_answer_is_the_honest_one_only_later() {
    let app = App::new().await;
    app.emulator.fcm().add_fault(Fault::next(1, Effect::Delay { ms: 150 }));
    let began = Instant::now();
    let slow = app.send(&app.hello());
    let quick = app.send(&app.hello()).await.unwrap();
    assert_eq!((quick.status, app.seen()), (200, 2), "both are taken at once, and nobody else waits");
    assert_eq!(slow.await.unwrap().status, 200);
    assert!(began.elapsed() >= Duration::from_millis(150));
}

#[tokio::test]
async fn a_hung_request_is_not_taken_and_one_whose_answer_is_lost_is() {
    let app = App::new().await;
    app.emulator.fcm().add_fault(Fault::next(1, Effect::Hang));
    app.emulator.fcm().add_fault(Fault::next(1, Effect::LoseAnswer));
    let (hung, lost) = (app.send(&app.hello()), app.send(&app.hello()));
    assert_eq!(app.send(&app.hello()).await.unwrap().status, 200);
    assert_eq!(app.seen(), 2);
    let silent = tokio::time::timeout(Duration::from_millis(50), futures(hung, lost)).await;
    assert!(silent.is_err(), "neither is answered");
}

/// The first of two.
async fn futures<T>(one: impl Future<Output = T>, other: impl Future<Output = T>) -> T {
    tokio::select! { one = one => one, other = other => other }
}

#[tokio::test]
async fn a_reset_has_the_code_that_was_asked_for_and_spares_the_connection() {
    let app = App::new().await;
    for reason in [Reason::INTERNAL_ERROR, Reason::REFUSED_STREAM, Reason::ENHANCE_YOUR_CALM] {
        app.emulator.fcm().add_fault(Fault::next(1, Effect::Reset { code: reason.into() }));
        let error = app.send(&app.hello()).await.unwrap_err();
        assert_eq!((error.reason(), error.is_remote()), (Some(reason), true));
    }
    assert_eq!((app.seen(), statuses(&app, 1).await), (0, vec![200]));
}

#[tokio::test]
async fn a_share_of_requests_fails_and_the_same_ones_for_the_same_seed() {
    let mut runs = Vec::new();
    for seed in [1, 1, 2] {
        let app = App::of(Emulator::start(Options { seed, ..Options::default() }).await.unwrap()).await;
        app.emulator.fcm().add_fault(Fault::always(Effect::error(503, "UNAVAILABLE")).share(0.4));
        runs.push(statuses(&app, 60).await);
    }
    let failed = runs[0].iter().filter(|status| **status == 503).count();
    assert!((12..36).contains(&failed), "{failed} of 60 at a share of 0.4");
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
}

#[tokio::test]
async fn a_fault_can_skip_requests_and_mean_one_device_by_name_or_token() {
    let app = App::new().await;
    let ann = app.emulator.fcm().add_device("ann", Platform::Android).unwrap();
    app.emulator.fcm().add_fault(Fault::next(1, Effect::error(500, "INTERNAL")).device("bob").skip(1));
    app.emulator.fcm().add_fault(Fault::next(1, Effect::error(503, "UNAVAILABLE")).device(&ann.token));
    let to_ann = json!({"message": {"token": ann.token, "data": {"a": "b"}}});
    assert_eq!(statuses(&app, 3).await, [200, 500, 200]);
    assert_eq!(app.send(&to_ann).await.unwrap().status, 503);
    assert_eq!(app.send(&to_ann).await.unwrap().status, 200);
}

#[tokio::test]
async fn healing_ends_every_fault() {
    let app = App::new().await;
    app.emulator.fcm().add_fault(Fault::always(Effect::Hang));
    app.emulator.fcm().clear_faults();
    assert_eq!(statuses(&app, 2).await, [200, 200]);
}

#[tokio::test]
async fn the_token_endpoint_fails_apart_from_sending() {
    let app = App::new().await;
    app.emulator.fcm().add_fault(Fault::next(1, Effect::error(400, "invalid_grant")).at(EndpointKind::Token));
    assert_eq!(app.send(&app.hello()).await.unwrap().status, 200);
    let answer = token(&app.client, &assertion(&app.emulator, &json!({}))).await;
    assert_eq!((answer.status, &answer.json()["error"]), (400, &"invalid_grant".into()));
}

#[tokio::test]
async fn a_bearer_ages_expires_and_can_be_revoked() {
    let app = App::new().await;
    app.emulator.fcm().age_bearers(Duration::from_secs(3590));
    assert_eq!(statuses(&app, 1).await, [200]);
    app.emulator.advance(Duration::from_secs(10));
    assert_eq!(statuses(&app, 1).await, [401]);
    let fresh = App { bearer: bearer(&app.client, &app.emulator).await, ..app };
    assert_eq!(statuses(&fresh, 1).await, [200]);
    fresh.emulator.fcm().add_fault(Fault::next(1, Effect::ExpiredBearer));
    assert_eq!(statuses(&fresh, 2).await, [401, 200]);
    fresh.emulator.fcm().revoke_bearers();
    assert_eq!(statuses(&fresh, 1).await, [401]);
}

#[tokio::test]
async fn a_bearer_lives_as_long_as_it_was_said_or_shorter_than_that() {
    let app = App::new().await;
    app.emulator.fcm().set_bearer_lifetime(BearerLifetime { announced_s: 60, real_s: 0 });
    let answer = token(&app.client, &assertion(&app.emulator, &json!({}))).await.json();
    assert_eq!(answer["expires_in"], 60);
    let short = App { bearer: answer["access_token"].as_str().unwrap().to_owned(), ..app };
    assert_eq!(statuses(&short, 1).await, [401]);
}

#[tokio::test]
async fn a_limit_that_changes_reaches_living_connections_and_new_ones() {
    let app = App::new().await;
    app.client.knows_limit(100).await;
    app.emulator.fcm().set_stream_limit(3);
    app.client.knows_limit(3).await;
    Client::connect(&app.emulator).await.knows_limit(3).await;
    app.emulator.fcm().add_fault(Fault::next(1, Effect::StreamLimit(7)));
    assert_eq!(app.send(&app.hello()).await.unwrap().status, 200);
    app.client.knows_limit(7).await;
}

#[tokio::test]
async fn a_stream_over_the_limit_is_refused_and_the_ones_below_are_answered() {
    let app = App::new().await;
    app.client.knows_limit(100).await;
    app.emulator.fcm().add_fault(Fault::next(2, Effect::Hang));
    let (first, second) = (app.send(&app.hello()), app.send(&app.hello()));
    let hung = |what: &EventKind| matches!(what, EventKind::Fault { .. });
    while app.emulator.fcm().events(0).iter().filter(|event| hung(&event.kind)).count() < 2 {
        tokio::task::yield_now().await;
    }
    // Sent before the new limit can be known: two hang, the third is over it.
    app.emulator.fcm().set_stream_limit(2);
    let third = app.send(&app.hello());
    let error = third.await.unwrap_err();
    assert_eq!((error.reason(), error.is_remote()), (Some(Reason::REFUSED_STREAM), true));
    assert_eq!(app.seen(), 0);
    drop((first, second));
    assert_eq!(statuses(&app, 1).await, [200], "given up, the hung ones make room");
}

#[tokio::test]
async fn time_can_be_let_go_by_and_never_comes_back() {
    let app = App::new().await;
    let before = SystemTime::now();
    app.emulator.advance(Duration::from_secs(600));
    app.send(&app.hello()).await.unwrap();
    let at = Duration::from_millis(app.emulator.fcm().inbox("bob").unwrap()[0].at_ms);
    assert!(SystemTime::UNIX_EPOCH + at >= before + Duration::from_secs(599));
}
