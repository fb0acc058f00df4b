//! Idempotency keys: a repeated request gets the ticket of the first one and has no other effect.

use super::{Gateway, SubmitError, Ticket};
use crate::notification::Notification;
use crate::queue::{Admitted, Idempotency, KeyClaim};

impl Gateway {
    /// Finds the ticket of an earlier request under the same key. `None` means that this request is the first one, or that it
    /// has no key. Called before anything is looked up, counted or withdrawn, so that a replay changes nothing.
    pub(super) async fn find_replay(
        &self,
        notification: &Notification,
    ) -> Result<Option<Ticket>, SubmitError> {
        let Some(key) = &notification.idempotency_key else { return Ok(None) };
        match self.inner.context.queue.find_claim(&notification.app, key).await? {
            Some(claim) => self.replayed(notification, claim).await.map(Some),
            None => Ok(None),
        }
    }

    /// Returns the new ticket, or that of the request that claimed the key first. Two requests that arrive at once both find the
    /// key free, and the queue admits one of them.
    pub(super) async fn ticket(
        &self,
        notification: &Notification,
        admitted: Admitted,
        ticket: Ticket,
    ) -> Result<Ticket, SubmitError> {
        match admitted {
            Admitted::New => Ok(ticket),
            Admitted::Known(claim) => self.replayed(notification, claim).await,
        }
    }

    /// Returns the ticket of the notification that claimed the key.
    async fn replayed(&self, notification: &Notification, claim: KeyClaim) -> Result<Ticket, SubmitError> {
        let KeyClaim { id, digest } = claim;
        if digest.is_some_and(|digest| digest != notification.digest()) {
            return Err(SubmitError::KeyReused { id });
        }
        let status = self.status_page(&notification.app, id, None, 0).await?;
        let (accepted, deferred_batches, skipped) = status.map_or_else(Default::default, |status| {
            let accepted = usize::try_from(status.counts.values().sum::<u64>()).unwrap_or(usize::MAX);
            let deferred_batches = status.progress.map_or(0, |progress| progress.done + progress.open);
            (accepted, usize::try_from(deferred_batches).unwrap_or(usize::MAX), status.skipped)
        });
        Ok(Ticket {
            id,
            accepted,
            awaiting_ack: 0,
            deferred_batches,
            skipped,
            replayed: true,
            warnings: Vec::new(),
        })
    }
}

/// Returns the idempotency key of a notification with the digest of its request. `None` means that it has no key.
pub(super) fn idempotency(notification: &Notification) -> Option<Idempotency> {
    let key = notification.idempotency_key.clone()?;
    Some(Idempotency { key, digest: notification.digest() })
}
