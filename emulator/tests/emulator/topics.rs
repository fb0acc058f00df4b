//! FCM: topics, conditions, and the Instance ID service by which servers subscribe devices.

use pushgate_emulator::{EventKind, Platform};
use serde_json::{Value, json};

use crate::client::{Answer, App};

/// A call of the Instance ID service as the Admin SDKs make it.
async fn call(app: &App, method: http::Method, path: &str, body: &Value) -> Answer {
    let bearer = format!("Bearer {}", app.bearer);
    let headers = [("authorization", bearer.as_str()), ("access_token_auth", "true")];
    match method {
        http::Method::POST => app.client.ask(path, &headers, body.to_string()).await.unwrap(),
        method => app.client.method(method, path, &headers).await.unwrap(),
    }
}

async fn batch(app: &App, verb: &str, topic: &str, tokens: &[&str]) -> Answer {
    let body = json!({"to": format!("/topics/{topic}"), "registration_tokens": tokens});
    call(app, http::Method::POST, &format!("/iid/v1:{verb}"), &body).await
}

async fn send(app: &App, target: &Value) -> Answer {
    let mut message = json!({"notification": {"title": "Ann", "body": "hello"}});
    message.as_object_mut().unwrap().extend(target.as_object().unwrap().clone());
    app.send(&json!({"message": message})).await.unwrap()
}

#[tokio::test]
async fn a_message_to_a_topic_reaches_its_subscribers_alone() {
    let app = App::new().await;
    let vendor = app.emulator.fcm();
    let ann = vendor.add_device("ann", Platform::Android).unwrap();
    let answer = batch(&app, "batchAdd", "news", &[&app.device.token]).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"results": [{}]})));
    assert_eq!(send(&app, &json!({"topic": "news"})).await.status, 200);
    let seen = |id: &str| vendor.inbox(id).unwrap().len();
    assert_eq!((seen("bob"), seen("ann")), (1, 0));
    batch(&app, "batchAdd", "news", &[&ann.token]).await;
    batch(&app, "batchRemove", "news", &[&app.device.token]).await;
    send(&app, &json!({"topic": "news"})).await;
    assert_eq!((seen("bob"), seen("ann")), (1, 1));
    let told = |device: &str, subscribed| {
        let what = EventKind::Topic { device: device.to_owned(), topic: "news".to_owned(), subscribed };
        vendor.events(0).iter().filter(|event| event.kind == what).count()
    };
    assert_eq!((told("bob", true), told("ann", true), told("bob", false)), (1, 1, 1));
}

#[tokio::test]
async fn a_condition_reaches_whom_it_holds_for() {
    let app = App::new().await;
    let vendor = app.emulator.fcm();
    let ann = vendor.add_device("ann", Platform::Web).unwrap();
    batch(&app, "batchAdd", "news", &[&app.device.token, &ann.token]).await;
    batch(&app, "batchAdd", "sports", &[&ann.token]).await;
    let condition = "'news' in topics && !('sports' in topics)";
    assert_eq!(send(&app, &json!({"condition": condition})).await.status, 200);
    assert_eq!((app.seen(), vendor.inbox("ann").unwrap().len()), (1, 0));
}

#[tokio::test]
async fn a_malformed_condition_or_topic_is_an_invalid_argument() {
    let app = App::new().await;
    let six = ["'a' in topics"; 6].join(" || ");
    for target in [
        json!({"condition": "'news' in topics &&"}),
        json!({"condition": "news"}),
        json!({"condition": six}),
        json!({"topic": "a b"}),
        json!({"topic": "/topics/news"}),
    ] {
        let answer = send(&app, &target).await;
        let error = &answer.json()["error"];
        assert_eq!((answer.status, &error["status"]), (400, &json!("INVALID_ARGUMENT")), "{target}");
        assert_eq!(error["details"][0]["errorCode"], "INVALID_ARGUMENT", "{target}");
    }
}

#[tokio::test]
async fn each_token_of_a_batch_has_a_result_of_its_own() {
    let app = App::new().await;
    let vendor = app.emulator.fcm();
    let dead = vendor.add_device("dead", Platform::Web).unwrap();
    vendor.unregister("dead");
    let answer = batch(&app, "batchAdd", "news", &[&dead.token, &app.device.token, "nonsense"]).await;
    let results = json!({"results": [{"error": "NOT_FOUND"}, {}, {"error": "INVALID_ARGUMENT"}]});
    assert_eq!((answer.status, answer.json()), (200, results));
    assert_eq!(batch(&app, "batchAdd", "a b", &[&app.device.token]).await.status, 400);
    assert_eq!(batch(&app, "batchAdd", "news", &[]).await.status, 400);
    let many = vec![app.device.token.as_str(); 1001];
    assert_eq!(batch(&app, "batchAdd", "news", &many).await.status, 400);
}

#[tokio::test]
async fn a_single_subscription_is_made_looked_up_and_ended() {
    let app = App::new().await;
    let token = &app.device.token;
    let relation = format!("/iid/v1/{token}/rel/topics/news");
    assert_eq!(call(&app, http::Method::POST, &relation, &json!({})).await.json(), json!({}));
    let info = format!("/iid/info/{token}?details=true");
    let known = call(&app, http::Method::GET, &info, &json!({})).await.json();
    assert_eq!(known["platform"], "WEBPUSH");
    assert_eq!(known["rel"]["topics"]["news"]["addDate"].as_str().unwrap().len(), "2026-01-01".len());
    assert_eq!(call(&app, http::Method::DELETE, &relation, &json!({})).await.status, 200);
    let known = call(&app, http::Method::GET, &info, &json!({})).await.json();
    assert_eq!(known["rel"]["topics"], json!({}));
    let unknown = format!("/iid/info/{}:{}", "f".repeat(22), "x".repeat(100));
    assert_eq!(call(&app, http::Method::GET, &unknown, &json!({})).await.status, 404);
    assert_eq!(call(&app, http::Method::GET, "/iid/info/nonsense", &json!({})).await.status, 400);
}

#[tokio::test]
async fn a_subscription_needs_a_bearer_that_is_said_to_be_one() {
    let app = App::new().await;
    let body = json!({"to": "/topics/news", "registration_tokens": [app.device.token]}).to_string();
    let bearer = format!("Bearer {}", app.bearer);
    for headers in [
        &[("authorization", bearer.as_str())][..],
        &[("authorization", "Bearer ya29.wrong"), ("access_token_auth", "true")],
        &[("authorization", "key=server"), ("access_token_auth", "true")],
    ] {
        let answer = app.client.ask("/iid/v1:batchAdd", headers, body.clone()).await.unwrap();
        assert_eq!(answer.status, 401, "{headers:?}");
    }
    let refused = |what: &EventKind| matches!(what, EventKind::Send { status: 401, .. });
    assert_eq!(app.emulator.fcm().events(0).iter().filter(|event| refused(&event.kind)).count(), 3);
}
