//! What is planned later: at an hour, piece by piece, or unless it is acknowledged. The parts wait in the queue; one is in memory
//! at a time, and it leaves the queue together with what was planned of it, so that a crash repeats no part and loses none.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::planning::PlanningInput;
use super::{Gateway, SubmitError, Ticket};
use crate::app::App;
use crate::delivery::Message;
use crate::guarded::{Component, guard_async};
use crate::notification::{Audience, Notification, Purpose, When};
use crate::observe::Event;
use crate::plan::{PlanRequest, ResolvedAudience, admits, select_recipients};
use crate::queue::{
    Admission, Entry, Finished, Later, Part, PartFinish, PartLease, Stage, Which, Withdrawal,
};
use crate::receipt::{Skip, SkipReason, State};
use crate::store::StorageError;
use crate::words::{AppId, DeviceId, NotificationId, Timestamp, UserId};

/// How often the queue is looked at for parts of another node.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// How long storage is left alone after it failed.
const STORAGE_RETRY_DELAY: Duration = Duration::from_secs(1);
/// How long a part waits that could not be planned: its app is not configured, or something panicked.
const REPLAN_DELAY: Duration = Duration::from_secs(30);
/// Parts that wait for an acknowledgement are numbered from here, behind all others: 32 million devices.
const FIRST_UNACKNOWLEDGED_PLACE: u32 = 1 << 15;

/// What a revocation did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// Addresses and parts that were not sent yet, and never will be.
    pub withdrawn: u64,
    /// The notifications that take from the screen what was shown, one for each thousand devices.
    pub removals: Vec<NotificationId>,
}

impl Gateway {
    /// Takes a notification that is planned later.
    pub(super) async fn submit_deferred(
        &self,
        app: &Arc<App>,
        notification: Notification,
        id: NotificationId,
        now: Timestamp,
    ) -> Result<Ticket, SubmitError> {
        if let Audience::Addresses(addresses) = &notification.to {
            addresses.iter().try_for_each(|address| admits(app, &notification, address))?;
        }
        // Nobody is looked up yet, but a mistake in the text is told now.
        let mailroom = self.inner.mailroom.as_ref();
        let request =
            PlanRequest { app, notification: &notification, id, created_at: now, first_index: 0, mailroom };
        let trial_plan = select_recipients(request, now, ResolvedAudience::default())?
            .compose_plan(request, &Default::default())?;
        self.report_warnings(&notification, &trial_plan.warnings);
        let due = notification.send_at.unwrap_or(now);
        let part = |(place, audience)| Part { place, due, audience, after: None, stage: Stage::Fresh };
        let parts: Vec<_> = (0..).zip(notification.to.pieces()).map(part).collect();
        let ticket = Ticket {
            id,
            accepted: 0,
            awaiting: 0,
            parts: parts.len(),
            skipped: Vec::new(),
            replayed: false,
            warnings: trial_plan.warnings,
        };
        let later = Some(Later { ask: notification.without_audience(), parts });
        let admission = Admission { later, ..self.admission(&notification, id, now) };
        let admitted = self.admit(app, admission, Vec::new()).await?;
        self.ticket(&notification, admitted, ticket).await
    }

    /// The part that is planned when these devices have had time to acknowledge.
    pub(super) fn unacknowledged_plan(
        &self,
        notification: &Notification,
        online: Vec<DeviceId>,
        now: Timestamp,
    ) -> Option<Later> {
        let part = unacknowledged_part(notification, online, FIRST_UNACKNOWLEDGED_PLACE, now)?;
        Some(Later { ask: notification.without_audience(), parts: vec![part] })
    }

    /// Plans what is due until the gateway shuts down.
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

    /// Plans every part that is due, one after the other. Gives the time to look again.
    async fn plan_due_batches(&self) -> Timestamp {
        let context = &self.inner.context;
        loop {
            let now = context.clock.now();
            let taken = match context.queue.take_parts(context.node, now, 1).await {
                Ok(taken) => taken,
                Err(error) => {
                    tracing::error!(%error, "parts to be planned cannot be read; trying again");
                    return now + STORAGE_RETRY_DELAY;
                }
            };
            if taken.leases.is_empty() {
                return taken.next_due.map_or(now + POLL_INTERVAL, |due| due.min(now + POLL_INTERVAL));
            }
            for lease in taken.leases {
                while let Err(error) = self.plan_guarded(&lease).await {
                    tracing::error!(notification = %lease.notification, %error, "a part cannot be planned; trying again");
                    context.clock.sleep_until(context.clock.now() + STORAGE_RETRY_DELAY).await;
                }
            }
        }
    }

    /// Plans a part. If something panics, the part waits, and those of other apps go on.
    async fn plan_guarded(&self, lease: &PartLease) -> Result<(), StorageError> {
        match guard_async(Component::Planner, self.plan_part(lease)).await {
            Some(planned) => planned,
            None => self.postpone_planning(lease).await,
        }
    }

    /// Makes a part due again later. If its time to live is over, nobody of it gets anything, and its skips say so.
    async fn postpone_planning(&self, lease: &PartLease) -> Result<(), StorageError> {
        let context = &self.inner.context;
        let (now, expires_at) = (context.clock.now(), expires_at(lease));
        if now >= expires_at {
            tracing::error!(app = %lease.ask.app, notification = %lease.notification, "a part was not planned within its time to live; nobody of it gets anything");
            return self.give_up(lease, SkipReason::NotComposed).await;
        }
        context.queue.postpone_part(lease, (now + REPLAN_DELAY).min(expires_at)).await.map(|_| ())
    }

