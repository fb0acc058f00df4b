//! Bad input gets the documented status and code at the door, and nothing of it is stored.

use http::Method;
use serde_json::{Value, json};

use crate::setup::{Client, Setup};

const PATH: &str = "/v1/apps/demo/notifications";

/// Asks, and expects to be refused with this status and code.
async fn refused(body: impl Into<Vec<u8>>, status: u16, code: &str) {
    let setup = Setup::open().await;
    let page = setup.page_of("bob").await;
    let answer = setup.client.raw(Method::POST, PATH, body).await;
    expect(&answer, status, code);
    // The next, good one is the only one that ever arrives.
    let good = json!({"to": {"users": ["bob"]}, "title": "good"});
    setup.client.submit(&good, "?wait=20s").await;
    let inbox = setup.emulator.fcm().inbox(&page).unwrap();
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

/// Bodies of a notification that are refused, and the path that the refusal names.
const REFUSED: [(&str, &str); 22] = [
    (r#"{"title": "x"}"#, "to"),
    (r#"{"to": ["bob"], "title": "x"}"#, "to"),
    (r#"{"to": {"users": ["bob", 7]}, "title": "x"}"#, "to.users[1]"),
    (r#"{"to": {"usres": ["bob"]}, "title": "x"}"#, "to.usres"),
    (r#"{"to": {"users": ["bob"]}, "to": {"all": true}, "title": "x"}"#, "to"),
    (r#"{"to": {"addresses": [{"channel": "fcm"}]}, "title": "x"}"#, "to.addresses[0].token"),
    (r#"{"to": {"users": ["bob"], "devices": ["d"]}, "title": "x"}"#, "to"),
    (r#"{"to": {"users": ["bob"]}, "title": null}"#, "title"),
    (r#"{"to": {"users": ["bob"]}, "payload": null, "title": "x"}"#, "payload"),
    (r#"{"to": {"users": ["bob"]}, "title": "x", "ttl": {}}"#, "ttl"),
    (r#"{"to": {"users": ["bob"]}, "title": "x", "ttl": 1.5}"#, "ttl"),
    (r#"{"to": {"users": ["bob"]}, "title": "x", "kind": "cal"}"#, "kind"),
    (r#"{"to": {"users": ["bob"]}, "title": "x", "badge": {}}"#, "badge"),
    (r#"{"to": {"users": ["bob"]}, "title": "x", "badge": {"set": 1, "increment": 1}}"#, "badge"),
    (r#"{"to": {"users": ["bob"]}, "template": {"name": "message", "vars": {}, "x": 1}}"#, "template.x"),
    (r#"{"to": {"users": ["bob"]}, "title": "x", "overrides": {"fmc": {}}}"#, "overrides.fmc"),
    (r#"{"to": {"users": ["bob"]}, "title": "x", "overrides": {"fcm": []}}"#, "overrides.fcm"),
    (r#"{"to": {"users": ["bob"]}, "title": "x", "overrides": {"fcm": null}}"#, "overrides.fcm"),
    (r#"{"to": {"users": ["bob"]}, "title": "x", "call": ["c1"], "kind": "call"}"#, "call"),
    (r#"{"to": {"users": ["bob"]}, "title": "x", "sender": ""}"#, "sender"),
    (r#"{"to": {"addresses": [{"channel": "fcm", "subscription": []}]}}"#, "to.addresses[0].subscription"),
    (r#"{"to": {"users": ["bob"]}, "pushConfig": {}, "image": "http://x.example"}"#, "image"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_names_the_path_of_the_field_and_quotes_no_parser() {
    let setup = Setup::open().await;
    for (body, field) in REFUSED {
        let (status, answer) = setup.client.raw(Method::POST, PATH, body).await;
        assert_eq!((status, &answer["field"]), (422, &field.into()), "{body}: {answer}");
        let detail = answer["detail"].as_str().unwrap();
        let of_parser = ["untagged", "variant", "struct ", "line ", "expected", "invalid type"];
        assert!(detail.starts_with(field) && !of_parser.iter().any(|word| detail.contains(word)), "{detail}");
    }
    let near = asked(json!({"overrides": {"fmc": {}}}));
    let (_, answer) = setup.client.raw(Method::POST, PATH, near).await;
    assert!(answer["detail"].as_str().unwrap().ends_with("did you mean `fcm`?"), "{answer}");
    let deep = format!("{}1{}", r#"{"a":"#.repeat(40), "}".repeat(40));
    let deep = format!(r#"{{"to": {{"users": ["bob"]}}, "title": "x", "overrides": {{"fcm": {deep}}}}}"#);
    let (status, answer) = setup.client.raw(Method::POST, PATH, deep).await;
    assert_eq!((status, &answer["code"]), (422, &"invalid_body".into()), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_array_is_no_object_in_any_body() {
    let setup = Setup::open().await;
    for (method, path, body) in [
        (Method::PUT, "users/bob/badge", "[3,null,false]"),
        (Method::PUT, "users/bob/rules", "[[],[]]"),
        (Method::PUT, "users/bob/presence", r#"["web",null,"online",null]"#),
        (Method::POST, "presence", "[[]]"),
        (Method::PUT, "devices/d/user", r#"["bob"]"#),
        (Method::POST, "devices:unbind", r#"["fcm","t"]"#),
        (Method::POST, "devices:rotate", r#"[{},{}]"#),
    ] {
        let answer = setup.client.raw(method, &format!("/v1/apps/demo/{path}"), body).await;
        expect(&answer, 422, "invalid_body");
        assert_eq!(answer.1["detail"], "the body must be an object, not an array", "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_query_parameter_is_refused() {
    let setup = Setup::open().await;
    for (method, path, field) in [
        (Method::POST, "notifications?wiat=5s", "wiat"),
        (Method::POST, "notifications?wait=5s&wait=6s", "wait"),
        (Method::POST, "notifications?wait=soon", "wait"),
        (Method::GET, "devices/d?user=bob", "user"),
        (Method::PUT, "users/bob/rules?x", "x"),
    ] {
        let answer = setup.client.raw(method, &format!("/v1/apps/demo/{path}"), asked(json!({}))).await;
        expect(&answer, 422, "invalid_field");
        assert_eq!(answer.1["field"], field, "{path}: {}", answer.1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_with_a_locale_or_a_time_zone_that_is_none_is_refused() {
    let setup = Setup::open().await;
    for (field, wrong, right) in
        [("locale", "english (US)", "zh-Hans-CN"), ("time_zone", "Asia/Beijing", "Asia/Shanghai")]
    {
        let device = |text: &str| {
            json!({"platform": "web", "addresses": [{"channel": "fcm", "token": "t"}], field: text})
                .to_string()
        };
        let path = "/v1/apps/demo/devices/d";
        let answer = setup.client.raw(Method::PUT, path, device(wrong)).await;
        expect(&answer, 422, "invalid_field");
        assert_eq!(answer.1["field"], field);
        let (status, answer) = setup.client.raw(Method::PUT, path, device(right)).await;
        assert!(status < 300, "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_some_channels_leave_out_is_warned_of() {
    let setup = Setup::open().await;
    setup.page_of("bob").await;
    let warnings = async |link: &str, path: &str| {
        let (status, answer) = setup.client.raw(Method::POST, path, asked(json!({"link": link}))).await;
        assert!(status < 300, "{answer}");
        answer["warnings"].clone()
    };
    for path in [PATH.to_owned(), format!("{PATH}:preview")] {
        let warned = warnings("app://chat/1", &path).await;
        assert_eq!((&warned[0]["field"], &warned[0]["code"]), (&"link".into(), &"link_not_https".into()));
        assert_eq!(warnings("https://chat.example/1", &path).await, json!([]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_method_is_told_the_right_ones() {
    let setup = Setup::open().await;
    let id = "/v1/apps/demo/notifications/0192d0e4-0000-7000-8000-000000000000";
    for (method, path, allowed) in [
        (Method::POST, id.to_owned(), "GET,HEAD,DELETE"),
        (Method::PUT, id.to_owned(), "GET,HEAD,DELETE"),
        (Method::GET, format!("{id}:ack"), "POST"),
        (Method::DELETE, format!("{id}:ack"), "POST"),
        (Method::PUT, "/v1/apps/demo/notifications".to_owned(), "POST"),
    ] {
        let (status, allow) = setup.client.allow(method.clone(), &path).await;
        assert_eq!((status, allow.as_str()), (405, allowed), "{method} {path}");
    }
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
    refused(asked(json!({"ttl": -1})), 422, "invalid_body").await;
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
    let setup = Setup::open().await;
    let path = format!("{PATH}?wait={}", "1".repeat(17 * 1024));
    expect(&setup.client.raw(Method::POST, &path, asked(json!({}))).await, 431, "head_too_large");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_path_and_verb_of_the_openapi_document_is_answered() {
    let setup = Setup::open().await;
    let (_, document) = setup.client.raw(Method::GET, "/openapi.json", "").await;
    for (path, verbs) in document["paths"].as_object().unwrap() {
        let path = path.replace(['{', '}'], "");
        for verb in verbs.as_object().unwrap().keys() {
            let verb: Method = verb.to_uppercase().parse().unwrap();
            let (status, answer) = setup.client.raw(verb.clone(), &path, "").await;
            let routed = status != 405 && answer["code"] != "not_found";
            assert!(routed, "{verb} {path}: {status} {answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_wrong_or_foreign_key_is_refused() {
    let setup = Setup::open().await;
    let body = asked(json!({}));
    let with =
        async |key: &str| Client::new(&setup.client.base, key).raw(Method::POST, PATH, body.clone()).await;
    expect(&with("").await, 401, "missing_key");
    expect(&with("pgk_wrong").await, 401, "unknown_key");
    expect(&with(&setup.key_of_another_app()).await, 403, "key_of_another_app");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_the_key_is_not_for_is_not_told_from_an_unknown_one() {
    let setup = Setup::open().await;
    let answer = setup.client.raw(Method::POST, "/v1/apps/nosuch/notifications", asked(json!({}))).await;
    expect(&answer, 403, "key_of_another_app");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_shows_what_would_be_sent_and_sends_nothing() {
    let setup = Setup::open().await;
    let page = setup.page_of("bob").await;
    let long = asked(json!({"content": "long ".repeat(2000)}));
    let (status, answer) = setup.client.raw(Method::POST, &format!("{PATH}:preview"), long).await;
    assert_eq!(status, 200, "{answer}");
    let channel = &answer["channels"][0];
    assert_eq!(channel["truncated"], true);
    assert!(channel["bytes"].as_u64() <= channel["max_bytes"].as_u64());
    assert_eq!(channel["body"]["message"]["notification"]["title"], "bad");
    assert!(setup.emulator.fcm().inbox(&page).unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_its_channel_could_never_send_to_is_refused_when_named_and_when_registered() {
    let address = json!({"channel": "fcm", "subscription": {"endpoint": "https://push.example/1"}});
    refused(json!({"to": {"addresses": [address]}, "title": "bad"}).to_string(), 422, "bad_address").await;
    let setup = Setup::open().await;
    let device = json!({"id": "tab", "user": "bob", "platform": "web", "addresses": [address]});
    let answer = setup.client.raw(Method::POST, "/v1/apps/demo/devices", device.to_string()).await;
    expect(&answer, 422, "bad_address");
    let (status, _) = setup.client.raw(Method::GET, "/v1/apps/demo/devices/tab", "").await;
    assert_eq!(status, 404);
}
