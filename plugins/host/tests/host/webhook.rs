//! The Rust sample as a plugin: its requests, and the outcomes of responses.

use std::sync::Arc;

use pushgate::{Kind, Outcome, PushChannel};
use pushgate_kit::transport::{ScriptedTransport, answer, answer_with};
use pushgate_plugin_host::LoadError;
use pushgate_plugin_webhook::Signer;
use serde_json::{Value, json};

use crate::kit::{Bench, delivery, source, webhook};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const KEY: [u8; 24] = [
    0x31, 0xf2, 0x90, 0xf6, 0xbf, 0x06, 0x29, 0x8a, 0xab, 0x4f, 0x08, 0xd4, 0x3c, 0x3f, 0x08, 0x2c, 0xf6,
    0x48, 0xa3, 0x62, 0xda, 0x2d, 0xa4, 0xb0,
];

fn channel(bench: &Bench) -> Arc<dyn PushChannel> {
    let plugin = bench.loader.load(&source(webhook())).unwrap();
    bench.open_with_config(&plugin, json!({"url": "https://im.example/push", "secret": SECRET})).unwrap()
}

#[tokio::test]
async fn each_address_gets_a_signed_post_with_an_id_of_its_own() {
    let mut bench = Bench::new();
    bench.transport = Arc::new(ScriptedTransport::new().rule(|_| Some(Ok(answer(204, "")))));
    let delivery = delivery(3);
    let report = channel(&bench).send(&delivery).await;
    assert_eq!(report.outcomes(), vec![Outcome::Accepted { vendor_id: None }; 3]);
    let requests = bench.transport.requests();
    assert_eq!(requests.len(), 3);
    for (i, request) in requests.iter().enumerate() {
        let header = |name| request.headers[name].to_str().unwrap().to_owned();
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(request.uri, "https://im.example/push");
        assert_eq!(body["to"], format!("token-{i}"));
        assert_eq!((&body["data"]["title"], &body["data"]["content"]), (&json!("Ann"), &json!("hello")));
        assert_eq!(header("webhook-id"), format!("{}.{i}", delivery.message.id));
        let seconds: i64 = header("webhook-timestamp").parse().unwrap();
        let text = std::str::from_utf8(&request.body).unwrap();
        assert_eq!(
            header("webhook-signature"),
            Signer::new(&KEY).signature(&header("webhook-id"), seconds, text)
        );
    }
}

#[tokio::test]
async fn responses_become_outcomes_in_the_order_of_the_addresses() {
    let mut bench = Bench::new();
    bench.transport = Arc::new(ScriptedTransport::new().rule(|request| {
        let body: Value = serde_json::from_slice(&request.body).ok()?;
        Some(Ok(match body["to"].as_str()? {
            "token-1" => answer(410, ""),
            "token-2" => answer_with(429, &[("retry-after", "7")], ""),
            _ => answer(200, "thanks"),
        }))
    }));
    let report = channel(&bench).send(&delivery(4)).await;
    let codes: Vec<_> = report.outcomes().iter().map(Outcome::code).collect();
    assert_eq!(codes, ["accepted", "token_gone", "throttled", "accepted"]);
    assert_eq!(report.outcomes()[2].fault().unwrap().retry_after.unwrap().as_secs(), 7);
}

#[tokio::test]
async fn a_failed_request_is_a_fault_with_the_transports_error() {
    let bench = Bench::new();
    let report = channel(&bench).send(&delivery(1)).await;
    let fault = report.outcomes()[0].fault().unwrap();
    assert_eq!(fault.kind, Kind::Unreachable);
    assert!(fault.detail.contains("im.example"), "{}", fault.detail);
}

#[tokio::test]
async fn a_wrong_configuration_names_its_key_and_quotes_no_value() {
    let bench = Bench::new();
    let plugin = bench.loader.load(&source(webhook())).unwrap();
    let refused = |config| match bench.open_with_config(&plugin, config) {
        Err(LoadError::Refused(why)) => why,
        _ => panic!("the configuration is accepted"),
    };
    assert_eq!(
        refused(json!({"url": "https://a.example", "secret": "hunter2"})),
        "secret: write whsec_ and base64 of 24 to 64 random bytes"
    );
    assert_eq!(refused(json!({"url": "https://a.example"})), "missing field `secret`");
    let unknown = refused(json!({"url": "https://a.example", "secret": SECRET, "sekret": 1}));
    assert_eq!(unknown, "unknown field `sekret`, expected `url` or `secret`");
}

#[tokio::test]
async fn the_rendered_body_is_the_sent_one_without_the_recipient() {
    let mut bench = Bench::new();
    bench.transport = Arc::new(ScriptedTransport::new().rule(|_| Some(Ok(answer(204, "")))));
    let channel = channel(&bench);
    let delivery = delivery(1);
    let rendered = channel.render(&delivery.message);
    assert_eq!(rendered.counted, rendered.body.to_string().len());
    channel.send(&delivery).await;
    let mut sent: Value = serde_json::from_slice(&bench.transport.requests()[0].body).unwrap();
    sent.as_object_mut().unwrap().remove("to");
    assert_eq!(sent, rendered.body);
}
