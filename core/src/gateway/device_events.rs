//! Records the events that devices report: arrived, clicked and dismissed.

use super::Gateway;
use crate::device_event::DeviceEvent;
use crate::observe::Event;
use crate::queue::RecordedEvent;
use crate::store::StorageError;

/// Reason why a device event was not recorded.
#[derive(Debug, thiserror::Error)]
pub enum DeviceEventError {
    /// The token is not an event token of this gateway.
    #[error("the event token is not one of this gateway; report the token of the push unchanged")]
    UnknownToken,
    /// The token is valid, but the retention of its notification has ended.
    #[error("the notification of this event token is no longer stored; drop the event")]
    RetentionEnded,
    /// Storage failed, and the event was not recorded.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Gateway {
    /// Records an event that a device reports, authenticated by the event token of the push.
    ///
    /// Idempotent: only the first report of an event is recorded. Returns `true` if the event was recorded for the first time.
    ///
    /// # Errors
    /// [`DeviceEventError`]. Then nothing is changed.
    pub async fn record_event(&self, token: &str, event: DeviceEvent) -> Result<bool, DeviceEventError> {
        let token_signer = self.inner.token_signer.as_ref().ok_or(DeviceEventError::UnknownToken)?;
        let claims = token_signer.verify(token).ok_or(DeviceEventError::UnknownToken)?;
        let context = &self.inner.context;
        let recorded = context.queue.record_event(claims, event, context.clock.now()).await?;
        let RecordedEvent { app, receipt, is_first } = recorded.ok_or(DeviceEventError::RetentionEnded)?;
        if is_first {
            let labels = [("app", app.to_string()), ("receipt", event.as_str().to_owned())];
            metrics::counter!("pushgate_receipts_total", &labels).increment(1);
            context.notify_observers(&Event::DeviceEvent {
                id: claims.notification,
                app,
                event,
                index: claims.index,
                receipt,
            });
        }
        Ok(is_first)
    }
}
