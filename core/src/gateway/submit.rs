//! Taking a notification: look up the audience, plan, store, and hand to the lanes what there is room for.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use tokio::sync::OwnedSemaphorePermit;

use super::Gateway;
use crate::app::App;
use crate::channel::Rendered;
use crate::device::Device;
use crate::notification::{Audience, Notification, When};
use crate::observe::Event;
use crate::plan::{Plan, Resolved, plan};
use crate::queue::{Admission, Admitted, Entry, Idempotency, Lease};
use crate::receipt::{Skip, SkipReason};
use crate::store::StorageError;
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
        let (app, plan) = self.planned(&asked, id).await?;
        let accepted = plan.targets();
        shop.tell(&Event::Planned { id, accepted, skipped: plan.skipped.len(), at: shop.clock.now() });
        let idempotency =
            asked.idempotency_key.clone().map(|key| Idempotency { key, fingerprint: fingerprint(&asked) });
        let fingerprint = idempotency.as_ref().map(|i| i.fingerprint);
        let keep_until = now + self.inner.keep.max(asked.ttl);
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
        let admitted = admitted.map_err(|error| StorageError::new("accepting a notification", error))??;
        match admitted {
            Admitted::New => Ok(Ticket { id, accepted, skipped: plan.skipped, replayed: false }),
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
        let (app, plan) = self.planned(asked, NotificationId::new()).await?;
        let mut previews: Vec<Preview> = Vec::new();
        let mut last: Option<*const crate::Message> = None;
        for delivery in &plan.deliveries {
            let Some(installed) = app.channels().get(&delivery.channel) else { continue };
            let message = std::sync::Arc::as_ptr(&delivery.message);
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

    async fn planned(
        &self,
        asked: &Notification,
        id: NotificationId,
    ) -> Result<(std::sync::Arc<App>, Plan), SubmitError> {
        let app = self.app(&asked.app).ok_or_else(|| SubmitError::UnknownApp(asked.app.clone()))?;
        match asked.to.len() {
            0 => return Err(SubmitError::EmptyAudience),
            given if given > Audience::MAX => return Err(SubmitError::AudienceTooLarge { given }),
            _ => {}
        }
        let resolved = self.resolve(asked).await?;
        Ok((std::sync::Arc::clone(app), plan(app, asked, id, self.now(), resolved)?))
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
                for id in once(ids) {
                    match store.device(&asked.app, &id).await? {
                        Some(device) => resolved.devices.push(device),
                        None => resolved.missing.push(Skip {
                            user: None,
                            device: Some(id),
                            reason: SkipReason::NoDevice,
                        }),
                    }
                }
            }
            Audience::Addresses(addresses) => resolved.addresses = once(addresses),
        }
        if asked.when == When::Offline {
            resolved.online = self.online(&asked.app, &resolved.devices).await;
        }
        Ok(resolved)
    }

    async fn online(&self, app: &AppId, devices: &[Device]) -> HashSet<UserId> {
        let users: HashSet<_> = devices.iter().filter_map(|device| device.user.clone()).collect();
        let mut online = HashSet::new();
        for user in users {
            if !self.inner.presence.online_on(app, &user).await.is_empty() {
                online.insert(user);
            }
        }
        online
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
        Ok(Ticket { id, accepted, skipped, replayed: true })
    }
}

fn once<T: Clone + Eq + Hash>(all: &[T]) -> Vec<T> {
    let mut seen = HashSet::new();
    all.iter().filter(|one| seen.insert((*one).clone())).cloned().collect()
}

/// Tells the same question from another one under the same key. Not a secret and not a signature: a slip-up detector.
fn fingerprint(asked: &Notification) -> u64 {
    let mut hasher = DefaultHasher::new();
    let text = |secret: &Option<crate::Secret>| secret.as_ref().map(|s| s.expose().to_owned());
    serde_json::to_string(&(&asked.to, &asked.template, &asked.overrides))
        .unwrap_or_default()
        .hash(&mut hasher);
    [&asked.title, &asked.content, &asked.payload, &asked.image, &asked.link].map(text).hash(&mut hasher);
    (&asked.collapse_key, asked.ttl, asked.priority, asked.badge, asked.silent).hash(&mut hasher);
    (&asked.thread, &asked.category).hash(&mut hasher);
    hasher.finish()
}
