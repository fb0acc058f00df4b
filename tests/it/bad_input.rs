//! Bad input gets the documented status and code at the door, and nothing of it is stored.

use http::Method;
use serde_json::{Value, json};

use crate::house::{Client, House};

const PATH: &str = "/v1/apps/demo/notifications";

/// Asks, and expects to be refused with this status and code.
async fn refused(body: impl Into<Vec<u8>>, status: u16, code: &str) {
    let house = House::open().await;
    let page = house.page_of("bob").await;
    let answer = house.client.raw(Method::POST, PATH, body).await;
    expect(&answer, status, code);
    // The next, good one is the only one that ever arrives.
    let good = json!({"to": {"users": ["bob"]}, "title": "good"});
    house.client.submit(&good, "?wait=20s").await;
    let inbox = house.emulator.vendor().inbox(&page).unwrap();
    assert_eq!(inbox.iter().map(|shown| shown.title.as_str()).collect::<Vec<_>>(), ["good"]);
}

fn expect(answer: &(u16, Value), status: u16, code: &str) {
    assert_eq!((answer.0, &answer.1["code"]), (status, &code.into()), "{}", answer.1);
    assert!(answer.1["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
}

fn asked(more: Value) -> String {
    let mut body = json!({"to": {"users": ["bob"]}, "title": "bad"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_json_is_refused() {
    refused("{\"to\":", 400, "invalid_json").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_utf_8_is_refused() {
    refused([b"{\"title\":\"".as_slice(), &[0xff, 0xfe], b"\"}"].concat(), 400, "invalid_json").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_type_is_refused() {
    refused(asked(json!({"title": 7})), 422, "invalid_body").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_field_is_refused() {
    refused(asked(json!({"titel": "x"})), 422, "invalid_body").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_audience_is_refused() {
    refused(asked(json!({"to": {"users": []}})), 422, "empty_audience").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_send_at_in_another_age_is_refused_and_stops_nobody() {
    refused(asked(json!({"send_at": "0000-01-01T00:00:00+23:59"})), 422, "too_long_ago").await;
    refused(asked(json!({"send_at": "9999-12-31T23:59:59-23:59"})), 422, "too_far_ahead").await;
    refused(asked(json!({"send_at": "@1700000000000"})), 422, "invalid_field").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_negative_ttl_is_refused() {
    refused(asked(json!({"ttl": -1})), 422, "invalid_field").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_to_show_is_refused() {
    refused(asked(json!({"title": " "})), 422, "nothing_to_show").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undefined_template_variable_is_refused_and_named() {
    let body = json!({"to": {"users": ["bob"]}, "template": {"name": "message", "vars": {"sender": "Ann"}}});
    refused(body.to_string(), 422, "template").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_no_channel_can_carry_is_refused() {
    refused(asked(json!({"payload": "x".repeat(5000)})), 422, "too_large").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_of_ten_megabytes_is_refused_at_the_door() {
    refused(asked(json!({"payload": "x".repeat(10_000_000)})), 413, "body_too_large").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_head_over_the_limit_is_refused() {
    let house = House::open().await;
    let path = format!("{PATH}?wait={}", "1".repeat(17 * 1024));
    expect(&house.client.raw(Method::POST, &path, asked(json!({}))).await, 431, "head_too_large");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_path_and_verb_of_the_openapi_document_is_answered() {
    let house = House::open().await;
    let (_, document) = house.client.raw(Method::GET, "/openapi.json", "").await;
    for (path, verbs) in document["paths"].as_object().unwrap() {
        let path = path.replace(['{', '}'], "");
        for verb in verbs.as_object().unwrap().keys() {
            let verb: Method = verb.to_uppercase().parse().unwrap();
            let (status, answer) = house.client.raw(verb.clone(), &path, "").await;
            let routed = status != 405 && answer["code"] != "not_found";
            assert!(routed, "{verb} {path}: {status} {answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_wrong_or_foreign_key_is_refused() {
    let house = House::open().await;
    let body = asked(json!({}));
    let with =
        async |key: &str| Client::new(&house.client.base, key).raw(Method::POST, PATH, body.clone()).await;
    expect(&with("").await, 401, "missing_key");
    expect(&with("pgk_wrong").await, 401, "unknown_key");
    expect(&with(&house.key_of_another_app()).await, 403, "key_of_another_app");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_the_key_is_not_for_is_not_told_from_an_unknown_one() {
    let house = House::open().await;
    let answer = house.client.raw(Method::POST, "/v1/apps/nosuch/notifications", asked(json!({}))).await;
    expect(&answer, 403, "key_of_another_app");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_shows_what_would_be_sent_and_sends_nothing() {
    let house = House::open().await;
    let page = house.page_of("bob").await;
    let long = asked(json!({"content": "long ".repeat(2000)}));
    let (status, answer) = house.client.raw(Method::POST, &format!("{PATH}:preview"), long).await;
    assert_eq!(status, 200, "{answer}");
    let channel = &answer["channels"][0];
    assert_eq!(channel["truncated"], true);
    assert!(channel["bytes"].as_u64() <= channel["max_bytes"].as_u64());
    assert_eq!(channel["body"]["message"]["notification"]["title"], "bad");
    assert!(house.emulator.vendor().inbox(&page).unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_its_channel_could_never_send_to_is_refused_when_named_and_when_registered() {
    let address = json!({"channel": "fcm", "subscription": {"endpoint": "https://push.example/1"}});
    refused(json!({"to": {"addresses": [address]}, "title": "bad"}).to_string(), 422, "bad_address").await;
    let house = House::open().await;
    let device = json!({"id": "tab", "user": "bob", "platform": "web", "addresses": [address]});
    let answer = house.client.raw(Method::POST, "/v1/apps/demo/devices", device.to_string()).await;
    expect(&answer, 422, "bad_address");
    let (status, _) = house.client.raw(Method::GET, "/v1/apps/demo/devices/tab", "").await;
    assert_eq!(status, 404);
}
