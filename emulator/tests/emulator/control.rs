//! The control API and the inbox page.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use pushgate_emulator::WrongSuffix;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::fcm_client::{AppServer, emulator};

/// Calls the control API. Returns status and body.
async fn call(url: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let (status, body) = call_raw(url, method, path, body.to_string()).await;
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

async fn call_raw(url: &str, method: &str, path: &str, body: impl Into<Bytes>) -> (u16, Bytes) {
    call_with_headers(url, method, path, &[("host", "localhost")], body).await
}

async fn call_with_headers(
    url: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> (u16, Bytes) {
    let tcp = TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap();
    let (mut send, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await.unwrap();
    tokio::spawn(connection);
    let mut request = http::Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = send.send_request(request.body(Full::new(body.into())).unwrap()).await.unwrap();
    (response.status().as_u16(), response.into_body().collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn a_device_is_created_changed_and_read_over_the_api() {
    let app = AppServer::new().await;
    let url = app.emulator.control_url();
    let (status, device) =
        call(&url, "POST", "/control/fcm/devices", &json!({"id": "ann", "platform": "android"})).await;
    assert_eq!(status, 201);
    let offline = json!({"online": false});
    assert_eq!(call(&url, "POST", "/control/fcm/devices/ann", &offline).await.0, 204);
    app.send(&json!({"message": {"token": device["token"], "notification": {"title": "hi"}}})).await.unwrap();
    let (_, devices) = call(&url, "GET", "/control/fcm/devices", &Value::Null).await;
    assert_eq!(devices[1]["state"], json!({"registered": true, "online": false, "muted": false, "held": 1}));
    assert!(!devices.to_string().contains(device["token"].as_str().unwrap()), "a list contains no token");
    call(&url, "POST", "/control/fcm/devices/ann", &json!({"online": true})).await;
    let (_, inbox) = call(&url, "GET", "/control/fcm/devices/ann/inbox", &Value::Null).await;
    assert_eq!(inbox[0]["title"], "hi");
}

#[tokio::test]
async fn every_effect_of_the_manual_can_be_added_and_removed() {
    let emulator = emulator().await;
    let url = emulator.control_url();
    let (_, manual) = call(&url, "GET", "/control", &Value::Null).await;
    let effects = manual["effects"].as_array().unwrap();
    for effect in effects {
        // If the manual names alternatives, one of them is used.
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
    let rule_path = format!("/control/fcm/faults/{}", rules[0]["rule"]);
    assert_eq!(call(&url, "DELETE", &rule_path, &Value::Null).await.0, 204);
    assert_eq!(call(&url, "DELETE", &rule_path, &Value::Null).await.0, 404);
    assert_eq!(call(&url, "DELETE", "/control/fcm/faults", &Value::Null).await.0, 204);
    assert_eq!(call(&url, "GET", "/control/fcm/faults", &Value::Null).await.1, json!([]));
}

#[tokio::test]
async fn the_example_of_every_verb_works() {
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
async fn every_example_of_a_device_works_and_its_fields_are_described() {
    let emulator = emulator().await;
    let url = emulator.control_url();
    let (_, manual) = call(&url, "GET", "/control", &Value::Null).await;
    let examples = manual["POST /control/{vendor}/devices"].as_object().unwrap();
    assert_eq!(examples.keys().collect::<Vec<_>>(), ["apns", "fcm", "webpush"]);
    for (vendor, example) in examples {
        let (status, device) = call(&url, "POST", &format!("/control/{vendor}/devices"), example).await;
        assert_eq!(status, 201, "{vendor} {device}");
        let fields = &manual["device fields"][vendor];
        for field in example.as_object().unwrap().keys() {
            assert!(fields[field].is_string(), "{vendor} does not describe {field}");
        }
        for field in device.as_object().unwrap().keys() {
            assert!(fields["answer"].as_str().unwrap().contains(field), "{vendor} does not describe {field}");
        }
    }
    let subscriptions = "/control/webpush/subscriptions";
    let example = &manual[&format!("POST {subscriptions}")];
    assert_eq!(call(&url, "POST", subscriptions, example).await.0, 201);
    assert!(manual[&format!("GET {subscriptions}")].is_string());
}

#[tokio::test]
async fn rules_are_changed_one_by_one_and_an_unknown_one_gets_a_suggestion() {
    let emulator = emulator().await;
    let url = emulator.control_url();
    let path = "/control/apns/do/rules";
    assert_eq!(call(&url, "POST", path, &json!({"mint_every_s": 7})).await.0, 204);
    assert_eq!(call(&url, "POST", path, &json!({"wrong_suffix": "topic_disallowed"})).await.0, 204);
    let rules = emulator.apns().rules();
    assert_eq!((rules.mint_every_s, rules.wrong_suffix), (7, WrongSuffix::TopicDisallowed));
    let (_, manual) = call(&url, "GET", "/control", &Value::Null).await;
    assert_eq!(manual[&format!("POST {path}")]["rules"]["mint_every_s"]["now"], 7);
    let (status, refused) = call(&url, "POST", path, &json!({"token_life_s": 9, "mint_evry_s": 0})).await;
    assert_eq!((status, &refused["code"]), (400, &json!("bad_request")));
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains("mint_evry_s") && detail.contains("did you mean \"mint_every_s\"?"), "{detail}");
    let (_, refused) = call(&url, "POST", path, &json!({"missing_push_type": "maybe"})).await;
    assert!(refused["detail"].as_str().unwrap().starts_with("missing_push_type: "), "{refused}");
    assert_eq!(emulator.apns().rules(), rules, "a refused change changes nothing");
}

#[tokio::test]
async fn a_page_of_another_site_cannot_call_the_api() {
    let emulator = emulator().await;
    let url = emulator.control_url();
    let address = url.strip_prefix("http://").unwrap();
    let foreign: [(&[(&str, &str)], &str); 6] = [
        (&[("host", "evil.example"), ("content-type", "text/plain")], "foreign_host"),
        (&[("host", "evil.example:8444"), ("origin", "http://evil.example:8444")], "foreign_host"),
        (
            &[("host", address), ("origin", "https://evil.example"), ("content-type", "text/plain")],
            "cross_site_request",
        ),
        (&[("host", address), ("origin", "null"), ("content-type", "text/plain")], "cross_site_request"),
        (&[("host", address), ("origin", "http://localhost:3000")], "cross_site_request"),
        (&[("host", address), ("sec-fetch-site", "cross-site")], "cross_site_request"),
    ];
    let bob = json!({"id": "bob", "platform": "web"}).to_string();
    for path in ["/control/fcm/devices", "/control/webpush/subscriptions"] {
        for (headers, code) in foreign {
            let (status, body) = call_with_headers(&url, "POST", path, headers, bob.clone()).await;
            let body: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!((status, &body["code"]), (403, &json!(code)), "{headers:?}");
            assert!(body["detail"].as_str().unwrap().contains(&url), "{body}");
        }
    }
    assert_eq!(emulator.fcm().devices(), [], "no device was created");
    let rebound_host = call_with_headers(&url, "GET", "/", &[("host", "evil.example")], "").await;
    assert_eq!(rebound_host.0, 403);
}

#[tokio::test]
async fn the_inbox_page_and_programs_on_this_machine_may_call_the_api() {
    let emulator = emulator().await;
    let url = emulator.control_url();
    let address = url.strip_prefix("http://").unwrap();
    let local_name = address.replace("127.0.0.1", "localhost");
    let origin = format!("http://{local_name}");
    let page = [("host", local_name.as_str()), ("origin", &origin), ("sec-fetch-site", "same-origin")];
    let bob = json!({"id": "bob", "platform": "web"}).to_string();
    for headers in [&page[..], &[("host", address)]] {
        assert_eq!(
            call_with_headers(&url, "POST", "/control/fcm/devices", headers, bob.clone()).await.0,
            201
        );
    }
    // A link of another site may open the page.
    let link = [("host", local_name.as_str()), ("sec-fetch-site", "cross-site")];
    assert_eq!(call_with_headers(&url, "GET", "/", &link, "").await.0, 200);
}

#[tokio::test]
async fn connections_and_time_are_controlled_over_the_api() {
    let app = AppServer::new().await;
    let url = app.emulator.control_url();
    call(&url, "POST", "/control/fcm/connections", &json!({"streams": 5})).await;
    app.client.wait_for_stream_limit(5).await;
    let (_, connections) = call(&url, "GET", "/control/fcm/connections", &Value::Null).await;
    assert_eq!(connections, json!({"living": 1, "streams": 5}));
    call(&url, "POST", "/control/fcm/connections", &json!({"goaway": {}})).await;
    drop(app.client.send);
    let ended = tokio::time::timeout(Duration::from_secs(10), app.client.ended).await;
    assert!(ended.is_ok(), "the connection closes");
    let (_, before) = call(&url, "GET", "/control/clock", &Value::Null).await;
    let (_, after) = call(&url, "POST", "/control/clock", &json!({"advance_s": 60})).await;
    assert!(after["now_ms"].as_u64().unwrap() >= before["now_ms"].as_u64().unwrap() + 60_000);
}

#[tokio::test]
async fn invalid_calls_have_their_own_error_codes() {
    let emulator = emulator().await;
    let url = emulator.control_url();
    let invalid_calls = [
        ("POST", "/control/fcm/faults", json!({"effect": "explode"}), 400, "bad_request"),
        ("POST", "/control/fcm/faults", json!({"effect": "hang", "share": 2}), 400, "bad_request"),
        ("POST", "/control/fcm/faults", json!({"effect": "hang", "nxet": 2}), 400, "bad_request"),
        ("POST", "/control/fcm/devices", json!({"id": "x", "platform": "toaster"}), 400, "bad_request"),
        ("POST", "/control/fcm/devices/nobody", json!({}), 404, "unknown_device"),
        ("GET", "/control/fcm/devices/nobody/inbox", json!({}), 404, "unknown_device"),
        ("GET", "/control/acme/events", json!({}), 404, "unknown_vendor"),
    ];
    for (method, path, body, status, code) in invalid_calls {
        let response = call(&url, method, path, &body).await;
        assert_eq!((response.0, &response.1["code"]), (status, &Value::from(code)), "{method} {path} {body}");
    }
    assert_eq!(call_raw(&url, "POST", "/control/fcm/faults", "x".repeat(70_000)).await.0, 413);
}

#[tokio::test]
async fn the_inbox_page_loads_nothing_from_other_hosts() {
    let emulator = emulator().await;
    let (status, page) = call_raw(&emulator.control_url(), "GET", "/", "").await;
    let page = String::from_utf8(page.to_vec()).unwrap();
    assert_eq!(status, 200);
    for foreign in ["http://", "https://", "//cdn", "@import", "innerHTML"] {
        assert!(!page.contains(foreign), "the page contains {foreign}");
    }
}
