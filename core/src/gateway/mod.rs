//! Gateway: accepts notifications, reports their status, and shuts down without losing any of them.

mod builder;
mod dead;
mod deferred;
mod device_events;
mod devices;
mod expiry;
mod idempotency;
mod planning;
mod retention;
mod submit;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tokio_util::sync::DropGuard;

pub use builder::Builder;
pub use dead::RestoredPage;
pub use deferred::Revoked;
pub use device_events::DeviceEventError;
pub use submit::{Preview, SubmitError, Ticket};

use crate::app::App;
use crate::device_event::EventTokenSigner;
use crate::ids::{AppId, ChannelName, NotificationId};
use crate::presence::{Presence, Sessions};
use crate::queue::Queue;
use crate::receipt::Status;
use crate::store::{StorageError, Store};
use crate::timestamp::Timestamp;
use crate::worker::{Lane, WorkerContext};

/// Minimum interval between two status reads of one waiting caller, for a notification that is planned in batches.
const STATUS_READ_INTERVAL: Duration = Duration::from_millis(100);

/// Callers that wait for notifications to be settled. All callers of one notification share a `Notify`.
type Watchers = Mutex<HashMap<NotificationId, Arc<Notify>>>;

/// Running gateway. Cheap to clone.
///
/// When the last clone is dropped, attempts under way are abandoned and their deliveries stay queued.
#[derive(Clone)]
pub struct Gateway {
    inner: Arc<Inner>,
    _guard: Arc<DropGuard>,
}

struct Inner {
    apps: BTreeMap<AppId, Arc<App>>,
    shared: Option<Arc<App>>,
    presence: Arc<dyn Presence>,
    presence_sessions: Option<Arc<Sessions>>,
    retention: Duration,
    max_devices_per_user: usize,
    /// Signer and verifier of event tokens. `None` means that device events are disabled.
    token_signer: Option<EventTokenSigner>,
    lanes: RwLock<HashMap<(AppId, ChannelName), Arc<Lane>>>,
    watchers: Arc<Watchers>,
    /// Notified when a deferred plan was stored.
    deferred_due: Notify,
    context: Arc<WorkerContext>,
}

impl Gateway {
    /// Returns a builder with the default settings.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Returns the app with this id, or the shared app. `None` means that the gateway does not serve the app.
    #[must_use]
    pub fn app(&self, id: &AppId) -> Option<&Arc<App>> {
        self.inner.apps.get(id).or(self.inner.shared.as_ref())
    }

    /// Returns the apps that were added under their own ids, in the order of the ids.
    pub fn apps(&self) -> impl Iterator<Item = (&AppId, &Arc<App>)> {
        self.inner.apps.iter()
    }

