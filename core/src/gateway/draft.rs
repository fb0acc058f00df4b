//! From a question to a plan: looks the audience up, asks who is online and who wants it, raises counters. Stores nothing else.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use super::{Gateway, SubmitError};
use crate::app::App;
use crate::notification::{Audience, Badge, Notification, Purpose, When};
use crate::plan::{Ask, Plan, Resolved, Warning, choose};
use crate::queue::Stage;
use crate::receipt::{Skip, SkipReason};
use crate::store::{Count, StorageError};
use crate::words::{DeviceId, NotificationId, Timestamp, UserId};

/// What is to be planned now.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) asked: &'a Notification,
    pub(super) id: NotificationId,
    /// Its time to live counts from here.
    pub(super) created_at: Timestamp,
    pub(super) first_index: u32,
    pub(super) stage: Stage,
    /// Who has acknowledged it.
    pub(super) acknowledged: &'a [UserId],
    /// Of all devices, those behind this one.
    pub(super) after: Option<&'a DeviceId>,
}

impl<'a> Question<'a> {
    pub(super) const fn of(asked: &'a Notification, id: NotificationId, now: Timestamp) -> Self {
        Self {
            asked,
            id,
            created_at: now,
            first_index: 0,
            stage: Stage::Fresh,
            acknowledged: &[],
            after: None,
        }
    }
}

/// What came of it.
pub(super) struct Draft {
    pub(super) plan: Plan,
    /// Whose counters were raised.
    pub(super) counted: Vec<UserId>,
    /// Devices that are online and are given time to acknowledge it.
    pub(super) online: Vec<DeviceId>,
    /// The users of the devices that were looked up.
    pub(super) users: Vec<UserId>,
    /// Of all devices, the last one looked up, when there may be more.
    pub(super) last: Option<DeviceId>,
}

impl Gateway {
    /// The app, if a notification like this can be taken at all.
    pub(super) fn checked(&self, asked: &Notification, now: Timestamp) -> Result<Arc<App>, SubmitError> {
        let app = self.app(&asked.app).ok_or_else(|| SubmitError::UnknownApp(asked.app.clone()))?;
        match asked.to.len() {
            0 => return Err(SubmitError::EmptyAudience),
            given if given > Audience::MOST && asked.to != Audience::All => {
                return Err(SubmitError::AudienceTooLarge { given });
            }
            _ => {}
        }
        if asked.purpose == Purpose::Removal && asked.collapse_key.is_none() {
            return Err(SubmitError::NothingToRemove);
        }
        if asked.send_at.is_some_and(|at| at > now + Notification::MAX_TTL) {
            return Err(SubmitError::TooFarAhead);
        }
        // Longer ago than any notification lives, so it is a mistake. A nearer past is sent at once.
        if asked.send_at.is_some_and(|at| at < now - Notification::MAX_TTL) {
            return Err(SubmitError::TooLongAgo);
        }
        Ok(Arc::clone(app))
    }

    /// Plans. Counters that were raised stay raised when this fails for storage only.
    pub(super) async fn draft(&self, app: &App, question: Question<'_>) -> Result<Draft, SubmitError> {
        let asked = question.asked;
        let now = self.now();
        let (resolved, last) = self.resolve(question).await?;
        let users: HashSet<_> = resolved.devices.iter().filter_map(|device| device.user.clone()).collect();
        let Question { id, created_at, first_index, .. } = question;
        let ask = Ask { app, asked, id, created_at, first_index, mailroom: self.inner.mailroom.as_ref() };
        let mut chosen = choose(ask, now, resolved)?;
        let online = match (asked.ack_within, question.stage) {
            (Some(_), Stage::Fresh) => chosen.take_online(),
            _ => Vec::new(),
        };
        let counted = chosen.counted();
        let badges = self.raised(asked, &counted).await?;
        match chosen.fill(ask, &badges) {
            Ok(plan) => {
                self.warn(asked, &plan.warnings);
                Ok(Draft { plan, counted, online, users: users.into_iter().collect(), last })
            }
            Err(error) => {
                self.uncount(asked, &counted).await;
                Err(error)
            }
        }
    }

