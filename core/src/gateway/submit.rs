//! Submission of a notification: plans it, stores it, and passes its deliveries to the lanes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::Gateway;
use super::idempotency::idempotency;
use super::planning::{PlanningInput, PlanningOutput};
use crate::app::App;
use crate::channel::Rendered;
use crate::ids::{AppId, ChannelName, NotificationId};
use crate::notification::{Audience, Notification};
use crate::observe::Event;
use crate::plan::Warning;
use crate::queue::{Admission, Admitted, Entry, Lease};
use crate::receipt::Skip;
use crate::store::StorageError;
use crate::template::TemplateError;
use crate::timestamp::Timestamp;

/// Result of an accepted submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// Id of the notification.
    pub id: NotificationId,
    /// Number of addresses it is sent to.
    pub accepted: usize,
    /// Number of online devices that get time to acknowledge it before they are pushed to.
    pub awaiting_ack: usize,
    /// Number of audience batches that are planned later. Their addresses are not counted in `accepted`.
    pub deferred_batches: usize,
    /// Recipients that get nothing, with the reason.
    pub skipped: Vec<Skip>,
    /// `true` if an earlier request under the same idempotency key was accepted. Then nothing new was stored.
    pub replayed: bool,
    /// Problems that did not prevent acceptance.
    pub warnings: Vec<Warning>,
}

/// Message that one channel would send, in one language.
#[derive(Debug, Clone)]
pub struct Preview {
    /// Name of the channel.
    pub channel: ChannelName,
    /// Number of addresses it would be sent to.
    pub targets: usize,
    /// Rendered message, without an address.
    pub rendered: Rendered,
    /// Maximum size that the channel can carry, in bytes.
    pub max_bytes: usize,
    /// `true` if the title or the content was cut to fit.
    pub truncated: bool,
}

