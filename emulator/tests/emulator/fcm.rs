//! FCM: every rule that a message can violate, and Google's error for it.

use http::header::CONTENT_TYPE;
use pushgate_emulator::EventKind;
use serde_json::{Value, json};

use crate::fcm_client::{AppServer, Response, SEND};

/// Returns the subject of Google's error: its FCM code, or the field that it names.
fn error_subject(response: &Response) -> String {
    let error = response.json()["error"].clone();
    let detail = &error["details"][0];
    let subject = detail["errorCode"].as_str().or_else(|| detail["fieldViolations"][0]["field"].as_str());
    subject.or_else(|| error["status"].as_str()).unwrap().to_owned()
}

/// Sends a changed message to bob. Returns the response.
async fn send_changed(app: &AppServer, change: impl FnOnce(&mut Value)) -> Response {
    let mut request = app.valid_message();
    change(&mut request["message"]);
    app.send(&request).await.unwrap()
}

#[tokio::test]
async fn a_message_without_an_issued_bearer_is_refused() {
    let app = AppServer::new().await;
    let message = app.valid_message().to_string();
    let basic = format!("Basic {}", app.bearer);
    for headers in
        [vec![], vec![("authorization", "Bearer ya29.invented")], vec![("authorization", basic.as_str())]]
    {
        let response = app.client.post(SEND, &headers, message.clone()).await.unwrap();
        assert_eq!((response.status, error_subject(&response)), (401, "UNAUTHENTICATED".to_owned()));
    }
    assert_eq!(app.shown_count(), 0);
}

#[tokio::test]
async fn a_bearer_is_valid_only_for_its_own_project() {
    let app = AppServer::new().await;
    let bearer = format!("Bearer {}", app.bearer);
    let path = SEND.replace("demo", "other");
    let response =
        app.client.post(&path, &[("authorization", &bearer)], app.valid_message().to_string()).await.unwrap();
    assert_eq!((response.status, error_subject(&response)), (403, "PERMISSION_DENIED".to_owned()));
}

#[tokio::test]
async fn a_message_has_exactly_one_target() {
    let app = AppServer::new().await;
    let without_target = send_changed(&app, |message| {
        message.as_object_mut().unwrap().remove("token");
    });
    let two_targets = send_changed(&app, |message| message["topic"] = "news".into());
    for response in [without_target.await, two_targets.await] {
        assert_eq!((response.status, error_subject(&response)), (400, "message".to_owned()));
    }
    let fid = send_changed(&app, |message| {
        message.as_object_mut().unwrap().remove("token");
        message["fid"] = app.device.fid.clone().into();
    });
    assert_eq!((fid.await.status, app.shown_count()), (200, 1), "an installation id is a target, too");
}

#[tokio::test]
async fn data_values_must_be_strings() {
    let app = AppServer::new().await;
    let number = send_changed(&app, |message| message["data"] = json!({"n": 1})).await;
    assert_eq!((number.status, error_subject(&number)), (400, "message.data[0].value".to_owned()));
    let nested =
        send_changed(&app, |message| message["webpush"] = json!({"data": {"a": "b", "o": {}}})).await;
    assert_eq!((nested.status, error_subject(&nested)), (400, "message.webpush.data[1].value".to_owned()));
    let header = send_changed(&app, |message| message["webpush"] = json!({"headers": {"TTL": 60}})).await;
    assert_eq!((header.status, error_subject(&header)), (400, "message.webpush.headers[0].value".to_owned()));
}

#[tokio::test]
async fn reserved_data_keys_are_refused() {
    let app = AppServer::new().await;
    for key in ["from", "message_type", "google.x", "gcm_y"] {
        let response = send_changed(&app, |message| message["data"] = json!({key: "x"})).await;
        assert_eq!(
            (response.status, error_subject(&response)),
            (400, "INVALID_ARGUMENT".to_owned()),
            "{key}"
        );
    }
    let allowed =
        send_changed(&app, |message| message["data"] = json!({"fromage": "x", "my_gcm": "y"})).await;
    assert_eq!(allowed.status, 200);
}

#[tokio::test]
async fn a_message_may_have_4096_bytes() {
    let app = AppServer::new().await;
    let empty = json!({"data": {"k": ""}}).to_string().len();
    let sized = |bytes: usize| json!({"message": {"token": app.device.token, "data": {"k": "x".repeat(bytes - empty)}}});
    assert_eq!(app.send(&sized(4096)).await.unwrap().status, 200);
    let response = app.send(&sized(4097)).await.unwrap();
    assert_eq!((response.status, error_subject(&response)), (400, "INVALID_ARGUMENT".to_owned()));
    let topic =
        |bytes: usize| json!({"message": {"topic": "news", "data": {"k": "x".repeat(bytes - empty)}}});
    assert_eq!(app.send(&topic(2048)).await.unwrap().status, 200);
    assert_eq!(app.send(&topic(2049)).await.unwrap().status, 400, "half of it for a topic");
}

