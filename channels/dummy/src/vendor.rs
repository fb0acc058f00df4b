//! Simulated vendor in process: a transport that returns scripted answers and opens no socket. Channels to real vendors have
//! no such file, because the server gives them the HTTP client.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use http::{HeaderMap, StatusCode};
use pushgate::{ChannelName, Kind, Request, Response, SystemClock, Transport, TransportError};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Config, Dummy};

/// Configuration table of a channel of `kind = "dummy"`: the answers of the vendor.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// Answers to successive addresses. They repeat from the start after the last one. Without any, all are accepted.
    #[serde(default)]
    pub answers: Vec<Answer>,
}

/// Answer to one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The message is accepted.
    Accepted,
    /// The message fails with a fault of this kind: `{ fault = "throttled" }`.
    Fault(Kind),
}

impl Dummy {
    /// Creates a channel named `name` whose vendor follows the script.
    ///
    /// # Panics
    /// Never, because the built-in configuration is valid.
    #[must_use]
    pub fn scripted(name: ChannelName, script: Script) -> Self {
        let vendor = Vendor { answers: script.answers, next_index: AtomicUsize::new(0) };
        Self::new(name, &Config::new("any key will do"), Arc::new(vendor), Arc::new(SystemClock))
            .expect("the built-in configuration is valid")
    }
}

struct Vendor {
    answers: Vec<Answer>,
    next_index: AtomicUsize,
}

impl Vendor {
    fn result(&self) -> Value {
        let index = self.next_index.fetch_add(1, Ordering::Relaxed);
        match self.answers.get(index % self.answers.len().max(1)) {
            None | Some(Answer::Accepted) => json!({"id": format!("dummy-{index}")}),
            Some(Answer::Fault(kind)) => json!({"error": kind.info().code, "message": "scripted"}),
        }
    }
}

#[async_trait]
impl Transport for Vendor {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let tokens = body["tokens"].as_array().map_or(0, Vec::len);
        let results: Vec<_> = (0..tokens).map(|_| self.result()).collect();
        let answer = json!({ "results": results }).to_string().into();
        Ok(Response { status: StatusCode::OK, headers: HeaderMap::new(), body: answer })
    }
}

#[cfg(test)]
mod tests {
    use pushgate::{Outcome, PushChannel, TokenKind};
    use pushgate_kit::sample;

    use super::*;

    #[tokio::test]
    async fn addresses_get_the_scripted_answers_in_order() {
        let script: Script =
            serde_json::from_value(json!({"answers": ["accepted", {"fault": "throttled"}]})).unwrap();
        let dummy = Dummy::scripted(ChannelName::new("dummy").unwrap(), script);
        let address = || sample::address("dummy", TokenKind::Token, "t");
        let report =
            dummy.send(&sample::delivery(sample::message(), [address(), address(), address()])).await;
        let codes: Vec<_> = report.outcomes().iter().map(Outcome::code).collect();
        assert_eq!(codes, ["accepted", "throttled", "accepted"]);
    }

    #[tokio::test]
    async fn every_kind_can_be_scripted() {
        for kind in Kind::ALL {
            let script = Script { answers: vec![Answer::Fault(kind)] };
            let dummy = Dummy::scripted(ChannelName::new("dummy").unwrap(), script);
            let address = sample::address("dummy", TokenKind::Token, "t");
            let report = dummy.send(&sample::delivery(sample::message(), [address])).await;
            assert_eq!(report.outcomes()[0].fault().map(|fault| fault.kind), Some(kind));
        }
    }
}