/// Reason why a notification was rejected. Nothing of it is stored.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// This gateway does not serve the app.
    #[error("unknown app `{0}`; check the app's id and the configuration")]
    UnknownApp(AppId),
    /// An address names a channel that the app does not have.
    #[error("the app has no channel `{0}`; check the address and the app's channels")]
    UnknownChannel(ChannelName),
    /// The channel can never send to the address.
    #[error("invalid address for channel `{channel}`: {reason}")]
    BadAddress {
        /// Channel of the address.
        channel: ChannelName,
        /// Reason, with the expected form of an address.
        reason: String,
    },
    /// The audience names nobody.
    #[error("the audience is empty; name at least one user, device or address")]
    EmptyAudience,
    /// The audience names too many users, devices or addresses.
    #[error(
        "the audience has {given} entries; submit at most {} at once, and preview at most {}",
        Audience::MAX_RECIPIENTS,
        Audience::BATCH_SIZE
    )]
    AudienceTooLarge {
        /// Number of entries in the audience.
        given: usize,
    },
    /// The notification has neither title nor content and is not silent.
    #[error("title and content are both empty; give one of them, or make the notification silent")]
    NothingToShow,
    /// The channel cannot carry the notification, even with an empty content.
    #[error(
        "the notification needs {needs} bytes on channel `{channel}`, which carries {limit}; shorten the payload, which is never cut"
    )]
    TooLarge {
        /// Name of the channel.
        channel: ChannelName,
        /// Size of the message with an empty content, in bytes.
        needs: usize,
        /// Maximum size that the channel can carry, in bytes.
        limit: usize,
    },
    /// A removal has no collapse key, which selects what it removes.
    #[error("a removal needs a collapse key; give the one of the notification to remove")]
    MissingCollapseKey,
    /// `send_at` is further in the future than [`Notification::MAX_TTL`].
    #[error("send_at is more than four weeks ahead; submit the notification later")]
    TooFarAhead,
    /// `send_at` is further in the past than [`Notification::MAX_TTL`].
    #[error("send_at is more than four weeks ago; leave it out to send at once")]
    TooLongAgo,
    /// The template is unknown or cannot be rendered.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The idempotency key was used for a different request.
    #[error(
        "the idempotency key was used for another notification ({id}); use a new key for a new notification"
    )]
    KeyReused {
        /// Notification of the earlier request.
        id: NotificationId,
    },
    /// The gateway is shutting down.
    #[error("the gateway is shutting down; try again in a moment")]
    ShuttingDown,
    /// Storage failed, and the notification was not accepted.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Gateway {
    /// Accepts a notification. It is on stable storage when this returns.
    ///
    /// A notification with a `send_at` in the future is planned at that time. One for more than [`Audience::BATCH_SIZE`] recipients is
    /// planned in batches.
    ///
    /// # Errors
    /// [`SubmitError`]. Then nothing of the notification is stored.
    pub async fn submit(&self, notification: Notification) -> Result<Ticket, SubmitError> {
        let context = &self.inner.context;
        if context.closing.is_cancelled() {
            return Err(SubmitError::ShuttingDown);
        }
        if let Some(ticket) = self.find_replay(&notification).await? {
            return Ok(ticket);
        }
        let (id, now) = (NotificationId::new(), context.clock.now());
        let app = self.validate(&notification, now)?;
        if notification.to.len() > Audience::BATCH_SIZE || notification.send_at.is_some_and(|at| at > now) {
            return self.submit_deferred(&app, notification, id, now).await;
        }
        let input = PlanningInput::new(&notification, id, now);
        let output = self.plan(&app, input).await?;
        let withdrawal = self.withdrawal(&notification, id, &output.users);
        let PlanningOutput { plan, badge_users, online, .. } = output;
        let accepted = plan.targets();
        context.notify_observers(&Event::Planned {
            id,
            accepted,
            skipped: plan.skipped.len(),
            at: context.clock.now(),
        });
        let awaiting_ack = online.len();
        let deferred_plan = self.unacknowledged_plan(&notification, online, now);
        let skipped = plan.skipped.clone();
        let admission =
            Admission { skipped, deferred_plan, withdrawal, ..self.admission(&notification, id, now) };
        let admitted = self.admit(&app, admission, plan.deliveries).await;
        if !matches!(admitted, Ok(Admitted::New)) {
            self.lower_counters(&notification, &badge_users).await;
        }
        let (skipped, warnings) = (plan.skipped, plan.warnings);
        let ticket =
            Ticket { id, accepted, awaiting_ack, deferred_batches: 0, skipped, replayed: false, warnings };
        self.ticket(&notification, admitted?, ticket).await
    }

    /// Returns the admission of a notification without deliveries, skips, deferred plan or withdrawal.
    pub(super) fn admission(
        &self,
        notification: &Notification,
        id: NotificationId,
        now: Timestamp,
    ) -> Admission {
        let ttl = notification.ttl.unwrap_or(Notification::DEFAULT_TTL);
        Admission {
            id,
            app: notification.app.clone(),
            idempotency: idempotency(notification),
            created_at: now,
            keep_until: notification.send_at.unwrap_or(now).max(now) + self.inner.retention.max(ttl),
            skipped: Vec::new(),
            tag: notification.tag(),
            entries: Vec::new(),
            deferred_plan: None,
            withdrawal: None,
        }
    }

    /// Stores a notification and passes its deliveries to the lanes.
    ///
    /// Runs in a task of its own. If the caller disconnects meanwhile, the lanes still get what was stored.
    pub(super) async fn admit(
        &self,
        app: &Arc<App>,
        mut admission: Admission,
        deliveries: Vec<crate::Delivery>,
    ) -> Result<Admitted, StorageError> {
        let (gateway, app) = (self.clone(), Arc::clone(app));
        let store = async move {
            let (entries, reserved_permits) = gateway.reserve(&admission.app, &app, deliveries);
            admission.entries = entries;
            gateway.store_and_begin(&app, admission, reserved_permits).await
        };
        let admitted = self.inner.context.tasks.spawn(store).await;
        admitted.map_err(|error| StorageError::new("accepting a notification", error))?
    }

    /// Stores a notification. Starts the deliveries that have a permit, and notifies the lanes of the others.
    async fn store_and_begin(
        &self,
        app: &App,
        admission: Admission,
        reserved_permits: Vec<(OwnedSemaphorePermit, usize)>,
    ) -> Result<Admitted, StorageError> {
        let context = &self.inner.context;
        let (id, app_id) = (admission.id, admission.app.clone());
        let entries = &admission.entries;
        let reserved: Vec<_> = reserved_permits
            .into_iter()
            .map(|(permit, index)| (permit, entries[index].delivery.clone()))
            .collect();
        let waiting: HashSet<_> = entries
            .iter()
            .filter(|entry| entry.held_by.is_none())
            .map(|entry| entry.delivery.channel.clone())
            .collect();
        let (has_deferred_plan, withdrawal) =
            (admission.deferred_plan.is_some(), admission.withdrawal.clone());
        let admitted = context.queue.admit(admission).await?;
        if admitted != Admitted::New {
            return Ok(admitted);
        }
        withdrawal.into_iter().for_each(|withdrawal| context.revalidator.withdraw(withdrawal));
        context.notify_observers(&Event::Stored { id, at: context.clock.now() });
        if has_deferred_plan {
            self.inner.deferred_due.notify_one();
        }
        for (permit, delivery) in reserved {
            if let Some(lane) = self.lane(&app_id, app, &delivery.channel) {
                lane.spawn_attempt(Lease { delivery, epoch: 1 }, permit);
            }
        }
        for channel in waiting {
            if let Some(lane) = self.lane(&app_id, app, &channel) {
                lane.notify_backlog();
            }
        }
        Ok(admitted)
    }

    /// Returns the messages that would be sent for a notification, by channel and language, and the recipients skipped.
    ///
    /// Nothing is stored or sent.
    ///
    /// # Errors
    /// The same as for [`Gateway::submit`].
    pub async fn preview(
        &self,
        notification: &Notification,
    ) -> Result<(Vec<Preview>, Vec<Skip>), SubmitError> {
        let now = self.now();
        let app = self.validate(notification, now)?;
        if notification.to.len() > Audience::BATCH_SIZE && notification.to != Audience::All {
            return Err(SubmitError::AudienceTooLarge { given: notification.to.len() });
        }
        let output = self.plan(&app, PlanningInput::new(notification, NotificationId::new(), now)).await?;
        self.lower_counters(notification, &output.badge_users).await;
        let plan = output.plan;
        let mut previews: Vec<Preview> = Vec::new();
        let mut last: Option<*const crate::Message> = None;
        for delivery in &plan.deliveries {
            let Some(installed) = app.channels().get(&delivery.channel) else { continue };
            let message = Arc::as_ptr(&delivery.message);
            if last == Some(message)
                && let Some(preview) = previews.last_mut()
            {
                preview.targets += delivery.targets.len();
                continue;
            }
            last = Some(message);
            let content = &delivery.message.content;
            let title = &delivery.message.title;
            let is_truncated = |sent: &crate::Secret, submitted: &Option<crate::Secret>| {
                submitted.as_ref().is_some_and(|submitted| submitted != sent)
            };
            previews.push(Preview {
                channel: delivery.channel.clone(),
                targets: delivery.targets.len(),
                rendered: installed.channel.render(&delivery.message),
                max_bytes: installed.channel.info().capability.max_bytes,
                truncated: is_truncated(content, &notification.content)
                    || is_truncated(title, &notification.title)
                    || (notification.template.is_some() && content.expose().ends_with('…')),
            });
        }
        Ok((previews, plan.skipped))
    }

    /// Reserves space in the memory of the lanes. Deliveries without a permit wait in the queue.
    ///
    /// Returns a queue entry for each delivery, and the permits with the index of their entry.
    fn reserve(
        &self,
        id: &AppId,
        app: &App,
        deliveries: Vec<crate::Delivery>,
    ) -> (Vec<Entry>, Vec<(OwnedSemaphorePermit, usize)>) {
        let due = self.now();
        let mut lanes = HashMap::new();
        let mut reserved_permits = Vec::new();
        let mut entries = Vec::with_capacity(deliveries.len());
        for (index, delivery) in deliveries.into_iter().enumerate() {
            let lane = lanes
                .entry(delivery.channel.clone())
                .or_insert_with(|| self.lane(id, app, &delivery.channel));
            let permit = lane.as_ref().and_then(|lane| lane.try_reserve(1));
            let held_by = permit.is_some().then_some(self.inner.context.node);
            reserved_permits.extend(permit.map(|permit| (permit, index)));
            entries.push(Entry { delivery, due, held_by });
        }
        (entries, reserved_permits)
    }
}
