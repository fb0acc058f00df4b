//! The control API, which tests in any language use, and the inbox page.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::client::{App, emulator};

/// A status and a body.
async fn call(url: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let (status, body) = raw(url, method, path, body.to_string()).await;
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

async fn raw(url: &str, method: &str, path: &str, body: impl Into<Bytes>) -> (u16, Bytes) {
    let tcp = TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap();
    let (mut send, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::builder().method(method).uri(path).header("host", "localhost");
    let answer = send.send_request(request.body(Full::new(body.into())).unwrap()).await.unwrap();
    (answer.status().as_u16(), answer.into_body().collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn a_device_is_made_changed_and_read_over_the_api() {
    let app = App::new().await;
    let url = app.emulator.control_url();
    let (status, device) =
        call(&url, "POST", "/control/fcm/devices", &json!({"id": "ann", "platform": "android"})).await;
    assert_eq!(status, 201);
    let offline = json!({"online": false});
    assert_eq!(call(&url, "POST", "/control/fcm/devices/ann", &offline).await.0, 204);
    app.send(&json!({"message": {"token": device["token"], "notification": {"title": "hi"}}})).await.unwrap();
    let (_, devices) = call(&url, "GET", "/control/fcm/devices", &Value::Null).await;
    assert_eq!(devices[1]["state"], json!({"registered": true, "online": false, "muted": false, "held": 1}));
    assert!(!devices.to_string().contains(device["token"].as_str().unwrap()), "a list gives no token away");
    call(&url, "POST", "/control/fcm/devices/ann", &json!({"online": true})).await;
    let (_, inbox) = call(&url, "GET", "/control/fcm/devices/ann/inbox", &Value::Null).await;
    assert_eq!(inbox[0]["title"], "hi");
}

#[tokio::test]
async fn every_effect_the_manual_names_can_be_asked_for_and_taken_back() {
    let emulator = emulator().await;
    let url = emulator.control_url();
    let (_, manual) = call(&url, "GET", "/control", &Value::Null).await;
    let effects = manual["effects"].as_array().unwrap();
    for effect in effects {
        // Where the manual names alternatives, the first.
        let effect: Value = match effect.get("goaway") {
            Some(_) => json!({"goaway": {"last": "before", "then": "abrupt"}}),
            None => effect.clone(),
        };
        let (status, rule) =
            call(&url, "POST", "/control/fcm/faults", &json!({"share": 0.5, "effect": effect})).await;
        assert_eq!(status, 201, "{effect} {rule}");
    }
    let (_, rules) = call(&url, "GET", "/control/fcm/faults", &Value::Null).await;
    assert_eq!(rules.as_array().unwrap().len(), effects.len());
    let one = format!("/control/fcm/faults/{}", rules[0]["rule"]);
    assert_eq!(call(&url, "DELETE", &one, &Value::Null).await.0, 204);
    assert_eq!(call(&url, "DELETE", &one, &Value::Null).await.0, 404);
    assert_eq!(call(&url, "DELETE", "/control/fcm/faults", &Value::Null).await.0, 204);
    assert_eq!(call(&url, "GET", "/control/fcm/faults", &Value::Null).await.1, json!([]));
}

#[tokio::test]
async fn every_example_of_a_vendors_own_verbs_works() {
    let emulator = emulator().await;
    let url = emulator.control_url();
    let (_, manual) = call(&url, "GET", "/control", &Value::Null).await;
    let verbs = manual["POST /control/{vendor}/do/{verb}"].as_object().unwrap();
    for (vendor, verbs) in verbs {
        for (verb, example) in verbs.as_object().unwrap() {
            let path = format!("/control/{vendor}/do/{verb}");
            if example.get("device").is_some() {
                let bob = json!({"id": example["device"]});
                call(&url, "POST", &format!("/control/{vendor}/devices"), &bob).await;
            }
            assert_eq!(call(&url, "POST", &path, example).await.0, 204, "{path}");
        }
        assert_eq!(call(&url, "POST", &format!("/control/{vendor}/do/nothing"), &json!({})).await.0, 404);
    }
}

#[tokio::test]
async fn connections_and_time_are_steered_over_the_api() {
    let app = App::new().await;
    let url = app.emulator.control_url();
    call(&url, "POST", "/control/fcm/connections", &json!({"streams": 5})).await;
    app.client.knows_limit(5).await;
    let (_, told) = call(&url, "GET", "/control/fcm/connections", &Value::Null).await;
    assert_eq!(told, json!({"living": 1, "streams": 5}));
    call(&url, "POST", "/control/fcm/connections", &json!({"goaway": {}})).await;
    drop(app.client.send);
    let ended = tokio::time::timeout(Duration::from_secs(10), app.client.ended).await;
    assert!(ended.is_ok(), "the connection closes");
    let (_, before) = call(&url, "GET", "/control/clock", &Value::Null).await;
    let (_, after) = call(&url, "POST", "/control/clock", &json!({"advance_s": 60})).await;
    assert!(after["now_ms"].as_u64().unwrap() >= before["now_ms"].as_u64().unwrap() + 60_000);
}

#[tokio::test]
async fn what_is_wrong_with_a_call_is_said() {
    let emulator = emulator().await;
    let url = emulator.control_url();
    let wrong = [
        ("POST", "/control/fcm/faults", json!({"effect": "explode"}), 400, "bad_request"),
        ("POST", "/control/fcm/faults", json!({"effect": "hang", "share": 2}), 400, "bad_request"),
        ("POST", "/control/fcm/faults", json!({"effect": "hang", "nxet": 2}), 400, "bad_request"),
        ("POST", "/control/fcm/devices", json!({"id": "x", "platform": "toaster"}), 400, "bad_request"),
        ("POST", "/control/fcm/devices/nobody", json!({}), 404, "unknown_device"),
        ("GET", "/control/fcm/devices/nobody/inbox", json!({}), 404, "unknown_device"),
        ("GET", "/control/acme/events", json!({}), 404, "unknown_vendor"),
    ];
    for (method, path, body, status, code) in wrong {
        let answer = call(&url, method, path, &body).await;
        assert_eq!((answer.0, &answer.1["code"]), (status, &Value::from(code)), "{method} {path} {body}");
    }
    assert_eq!(raw(&url, "POST", "/control/fcm/faults", "x".repeat(70_000)).await.0, 413);
}

#[tokio::test]
async fn the_inbox_page_needs_nothing_from_elsewhere() {
    let emulator = emulator().await;
    let (status, page) = raw(&emulator.control_url(), "GET", "/", "").await;
    let page = String::from_utf8(page.to_vec()).unwrap();
    assert_eq!(status, 200);
    for elsewhere in ["http://", "https://", "//cdn", "@import", "innerHTML"] {
        assert!(!page.contains(elsewhere), "the page has {elsewhere}");
    }
}
