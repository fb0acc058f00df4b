//! Conformance tests: the promises of every channel, and the capabilities that this one declares.

use std::sync::Arc;

use pushgate::{ChannelName, Request, Response, Timestamp, TokenKind};
use pushgate_kit::clock::ManualClock;
use pushgate_kit::conformance::{Sent, Subject, Verdict};
use pushgate_kit::transport::{ScriptedTransport, answer};
use serde_json::{Value, json};

use crate::auth::tests::p8;
use crate::{Apns, Config, ProviderTokens};

struct Apple;

fn apple() -> Apple {
    Apple
}

pushgate_kit::conformance!(apple);

fn header<'a>(request: &'a Request, name: &str) -> &'a str {
    request.headers[name].to_str().unwrap()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

// `refusal` has no value, because the channel believes the refusal of an old token only; `auth/tests.rs` covers it.
impl Subject for Apple {
    type Config = Config;
    type Channel = Apns;

    fn config(&self) -> Value {
        json!({"topic": "com.example.MyApp", "key": p8(), "key_id": "ABC123DEFG", "team_id": "DEF123GHIJ"})
    }

    fn secrets(&self) -> Vec<String> {
        p8().lines().filter(|line| !line.starts_with('-')).map(str::to_owned).collect()
    }

    fn channel(
        &self,
        config: &Config,
        transport: Arc<ScriptedTransport>,
        clock: Arc<ManualClock>,
    ) -> Result<Apns, String> {
        let name = ChannelName::new("apns").unwrap();
        let channel = Apns::new(name, config, transport, clock, &ProviderTokens::default());
        channel.map_err(|error| format!("{error} {error:?}"))
    }

    fn token(&self, _kind: TokenKind, number: usize) -> String {
        format!("{:064x}", number + 0xc0_ffee_0000)
    }

    fn to(&self, request: &Request) -> Vec<usize> {
        let token = request.uri.path().strip_prefix("/3/device/").unwrap();
        vec![usize::from_str_radix(token, 16).unwrap() - 0xc0_ffee_0000]
    }

    fn answer(&self, verdicts: &[Verdict]) -> Response {
        match verdicts[0] {
            Verdict::Accepted => answer(200, ""),
            Verdict::Gone => answer(410, r#"{"reason":"Unregistered","timestamp":1700000000000}"#),
        }
    }

    fn read(&self, request: &Request, now: Timestamp) -> Sent {
        let payload: Value = serde_json::from_slice(&request.body).unwrap();
        let expires_at: u64 = header(request, "apns-expiration").parse().unwrap();
        Sent {
            title: text(&payload["aps"]["alert"]["title"]),
            content: text(&payload["aps"]["alert"]["body"]),
            payload: text(&payload["payload"]),
            id: header(request, "apns-id").to_owned(),
            ttl: expires_at.saturating_sub(now.as_secs().cast_unsigned()),
            collapse: request.headers.get("apns-collapse-id").map(|id| id.to_str().unwrap().to_owned()),
            counted: request.body.len(),
        }
    }

    fn reaches_nobody(&self, probe: &Request) -> bool {
        probe.uri.path().ends_with(&"0".repeat(64)) && header(probe, "apns-push-type") == "background"
    }
}
