//! From a question to a plan: looks the audience up, asks who is online and who wants it, raises counters. Stores nothing else.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use super::{Gateway, SubmitError};
use crate::app::App;
use crate::notification::{Audience, Badge, Notification, Purpose, When};
use crate::plan::{Plan, PlanRequest, ResolvedAudience, Warning, select_recipients};
use crate::queue::Stage;
use crate::receipt::{Skip, SkipReason};
use crate::store::{Count, StorageError};
use crate::words::{DeviceId, NotificationId, Timestamp, UserId};

/// What is to be planned now.
#[derive(Clone, Copy)]
pub(super) struct PlanningInput<'a> {
    pub(super) notification: &'a Notification,
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

impl<'a> PlanningInput<'a> {
    pub(super) const fn new(notification: &'a Notification, id: NotificationId, now: Timestamp) -> Self {
        Self {
            notification,
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
pub(super) struct PlanningOutput {
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
    pub(super) fn validate(
        &self,
        notification: &Notification,
        now: Timestamp,
    ) -> Result<Arc<App>, SubmitError> {
        let app =
            self.app(&notification.app).ok_or_else(|| SubmitError::UnknownApp(notification.app.clone()))?;
        match notification.to.len() {
            0 => return Err(SubmitError::EmptyAudience),
            given if given > Audience::MOST && notification.to != Audience::All => {
                return Err(SubmitError::AudienceTooLarge { given });
            }
            _ => {}
        }
        if notification.purpose == Purpose::Removal && notification.collapse_key.is_none() {
            return Err(SubmitError::NothingToRemove);
        }
        if notification.send_at.is_some_and(|at| at > now + Notification::MAX_TTL) {
            return Err(SubmitError::TooFarAhead);
        }
        // Longer ago than any notification lives, so it is a mistake. A nearer past is sent at once.
        if notification.send_at.is_some_and(|at| at < now - Notification::MAX_TTL) {
            return Err(SubmitError::TooLongAgo);
        }
        Ok(Arc::clone(app))
    }

    /// Plans. Counters that were raised stay raised when this fails for storage only.
    pub(super) async fn plan(
        &self,
        app: &App,
        input: PlanningInput<'_>,
    ) -> Result<PlanningOutput, SubmitError> {
        let notification = input.notification;
        let now = self.now();
        let (resolved, last) = self.resolve(input).await?;
        let users: HashSet<_> = resolved.devices.iter().filter_map(|device| device.user.clone()).collect();
        let PlanningInput { id, created_at, first_index, .. } = input;
        let request = PlanRequest {
            app,
            notification,
            id,
            created_at,
            first_index,
            mailroom: self.inner.mailroom.as_ref(),
        };
        let mut selection = select_recipients(request, now, resolved)?;
        let online = match (notification.ack_within, input.stage) {
            (Some(_), Stage::Fresh) => selection.take_online(),
            _ => Vec::new(),
        };
        let counted = selection.counted();
        let badges = self.raise_counters(notification, &counted).await?;
        match selection.compose_plan(request, &badges) {
            Ok(plan) => {
                self.report_warnings(notification, &plan.warnings);
                Ok(PlanningOutput { plan, counted, online, users: users.into_iter().collect(), last })
            }
            Err(error) => {
                self.lower_counters(notification, &counted).await;
                Err(error)
            }
        }
    }

    /// Raises the counters of these users, where the notification asks for it.
    async fn raise_counters(
        &self,
        notification: &Notification,
        users: &[UserId],
    ) -> Result<HashMap<UserId, u32>, StorageError> {
        match notification.badge {
            Some(Badge::Increment(by)) if !users.is_empty() => {
                let increment = Count::Raise(by.min(Badge::MOST_RAISE));
                self.inner.context.store.count(&notification.app, users, increment).await
            }
            _ => Ok(HashMap::new()),
        }
    }

    /// Takes back what was counted for a notification that was not taken.
    pub(super) async fn lower_counters(&self, notification: &Notification, users: &[UserId]) {
        let Some(Badge::Increment(by)) = notification.badge else { return };
        if users.is_empty() {
            return;
        }
        let decrement = Count::Lower(by.min(Badge::MOST_RAISE));
        if let Err(error) = self.inner.context.store.count(&notification.app, users, decrement).await {
            tracing::error!(app = %notification.app, %error, "a counter stays raised");
        }
    }

    /// Tells the operator what the caller is told.
    pub(super) fn report_warnings(&self, notification: &Notification, warnings: &[Warning]) {
        if warnings.contains(&Warning::UnknownProfile) {
            metrics::counter!("pushgate_unknown_profiles_total", "app" => notification.app.to_string())
                .increment(1);
            tracing::warn!(app = %notification.app, "a notification names a profile that is not configured; the default one was used");
        }
    }

    /// Looks the audience up: each device once, in a stable order. Of all devices one page, and where the next one begins.
    async fn resolve(
        &self,
        input: PlanningInput<'_>,
    ) -> Result<(ResolvedAudience, Option<DeviceId>), StorageError> {
        let (store, notification) = (&self.inner.context.store, input.notification);
        let (mut resolved, mut last) = (ResolvedAudience::default(), None);
        match &notification.to {
            Audience::Users(users) => {
                resolved.devices = store.devices_of(&notification.app, &without_duplicates(users)).await?;
                let reached: HashSet<_> = resolved.devices.iter().filter_map(|d| d.user.clone()).collect();
                let missing = without_duplicates(users).into_iter().filter(|user| !reached.contains(user));
                resolved.missing = missing
                    .map(|user| Skip { user: Some(user), device: None, reason: SkipReason::NoDevice })
                    .collect();
            }
            Audience::Devices(ids) => {
                let ids = without_duplicates(ids);
                resolved.devices = store.devices(&notification.app, &ids).await?;
                let known: HashSet<_> = resolved.devices.iter().map(|device| &device.id).collect();
                let missing = ids.iter().filter(|id| !known.contains(id)).cloned();
                let skip = |id| Skip { user: None, device: Some(id), reason: SkipReason::NoDevice };
                resolved.missing = missing.map(skip).collect();
            }
            Audience::Addresses(addresses) => resolved.addresses = without_duplicates(addresses),
            Audience::All => {
                resolved.devices = store.page(&notification.app, input.after, Audience::MAX).await?;
                if resolved.devices.len() == Audience::MAX {
                    last = resolved.devices.last().map(|device| device.id.clone());
                }
                resolved.devices.retain(|device| device.user.is_some());
            }
        }
        if input.stage == Stage::Unacknowledged {
            resolved.leave_out(input.acknowledged);
        }
        let users: HashSet<_> = resolved.devices.iter().filter_map(|device| device.user.clone()).collect();
        let users: Vec<_> = users.into_iter().collect();
        if !users.is_empty() {
            if notification.when == When::Offline || input.stage == Stage::Unacknowledged {
                resolved.online = self.inner.presence.connections_of(&notification.app, &users).await;
            }
            resolved.rules = store.rules(&notification.app, &users).await?;
        }
        Ok((resolved, last))
    }
}

fn without_duplicates<T: Clone + Eq + Hash>(all: &[T]) -> Vec<T> {
    let mut seen = HashSet::new();
    all.iter().filter(|item| seen.insert((*item).clone())).cloned().collect()
}