#[tokio::test]
async fn an_unregistered_token_is_refused_with_googles_error() {
    let app = AppServer::new().await;
    app.emulator.fcm().unregister("bob");
    let response = app.send(&app.valid_message()).await.unwrap();
    assert_eq!(response.status, 404);
    assert_eq!(response.headers[CONTENT_TYPE], "application/json; charset=UTF-8");
    let expected = json!({"error": {"code": 404, "message": "Requested entity was not found.", "status": "NOT_FOUND",
        "details": [{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": "UNREGISTERED"}]}});
    assert_eq!(response.json(), expected);
}

#[tokio::test]
async fn a_malformed_token_and_an_unregistered_one_have_different_errors() {
    let app = AppServer::new().await;
    for token in ["", "short", &"x".repeat(200)] {
        let response = send_changed(&app, |message| message["token"] = token.into()).await;
        assert_eq!(
            (response.status, error_subject(&response)),
            (400, "INVALID_ARGUMENT".to_owned()),
            "{token}"
        );
    }
    let unknown = format!("c{}:APA91b{}", "x".repeat(21), "y".repeat(130));
    assert_eq!(send_changed(&app, |message| message["token"] = unknown.into()).await.status, 404);
}

#[tokio::test]
async fn validate_only_validates_and_sends_nothing() {
    let app = AppServer::new().await;
    let mut request = app.valid_message();
    request["validate_only"] = true.into();
    let response = app.send(&request).await.unwrap();
    assert_eq!(
        (response.status, &response.json()["name"]),
        (200, &"projects/demo/messages/0:fake_message_id".into())
    );
    request["message"]["data"] = json!({"n": 1});
    assert_eq!(app.send(&request).await.unwrap().status, 400);
    let arrived = |event: &pushgate_emulator::Event| matches!(event.kind, EventKind::Arrived { .. });
    assert_eq!((app.shown_count(), app.emulator.fcm().events(0).iter().any(arrived)), (0, false));
}

#[tokio::test]
async fn unknown_fields_and_malformed_json_are_refused() {
    let app = AppServer::new().await;
    let unknown = send_changed(&app, |message| message["titel"] = "x".into()).await;
    assert_eq!((unknown.status, error_subject(&unknown)), (400, "message".to_owned()));
    let bearer = format!("Bearer {}", app.bearer);
    for body in ["{\"message\":", "[]", "{}", "\u{0}"] {
        let response = app.client.post(SEND, &[("authorization", &bearer)], body).await.unwrap();
        assert_eq!(response.status, 400, "{body}");
    }
}

#[tokio::test]
async fn invalid_platform_options_are_refused() {
    let app = AppServer::new().await;
    let invalid = [
        json!({"webpush": {"headers": {"TTL": "soon"}}}),
        json!({"webpush": {"headers": {"TTL": "2419201"}}}),
        json!({"webpush": {"headers": {"Urgency": "urgent"}}}),
        json!({"webpush": {"headers": {"Topic": "x".repeat(33)}}}),
        json!({"webpush": {"headers": {"Topic": "a:b"}}}),
        json!({"webpush": {"fcm_options": {"link": "http://plain.example"}}}),
        json!({"android": {"ttl": "86400"}}),
        json!({"android": {"ttl": "2419201s"}}),
        json!({"android": {"ttl": "-1s"}}),
        json!({"android": {"priority": "URGENT"}}),
        json!({"apns": {"headers": {"apns-priority": 10}}}),
    ];
    for block in invalid {
        let response = send_changed(&app, |message| {
            message.as_object_mut().unwrap().extend(block.as_object().unwrap().clone())
        });
        assert_eq!(response.await.status, 400, "{block}");
    }
    let valid = json!({"webpush": {"headers": {"TTL": "2419200", "Urgency": "very-low", "Topic": "x".repeat(32)}},
        "android": {"ttl": "3.5s", "priority": "HIGH"}});
    let response = send_changed(&app, |message| {
        message.as_object_mut().unwrap().extend(valid.as_object().unwrap().clone())
    });
    assert_eq!(response.await.status, 200);
}

#[tokio::test]
async fn an_unknown_path_is_not_found() {
    let app = AppServer::new().await;
    for path in ["/", "/v1/projects/demo/messages", "/v1/messages:send", "/fcm/send"] {
        assert_eq!(app.client.post(path, &[], "{}").await.unwrap().status, 404, "{path}");
    }
}
