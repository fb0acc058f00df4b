//! Layer that logs each outcome with ids and codes. It never logs a token or a user's text.

use std::sync::Arc;

use async_trait::async_trait;

use super::delegate_to_inner;
use crate::channel::PushChannel;
use crate::delivery::Delivery;
use crate::fault::Level;
use crate::report::{Outcome, Report};

/// Layer that logs each outcome.
pub struct Trace {
    inner: Arc<dyn PushChannel>,
}

impl Trace {
    /// Wraps a channel.
    pub fn new(inner: Arc<dyn PushChannel>) -> Self {
        Self { inner }
    }
}

#[async_trait]
impl PushChannel for Trace {
    delegate_to_inner!();

    async fn send(&self, delivery: &Delivery) -> Report {
        let report = self.inner.send(delivery).await;
        for (target, outcome) in delivery.targets.iter().zip(report.outcomes()) {
            log_outcome(delivery, target.index, outcome);
        }
        report
    }
}

/// Logs one outcome at the level of its fault kind.
///
/// `tracing` needs the level at compile time, hence the four arms.
fn log_outcome(delivery: &Delivery, index: u32, outcome: &Outcome) {
    macro_rules! event {
        ($level:ident) => {
            tracing::$level!(
                app = %delivery.message.app,
                channel = %delivery.channel,
                notification = %delivery.message.id,
                index,
                attempt = delivery.attempt,
                outcome = outcome.code(),
                detail = outcome.fault().map(|fault| fault.detail.as_str()),
                vendor_code = outcome.fault().and_then(|fault| fault.vendor_code.as_deref()),
                "push attempted"
            )
        };
    }
    match outcome.fault().map_or(Level::Debug, |fault| fault.info().level) {
        Level::Debug => event!(debug),
        Level::Info => event!(info),
        Level::Warn => event!(warn),
        Level::Error => event!(error),
    }
}
