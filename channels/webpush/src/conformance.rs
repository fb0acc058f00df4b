//! Conformance tests: the promises of every channel, and the capabilities that this one declares.

use std::sync::Arc;

use pushgate::{ChannelName, Request, Response, Timestamp, TokenKind};
use pushgate_kit::clock::ManualClock;
use pushgate_kit::conformance::{Sent, Signs, Subject, Verdict};
use pushgate_kit::transport::{ScriptedTransport, answer};
use serde_json::{Value, json};

use crate::auth::tests::PRIVATE;
use crate::crypto::tests::Browser;
use crate::subscription::tests::subscription;
use crate::{Config, WebPush};

struct Subscriptions;

fn subscriptions() -> Subscriptions {
    Subscriptions
}

pushgate_kit::conformance!(subscriptions);

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request.headers.get(name).map(|value| value.to_str().unwrap())
}

impl Subject for Subscriptions {
    type Config = Config;
    type Channel = WebPush;

    fn config(&self) -> Value {
        json!({"private_key": PRIVATE, "subject": "mailto:push@example.com"})
    }

    fn secrets(&self) -> Vec<String> {
        vec![PRIVATE.to_owned()]
    }

    fn channel(
        &self,
        config: &Config,
        transport: Arc<ScriptedTransport>,
        clock: Arc<ManualClock>,
    ) -> Result<WebPush, String> {
        let name = ChannelName::new("webpush").unwrap();
        WebPush::new(name, config, transport, clock).map_err(|error| format!("{error} {error:?}"))
    }

    fn token(&self, _kind: TokenKind, number: usize) -> String {
        subscription(&format!(
            "https://updates.push.services.mozilla.com/wpush/v2/gAAAAABlVAaQTgr9wZ1x-{number}"
        ))
    }

    fn to(&self, request: &Request) -> Vec<usize> {
        vec![request.uri.path().rsplit('-').next().unwrap().parse().unwrap()]
    }

    fn answer(&self, verdicts: &[Verdict]) -> Response {
        if verdicts[0] == Verdict::Accepted {
            return answer(201, "");
        }
        let body = json!({"code": 410, "errno": 106, "error": "Gone", "message": "No such subscription"});
        answer(410, body.to_string())
    }

    fn read(&self, request: &Request, _now: Timestamp) -> Sent {
        let plain = self.plain(request);
        let json: Value = serde_json::from_slice(&plain).unwrap();
        let notification = json.get("notification");
        let tag = notification.map(|shown| shown["tag"].to_string()).unwrap_or_default();
        Sent {
            title: notification.and_then(|shown| text(&shown["title"])),
            content: notification.map(|shown| text(&shown["body"]).unwrap_or_default()),
            payload: text(&json["data"]["payload"]),
            id: text(&json["id"]).unwrap(),
            ttl: header(request, "ttl").unwrap().parse().unwrap(),
            collapse: Some(format!("{:?} {tag}", header(request, "topic"))),
            counted: plain.len(),
        }
    }

    fn plain(&self, request: &Request) -> Vec<u8> {
        Browser::from_appendix_a().decrypt(&request.body).unwrap()
    }

    fn refusal(&self) -> Option<Response> {
        let body = json!({"code": 401, "errno": 109, "error": "Unauthorized", "message": "InvalidSignature"});
        Some(answer(401, body.to_string()))
    }

    /// Returns statuses alone, because RFC 8030 defines no body for answers.
    fn signs(&self) -> Signs {
        Signs { taken: &[200, 201, 202, 204], gone: &[404, 410] }
    }
}
