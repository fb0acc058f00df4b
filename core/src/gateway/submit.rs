//! Taking a notification: look up the audience, plan, store, and hand to the lanes what there is room for.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::Gateway;
use crate::app::App;
use crate::channel::Rendered;
use crate::notification::{Audience, Badge, Notification, Purpose, When};
use crate::observe::Event;
use crate::plan::{Ask, Plan, Resolved, Warning, choose};
use crate::queue::{Admission, Admitted, Entry, Idempotency, Lease};
use crate::receipt::{Skip, SkipReason};
use crate::store::{Count, StorageError};
use crate::template::TemplateError;
use crate::words::{AppId, ChannelName, NotificationId, UserId};

/// What a caller gets for a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// Its id.
    pub id: NotificationId,
    /// How many addresses it goes to.
    pub accepted: usize,
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
    #[error("the audience names {given}; at most {} are taken at once", Audience::MAX)]
    AudienceTooLarge {
        /// So many.
        given: usize,
    },
    /// Neither title nor content, and not silent.
    #[error("title and content are both empty; give one of them, or ask for a silent notification")]
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
    /// The template cannot be filled.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The key was used for something else.
    #[error("the idempotency key was used for another notification ({id}); use a new key for a new question")]
    KeyReused {
        /// That one.
        id: NotificationId,
    },
    /// The gateway is going down.
    #[error("the gateway is shutting down; ask again in a moment")]
    ShuttingDown,
    /// Storage failed; it was not taken.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Gateway {
    /// Takes a notification. When this returns, it is on stable storage.
    ///
    /// # Errors
    /// [`SubmitError`]; then nothing of it is stored.
    pub async fn submit(&self, asked: Notification) -> Result<Ticket, SubmitError> {
        let shop = &self.inner.shop;
        if shop.closing.is_cancelled() {
            return Err(SubmitError::ShuttingDown);
        }
        let (id, now) = (NotificationId::new(), shop.clock.now());
        let (app, plan, counted) = self.planned(&asked, id).await?;
        let accepted = plan.targets();
        shop.tell(&Event::Planned { id, accepted, skipped: plan.skipped.len(), at: shop.clock.now() });
        let idempotency =
            asked.idempotency_key.clone().map(|key| Idempotency { key, fingerprint: fingerprint(&asked) });
        let fingerprint = idempotency.as_ref().map(|i| i.fingerprint);
        let keep_until = now + self.inner.keep.max(asked.ttl.unwrap_or(Notification::DEFAULT_TTL));
        let deliveries = plan.deliveries;
        let skipped = plan.skipped.clone();
        let (gateway, app_id) = (self.clone(), asked.app.clone());
        let store = async move {
            let (entries, held) = gateway.reserve(&app_id, &app, deliveries);
            let admission =
                Admission { id, app: app_id, idempotency, created_at: now, keep_until, skipped, entries };
            gateway.keep(&app, admission, held).await
        };
        // A caller may hang up while it is stored; what is stored then still has to go to its lane.
        let admitted = shop.tasks.spawn(store).await;
        let admitted = admitted.map_err(|error| StorageError::new("accepting a notification", error))?;
        if !matches!(admitted, Ok(Admitted::New)) {
            self.uncount(&asked, &counted).await;
        }
        match admitted? {
            Admitted::New => {
                Ok(Ticket { id, accepted, skipped: plan.skipped, replayed: false, warnings: plan.warnings })
            }
            Admitted::Known { id, fingerprint: asked_then } if Some(asked_then) == fingerprint => {
                self.replayed(&asked.app, id).await
            }
            Admitted::Known { id, .. } => Err(SubmitError::KeyReused { id }),
        }
    }

    /// Stores a notification and hands its lanes what is held for them.
    async fn keep(
        &self,
        app: &App,
        admission: Admission,
        held: Vec<(OwnedSemaphorePermit, usize)>,
    ) -> Result<Admitted, StorageError> {
        let shop = &self.inner.shop;
        let (id, app_id) = (admission.id, admission.app.clone());
        let entries = &admission.entries;
        let begun: Vec<_> = held.into_iter().map(|(room, at)| (room, entries[at].delivery.clone())).collect();
        let waiting: HashSet<_> = entries
            .iter()
            .filter(|entry| entry.held_by.is_none())
            .map(|entry| entry.delivery.channel.clone())
            .collect();
        let admitted = shop.queue.admit(admission).await?;
        if admitted != Admitted::New {
            return Ok(admitted);
        }
        shop.tell(&Event::Stored { id, at: shop.clock.now() });
        for (room, delivery) in begun {
            if let Some(lane) = self.lane(&app_id, app, &delivery.channel) {
                lane.begin(Lease { delivery, epoch: 1 }, room);
            }
        }
        for channel in waiting {
            if let Some(lane) = self.lane(&app_id, app, &channel) {
                lane.nudge();
            }
        }
        Ok(admitted)
    }

    /// What would be sent for a notification, by channel and language. Nothing is stored or sent.
    ///
    /// # Errors
    /// As for [`Gateway::submit`].
    pub async fn preview(&self, asked: &Notification) -> Result<(Vec<Preview>, Vec<Skip>), SubmitError> {
        let (app, plan, counted) = self.planned(asked, NotificationId::new()).await?;
        self.uncount(asked, &counted).await;
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
            let cut = |now: &crate::Secret, then: &Option<crate::Secret>| {
                then.as_ref().is_some_and(|then| then != now)
            };
            previews.push(Preview {
                channel: delivery.channel.clone(),
                targets: delivery.targets.len(),
                rendered: installed.channel.render(&delivery.message),
                max_bytes: installed.channel.info().capability.max_bytes,
                truncated: cut(content, &asked.content)
                    || cut(title, &asked.title)
                    || (asked.template.is_some() && content.expose().ends_with('…')),
            });
        }
        Ok((previews, plan.skipped))
    }

    /// The plan, and the users whose counters were raised for it.
    async fn planned(
        &self,
        asked: &Notification,
        id: NotificationId,
    ) -> Result<(Arc<App>, Plan, Vec<UserId>), SubmitError> {
        let app = self.app(&asked.app).ok_or_else(|| SubmitError::UnknownApp(asked.app.clone()))?;
        match asked.to.len() {
            0 => return Err(SubmitError::EmptyAudience),
            given if given > Audience::MAX => return Err(SubmitError::AudienceTooLarge { given }),
            _ => {}
        }
        if asked.purpose == Purpose::Removal && asked.collapse_key.is_none() {
            return Err(SubmitError::NothingToRemove);
        }
        let now = self.now();
        let ask = Ask { app, asked, id, created_at: now, first_index: 0 };
        let chosen = choose(ask, now, self.resolve(asked).await?)?;
        let counted = chosen.counted();
        let badges = self.raised(asked, &counted).await?;
        match chosen.fill(ask, &badges) {
            Ok(plan) => {
                self.warn(asked, &plan);
                Ok((Arc::clone(app), plan, counted))
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
    async fn uncount(&self, asked: &Notification, users: &[UserId]) {
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
    fn warn(&self, asked: &Notification, plan: &Plan) {
        if plan.warnings.contains(&Warning::UnknownProfile) {
            metrics::counter!("pushgate_unknown_profiles_total", "app" => asked.app.to_string()).increment(1);
            tracing::warn!(app = %asked.app, "a notification names a profile that is not configured; the default one was used");
        }
    }

    /// Looks the audience up: each device once, in a stable order.
    async fn resolve(&self, asked: &Notification) -> Result<Resolved, StorageError> {
        let store = &self.inner.shop.store;
        let mut resolved = Resolved::default();
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
        }
        let users: HashSet<_> = resolved.devices.iter().filter_map(|device| device.user.clone()).collect();
        let users: Vec<_> = users.into_iter().collect();
        if !users.is_empty() {
            if asked.when == When::Offline {
                resolved.online = self.inner.presence.connections_of(&asked.app, &users).await;
            }
            resolved.rules = store.rules(&asked.app, &users).await?;
        }
        Ok(resolved)
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
        let mut held = Vec::new();
        let mut entries = Vec::with_capacity(deliveries.len());
        for (at, delivery) in deliveries.into_iter().enumerate() {
            let lane = lanes
                .entry(delivery.channel.clone())
                .or_insert_with(|| self.lane(id, app, &delivery.channel));
            let room = lane.as_ref().and_then(|lane| lane.room(1));
            let held_by = room.is_some().then_some(self.inner.shop.node);
            held.extend(room.map(|room| (room, at)));
            entries.push(Entry { delivery, due, held_by });
        }
        (entries, held)
    }

    /// The ticket of a notification that was asked for before.
    async fn replayed(&self, app: &AppId, id: NotificationId) -> Result<Ticket, SubmitError> {
        let status = self.status(app, id).await?;
        let (accepted, skipped) =
            status.map_or_else(Default::default, |status| (status.receipts.len(), status.skipped));
        Ok(Ticket { id, accepted, skipped, replayed: true, warnings: Vec::new() })
    }
}

fn once<T: Clone + Eq + Hash>(all: &[T]) -> Vec<T> {
    let mut seen = HashSet::new();
    all.iter().filter(|one| seen.insert((*one).clone())).cloned().collect()
}

/// Tells the same question from another one under the same key. Not a secret and not a signature: a slip-up detector.
fn fingerprint(asked: &Notification) -> u64 {
    let mut hasher = DefaultHasher::new();
    // Its serde form is in the order of its fields, and so the same for the same question.
    serde_json::to_string(asked).unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}