    /// Returns the storage of devices.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.inner.context.store
    }

    /// Returns the queue of accepted notifications.
    #[must_use]
    pub fn queue(&self) -> &Arc<dyn Queue> {
        &self.inner.context.queue
    }

    /// Returns the source of presence information.
    #[must_use]
    pub fn presence(&self) -> &Arc<dyn Presence> {
        &self.inner.presence
    }

    /// Returns the presence sessions that the IM server manages. `None` means that presence has another source.
    #[must_use]
    pub fn presence_sessions(&self) -> Option<&Arc<Sessions>> {
        self.inner.presence_sessions.as_ref()
    }

    /// Returns the current time of the gateway's clock.
    #[must_use]
    pub fn now(&self) -> crate::Timestamp {
        self.inner.context.clock.now()
    }

    /// Returns the status of a notification. `None` means that the app has no such notification, or that its retention has
    /// ended.
    ///
    /// # Errors
    /// [`StorageError`] if storage cannot be read.
    pub async fn status(&self, app: &AppId, id: NotificationId) -> Result<Option<Status>, StorageError> {
        self.inner.context.queue.status(app, id).await
    }

    /// Returns the status of a notification with a page of its recipients: at most `limit`, with greater indexes than `after`.
    /// `None` means that the app has no such notification, or that its retention has ended.
    ///
    /// # Errors
    /// [`StorageError`] if storage cannot be read.
    pub async fn status_page(
        &self,
        app: &AppId,
        id: NotificationId,
        after: Option<u32>,
        limit: usize,
    ) -> Result<Option<Status>, StorageError> {
        self.inner.context.queue.status_page(app, id, after, limit).await
    }

    /// Checks that storage accepts writes: the last heartbeat was stored within the last 15 seconds. Performs no I/O.
    ///
    /// # Errors
    /// [`StorageError`] if the last heartbeat could not be stored, or if it is older.
    pub fn ready(&self) -> Result<(), StorageError> {
        let context = &self.inner.context;
        let stored_at = Timestamp::from_millis(context.heartbeat_at.load(Ordering::Acquire));
        if context.clock.now().since(stored_at) <= builder::MAX_HEARTBEAT_AGE {
            return Ok(());
        }
        Err(StorageError::new("checking readiness", "no heartbeat was stored within 15 seconds"))
    }

    /// Waits until the notification is settled, and returns its status.
    ///
    /// Returns the current status if `timeout` ends first or the gateway shuts down. `None` means that the app has no such
    /// notification, or that its retention has ended.
    ///
    /// # Errors
    /// [`StorageError`] if storage cannot be read.
    pub async fn wait_until_settled(
        &self,
        app: &AppId,
        id: NotificationId,
        timeout: Duration,
    ) -> Result<Option<Status>, StorageError> {
        let watch = WatcherGuard::new(&self.inner.watchers, id);
        let deadline = tokio::time::Instant::now() + timeout;
        loop {
            let notified = watch.notify.notified();
            let status = self.status_page(app, id, None, 0).await?;
            if status.as_ref().is_some_and(|status| status.progress.is_some()) {
                // The notification may have 100 000 deliveries, and each one notifies. This limits the number of reads.
                tokio::time::sleep(STATUS_READ_INTERVAL).await;
            }
            if status.as_ref().is_none_or(Status::is_settled) {
                return self.status(app, id).await;
            }
            let is_notified = tokio::select! {
                biased;
                () = self.inner.context.closing.cancelled() => false,
                notified = tokio::time::timeout_at(deadline, notified) => notified.is_ok(),
            };
            if !is_notified {
                return self.status(app, id).await;
            }
        }
    }

    /// Stops accepting notifications and starting attempts. Attempts under way go on; [`Gateway::shutdown`] waits for them.
    pub fn begin_shutdown(&self) {
        self.inner.context.closing.cancel();
        self.inner.context.tasks.close();
    }

    /// Shuts the gateway down.
    ///
    /// Stops accepting notifications and starting attempts, and waits at most `grace` for the attempts under way. Then it
    /// releases the leases of this node, so that another node or the next start sends the rest.
    pub async fn shutdown(&self, grace: Duration) {
        self.begin_shutdown();
        let context = &self.inner.context;
        if tokio::time::timeout(grace, context.tasks.wait()).await.is_err() {
            tracing::warn!(seconds = grace.as_secs(), "attempts under way are abandoned; they stay queued");
            context.abandoned.cancel();
            context.tasks.wait().await;
        }
        if let Err(error) = context.queue.release(context.node).await {
            tracing::error!(%error, "leases cannot be released; they expire with the last heartbeat of this node");
        }
    }

    /// Returns the lane of an app's channel and opens it on first use. `None` means that the app has no such channel.
    fn lane(&self, id: &AppId, app: &App, channel: &ChannelName) -> Option<Arc<Lane>> {
        let key = (id.clone(), channel.clone());
        if let Some(lane) = self.inner.lanes.read().get(&key) {
            return Some(Arc::clone(lane));
        }
        let installed = app.channels().get(channel)?;
        let mut lanes = self.inner.lanes.write();
        let lane = lanes
            .entry(key)
            .or_insert_with(|| Lane::open(id.clone(), installed, Arc::clone(&self.inner.context)));
        Some(Arc::clone(lane))
    }
}

/// Entry of a waiting caller among the watchers. Removes the map's entry when the last one is dropped.
struct WatcherGuard<'a> {
    watchers: &'a Watchers,
    id: NotificationId,
    notify: Arc<Notify>,
}

impl<'a> WatcherGuard<'a> {
    fn new(watchers: &'a Watchers, id: NotificationId) -> Self {
        let notify = Arc::clone(watchers.lock().entry(id).or_default());
        Self { watchers, id, notify }
    }
}

impl Drop for WatcherGuard<'_> {
    fn drop(&mut self) {
        let mut watchers = self.watchers.lock();
        // The two references are this one and the map's, so nobody else waits.
        if Arc::strong_count(&self.notify) == 2 {
            watchers.remove(&self.id);
        }
    }
}

/// Wakes the callers that wait for this notification.
fn notify_watchers(watchers: &Watchers, id: NotificationId) {
    let notify = watchers.lock().get(&id).cloned();
    if let Some(notify) = notify {
        notify.notify_waiters();
    }
}