    async fn plan_part(&self, lease: &PartLease) -> Result<(), StorageError> {
        let context = &self.inner.context;
        let (id, part) = (lease.notification, &lease.part);
        let mut notification = Notification { to: part.audience.clone(), ..lease.ask.clone() };
        if part.stage == Stage::Unacknowledged {
            notification.when = When::Always;
        }
        let Some(app) = self.app(&notification.app).cloned() else {
            if lease.epoch == 1 {
                tracing::error!(app = %notification.app, notification = %id, "a part waits for an app that is not configured; configure it again, or it expires");
            }
            return self.postpone_planning(lease).await;
        };
        let input = PlanningInput {
            created_at: notification.send_at.unwrap_or(lease.created_at).max(lease.created_at),
            first_index: part.place * Part::NUMBERS,
            stage: part.stage,
            acknowledged: &lease.acknowledged,
            after: part.after.as_ref(),
            ..PlanningInput::new(&notification, id, lease.created_at)
        };
        let output = match self.plan(&app, input).await {
            Ok(output) => output,
            Err(SubmitError::Storage(error)) => return Err(error),
            Err(error) => {
                tracing::error!(notification = %id, %error, "a part cannot be composed; nobody of it gets anything");
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
            unacknowledged_part(&notification, output.online, part.place + FIRST_UNACKNOWLEDGED_PLACE, now)
                .into_iter()
                .collect();
        if let Some(last) = output.last {
            next.push(Part { place: part.place + 1, after: Some(last), ..part.clone() });
        }
        let finish = PartFinish {
            notification: id,
            place: part.place,
            epoch: lease.epoch,
            entries: output.plan.deliveries.into_iter().map(entry).collect(),
            skipped: output.plan.skipped,
            next,
            withdrawal: withdrawal.clone(),
        };
        if context.queue.finish_part(finish).await? == Finished::Fenced {
            // It was taken back, or another node has it.
            self.lower_counters(&notification, &output.counted).await;
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

    /// Ends a part of which nobody gets anything; its skips say why.
    async fn give_up(&self, lease: &PartLease, reason: SkipReason) -> Result<(), StorageError> {
        let skip = |user: Option<UserId>, device: Option<DeviceId>| Skip { user, device, reason };
        let skipped = match &lease.part.audience {
            Audience::Users(users) => users.iter().map(|user| skip(Some(user.clone()), None)).collect(),
            Audience::Devices(ids) => ids.iter().map(|id| skip(None, Some(id.clone()))).collect(),
            Audience::Addresses(_) | Audience::All => vec![skip(None, None)],
        };
        let finish = PartFinish {
            notification: lease.notification,
            place: lease.part.place,
            epoch: lease.epoch,
            entries: Vec::new(),
            skipped,
            next: Vec::new(),
            withdrawal: None,
        };
        self.inner.context.queue.finish_part(finish).await?;
        (self.inner.context.notify_settled)(lease.notification);
        Ok(())
    }

    /// Returns what a notification withdraws: what ends a call or removes what was shown withdraws whatever of it still waits for
    /// the same users. `None` means that it withdraws nothing.
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
        let which = Which::Tag { tag, users: users.to_vec(), before: id };
        Some(Withdrawal { app: notification.app.clone(), which, at: self.now() })
    }

    /// Withdraws from the queue, and then from memory: what could not be committed is not held back either.
    async fn withdraw(&self, app: &AppId, which: Which) -> Result<u64, StorageError> {
        let context = &self.inner.context;
        let at = context.clock.now();
        let withdrawn = context.queue.withdraw(app, &which, at).await?;
        context.revalidator.withdraw(Withdrawal { app: app.clone(), which, at });
        Ok(withdrawn)
    }

    /// Takes a notification back: what is not sent yet never is, and what was shown on registered devices is taken from their
    /// screens by a silent removal. None when the app has no such notification.
    ///
    /// # Errors
    /// [`SubmitError`] when storage fails; asking again is safe.
    pub async fn revoke(&self, app: &AppId, id: NotificationId) -> Result<Option<Revoked>, SubmitError> {
        let Some(status) = self.status_page(app, id, None, 0).await? else { return Ok(None) };
        let withdrawn = self.withdraw(app, Which::Id(id)).await?;
        let tag = status.tag.unwrap_or_else(|| id.to_string());
        let (mut removals, mut after) = (Vec::new(), None);
        loop {
            let receipts = self.inner.context.queue.receipts(id, after, Audience::MAX).await?;
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

    /// Keeps that a user has got a notification on his connection, so that he is not pushed to. Whether that was waited for.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn acknowledge(
        &self,
        app: &AppId,
        id: NotificationId,
        user: &UserId,
    ) -> Result<bool, StorageError> {
        self.inner.context.queue.acknowledge(app, id, user).await
    }
}

/// Returns the end of a part's time to live, as far as the caller's request says.
fn expires_at(lease: &PartLease) -> Timestamp {
    let request = &lease.ask;
    let ttl = match &request.purpose {
        Purpose::Call(call) => request.ttl.unwrap_or(call.timeout()).min(call.timeout()),
        _ => request.ttl.unwrap_or(Notification::DEFAULT_TTL).min(Notification::MAX_TTL),
    };
    request.send_at.unwrap_or(lease.created_at).max(lease.created_at) + ttl.max(Message::NOW_OR_NEVER)
}

fn unacknowledged_part(
    notification: &Notification,
    online: Vec<DeviceId>,
    place: u32,
    now: Timestamp,
) -> Option<Part> {
    let due = now + notification.ack_within.filter(|_| !online.is_empty())?;
    let audience = Audience::Devices(online);
    Some(Part { place, due, audience, after: None, stage: Stage::Unacknowledged })
}