    /// Raises the counters of these users, where the notification asks for it.
    async fn raised(
        &self,
        asked: &Notification,
        users: &[UserId],
    ) -> Result<HashMap<UserId, u32>, StorageError> {
        match asked.badge {
            Some(Badge::Increment(by)) if !users.is_empty() => {
                let raise = Count::Raise(by.min(Badge::MOST_RAISE));
                self.inner.shop.store.count(&asked.app, users, raise).await
            }
            _ => Ok(HashMap::new()),
        }
    }

    /// Takes back what was counted for a notification that was not taken.
    pub(super) async fn uncount(&self, asked: &Notification, users: &[UserId]) {
        let Some(Badge::Increment(by)) = asked.badge else { return };
        if users.is_empty() {
            return;
        }
        let lower = Count::Lower(by.min(Badge::MOST_RAISE));
        if let Err(error) = self.inner.shop.store.count(&asked.app, users, lower).await {
            tracing::error!(app = %asked.app, %error, "a counter stays raised");
        }
    }

    /// Tells the operator what the caller is told.
    pub(super) fn warn(&self, asked: &Notification, warnings: &[Warning]) {
        if warnings.contains(&Warning::UnknownProfile) {
            metrics::counter!("pushgate_unknown_profiles_total", "app" => asked.app.to_string()).increment(1);
            tracing::warn!(app = %asked.app, "a notification names a profile that is not configured; the default one was used");
        }
    }

    /// Looks the audience up: each device once, in a stable order. Of all devices one page, and where the next one begins.
    async fn resolve(&self, question: Question<'_>) -> Result<(Resolved, Option<DeviceId>), StorageError> {
        let (store, asked) = (&self.inner.shop.store, question.asked);
        let (mut resolved, mut last) = (Resolved::default(), None);
        match &asked.to {
            Audience::Users(users) => {
                resolved.devices = store.devices_of(&asked.app, &once(users)).await?;
                let reached: HashSet<_> = resolved.devices.iter().filter_map(|d| d.user.clone()).collect();
                let missing = once(users).into_iter().filter(|user| !reached.contains(user));
                resolved.missing = missing
                    .map(|user| Skip { user: Some(user), device: None, reason: SkipReason::NoDevice })
                    .collect();
            }
            Audience::Devices(ids) => {
                let ids = once(ids);
                resolved.devices = store.devices(&asked.app, &ids).await?;
                let known: HashSet<_> = resolved.devices.iter().map(|device| &device.id).collect();
                let missing = ids.iter().filter(|id| !known.contains(id)).cloned();
                let skip = |id| Skip { user: None, device: Some(id), reason: SkipReason::NoDevice };
                resolved.missing = missing.map(skip).collect();
            }
            Audience::Addresses(addresses) => resolved.addresses = once(addresses),
            Audience::All => {
                resolved.devices = store.page(&asked.app, question.after, Audience::MAX).await?;
                if resolved.devices.len() == Audience::MAX {
                    last = resolved.devices.last().map(|device| device.id.clone());
                }
                resolved.devices.retain(|device| device.user.is_some());
            }
        }
        if question.stage == Stage::Unacknowledged {
            resolved.leave_out(question.acknowledged);
        }
        let users: HashSet<_> = resolved.devices.iter().filter_map(|device| device.user.clone()).collect();
        let users: Vec<_> = users.into_iter().collect();
        if !users.is_empty() {
            if asked.when == When::Offline || question.stage == Stage::Unacknowledged {
                resolved.online = self.inner.presence.connections_of(&asked.app, &users).await;
            }
            resolved.rules = store.rules(&asked.app, &users).await?;
        }
        Ok((resolved, last))
    }
}

fn once<T: Clone + Eq + Hash>(all: &[T]) -> Vec<T> {
    let mut seen = HashSet::new();
    all.iter().filter(|one| seen.insert((*one).clone())).cloned().collect()
}
