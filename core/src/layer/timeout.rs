//! The backstop: a channel that gives no report in time, or panics, is answered for, and a requested delay is bounded. The channel's own requests have their deadline first.

use std::sync::Arc;
use std::time::Duration;

use super::delegate_to_inner;
use crate::channel::PushChannel;
use crate::delivery::Delivery;
use crate::fault::{Fault, Kind};
use crate::guarded::{Component, guard_async};
use crate::report::Report;
use async_trait::async_trait;

/// What the channel gets beyond its timeout to tell the outcomes apart: ours gives one fault to a whole batch.
const GRACE: Duration = Duration::from_secs(2);

/// The layer.
pub struct Timeout {
    inner: Arc<dyn PushChannel>,
}

impl Timeout {
    /// Waits as long as the channel's own timeout says, and a little more.
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
