//! Layer that rejects deliveries that can never be sent.
//!
//! These are expired deliveries, unsupported kinds of token, silent messages on a channel without them, and oversized batches.

use std::sync::Arc;

use async_trait::async_trait;

use super::delegate_to_inner;
use crate::channel::PushChannel;
use crate::clock::Clock;
use crate::delivery::Delivery;
use crate::fault::{Fault, Kind};
use crate::report::{Outcome, Report};

/// Layer that rejects deliveries that can never be sent.
pub struct Guard {
    inner: Arc<dyn PushChannel>,
    clock: Arc<dyn Clock>,
}

impl Guard {
    /// Wraps a channel. Deliveries are checked against its capability and the clock.
    pub fn new(inner: Arc<dyn PushChannel>, clock: Arc<dyn Clock>) -> Self {
        Self { inner, clock }
    }

    /// Returns the fault of a delivery that cannot be sent to any target. `None` means that it passes.
    fn refusal(&self, delivery: &Delivery) -> Option<Fault> {
        let capability = &self.info().capability;
        let expires_at = delivery.message.expires_at();
        if expires_at <= self.clock.now() {
            return Some(Fault::new(Kind::Expired, format!("it expired at {expires_at}")));
        }
        if delivery.targets.len() > capability.max_batch {
            let detail = format!(
                "the delivery has {} addresses; the channel takes at most {}",
                delivery.targets.len(),
                capability.max_batch
            );
            return Some(Fault::new(Kind::Bug, detail));
        }
        if delivery.message.silent && !capability.silent {
            return Some(Fault::new(Kind::Unsupported, "this channel cannot send silent notifications"));
        }
        None
    }
}

#[async_trait]
impl PushChannel for Guard {
    delegate_to_inner!();

    async fn send(&self, delivery: &Delivery) -> Report {
        if let Some(fault) = self.refusal(delivery) {
            return Report::all_failed(delivery.targets.len(), &fault);
        }
        let is_supported = |kind| self.info().capability.tokens.contains(&kind);
        if delivery.targets.iter().all(|target| is_supported(target.address.kind)) {
            return self.inner.send(delivery).await;
        }
        let mut sendable = delivery.clone();
        sendable.targets.retain(|target| is_supported(target.address.kind));
        let outcomes = if sendable.targets.is_empty() {
            Vec::new()
        } else {
            self.inner.send(&sendable).await.into_outcomes()
        };
        let mut outcomes = outcomes.into_iter();
        let outcome = |target: &crate::Target| {
            if !is_supported(target.address.kind) {
                let detail = format!("this channel does not support a {}", target.address.kind.as_str());
                return Some(Outcome::Failed(Fault::new(Kind::Unsupported, detail)));
            }
            outcomes.next()
        };
        Report::new(delivery.targets.len(), delivery.targets.iter().filter_map(outcome).collect())
    }
}
