//! The C sample: its requests, every row of its error table, and hostile responses.

use std::sync::Arc;

use pushgate::{Delivery, Kind, Outcome, PushChannel, Scope};
use pushgate_kit::transport::answer;
use serde_json::{Value, json};

use crate::kit::{Bench, BuiltPlugin, delivery, source};

const TOKEN: &str = "123456:ABC-DEF1234ghIkl-zyx57W2v1u123ew11";

fn channel(bench: &Bench) -> Arc<dyn PushChannel> {
    let plugin = bench.loader.load(&source(BuiltPlugin::telegram().path())).unwrap();
    bench.open_with_config(&plugin, json!({"bot_token": TOKEN})).unwrap()
}

async fn send_one(channel: &Arc<dyn PushChannel>, delivery: &Delivery) -> Outcome {
    channel.send(delivery).await.outcomes()[0].clone()
}

#[tokio::test]
async fn a_message_goes_to_its_chat() {
    let bench = Bench::new();
    bench.transport.then(answer(200, r#"{"ok":true,"result":{"message_id":77,"chat":{"id":1}}}"#));
    let outcome = send_one(&channel(&bench), &delivery(1)).await;
    assert_eq!(outcome, Outcome::accepted("77"));
    let request = &bench.transport.requests()[0];
    assert_eq!(request.uri.to_string(), format!("https://api.telegram.org/bot{TOKEN}/sendMessage"));
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let expected = json!({
        "chat_id": "token-0",
        "text": "Ann\nhello\nhttps://app.example/ann",
        "disable_notification": false
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn texts_of_every_script_are_sent_unchanged() {
    let bench = Bench::new();
    let channel = channel(&bench);
    for text in ["\"quoted\" \\ back", "a\tb\u{1}\u{1f}c\nd", "漢字 👨‍👩‍👧‍👦 é", "</script>", ""]
    {
        bench.transport.then(answer(200, r#"{"ok":true,"result":{}}"#));
        let mut delivery = delivery(1);
        let message = Arc::make_mut(&mut delivery.message);
        (message.title, message.content, message.link) = ("".into(), text.into(), None);
        assert_eq!(send_one(&channel, &delivery).await, Outcome::Accepted { vendor_id: None });
        let body: Value = serde_json::from_slice(&bench.transport.requests().pop().unwrap().body).unwrap();
        assert_eq!(body["text"], text);
        assert_eq!(channel.render(&delivery.message).counted, text.len());
    }
}

#[tokio::test]
async fn native_options_replace_fields_of_the_message() {
    let bench = Bench::new();
    bench.transport.then(answer(200, r#"{"ok":true,"result":{}}"#));
    let mut delivery = delivery(1);
    Arc::make_mut(&mut delivery.message).overrides = Some(json!({"protect_content": true, "text": "other"}));
    send_one(&channel(&bench), &delivery).await;
    let body: Value = serde_json::from_slice(&bench.transport.requests()[0].body).unwrap();
    assert_eq!((&body["protect_content"], &body["text"]), (&json!(true), &json!("other")));
}

#[tokio::test]
async fn every_documented_error_of_telegram_has_its_kind() {
    let bench = Bench::new();
    let channel = channel(&bench);
    let rows = [
        (400, "Bad Request: chat not found", Kind::TokenGone, Scope::Address),
        (400, "Bad Request: message text is empty", Kind::BadMessage, Scope::Address),
        (401, "Unauthorized", Kind::Credentials, Scope::Lane),
        (404, "Not Found", Kind::Credentials, Scope::Lane),
        (403, "Forbidden: bot was blocked by the user", Kind::TokenGone, Scope::Address),
        (403, "Forbidden: user is deactivated", Kind::TokenGone, Scope::Address),
        (500, "Internal Server Error", Kind::VendorDown, Scope::Address),
        (502, "Bad Gateway", Kind::VendorDown, Scope::Address),
    ];
    for (status, description, kind, scope) in rows {
        let body = json!({"ok": false, "error_code": status, "description": description}).to_string();
        bench.transport.then(answer(status, body));
        let outcome = send_one(&channel, &delivery(1)).await;
        let fault = outcome.fault().unwrap();
        assert_eq!((fault.kind, fault.scope), (kind, scope), "{description}");
        assert_eq!(fault.detail, description);
        assert_eq!(fault.vendor_code.as_deref(), Some(status.to_string().as_str()));
    }
    let slow_down = r#"{"ok":false,"error_code":429,"description":"Too Many Requests: retry after 15","parameters":{"retry_after":15}}"#;
    bench.transport.then(answer(429, slow_down));
    let outcome = send_one(&channel, &delivery(1)).await;
    let fault = outcome.fault().unwrap();
    assert_eq!((fault.kind, fault.retry_after.unwrap().as_secs()), (Kind::Throttled, 15));
}

#[tokio::test]
async fn a_group_that_moved_is_followed_once_and_its_new_id_is_kept() {
    let bench = Bench::new();
    let channel = channel(&bench);
    let moved = r#"{"ok":false,"error_code":400,"description":"Bad Request: group chat was upgraded to a supergroup chat","parameters":{"migrate_to_chat_id":-1001234567890}}"#;
    bench.transport.then(answer(400, moved));
    bench.transport.then(answer(200, r#"{"ok":true,"result":{"message_id":5}}"#));
    let expected = Outcome::Replaced { vendor_id: Some("5".to_owned()), token: "-1001234567890".into() };
    assert_eq!(send_one(&channel, &delivery(1)).await, expected);
    let bodies: Vec<Value> = bench
        .transport
        .requests()
        .iter()
        .map(|request| serde_json::from_slice(&request.body).unwrap())
        .collect();
    assert_eq!((&bodies[0]["chat_id"], &bodies[1]["chat_id"]), (&json!("token-0"), &json!("-1001234567890")));
    assert_eq!(bodies[0]["text"], bodies[1]["text"]);
    bench.transport.then(answer(400, moved));
    bench.transport.then(answer(400, moved));
    assert_eq!(send_one(&channel, &delivery(1)).await.code(), "bad_message", "a second move is not followed");
}

#[tokio::test]
async fn hostile_responses_are_faults() {
    let bench = Bench::new();
    let channel = channel(&bench);
    let deep = "[".repeat(100_000);
    let answers: [&[u8]; 14] = [
        b"",
        b"{",
        b"{\"ok\"",
        b"{\"ok\":",
        b"{\"ok\":\"",
        b"{\"ok\":\"\\",
        b"{\"ok\":true",
        b"[true]",
        b"\"ok\"",
        b"\xff\xfe\x00",
        b"<html>ok</html>",
        b"{\"ok\":false}",
        b"{\"a\":{\"ok\":true}}",
        deep.as_bytes(),
    ];
    for body in answers {
        for status in [200, 400, 403, 429, 500] {
            bench.transport.then(answer(status, body.to_vec()));
            let outcome = send_one(&channel, &delivery(1)).await;
            assert!(
                outcome.fault().is_some(),
                "{status} {:?}",
                String::from_utf8_lossy(&body[..body.len().min(20)])
            );
        }
    }
}

#[tokio::test]
async fn a_probe_names_the_bot() {
    let bench = Bench::new();
    let channel = channel(&bench);
    bench.transport.then(answer(200, r#"{"ok":true,"result":{"id":1,"is_bot":true,"username":"acme_bot"}}"#));
    assert_eq!(channel.probe().await.unwrap().identity, "acme_bot");
    assert_eq!(
        bench.transport.requests()[0].uri.to_string(),
        format!("https://api.telegram.org/bot{TOKEN}/getMe")
    );
    bench.transport.then(answer(401, r#"{"ok":false,"error_code":401,"description":"Unauthorized"}"#));
    assert_eq!(channel.probe().await.unwrap_err().kind, Kind::Credentials);
}

#[tokio::test]
async fn an_error_about_the_configuration_does_not_contain_the_token() {
    let bench = Bench::new();
    let plugin = bench.loader.load(&source(BuiltPlugin::telegram().path())).unwrap();
    let refused = |config| bench.open_with_config(&plugin, config).map(|_| ()).unwrap_err().to_string();
    assert!(refused(json!({})).starts_with("bot_token: write the token"));
    assert!(refused(json!({"bot_token": "1:a/../evil"})).starts_with("bot_token: write the token"));
    assert_eq!(
        refused(json!({"bot_token": TOKEN, "bas_url": 1})),
        "unknown key: write only bot_token and base_url"
    );
    assert_eq!(refused(json!({"bot_token": TOKEN, "base_url": "ftp://a"})), "base_url: write https://host");
    assert!(
        bench
            .open_with_config(&plugin, json!({"bot_token": TOKEN, "base_url": "http://127.0.0.1:8081/"}))
            .is_ok()
    );
}
