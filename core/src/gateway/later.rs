//! What is planned later: at an hour, piece by piece, or unless it is acknowledged. The parts wait in the queue; one is in memory
//! at a time, and it leaves the queue together with what was planned of it, so that a crash repeats no part and loses none.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::draft::Question;
use super::{Gateway, SubmitError, Ticket};
use crate::app::App;
use crate::delivery::Message;
use crate::guarded::{Component, guard_async};
use crate::notification::{Audience, Notification, Purpose, When};
use crate::observe::Event;
use crate::plan::{Ask, Resolved, admits, choose};
use crate::queue::{
    Admission, Entry, Finished, Later, Part, PartFinish, PartLease, Stage, Which, Withdrawal,
};
use crate::receipt::{Skip, SkipReason, State};
use crate::store::StorageError;
use crate::words::{AppId, DeviceId, NotificationId, Timestamp, UserId};

/// How often the queue is looked at for parts of another node.
const LOOK: Duration = Duration::from_secs(5);
/// How long storage is left alone after it failed.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a part waits that could not be planned: its app is not configured, or something panicked.
const POSTPONED: Duration = Duration::from_secs(30);
/// Parts that wait for an acknowledgement are numbered from here, behind all others: 32 million devices.
const ACKNOWLEDGED_FROM: u32 = 1 << 15;

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
    pub(super) async fn postpone(
        &self,
        app: &Arc<App>,
        asked: Notification,
        id: NotificationId,
        now: Timestamp,
    ) -> Result<Ticket, SubmitError> {
        if let Audience::Addresses(addresses) = &asked.to {
            addresses.iter().try_for_each(|address| admits(app, &asked, address))?;
        }
        // Nobody is looked up yet, but a mistake in the text is told now.
        let mailroom = self.inner.mailroom.as_ref();
        let ask = Ask { app, asked: &asked, id, created_at: now, first_index: 0, mailroom };
        let tried = choose(ask, now, Resolved::default())?.fill(ask, &Default::default())?;
        self.warn(&asked, &tried.warnings);
        let due = asked.send_at.unwrap_or(now);
        let part = |(place, audience)| Part { place, due, audience, after: None, stage: Stage::Fresh };
        let parts: Vec<_> = (0..).zip(asked.to.pieces()).map(part).collect();
        let ticket = Ticket {
            id,
            accepted: 0,
            awaiting: 0,
            parts: parts.len(),
            skipped: Vec::new(),
            replayed: false,
            warnings: tried.warnings,
        };
        let later = Some(Later { ask: asked.without_audience(), parts });
        let admission = Admission { later, ..self.admission(&asked, id, now) };
        let admitted = self.admitted(app, admission, Vec::new()).await?;
        self.ticket(&asked, admitted, ticket).await
    }

    /// The part that is planned when these devices have had time to acknowledge.
    pub(super) fn unacknowledged(
        &self,
        asked: &Notification,
        online: Vec<DeviceId>,
        now: Timestamp,
    ) -> Option<Later> {
        let part = unacknowledged(asked, online, ACKNOWLEDGED_FROM, now)?;
        Some(Later { ask: asked.without_audience(), parts: vec![part] })
    }

    /// Plans what is due until the gateway shuts down.
    pub(super) async fn plan_later(self) {
        let shop = Arc::clone(&self.inner.shop);
        loop {
            let next = tokio::select! {
                biased;
                () = shop.closing.cancelled() => return,
                next = self.plan_due() => next,
            };
            tokio::select! {
                biased;
                () = shop.closing.cancelled() => return,
                () = self.inner.later.notified() => {}
                () = shop.clock.sleep_until(next) => {}
            }
        }
    }

    /// Plans every part that is due, one after the other. Gives the time to look again.
    async fn plan_due(&self) -> Timestamp {
        let shop = &self.inner.shop;
        loop {
            let now = shop.clock.now();
            let taken = match shop.queue.take_parts(shop.node, now, 1).await {
                Ok(taken) => taken,
                Err(error) => {
                    tracing::error!(%error, "parts to be planned cannot be read; trying again");
                    return now + AGAIN;
                }
            };
            if taken.leases.is_empty() {
                return taken.next_due.map_or(now + LOOK, |due| due.min(now + LOOK));
            }
            for lease in taken.leases {
                while let Err(error) = self.plan_lease(&lease).await {
                    tracing::error!(notification = %lease.notification, %error, "a part cannot be planned; trying again");
                    shop.clock.sleep_until(shop.clock.now() + AGAIN).await;
                }
            }
        }
    }

    /// Plans a part. If something panics, the part waits, and those of other apps go on.
    async fn plan_lease(&self, lease: &PartLease) -> Result<(), StorageError> {
        match guard_async(Component::Planner, self.plan_part(lease)).await {
            Some(planned) => planned,
            None => self.postpone_planning(lease).await,
        }
    }

    /// Makes a part due again later. If its time to live is over, nobody of it gets anything, and its skips say so.
    async fn postpone_planning(&self, lease: &PartLease) -> Result<(), StorageError> {
        let shop = &self.inner.shop;
        let (now, expires_at) = (shop.clock.now(), expires_at(lease));
        if now >= expires_at {
            tracing::error!(app = %lease.ask.app, notification = %lease.notification, "a part was not planned within its time to live; nobody of it gets anything");
            return self.give_up(lease, SkipReason::NotComposed).await;
        }
        shop.queue.postpone_part(lease, (now + POSTPONED).min(expires_at)).await.map(|_| ())
    }

    async fn plan_part(&self, lease: &PartLease) -> Result<(), StorageError> {
        let shop = &self.inner.shop;
        let (id, part) = (lease.notification, &lease.part);
        let mut asked = Notification { to: part.audience.clone(), ..lease.ask.clone() };
        if part.stage == Stage::Unacknowledged {
            asked.when = When::Always;
        }
        let Some(app) = self.app(&asked.app).cloned() else {
            if lease.epoch == 1 {
                tracing::error!(app = %asked.app, notification = %id, "a part waits for an app that is not configured; configure it again, or it expires");
            }
            return self.postpone_planning(lease).await;
        };
        let question = Question {
            created_at: asked.send_at.unwrap_or(lease.created_at).max(lease.created_at),
            first_index: part.place * Part::NUMBERS,
            stage: part.stage,
            acknowledged: &lease.acknowledged,
            after: part.after.as_ref(),
            ..Question::of(&asked, id, lease.created_at)
        };
        let draft = match self.draft(&app, question).await {
            Ok(draft) => draft,
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
        let withdrawal = self.withdrawal(&asked, id, &draft.users);
        let now = shop.clock.now();
        let (accepted, skipped) = (draft.plan.targets(), draft.plan.skipped.len());
        shop.tell(&Event::Planned { id, accepted, skipped, at: now });
        let channels: HashSet<_> = draft.plan.deliveries.iter().map(|one| one.channel.clone()).collect();
        let entry = |delivery| Entry { delivery, due: now, held_by: None };
        let mut next: Vec<_> =
            unacknowledged(&asked, draft.online, part.place + ACKNOWLEDGED_FROM, now).into_iter().collect();
        if let Some(last) = draft.last {
            next.push(Part { place: part.place + 1, after: Some(last), ..part.clone() });
        }
        let finish = PartFinish {
            notification: id,
            place: part.place,
            epoch: lease.epoch,
            entries: draft.plan.deliveries.into_iter().map(entry).collect(),
            skipped: draft.plan.skipped,
            next,
            withdrawal: withdrawal.clone(),
        };
        if shop.queue.finish_part(finish).await? == Finished::Fenced {
            // It was taken back, or another node has it.
            self.uncount(&asked, &draft.counted).await;
            return Ok(());
        }
        withdrawal.into_iter().for_each(|withdrawal| shop.recall.withdraw(withdrawal));
        for channel in channels {
            if let Some(lane) = self.lane(&asked.app, &app, &channel) {
                lane.nudge();
            }
        }
        (shop.settled)(id);
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
        self.inner.shop.queue.finish_part(finish).await?;
        (self.inner.shop.settled)(lease.notification);
        Ok(())
    }

    /// Returns what a notification withdraws: what ends a call or removes what was shown withdraws whatever of it still waits for
    /// the same users. `None` means that it withdraws nothing.
    pub(super) fn withdrawal(
        &self,
        asked: &Notification,
        id: NotificationId,
        users: &[UserId],
    ) -> Option<Withdrawal> {
        let tag = match &asked.purpose {
            Purpose::CallOver(call) => call.to_string(),
            Purpose::Removal => asked.collapse_key.clone().unwrap_or_default(),
            Purpose::Message | Purpose::Group | Purpose::Call(_) => return None,
        };
        let which = Which::Tag { tag, users: users.to_vec(), before: id };
        Some(Withdrawal { app: asked.app.clone(), which, at: self.now() })
    }

    /// Withdraws from the queue, and then from memory: what could not be committed is not held back either.
    async fn withdraw(&self, app: &AppId, which: Which) -> Result<u64, StorageError> {
        let shop = &self.inner.shop;
        let at = shop.clock.now();
        let withdrawn = shop.queue.withdraw(app, &which, at).await?;
        shop.recall.withdraw(Withdrawal { app: app.clone(), which, at });
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
            let receipts = self.inner.shop.queue.receipts(id, after, Audience::MAX).await?;
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
        (self.inner.shop.settled)(id);
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
        self.inner.shop.queue.acknowledge(app, id, user).await
    }
}

/// Returns the end of a part's time to live, as far as the caller's request says.
fn expires_at(lease: &PartLease) -> Timestamp {
    let ask = &lease.ask;
    let ttl = match &ask.purpose {
        Purpose::Call(call) => ask.ttl.unwrap_or(call.timeout()).min(call.timeout()),
        _ => ask.ttl.unwrap_or(Notification::DEFAULT_TTL).min(Notification::MAX_TTL),
    };
    ask.send_at.unwrap_or(lease.created_at).max(lease.created_at) + ttl.max(Message::NOW_OR_NEVER)
}

fn unacknowledged(asked: &Notification, online: Vec<DeviceId>, place: u32, now: Timestamp) -> Option<Part> {
    let due = now + asked.ack_within.filter(|_| !online.is_empty())?;
    let audience = Audience::Devices(online);
    Some(Part { place, due, audience, after: None, stage: Stage::Unacknowledged })
}
