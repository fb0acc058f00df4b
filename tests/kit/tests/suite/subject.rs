//! Description of the vendor of [`Paper`] for the suite.

use std::sync::Arc;

use pushgate::{Request, Response, Timestamp, TokenKind};
use pushgate_kit::clock::ManualClock;
use pushgate_kit::conformance::{Sent, Subject, Verdict};
use pushgate_kit::transport::{ScriptedTransport, answer};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::paper::{Defect, Paper};

const KEY: &str = "key-of-this-test-alone";
const BEARER: &str = "the-bearer-of-this-test";

pub(crate) struct Vendor(pub(crate) Option<Defect>);

#[derive(Deserialize)]
pub(crate) struct Config {
    key: String,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Config")
    }
}

fn body(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

impl Subject for Vendor {
    type Config = Config;
    type Channel = Paper;

    fn config(&self) -> Value {
        json!({ "key": KEY })
    }

    fn secrets(&self) -> Vec<String> {
        vec![KEY.to_owned(), BEARER.to_owned()]
    }

    fn channel(
        &self,
        config: &Config,
        transport: Arc<ScriptedTransport>,
        clock: Arc<ManualClock>,
    ) -> Result<Paper, String> {
        Paper::new(&config.key, self.0, transport, clock)
    }

    fn token(&self, _kind: TokenKind, number: usize) -> String {
        format!("a-device-of-somebody-{number}")
    }

    fn to(&self, request: &Request) -> Vec<usize> {
        vec![body(request)["to"].as_str().unwrap().rsplit('-').next().unwrap().parse().unwrap()]
    }

    fn answer(&self, verdicts: &[Verdict]) -> Response {
        match verdicts[0] {
            Verdict::Accepted => answer(200, r#"{"ok":true}"#),
            Verdict::Gone => answer(400, r#"{"gone":true}"#),
        }
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

    fn grant(&self, request: &Request) -> Option<Response> {
        (request.uri.path() == "/token").then(|| answer(200, json!({ "bearer": BEARER }).to_string()))
    }

    fn refusal(&self) -> Option<Response> {
        Some(answer(401, "{}"))
    }
}
