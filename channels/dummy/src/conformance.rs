//! Conformance tests: the promises of every channel, and the capabilities that this one declares.

use std::sync::Arc;

use pushgate::{ChannelName, Request, Response, Timestamp, TokenKind};
use pushgate_kit::clock::ManualClock;
use pushgate_kit::conformance::{Sent, Subject, Verdict};
use pushgate_kit::transport::{ScriptedTransport, answer};
use serde_json::{Value, json};

use crate::{Config, Dummy};

const KEY: &str = "the-key-of-this-test-and-of-no-other";

struct Vendor;

fn vendor() -> Vendor {
    Vendor
}

pushgate_kit::conformance!(vendor);

fn body(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

// Further methods exist for vendors with a token endpoint, with encrypted bodies, or that answer by status alone.
impl Subject for Vendor {
    type Config = Config;
    type Channel = Dummy;

    fn config(&self) -> Value {
        json!({ "key": KEY })
    }

    fn secrets(&self) -> Vec<String> {
        vec![KEY.to_owned()]
    }

    fn channel(
        &self,
        config: &Config,
        transport: Arc<ScriptedTransport>,
        clock: Arc<ManualClock>,
    ) -> Result<Dummy, String> {
        let name = ChannelName::new("dummy").unwrap();
        Dummy::new(name, config, transport, clock).map_err(|error| format!("{error} {error:?}"))
    }

    fn token(&self, _kind: TokenKind, number: usize) -> String {
        format!("token-of-a-device-{number}")
    }

    fn to(&self, request: &Request) -> Vec<usize> {
        let number = |token: &Value| token.as_str().unwrap().rsplit('-').next().unwrap().parse().unwrap();
        body(request)["tokens"].as_array().unwrap().iter().map(number).collect()
    }

    fn answer(&self, verdicts: &[Verdict]) -> Response {
        let result = |verdict: &Verdict| match verdict {
            Verdict::Accepted => json!({"id": "1"}),
            Verdict::Gone => json!({"error": "token_gone", "message": "this app was removed"}),
        };
        let results: Vec<_> = verdicts.iter().map(result).collect();
        answer(200, json!({ "results": results }).to_string())
    }

    fn read(&self, request: &Request, _now: Timestamp) -> Sent {
        let message = &body(request)["message"];
        Sent {
            title: text(&message["title"]),
            content: text(&message["content"]),
            payload: text(&message["payload"]),
            id: text(&message["id"]).unwrap(),
            ttl: message["ttl"].as_u64().unwrap(),
            collapse: text(&message["collapse"]),
            counted: message.to_string().len(),
        }
    }

    fn reaches_nobody(&self, probe: &Request) -> bool {
        probe.method == http::Method::GET && probe.body.is_empty()
    }
}
