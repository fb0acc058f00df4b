//! The control API, which tests in any language use, and the inbox page.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use pushgate_emulator::WrongSuffix;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::client::{App, emulator};

/// A status and a body.
async fn call(url: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let (status, body) = raw(url, method, path, body.to_string()).await;
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

async fn raw(url: &str, method: &str, path: &str, body: impl Into<Bytes>) -> (u16, Bytes) {
    with_headers(url, method, path, &[("host", "localhost")], body).await
}

async fn with_headers(
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
async fn rules_are_changed_one_by_one_and_an_unknown_one_is_named_with_its_neighbour() {
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
    let here = url.strip_prefix("http://").unwrap();
    let foreign: [(&[(&str, &str)], &str); 6] = [
        (&[("host", "evil.example"), ("content-type", "text/plain")], "foreign_host"),
        (&[("host", "evil.example:8444"), ("origin", "http://evil.example:8444")], "foreign_host"),
        (
            &[("host", here), ("origin", "https://evil.example"), ("content-type", "text/plain")],
            "cross_site_request",
        ),
        (&[("host", here), ("origin", "null"), ("content-type", "text/plain")], "cross_site_request"),
        (&[("host", here), ("origin", "http://localhost:3000")], "cross_site_request"),
        (&[("host", here), ("sec-fetch-site", "cross-site")], "cross_site_request"),
    ];
    let bob = json!({"id": "bob", "platform": "web"}).to_string();
    for path in ["/control/fcm/devices", "/control/webpush/subscriptions"] {
        for (headers, code) in foreign {
            let (status, body) = with_headers(&url, "POST", path, headers, bob.clone()).await;
            let body: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!((status, &body["code"]), (403, &json!(code)), "{headers:?}");
            assert!(body["detail"].as_str().unwrap().contains(&url), "{body}");
        }
    }
    assert_eq!(emulator.fcm().devices(), [], "nothing was done");
    let rebound = with_headers(&url, "GET", "/", &[("host", "evil.example")], "").await;
    assert_eq!(rebound.0, 403);
}

#[tokio::test]
async fn the_inbox_page_and_programs_on_this_machine_may_call_the_api() {
    let emulator = emulator().await;
    let url = emulator.control_url();
    let here = url.strip_prefix("http://").unwrap();
    let named = here.replace("127.0.0.1", "localhost");
    let origin = format!("http://{named}");
    let page = [("host", named.as_str()), ("origin", &origin), ("sec-fetch-site", "same-origin")];
    let bob = json!({"id": "bob", "platform": "web"}).to_string();
    for headers in [&page[..], &[("host", here)]] {
        assert_eq!(with_headers(&url, "POST", "/control/fcm/devices", headers, bob.clone()).await.0, 201);
    }
    // By a link of another site.
    let link = [("host", named.as_str()), ("sec-fetch-site", "cross-site")];
    assert_eq!(with_headers(&url, "GET", "/", &link, "").await.0, 200);
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
