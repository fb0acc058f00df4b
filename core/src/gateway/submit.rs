//! Taking a notification: look up the audience, plan, store, and hand to the lanes what there is room for.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::Gateway;
use super::idempotency::idempotency;
use super::planning::{PlanningInput, PlanningOutput};
use crate::app::App;
use crate::channel::Rendered;
use crate::notification::{Audience, Notification};
use crate::observe::Event;
use crate::plan::Warning;
use crate::queue::{Admission, Admitted, Entry, Lease};
use crate::receipt::Skip;
use crate::store::StorageError;
use crate::template::TemplateError;
use crate::words::{AppId, ChannelName, NotificationId, Timestamp};

/// What a caller gets for a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// Its id.
    pub id: NotificationId,
    /// How many addresses it goes to.
    pub accepted: usize,
    /// How many devices that are online are given time to acknowledge it.
    pub awaiting: usize,
    /// How many parts of its audience are planned later: nothing is known of them yet.
    pub parts: usize,
    /// Who gets nothing, and why.
    pub skipped: Vec<Skip>,
    /// It was asked for before under the same key; nothing new was stored.
    pub replayed: bool,
    /// What the caller should know although it was taken.
    pub warnings: Vec<Warning>,
}

/// What one channel would send.
#[derive(Debug, Clone)]
pub struct Preview {
    /// Which channel.
    pub channel: ChannelName,
    /// To how many addresses.
    pub targets: usize,
    /// What, without an address.
    pub rendered: Rendered,
    /// How many bytes of it the channel can carry.
    pub max_bytes: usize,
    /// Title or content were cut to fit.
    pub truncated: bool,
}

/// Why a notification was not taken. Nothing of it is stored.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// This gateway does not serve the app.
    #[error("there is no app `{0}`")]
    UnknownApp(AppId),
    /// An address names a channel that the app does not have.
    #[error("the app has no channel `{0}`")]
    UnknownChannel(ChannelName),
    /// An address is none that its channel could ever send to.
    #[error("an address for channel `{channel}` is not right: {why}")]
    BadAddress {
        /// Which channel.
        channel: ChannelName,
        /// What would be right.
        why: String,
    },
    /// Nobody is named.
    #[error("the audience is empty; name at least one user, device or address")]
    EmptyAudience,
    /// Too many are named.
    #[error(
        "the audience names {given}; at most {} are taken at once, {} are previewed",
        Audience::MOST,
        Audience::MAX
    )]
    AudienceTooLarge {
        /// So many.
        given: usize,
    },
    /// Neither title nor content, and not silent.
    #[error("title and content are both empty; give one of them, or make the notification silent")]
    NothingToShow,
    /// It cannot be carried, even with an empty content.
    #[error(
        "it needs {needs} bytes on channel `{channel}`, which carries {limit}; shorten the payload, which is never cut"
    )]
    TooLarge {
        /// On which channel.
        channel: ChannelName,
        /// So many bytes.
        needs: usize,
        /// So many are carried.
        limit: usize,
    },
    /// A removal says what is to be removed by its collapse key.
    #[error("a removal needs the collapse key of what it removes")]
    NothingToRemove,
    /// It is to be sent too far ahead.
    #[error("send_at: it is more than four weeks ahead; keep the notification until then")]
    TooFarAhead,
    /// `send_at` is further in the past than [`Notification::MAX_TTL`].
    #[error("send_at: it is more than four weeks ago; leave it out to send at once")]
    TooLongAgo,
    /// The template cannot be filled.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The key was used for something else.
    #[error(
        "the idempotency key was used for another notification ({id}); use a new key for a new notification"
    )]
    KeyReused {
        /// That one.
        id: NotificationId,
    },
    /// The gateway is going down.
    #[error("the gateway is shutting down; try again in a moment")]
    ShuttingDown,
    /// Storage failed; it was not taken.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Gateway {
    /// Takes a notification. When this returns, it is on stable storage.
    ///
    /// One for later, or for more than [`Audience::MAX`], is planned when its time comes, piece by piece.
    ///
    /// # Errors
    /// [`SubmitError`]; then nothing of it is stored.
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
        if notification.to.len() > Audience::MAX || notification.send_at.is_some_and(|at| at > now) {
            return self.submit_deferred(&app, notification, id, now).await;
        }
        let input = PlanningInput::new(&notification, id, now);
        let output = self.plan(&app, input).await?;
        let withdrawal = self.withdrawal(&notification, id, &output.users);
        let PlanningOutput { plan, counted, online, .. } = output;
        let accepted = plan.targets();
        context.notify_observers(&Event::Planned {
            id,
            accepted,
            skipped: plan.skipped.len(),
            at: context.clock.now(),
        });
        let awaiting = online.len();
        let later = self.unacknowledged_plan(&notification, online, now);
        let skipped = plan.skipped.clone();
        let admission = Admission { skipped, later, withdrawal, ..self.admission(&notification, id, now) };
        let admitted = self.admit(&app, admission, plan.deliveries).await;
        if !matches!(admitted, Ok(Admitted::New)) {
            self.lower_counters(&notification, &counted).await;
        }
        let (skipped, warnings) = (plan.skipped, plan.warnings);
        let ticket = Ticket { id, accepted, awaiting, parts: 0, skipped, replayed: false, warnings };
        self.ticket(&notification, admitted?, ticket).await
    }

    /// What is kept of a notification whatever becomes of it.
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
            keep_until: notification.send_at.unwrap_or(now).max(now) + self.inner.keep.max(ttl),
            skipped: Vec::new(),
            tag: notification.tag(),
            entries: Vec::new(),
            later: None,
            withdrawal: None,
        }
    }

    /// Stores a notification, in a task of its own: a caller may hang up meanwhile, and what is stored then still has to go
    /// to its lanes.
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

    /// Stores a notification and hands its lanes what is held for them.
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
        let (later, withdrawal) = (admission.later.is_some(), admission.withdrawal.clone());
        let admitted = context.queue.admit(admission).await?;
        if admitted != Admitted::New {
            return Ok(admitted);
        }
        withdrawal.into_iter().for_each(|withdrawal| context.revalidator.withdraw(withdrawal));
        context.notify_observers(&Event::Stored { id, at: context.clock.now() });
        if later {
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

    /// What would be sent for a notification, by channel and language. Nothing is stored or sent.
    ///
    /// # Errors
    /// As for [`Gateway::submit`].
    pub async fn preview(
        &self,
        notification: &Notification,
    ) -> Result<(Vec<Preview>, Vec<Skip>), SubmitError> {
        let now = self.now();
        let app = self.validate(notification, now)?;
        if notification.to.len() > Audience::MAX && notification.to != Audience::All {
            return Err(SubmitError::AudienceTooLarge { given: notification.to.len() });
        }
        let output = self.plan(&app, PlanningInput::new(notification, NotificationId::new(), now)).await?;
        self.lower_counters(notification, &output.counted).await;
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

    /// Room in the lanes' memory for as many deliveries as there is; what finds none waits in the queue.
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
