//! Keeps the pauses a vendor asks for: after a throttle of the whole lane nobody sends before the pause is over.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::inside;
use crate::channel::PushChannel;
use crate::clock::Clock;
use crate::delivery::Delivery;
use crate::fault::{Fault, Kind, Retry, Scope};
use crate::report::Report;
use crate::words::Timestamp;

/// Until when a lane is closed, and whether it is closing for good.
#[derive(Debug)]
pub struct Gate {
    until: AtomicI64,
    closing: CancellationToken,
}

impl Gate {
    /// Open, until `closing` is cancelled.
    #[must_use]
    pub fn new(closing: CancellationToken) -> Self {
        Self { until: AtomicI64::new(i64::MIN), closing }
    }

    /// Until when nobody sends.
    pub fn paused_until(&self) -> Timestamp {
        Timestamp::from_millis(self.until.load(Ordering::Acquire))
    }

    /// Returns when the gateway begins to shut down.
    pub async fn closed(&self) {
        self.closing.cancelled().await;
    }

    fn pause(&self, until: Timestamp) {
        self.until.fetch_max(until.as_millis(), Ordering::AcqRel);
    }
}

/// What those get who were waiting for their turn when the gateway began to shut down: nothing was sent.
#[must_use]
pub fn closing() -> Fault {
    Fault::new(Kind::Unreachable, NOT_SENT)
}

/// Whether a fault is [`closing`]: the delivery was not tried and stays as it was.
#[must_use]
pub fn is_closing(fault: &Fault) -> bool {
    fault.kind == Kind::Unreachable && fault.detail == NOT_SENT
}

const NOT_SENT: &str = "the gateway is shutting down; it stays queued";

/// The layer.
pub struct Pace {
    inside: Arc<dyn PushChannel>,
    gate: Arc<Gate>,
    clock: Arc<dyn Clock>,
}

impl Pace {
    /// Keeps the pauses that reports from inside ask for.
    pub fn new(inside: Arc<dyn PushChannel>, gate: Arc<Gate>, clock: Arc<dyn Clock>) -> Self {
        Self { inside, gate, clock }
    }

    /// How long a fault closes the lane for.
    fn wish(&self, fault: &Fault) -> Option<Duration> {
        if fault.scope != Scope::Lane {
            return None;
        }
        match fault.row().retry {
            Retry::Wait => Some(fault.retry_after.unwrap_or(self.info().capability.throttle_pause)),
            // Nothing gets through before a human has acted: try with one push a minute, not with all of them.
            Retry::Slowly => Some(fault.retry_after.unwrap_or(Duration::from_secs(60))),
            Retry::Backoff => fault.retry_after,
            Retry::Never | Retry::Once => None,
        }
    }
}

#[async_trait]
impl PushChannel for Pace {
    inside!();

    async fn send(&self, delivery: &Delivery) -> Report {
        let expires_at = delivery.message.expires_at();
        // What expires during the pause goes on, so that the layers inside say so.
        while self.gate.paused_until().min(expires_at) > self.clock.now() {
            tokio::select! {
                () = self.clock.sleep_until(self.gate.paused_until().min(expires_at)) => {}
                () = self.gate.closed() => return Report::all_failed(delivery.targets.len(), &closing()),
            }
        }
        let report = self.inside.send(delivery).await;
        let wish = report.outcomes().iter().filter_map(|o| o.fault()).filter_map(|f| self.wish(f)).max();
        if let Some(wish) = wish {
            self.gate.pause(self.clock.now() + wish);
            tracing::warn!(channel = %delivery.channel, app = %delivery.message.app, seconds = wish.as_secs(), "lane paused");
        }
        report
    }
}
