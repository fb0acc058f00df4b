//! The vendor, played in process: a transport that answers as scripted and opens no socket. A channel to a real vendor
//! has nothing like this; the server hands it the HTTP client.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use http::{HeaderMap, StatusCode};
use pushgate::{ChannelName, Kind, Request, Response, SystemClock, Transport, TransportError};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Config, Dummy};

/// The table of `kind = "dummy"`: what the vendor says.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// What each address gets, in turn and round again; without any, everything is accepted.
    #[serde(default)]
    pub answers: Vec<Answer>,
}

/// What one address gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Taken.
    Accepted,
    /// A fault of this kind: `{ fault = "throttled" }`.
    Fault(Kind),
}

impl Dummy {
    /// A channel under `name` whose vendor keeps to the script.
    ///
    /// # Panics
    /// Never: its own configuration is one that works.
    #[must_use]
    pub fn scripted(name: ChannelName, script: Script) -> Self {
        let vendor = Vendor { answers: script.answers, turn: AtomicUsize::new(0) };
        Self::new(name, &Config::new("any key will do"), Arc::new(vendor), Arc::new(SystemClock))
            .expect("its own configuration is one that works")
    }
}

struct Vendor {
    answers: Vec<Answer>,
    turn: AtomicUsize,
}

impl Vendor {
    fn result(&self) -> Value {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        match self.answers.get(turn % self.answers.len().max(1)) {
            None | Some(Answer::Accepted) => json!({"id": format!("dummy-{turn}")}),
            Some(Answer::Fault(kind)) => json!({"error": kind.row().code, "said": "scripted"}),
        }
    }
}

#[async_trait]
impl Transport for Vendor {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let asked: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let tokens = asked["tokens"].as_array().map_or(0, Vec::len);
        let results: Vec<_> = (0..tokens).map(|_| self.result()).collect();
        let body = json!({ "results": results }).to_string().into();
        Ok(Response { status: StatusCode::OK, headers: HeaderMap::new(), body })
    }
}

#[cfg(test)]
mod tests {
    use pushgate::{Outcome, PushChannel, TokenKind};
    use pushgate_kit::sample;

    use super::*;

    #[tokio::test]
    async fn every_address_gets_its_turn_of_the_script() {
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
