//! Deferred planning of audience batches, and withdrawal of notifications.
//!
//! A batch is deferred because it has a `send_at`, because the audience is large, or to wait for an acknowledgement.
//! Batches wait in the queue, and one at a time is in memory. A batch leaves the queue in the transaction that stores its
//! deliveries. A crash therefore repeats no batch and loses none.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::planning::PlanningInput;
use super::{Gateway, SubmitError, Ticket};
use crate::app::App;
use crate::delivery::Message;
use crate::guarded::{Component, guard_async};
use crate::ids::{AppId, DeviceId, NotificationId, UserId};
use crate::notification::{Audience, Notification, Purpose, When};
use crate::observe::Event;
use crate::plan::{PlanRequest, ResolvedAudience, check_address, select_recipients};
use crate::queue::{
    Admission, AudienceBatch, BatchCompletion, BatchLease, DeferredPlan, Entry, Finished, Stage,
    WithdrawFilter, Withdrawal,
};
use crate::receipt::{Skip, SkipReason, State};
use crate::store::StorageError;
use crate::timestamp::Timestamp;

/// Poll interval for batches that no in-process signal announces, such as those of other nodes.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// Delay before a failed storage operation is tried again.
const STORAGE_RETRY_DELAY: Duration = Duration::from_secs(1);
/// Delay before a batch is planned again after its app was not configured or planning panicked.
const REPLAN_DELAY: Duration = Duration::from_secs(30);
/// First place of the batches that wait for an acknowledgement. The places below it suffice for 32 million devices.
const FIRST_UNACKNOWLEDGED_PLACE: u32 = 1 << 15;

/// Result of revoking a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// Number of addresses and batches that were not sent yet and never will be.
    pub withdrawn: u64,
    /// Removal notifications for what is shown on screens, one for each thousand devices.
    pub removals: Vec<NotificationId>,
}

impl Gateway {
    /// Accepts a notification whose audience is planned later.
    pub(super) async fn submit_deferred(
        &self,
        app: &Arc<App>,
        notification: Notification,
        id: NotificationId,
        now: Timestamp,
    ) -> Result<Ticket, SubmitError> {
        if let Audience::Addresses(addresses) = &notification.to {
            addresses.iter().try_for_each(|address| check_address(app, &notification, address))?;
        }
        // Plans for an empty audience, so that the caller learns now of a mistake in the template or the text.
        let token_signer = self.inner.token_signer.as_ref();
        let request = PlanRequest {
            app,
            notification: &notification,
            id,
            created_at: now,
            first_index: 0,
            token_signer,
        };
        let trial_plan = select_recipients(request, now, ResolvedAudience::default())?
            .compose_plan(request, &Default::default())?;
        self.report_warnings(&notification, &trial_plan.warnings);
        let due = notification.send_at.unwrap_or(now);
        let batch =
            |(place, audience)| AudienceBatch { place, due, audience, after: None, stage: Stage::Fresh };
        let batches: Vec<_> = (0..).zip(notification.to.batches()).map(batch).collect();
        let ticket = Ticket {
            id,
            accepted: 0,
            awaiting_ack: 0,
            deferred_batches: batches.len(),
            skipped: Vec::new(),
            replayed: false,
            warnings: trial_plan.warnings,
        };
        let deferred_plan = Some(DeferredPlan { request: notification.without_audience(), batches });
        let admission = Admission { deferred_plan, ..self.admission(&notification, id, now) };
        let admitted = self.admit(app, admission, Vec::new()).await?;
        self.ticket(&notification, admitted, ticket).await
    }

    /// Returns the deferred plan for devices that get time to acknowledge the notification. `None` means that there are none.
    pub(super) fn unacknowledged_plan(
        &self,
        notification: &Notification,
        online: Vec<DeviceId>,
        now: Timestamp,
    ) -> Option<DeferredPlan> {
        let batch = unacknowledged_batch(notification, online, FIRST_UNACKNOWLEDGED_PLACE, now)?;
        Some(DeferredPlan { request: notification.without_audience(), batches: vec![batch] })
    }

    /// Plans the batches that are due until the gateway shuts down.
    pub(super) async fn plan_deferred(self) {
        let context = Arc::clone(&self.inner.context);
        loop {
            let next = tokio::select! {
                biased;
                () = context.closing.cancelled() => return,
                next = self.plan_due_batches() => next,
            };
            tokio::select! {
                biased;
                () = context.closing.cancelled() => return,
                () = self.inner.deferred_due.notified() => {}
                () = context.clock.sleep_until(next) => {}
            }
        }
    }

    /// Plans every batch that is due, one after the other. Returns the time of the next poll.
    async fn plan_due_batches(&self) -> Timestamp {
        let context = &self.inner.context;
        loop {
            let now = context.clock.now();
            let leased = match context.queue.lease_batches(context.node, now, 1).await {
                Ok(leased) => leased,
                Err(error) => {
                    tracing::error!(%error, "deferred batches cannot be read; trying again");
                    return now + STORAGE_RETRY_DELAY;
                }
            };
            if leased.leases.is_empty() {
                return leased.next_due.map_or(now + POLL_INTERVAL, |due| due.min(now + POLL_INTERVAL));
            }
            for lease in leased.leases {
                while let Err(error) = self.plan_guarded(&lease).await {
                    tracing::error!(notification = %lease.notification, %error, "a deferred batch cannot be planned; trying again");
                    context.clock.sleep_until(context.clock.now() + STORAGE_RETRY_DELAY).await;
                }
            }
        }
    }

