//! Says what happened, with ids and codes; never a token, never a text of a user.

use std::sync::Arc;

use async_trait::async_trait;

use super::delegate_to_inner;
use crate::channel::PushChannel;
use crate::delivery::Delivery;
use crate::fault::Level;
use crate::report::{Outcome, Report};

/// The layer.
pub struct Trace {
    inner: Arc<dyn PushChannel>,
}

impl Trace {
    /// Tells of every report from inside.
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

/// One event an outcome. The level is the kind's, which must be known when the event is compiled: hence the four arms.
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
    match outcome.fault().map_or(Level::Debug, |fault| fault.row().level) {
        Level::Debug => event!(debug),
        Level::Info => event!(info),
        Level::Warn => event!(warn),
        Level::Error => event!(error),
    }
}
