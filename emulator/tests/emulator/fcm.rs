//! FCM's strictness: every rule a message may break, and what Google says to it.

use http::header::CONTENT_TYPE;
use pushgate_emulator::EventKind;
use serde_json::{Value, json};

use crate::client::{Answer, App, SEND};

/// What Google's error is about: its FCM code, or the field it names.
fn blamed(answer: &Answer) -> String {
    let error = answer.json()["error"].clone();
    let detail = &error["details"][0];
    let blamed = detail["errorCode"].as_str().or_else(|| detail["fieldViolations"][0]["field"].as_str());
    blamed.or_else(|| error["status"].as_str()).unwrap().to_owned()
}

/// The answer to a message of bob with something changed.
async fn changed(app: &App, change: impl FnOnce(&mut Value)) -> Answer {
    let mut request = app.hello();
    change(&mut request["message"]);
    app.send(&request).await.unwrap()
}

#[tokio::test]
async fn without_a_bearer_that_was_given_out_nothing_is_sent() {
    let app = App::new().await;
    let hello = app.hello().to_string();
    let basic = format!("Basic {}", app.bearer);
    for headers in
        [vec![], vec![("authorization", "Bearer ya29.invented")], vec![("authorization", basic.as_str())]]
    {
        let answer = app.client.ask(SEND, &headers, hello.clone()).await.unwrap();
        assert_eq!((answer.status, blamed(&answer)), (401, "UNAUTHENTICATED".to_owned()));
    }
    assert_eq!(app.seen(), 0);
}

#[tokio::test]
async fn a_bearer_is_good_for_its_own_project_only() {
    let app = App::new().await;
    let bearer = format!("Bearer {}", app.bearer);
    let path = SEND.replace("demo", "other");
    let answer = app.client.ask(&path, &[("authorization", &bearer)], app.hello().to_string()).await.unwrap();
    assert_eq!((answer.status, blamed(&answer)), (403, "PERMISSION_DENIED".to_owned()));
}

#[tokio::test]
async fn a_message_has_exactly_one_target() {
    let app = App::new().await;
    let none = changed(&app, |message| {
        message.as_object_mut().unwrap().remove("token");
    });
    let two = changed(&app, |message| message["topic"] = "news".into());
    for answer in [none.await, two.await] {
        assert_eq!((answer.status, blamed(&answer)), (400, "message".to_owned()));
    }
    let fid = changed(&app, |message| {
        message.as_object_mut().unwrap().remove("token");
        message["fid"] = app.device.fid.clone().into();
    });
    assert_eq!((fid.await.status, app.seen()), (200, 1), "an installation id is a target, too");
}

#[tokio::test]
async fn data_is_strings_everywhere() {
    let app = App::new().await;
    let number = changed(&app, |message| message["data"] = json!({"n": 1})).await;
    assert_eq!((number.status, blamed(&number)), (400, "message.data[0].value".to_owned()));
    let nested = changed(&app, |message| message["webpush"] = json!({"data": {"a": "b", "o": {}}})).await;
    assert_eq!((nested.status, blamed(&nested)), (400, "message.webpush.data[1].value".to_owned()));
    let header = changed(&app, |message| message["webpush"] = json!({"headers": {"TTL": 60}})).await;
    assert_eq!((header.status, blamed(&header)), (400, "message.webpush.headers[0].value".to_owned()));
}

#[tokio::test]
async fn keys_that_google_keeps_for_itself_are_refused() {
    let app = App::new().await;
    for key in ["from", "message_type", "google.x", "gcm_y"] {
        let answer = changed(&app, |message| message["data"] = json!({key: "x"})).await;
        assert_eq!((answer.status, blamed(&answer)), (400, "INVALID_ARGUMENT".to_owned()), "{key}");
    }
    let fine = changed(&app, |message| message["data"] = json!({"fromage": "x", "my_gcm": "y"})).await;
    assert_eq!(fine.status, 200);
}