    /// Plans a batch. If planning panics, the batch is postponed and the planner goes on with the others.
    async fn plan_guarded(&self, lease: &BatchLease) -> Result<(), StorageError> {
        match guard_async(Component::Planner, self.plan_batch(lease)).await {
            Some(planned) => planned,
            None => self.postpone_planning(lease).await,
        }
    }

    /// Postpones a batch. If its time to live has ended, the batch is finished and all its recipients are skipped.
    async fn postpone_planning(&self, lease: &BatchLease) -> Result<(), StorageError> {
        let context = &self.inner.context;
        let (now, expires_at) = (context.clock.now(), expires_at(lease));
        if now >= expires_at {
            tracing::error!(app = %lease.request.app, notification = %lease.notification, "a deferred batch was not planned within its time to live; its recipients are skipped");
            return self.give_up(lease, SkipReason::NotComposed).await;
        }
        context.queue.postpone_batch(lease, (now + REPLAN_DELAY).min(expires_at)).await.map(|_| ())
    }

    /// Plans a batch, and stores its deliveries and the end of its lease in one transaction.
    async fn plan_batch(&self, lease: &BatchLease) -> Result<(), StorageError> {
        let context = &self.inner.context;
        let (id, batch) = (lease.notification, &lease.batch);
        let mut notification = Notification { to: batch.audience.clone(), ..lease.request.clone() };
        if batch.stage == Stage::Unacknowledged {
            notification.when = When::Always;
        }
        let Some(app) = self.app(&notification.app).cloned() else {
            if lease.epoch == 1 {
                tracing::error!(app = %notification.app, notification = %id, "a deferred batch waits for an app that is not configured; configure the app again, or the batch expires");
            }
            return self.postpone_planning(lease).await;
        };
        let input = PlanningInput {
            created_at: notification.send_at.unwrap_or(lease.created_at).max(lease.created_at),
            first_index: batch.place * AudienceBatch::MAX_RECIPIENTS,
            stage: batch.stage,
            acknowledged: &lease.acknowledged,
            after: batch.after.as_ref(),
            ..PlanningInput::new(&notification, id, lease.created_at)
        };
        let output = match self.plan(&app, input).await {
            Ok(output) => output,
            Err(SubmitError::Storage(error)) => return Err(error),
            Err(error) => {
                tracing::error!(notification = %id, %error, "a deferred batch cannot be composed; its recipients are skipped");
                let reason = match error {
                    SubmitError::TooLarge { .. } => SkipReason::TooLarge,
                    _ => SkipReason::NotComposed,
                };
                return self.give_up(lease, reason).await;
            }
        };
        let withdrawal = self.withdrawal(&notification, id, &output.users);
        let now = context.clock.now();
        let (accepted, skipped) = (output.plan.targets(), output.plan.skipped.len());
        context.notify_observers(&Event::Planned { id, accepted, skipped, at: now });
        let channels: HashSet<_> =
            output.plan.deliveries.iter().map(|delivery| delivery.channel.clone()).collect();
        let entry = |delivery| Entry { delivery, due: now, held_by: None };
        let mut next: Vec<_> =
            unacknowledged_batch(&notification, output.online, batch.place + FIRST_UNACKNOWLEDGED_PLACE, now)
                .into_iter()
                .collect();
        if let Some(last) = output.last {
            next.push(AudienceBatch { place: batch.place + 1, after: Some(last), ..batch.clone() });
        }
        let finish = BatchCompletion {
            notification: id,
            place: batch.place,
            epoch: lease.epoch,
            entries: output.plan.deliveries.into_iter().map(entry).collect(),
            skipped: output.plan.skipped,
            next,
            withdrawal: withdrawal.clone(),
        };
        if context.queue.finish_batch(finish).await? == Finished::Fenced {
            // The batch was withdrawn, or another node has leased it.
            self.lower_counters(&notification, &output.badge_users).await;
            return Ok(());
        }
        withdrawal.into_iter().for_each(|withdrawal| context.revalidator.withdraw(withdrawal));
        for channel in channels {
            if let Some(lane) = self.lane(&notification.app, &app, &channel) {
                lane.notify_backlog();
            }
        }
        (context.notify_settled)(id);
        Ok(())
    }

