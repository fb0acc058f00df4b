//! The channel: gives each address its scripted answer and remembers what it was sent.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use pushgate::{
    Capability, ChannelInfo, ChannelName, Delivery, Fault, Message, Outcome, Probe, PushChannel, Rendered,
    Report, TokenKind,
};
use serde_json::json;

use crate::config::{Answer, Config};

/// A channel without a vendor.
#[derive(Debug)]
pub struct Dummy {
    info: ChannelInfo,
    answers: Vec<Answer>,
    turn: AtomicUsize,
    sent: Mutex<Vec<Delivery>>,
}

/// Declare what is true: the suite in `tests/kit` holds a channel to it.
const CAPABILITY: Capability = Capability {
    max_batch: 100,
    tokens: &[TokenKind::Token, TokenKind::Fid, TokenKind::Subscription],
    collapse: true,
    priority: true,
    badge: true,
    silent: true,
    image: true,
    ..Capability::BASIC
};
/// Only the last so many deliveries are remembered: a demonstration may run for long.
const REMEMBERED: usize = 1000;

impl Dummy {
    /// A channel under `name` that answers as configured.
    #[must_use]
    pub fn new(name: ChannelName, config: Config) -> Self {
        let info =
            ChannelInfo { kind: "dummy", name, timeout: Duration::from_secs(5), capability: CAPABILITY };
        Self { info, answers: config.answers, turn: AtomicUsize::new(0), sent: Mutex::default() }
    }

    /// What it was sent, oldest first.
    #[must_use]
    pub fn sent(&self) -> Vec<Delivery> {
        self.sent.lock().clone()
    }

    fn answer(&self) -> Outcome {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        match self.answers.get(turn % self.answers.len().max(1)) {
            None | Some(Answer::Accepted) => Outcome::accepted(format!("dummy-{turn}")),
            Some(Answer::Fault(kind)) => Outcome::Failed(Fault::new(*kind, "scripted")),
        }
    }
}

#[async_trait]
impl PushChannel for Dummy {
    fn info(&self) -> &ChannelInfo {
        &self.info
    }

    // Pure: planning calls it for the size, preview for the body. A real channel's `encode.rs` is behind it.
    fn render(&self, message: &Message) -> Rendered {
        let body = json!({
            "title": message.title.expose(),
            "content": message.content.expose(),
            "payload": message.payload.as_ref().map(pushgate::Secret::expose),
        });
        let counted = body.to_string().len();
        Rendered { body, counted }
    }

    // Infallible: every failure is an outcome, one for each target, in order. No retry, no sleep, no clock in here.
    async fn send(&self, delivery: &Delivery) -> Report {
        let outcomes = delivery.targets.iter().map(|_| self.answer()).collect();
        let mut sent = self.sent.lock();
        if sent.len() == REMEMBERED {
            sent.remove(0);
        }
        sent.push(delivery.clone());
        Report::new(delivery.targets.len(), outcomes)
    }

    // Whether the credentials are good. There are none.
    async fn probe(&self) -> Result<Probe, Fault> {
        Ok(Probe { identity: "nobody".to_owned(), expires_at: None })
    }
}
