//! Layer that reports a fault for a channel that panics or exceeds its timeout, and bounds requested delays.
//!
//! It is the last resort: the channel's own requests have an earlier deadline.

use std::sync::Arc;
use std::time::Duration;

use super::delegate_to_inner;
use crate::channel::PushChannel;
use crate::delivery::Delivery;
use crate::fault::{Fault, Kind};
use crate::guarded::{Component, guard_async};
use crate::report::Report;
use async_trait::async_trait;

/// Time beyond the channel's timeout, in which the channel can still report each outcome. This layer fails the whole batch.
const GRACE: Duration = Duration::from_secs(2);

/// Layer that enforces the channel's timeout.
pub struct Timeout {
    inner: Arc<dyn PushChannel>,
}

impl Timeout {
    /// Wraps a channel. The limit is the channel's own timeout plus two seconds.
    pub fn new(inner: Arc<dyn PushChannel>) -> Self {
        Self { inner }
    }
}

#[async_trait]
impl PushChannel for Timeout {
    delegate_to_inner!();

    async fn send(&self, delivery: &Delivery) -> Report {
        let limit = self.info().timeout + GRACE;
        let send = guard_async(Component::Channel, async { self.inner.send(delivery).await });
        let fault = match tokio::time::timeout(limit, send).await {
            Ok(Some(report)) => return report.with_bounded_delays(),
            Ok(None) => Fault::new(Kind::Bug, "the channel panicked"),
            Err(_) => Fault::new(Kind::Timeout, format!("the channel gave no report within {limit:?}")),
        };
        Report::all_failed(delivery.targets.len(), &fault)
    }
}
