//! Plans a notification: resolves the audience, reads presence and rules, and raises badge counters.
//!
//! Only badge counters are written here. The caller stores the plan.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use super::{Gateway, SubmitError};
use crate::app::App;
use crate::ids::{DeviceId, NotificationId, UserId};
use crate::notification::{Audience, Badge, Notification, Purpose, When};
use crate::plan::{Plan, PlanRequest, ResolvedAudience, Warning, select_recipients};
use crate::queue::Stage;
use crate::receipt::{Skip, SkipReason};
use crate::store::{Count, StorageError};
use crate::timestamp::Timestamp;

/// Notification, or batch of its audience, that is planned now.
#[derive(Clone, Copy)]
pub(super) struct PlanningInput<'a> {
    pub(super) notification: &'a Notification,
    pub(super) id: NotificationId,
    /// Start of its time to live.
    pub(super) created_at: Timestamp,
    pub(super) first_index: u32,
    pub(super) stage: Stage,
    /// Users who have acknowledged the notification.
    pub(super) acknowledged: &'a [UserId],
    /// For [`Audience::All`]: the device after which this batch starts. `None` means the first batch.
    pub(super) after: Option<&'a DeviceId>,
}

impl<'a> PlanningInput<'a> {
    /// Returns the input for a notification that is planned at once and whole.
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

/// Result of planning one [`PlanningInput`].
pub(super) struct PlanningOutput {
    pub(super) plan: Plan,
    /// Users whose badge counters were raised.
    pub(super) badge_users: Vec<UserId>,
    /// Online devices that get time to acknowledge the notification before they are pushed to.
    pub(super) online: Vec<DeviceId>,
    /// Users of the resolved devices.
    pub(super) users: Vec<UserId>,
    /// For [`Audience::All`]: the last device that was read. `None` means that there are no more.
    pub(super) last: Option<DeviceId>,
}

impl Gateway {
    /// Checks the parts of a notification that need no lookup. Returns the app that serves it.
    pub(super) fn validate(
        &self,
        notification: &Notification,
        now: Timestamp,
    ) -> Result<Arc<App>, SubmitError> {
        let app =
            self.app(&notification.app).ok_or_else(|| SubmitError::UnknownApp(notification.app.clone()))?;
        match notification.to.len() {
            0 => return Err(SubmitError::EmptyAudience),
            given if given > Audience::MAX_RECIPIENTS && notification.to != Audience::All => {
                return Err(SubmitError::AudienceTooLarge { given });
            }
            _ => {}
        }
        if notification.purpose == Purpose::Removal && notification.collapse_key.is_none() {
            return Err(SubmitError::MissingCollapseKey);
        }
        if notification.send_at.is_some_and(|at| at > now + Notification::MAX_TTL) {
            return Err(SubmitError::TooFarAhead);
        }
        // No notification lives that long, so the time is a mistake. One in the nearer past is sent at once.
        if notification.send_at.is_some_and(|at| at < now - Notification::MAX_TTL) {
            return Err(SubmitError::TooLongAgo);
        }
        Ok(Arc::clone(app))
    }

    /// Plans a notification. If the plan cannot be composed, counters that were raised are lowered again.
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
            token_signer: self.inner.token_signer.as_ref(),
        };
        let mut selection = select_recipients(request, now, resolved)?;
        let online = match (notification.ack_within, input.stage) {
            (Some(_), Stage::Fresh) => selection.take_online_devices(),
            _ => Vec::new(),
        };
        let badge_users = selection.badge_users();
        let badges = self.raise_counters(notification, &badge_users).await?;
        match selection.compose_plan(request, &badges) {
            Ok(plan) => {
                self.report_warnings(notification, &plan.warnings);
                Ok(PlanningOutput { plan, badge_users, online, users: users.into_iter().collect(), last })
            }
            Err(error) => {
                self.lower_counters(notification, &badge_users).await;
                Err(error)
            }
        }
    }

    /// Raises the badge counters of these users if the notification increments them. Returns the new values.
    async fn raise_counters(
        &self,
        notification: &Notification,
        users: &[UserId],
    ) -> Result<HashMap<UserId, u32>, StorageError> {
        match notification.badge {
            Some(Badge::Increment(by)) if !users.is_empty() => {
                let increment = Count::Raise(by.min(Badge::MAX_INCREMENT));
                self.inner.context.store.count(&notification.app, users, increment).await
            }
            _ => Ok(HashMap::new()),
        }
    }

    /// Lowers the badge counters that were raised for a notification that was not accepted.
    pub(super) async fn lower_counters(&self, notification: &Notification, users: &[UserId]) {
        let Some(Badge::Increment(by)) = notification.badge else { return };
        if users.is_empty() {
            return;
        }
        let decrement = Count::Lower(by.min(Badge::MAX_INCREMENT));
        if let Err(error) = self.inner.context.store.count(&notification.app, users, decrement).await {
            tracing::error!(app = %notification.app, %error, "badge counters cannot be lowered; they stay raised until the app sets them");
        }
    }

    /// Reports the caller's warnings to the operator, by metric and log.
    pub(super) fn report_warnings(&self, notification: &Notification, warnings: &[Warning]) {
        if warnings.contains(&Warning::UnknownProfile) {
            metrics::counter!("pushgate_unknown_profiles_total", "app" => notification.app.to_string())
                .increment(1);
            tracing::warn!(app = %notification.app, "a notification names a profile that is not configured; the default one was used");
        }
    }

    /// Resolves the audience: each device once, in a stable order.
    ///
    /// For [`Audience::All`] it reads one page and also returns the last device read, if there may be more.
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
                resolved.devices = store.page(&notification.app, input.after, Audience::BATCH_SIZE).await?;
                if resolved.devices.len() == Audience::BATCH_SIZE {
                    last = resolved.devices.last().map(|device| device.id.clone());
                }
                resolved.devices.retain(|device| device.user.is_some());
            }
        }
        if input.stage == Stage::Unacknowledged {
            resolved.skip_acknowledged(input.acknowledged);
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

/// Returns the items in their order, each of them once.
fn without_duplicates<T: Clone + Eq + Hash>(all: &[T]) -> Vec<T> {
    let mut seen = HashSet::new();
    all.iter().filter(|item| seen.insert((*item).clone())).cloned().collect()
}
