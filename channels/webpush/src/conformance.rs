//! Holds the channel to what every channel promises, and to what it declares.

use std::sync::Arc;

use pushgate::{ChannelName, Request, Response, Timestamp, TokenKind};
use pushgate_kit::clock::ManualClock;
use pushgate_kit::conformance::{Sent, Signs, Subject, Verdict};
use pushgate_kit::transport::{ScriptedTransport, answer};
use serde_json::{Value, json};

use crate::crypto::tests::Browser;
use crate::subscription::tests::subscription;
use crate::vapid::tests::PRIVATE;
use crate::{Config, WebPush};

struct Browsers;

fn browsers() -> Browsers {
    Browsers
}

pushgate_kit::conformance!(browsers);

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request.headers.get(name).map(|value| value.to_str().unwrap())
}

impl Subject for Browsers {
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
        let read: Value = serde_json::from_slice(&plain).unwrap();
        let shown = read.get("notification");
        let tag = shown.map(|shown| shown["tag"].to_string()).unwrap_or_default();
        Sent {
            title: shown.and_then(|shown| text(&shown["title"])),
            content: shown.map(|shown| text(&shown["body"]).unwrap_or_default()),
            payload: text(&read["data"]["payload"]),
            id: text(&read["id"]).unwrap(),
            ttl: header(request, "ttl").unwrap().parse().unwrap(),
            collapse: Some(format!("{:?} {tag}", header(request, "topic"))),
            counted: plain.len(),
        }
    }

    fn plain(&self, request: &Request) -> Vec<u8> {
        Browser::of_the_appendix().read(&request.body).unwrap()
    }

    fn refusal(&self) -> Option<Response> {
        let body = json!({"code": 401, "errno": 109, "error": "Unauthorized", "message": "InvalidSignature"});
        Some(answer(401, body.to_string()))
    }

    /// RFC 8030: an answer needs no body.
    fn signs(&self) -> Signs {
        Signs { taken: &[200, 201, 202, 204], gone: &[404, 410] }
    }
}