    /// Finishes a batch without deliveries. Its recipients are skipped for this reason.
    async fn give_up(&self, lease: &BatchLease, reason: SkipReason) -> Result<(), StorageError> {
        let skip = |user: Option<UserId>, device: Option<DeviceId>| Skip { user, device, reason };
        let skipped = match &lease.batch.audience {
            Audience::Users(users) => users.iter().map(|user| skip(Some(user.clone()), None)).collect(),
            Audience::Devices(ids) => ids.iter().map(|id| skip(None, Some(id.clone()))).collect(),
            Audience::Addresses(_) | Audience::All => vec![skip(None, None)],
        };
        let finish = BatchCompletion {
            notification: lease.notification,
            place: lease.batch.place,
            epoch: lease.epoch,
            entries: Vec::new(),
            skipped,
            next: Vec::new(),
            withdrawal: None,
        };
        self.inner.context.queue.finish_batch(finish).await?;
        (self.inner.context.notify_settled)(lease.notification);
        Ok(())
    }

    /// Returns the withdrawal that a notification causes. `None` means that it causes none.
    ///
    /// The end of a call and a removal withdraw the earlier notifications of the same tag that still wait for the same users.
    pub(super) fn withdrawal(
        &self,
        notification: &Notification,
        id: NotificationId,
        users: &[UserId],
    ) -> Option<Withdrawal> {
        let tag = match &notification.purpose {
            Purpose::CallOver(call) => call.to_string(),
            Purpose::Removal => notification.collapse_key.clone().unwrap_or_default(),
            Purpose::Message | Purpose::Group | Purpose::Call(_) => return None,
        };
        let filter = WithdrawFilter::Tag { tag, users: users.to_vec(), before: id };
        Some(Withdrawal { app: notification.app.clone(), filter, at: self.now() })
    }

    /// Withdraws deliveries from the queue, and then from memory. If the queue fails, those in memory are not withdrawn either.
    /// Returns the number of addresses and batches withdrawn.
    async fn withdraw(&self, app: &AppId, filter: WithdrawFilter) -> Result<u64, StorageError> {
        let context = &self.inner.context;
        let at = context.clock.now();
        let withdrawn = context.queue.withdraw(app, &filter, at).await?;
        context.revalidator.withdraw(Withdrawal { app: app.clone(), filter, at });
        Ok(withdrawn)
    }

    /// Revokes a notification: withdraws what was not sent yet, and removes from screens what was sent to registered devices.
    ///
    /// The removal is a silent notification. `None` means that the app has no such notification.
    ///
    /// # Errors
    /// [`SubmitError`] if storage fails. Calling again is safe.
    pub async fn revoke(&self, app: &AppId, id: NotificationId) -> Result<Option<Revoked>, SubmitError> {
        let Some(status) = self.status_page(app, id, None, 0).await? else { return Ok(None) };
        let withdrawn = self.withdraw(app, WithdrawFilter::Id(id)).await?;
        let tag = status.tag.unwrap_or_else(|| id.to_string());
        let (mut removals, mut after) = (Vec::new(), None);
        loop {
            let receipts = self.inner.context.queue.receipts(id, after, Audience::BATCH_SIZE).await?;
            let Some(last) = receipts.last() else { break };
            after = Some(last.index);
            let shown = receipts.iter().filter(|receipt| receipt.state == State::Sent);
            let devices: Vec<_> = shown.filter_map(|receipt| receipt.device.clone()).collect();
            if devices.is_empty() {
                continue;
            }
            let removal = Notification {
                purpose: Purpose::Removal,
                collapse_key: Some(tag.clone()),
                when: When::Always,
                ..Notification::new(app.clone(), Audience::Devices(devices))
            };
            removals.push(self.submit(removal).await?.id);
        }
        (self.inner.context.notify_settled)(id);
        Ok(Some(Revoked { withdrawn, removals }))
    }

    /// Records that a user has received a notification over their connection, so that no push is sent to them.
    ///
    /// Returns `true` if a batch of the notification is still to be planned, so that the acknowledgement can have an effect.
    ///
    /// # Errors
    /// [`StorageError`] if storage fails.
    pub async fn acknowledge(
        &self,
        app: &AppId,
        id: NotificationId,
        user: &UserId,
    ) -> Result<bool, StorageError> {
        self.inner.context.queue.acknowledge(app, id, user).await
    }
}

/// Returns the end of a batch's time to live, by the caller's request alone. Profiles are not considered.
fn expires_at(lease: &BatchLease) -> Timestamp {
    let request = &lease.request;
    let ttl = match &request.purpose {
        Purpose::Call(call) => request.ttl.unwrap_or(call.timeout()).min(call.timeout()),
        _ => request.ttl.unwrap_or(Notification::DEFAULT_TTL).min(Notification::MAX_TTL),
    };
    request.send_at.unwrap_or(lease.created_at).max(lease.created_at) + ttl.max(Message::MAX_AGE_WITHOUT_TTL)
}

/// Returns the batch that pushes to these devices unless their users acknowledge in time. `None` means that there are no
/// devices, or that the notification waits for no acknowledgement.
fn unacknowledged_batch(
    notification: &Notification,
    online: Vec<DeviceId>,
    place: u32,
    now: Timestamp,
) -> Option<AudienceBatch> {
    let due = now + notification.ack_within.filter(|_| !online.is_empty())?;
    let audience = Audience::Devices(online);
    Some(AudienceBatch { place, due, audience, after: None, stage: Stage::Unacknowledged })
}
