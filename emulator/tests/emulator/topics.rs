//! FCM: topics, conditions, and the Instance ID service by which servers subscribe devices.

use pushgate_emulator::{EventKind, Platform};
use serde_json::{Value, json};

use crate::fcm_client::{AppServer, Response};

/// Calls the Instance ID service as the Admin SDKs do.
async fn call(app: &AppServer, method: http::Method, path: &str, body: &Value) -> Response {
    let bearer = format!("Bearer {}", app.bearer);
    let headers = [("authorization", bearer.as_str()), ("access_token_auth", "true")];
    match method {
        http::Method::POST => app.client.post(path, &headers, body.to_string()).await.unwrap(),
        method => app.client.request_without_body(method, path, &headers).await.unwrap(),
    }
}

async fn batch(app: &AppServer, verb: &str, topic: &str, tokens: &[&str]) -> Response {
    let body = json!({"to": format!("/topics/{topic}"), "registration_tokens": tokens});
    call(app, http::Method::POST, &format!("/iid/v1:{verb}"), &body).await
}

async fn send(app: &AppServer, target: &Value) -> Response {
    let mut message = json!({"notification": {"title": "Ann", "body": "hello"}});
    message.as_object_mut().unwrap().extend(target.as_object().unwrap().clone());
    app.send(&json!({"message": message})).await.unwrap()
}

#[tokio::test]
async fn a_message_to_a_topic_reaches_only_its_subscribers() {
    let app = AppServer::new().await;
    let fcm = app.emulator.fcm();
    let ann = fcm.add_device("ann", Platform::Android).unwrap();
    let response = batch(&app, "batchAdd", "news", &[&app.device.token]).await;
    assert_eq!((response.status, response.json()), (200, json!({"results": [{}]})));
    assert_eq!(send(&app, &json!({"topic": "news"})).await.status, 200);
    let shown_count = |id: &str| fcm.inbox(id).unwrap().len();
    assert_eq!((shown_count("bob"), shown_count("ann")), (1, 0));
    batch(&app, "batchAdd", "news", &[&ann.token]).await;
    batch(&app, "batchRemove", "news", &[&app.device.token]).await;
    send(&app, &json!({"topic": "news"})).await;
    assert_eq!((shown_count("bob"), shown_count("ann")), (1, 1));
    let event_count = |device: &str, subscribed| {
        let kind = EventKind::Topic { device: device.to_owned(), topic: "news".to_owned(), subscribed };
        fcm.events(0).iter().filter(|event| event.kind == kind).count()
    };
    assert_eq!((event_count("bob", true), event_count("ann", true), event_count("bob", false)), (1, 1, 1));
}

#[tokio::test]
async fn a_message_to_a_condition_reaches_only_matching_devices() {
    let app = AppServer::new().await;
    let fcm = app.emulator.fcm();
    let ann = fcm.add_device("ann", Platform::Web).unwrap();
    batch(&app, "batchAdd", "news", &[&app.device.token, &ann.token]).await;
    batch(&app, "batchAdd", "sports", &[&ann.token]).await;
    let condition = "'news' in topics && !('sports' in topics)";
    assert_eq!(send(&app, &json!({"condition": condition})).await.status, 200);
    assert_eq!((app.shown_count(), fcm.inbox("ann").unwrap().len()), (1, 0));
}

#[tokio::test]
async fn a_malformed_condition_or_topic_is_an_invalid_argument() {
    let app = AppServer::new().await;
    let six = ["'a' in topics"; 6].join(" || ");
    for target in [
        json!({"condition": "'news' in topics &&"}),
        json!({"condition": "news"}),
        json!({"condition": six}),
        json!({"topic": "a b"}),
        json!({"topic": "/topics/news"}),
    ] {
        let response = send(&app, &target).await;
        let error = &response.json()["error"];
        assert_eq!((response.status, &error["status"]), (400, &json!("INVALID_ARGUMENT")), "{target}");
        assert_eq!(error["details"][0]["errorCode"], "INVALID_ARGUMENT", "{target}");
    }
}

#[tokio::test]
async fn each_token_of_a_batch_has_a_result_of_its_own() {
    let app = AppServer::new().await;
    let fcm = app.emulator.fcm();
    let unregistered = fcm.add_device("dead", Platform::Web).unwrap();
    fcm.unregister("dead");
    let response =
        batch(&app, "batchAdd", "news", &[&unregistered.token, &app.device.token, "nonsense"]).await;
    let results = json!({"results": [{"error": "NOT_FOUND"}, {}, {"error": "INVALID_ARGUMENT"}]});
    assert_eq!((response.status, response.json()), (200, results));
    assert_eq!(batch(&app, "batchAdd", "a b", &[&app.device.token]).await.status, 400);
    assert_eq!(batch(&app, "batchAdd", "news", &[]).await.status, 400);
    let many = vec![app.device.token.as_str(); 1001];
    assert_eq!(batch(&app, "batchAdd", "news", &many).await.status, 400);
}

#[tokio::test]
async fn a_single_subscription_is_created_read_and_ended() {
    let app = AppServer::new().await;
    let token = &app.device.token;
    let relation = format!("/iid/v1/{token}/rel/topics/news");
    assert_eq!(call(&app, http::Method::POST, &relation, &json!({})).await.json(), json!({}));
    let info = format!("/iid/info/{token}?details=true");
    let details = call(&app, http::Method::GET, &info, &json!({})).await.json();
    assert_eq!(details["platform"], "WEBPUSH");
    assert_eq!(details["rel"]["topics"]["news"]["addDate"].as_str().unwrap().len(), "2026-01-01".len());
    assert_eq!(call(&app, http::Method::DELETE, &relation, &json!({})).await.status, 200);
    let details = call(&app, http::Method::GET, &info, &json!({})).await.json();
    assert_eq!(details["rel"]["topics"], json!({}));
    let unknown = format!("/iid/info/{}:{}", "f".repeat(22), "x".repeat(100));
    assert_eq!(call(&app, http::Method::GET, &unknown, &json!({})).await.status, 404);
    assert_eq!(call(&app, http::Method::GET, "/iid/info/nonsense", &json!({})).await.status, 400);
}

#[tokio::test]
async fn a_subscription_needs_a_bearer_and_the_header_that_marks_it() {
    let app = AppServer::new().await;
    let body = json!({"to": "/topics/news", "registration_tokens": [app.device.token]}).to_string();
    let bearer = format!("Bearer {}", app.bearer);
    for headers in [
        &[("authorization", bearer.as_str())][..],
        &[("authorization", "Bearer ya29.wrong"), ("access_token_auth", "true")],
        &[("authorization", "key=server"), ("access_token_auth", "true")],
    ] {
        let response = app.client.post("/iid/v1:batchAdd", headers, body.clone()).await.unwrap();
        assert_eq!(response.status, 401, "{headers:?}");
    }
    let refused = |event: &EventKind| matches!(event, EventKind::Send { status: 401, .. });
    assert_eq!(app.emulator.fcm().events(0).iter().filter(|event| refused(&event.kind)).count(), 3);
}