#[tokio::test]
async fn a_message_of_4096_bytes_is_taken_and_one_more_is_not() {
    let app = App::new().await;
    let empty = json!({"data": {"k": ""}}).to_string().len();
    let sized = |bytes: usize| json!({"message": {"token": app.device.token, "data": {"k": "x".repeat(bytes - empty)}}});
    assert_eq!(app.send(&sized(4096)).await.unwrap().status, 200);
    let answer = app.send(&sized(4097)).await.unwrap();
    assert_eq!((answer.status, blamed(&answer)), (400, "INVALID_ARGUMENT".to_owned()));
    let topic =
        |bytes: usize| json!({"message": {"topic": "news", "data": {"k": "x".repeat(bytes - empty)}}});
    assert_eq!(app.send(&topic(2048)).await.unwrap().status, 200);
    assert_eq!(app.send(&topic(2049)).await.unwrap().status, 400, "half of it for a topic");
}

#[tokio::test]
async fn a_dead_token_is_refused_in_googles_words() {
    let app = App::new().await;
    app.emulator.fcm().unregister("bob");
    let answer = app.send(&app.hello()).await.unwrap();
    assert_eq!(answer.status, 404);
    assert_eq!(answer.headers[CONTENT_TYPE], "application/json; charset=UTF-8");
    let expected = json!({"error": {"code": 404, "message": "Requested entity was not found.", "status": "NOT_FOUND",
        "details": [{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": "UNREGISTERED"}]}});
    assert_eq!(answer.json(), expected);
}

#[tokio::test]
async fn what_is_no_token_at_all_is_told_from_a_dead_one() {
    let app = App::new().await;
    for token in ["", "short", &"x".repeat(200)] {
        let answer = changed(&app, |message| message["token"] = token.into()).await;
        assert_eq!((answer.status, blamed(&answer)), (400, "INVALID_ARGUMENT".to_owned()), "{token}");
    }
    let unknown = format!("c{}:APA91b{}", "x".repeat(21), "y".repeat(130));
    assert_eq!(changed(&app, |message| message["token"] = unknown.into()).await.status, 404);
}

#[tokio::test]
async fn validate_only_says_what_would_be_and_sends_nothing() {
    let app = App::new().await;
    let mut request = app.hello();
    request["validate_only"] = true.into();
    let answer = app.send(&request).await.unwrap();
    assert_eq!(
        (answer.status, &answer.json()["name"]),
        (200, &"projects/demo/messages/0:fake_message_id".into())
    );
    request["message"]["data"] = json!({"n": 1});
    assert_eq!(app.send(&request).await.unwrap().status, 400);
    let arrived = |event: &pushgate_emulator::Event| matches!(event.kind, EventKind::Arrived { .. });
    assert_eq!((app.seen(), app.emulator.fcm().events(0).iter().any(arrived)), (0, false));
}

#[tokio::test]
async fn fields_that_do_not_exist_and_broken_json_are_refused() {
    let app = App::new().await;
    let unknown = changed(&app, |message| message["titel"] = "x".into()).await;
    assert_eq!((unknown.status, blamed(&unknown)), (400, "message".to_owned()));
    let bearer = format!("Bearer {}", app.bearer);
    for body in ["{\"message\":", "[]", "{}", "\u{0}"] {
        let answer = app.client.ask(SEND, &[("authorization", &bearer)], body).await.unwrap();
        assert_eq!(answer.status, 400, "{body}");
    }
}

#[tokio::test]
async fn what_the_platforms_would_refuse_is_refused() {
    let app = App::new().await;
    let wrong = [
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
    for block in wrong {
        let answer = changed(&app, |message| {
            message.as_object_mut().unwrap().extend(block.as_object().unwrap().clone())
        });
        assert_eq!(answer.await.status, 400, "{block}");
    }
    let right = json!({"webpush": {"headers": {"TTL": "2419200", "Urgency": "very-low", "Topic": "x".repeat(32)}},
        "android": {"ttl": "3.5s", "priority": "HIGH"}});
    let answer =
        changed(&app, |message| message.as_object_mut().unwrap().extend(right.as_object().unwrap().clone()));
    assert_eq!(answer.await.status, 200);
}

#[tokio::test]
async fn another_path_is_not_found() {
    let app = App::new().await;
    for path in ["/", "/v1/projects/demo/messages", "/v1/messages:send", "/fcm/send"] {
        assert_eq!(app.client.ask(path, &[], "{}").await.unwrap().status, 404, "{path}");
    }
}
