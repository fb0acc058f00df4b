//! Layer that counts outcomes and measures their duration, by app and channel. It records nothing without a metrics recorder.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;

use super::delegate_to_inner;
use crate::channel::PushChannel;
use crate::delivery::Delivery;
use crate::ids::AppId;
use crate::report::Report;

/// Layer that records metrics of attempts.
pub struct Meter {
    inner: Arc<dyn PushChannel>,
    app: String,
    channel: String,
}

impl Meter {
    /// Wraps a channel. The metrics are labelled with the app and the channel's name.
    pub fn new(inner: Arc<dyn PushChannel>, app: AppId) -> Self {
        let channel = inner.info().name.to_string();
        Self { inner, app: app.to_string(), channel }
    }
}

#[async_trait]
impl PushChannel for Meter {
    delegate_to_inner!();

    async fn send(&self, delivery: &Delivery) -> Report {
        let labels = || [("app", self.app.clone()), ("channel", self.channel.clone())];
        let started_at = Instant::now();
        let report = self.inner.send(delivery).await;
        metrics::histogram!("pushgate_send_seconds", &labels()).record(started_at.elapsed().as_secs_f64());
        for outcome in report.outcomes() {
            let [app, channel] = labels();
            metrics::counter!(
                "pushgate_outcomes_total",
                &[app, channel, ("outcome", outcome.code().to_owned())]
            )
            .increment(1);
        }
        report
    }
}
