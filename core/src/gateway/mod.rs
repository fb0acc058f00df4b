//! The gateway: submit a notification, learn what became of it, shut down without losing any.

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
pub use device_events::ReceiptError;
pub use submit::{Preview, SubmitError, Ticket};

use crate::app::App;
use crate::echo::Mailroom;
use crate::presence::{Leases, Presence};
use crate::queue::Queue;
use crate::receipt::Status;
use crate::store::{StorageError, Store};
use crate::words::{AppId, ChannelName, NotificationId, Timestamp};
use crate::worker::{Lane, WorkerContext};

/// Shortest time between two reads of the status for somebody who waits for a notification that is planned in parts.
const STATUS_READ_INTERVAL: Duration = Duration::from_millis(100);

/// Somebody waits for a notification to be settled.
type Watchers = Mutex<HashMap<NotificationId, Arc<Notify>>>;

/// A running gateway. Cheap to clone; when the last clone is dropped, work under way is abandoned and stays queued.
#[derive(Clone)]
pub struct Gateway {
    inner: Arc<Inner>,
    _guard: Arc<DropGuard>,
}

struct Inner {
    apps: BTreeMap<AppId, Arc<App>>,
    shared: Option<Arc<App>>,
    presence: Arc<dyn Presence>,
    leases: Option<Arc<Leases>>,
    keep: Duration,
    devices_per_user: usize,
    /// Where devices tell what became of what they got, if anybody wants to know.
    mailroom: Option<Mailroom>,
    lanes: RwLock<HashMap<(AppId, ChannelName), Arc<Lane>>>,
    watchers: Arc<Watchers>,
    /// Rung when something is to be planned later.
    deferred_due: Notify,
    context: Arc<WorkerContext>,
}

impl Gateway {
    /// What a gateway is made of.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The app of that id, if this gateway serves it.
    #[must_use]
    pub fn app(&self, id: &AppId) -> Option<&Arc<App>> {
        self.inner.apps.get(id).or(self.inner.shared.as_ref())
    }

    /// The apps served under their own names.
    pub fn apps(&self) -> impl Iterator<Item = (&AppId, &Arc<App>)> {
        self.inner.apps.iter()
    }

    /// Where devices are kept.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.inner.context.store
    }

    /// Where accepted notifications wait.
    #[must_use]
    pub fn queue(&self) -> &Arc<dyn Queue> {
        &self.inner.context.queue
    }

    /// Who is online.
    #[must_use]
    pub fn presence(&self) -> &Arc<dyn Presence> {
        &self.inner.presence
    }

    /// Where the IM server says who is online; none when presence is told by something else.
    #[must_use]
    pub fn leases(&self) -> Option<&Arc<Leases>> {
        self.inner.leases.as_ref()
    }

    /// The hour, by the gateway's clock.
    #[must_use]
    pub fn now(&self) -> crate::Timestamp {
        self.inner.context.clock.now()
    }

    /// What became of a notification; none when the app has no such notification, or it was long ago.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn status(&self, app: &AppId, id: NotificationId) -> Result<Option<Status>, StorageError> {
        self.inner.context.queue.status(app, id).await
    }

    /// Returns what became of a notification with a page of its recipients: at most `limit`, with greater indexes than `after`.
    /// `None` means that the app has no such notification, or that it was long ago.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn status_page(
        &self,
        app: &AppId,
        id: NotificationId,
        after: Option<u32>,
        limit: usize,
    ) -> Result<Option<Status>, StorageError> {
        self.inner.context.queue.status_page(app, id, after, limit).await
    }

    /// Checks that storage takes writes, at no cost: the last heartbeat was stored, not long ago.
    ///
    /// # Errors
    /// When the last heartbeat could not be stored, or none was for a while.
    pub fn ready(&self) -> Result<(), StorageError> {
        let context = &self.inner.context;
        let stored_at = Timestamp::from_millis(context.heartbeat_at.load(Ordering::Acquire));
        if context.clock.now().since(stored_at) <= builder::MAX_HEARTBEAT_AGE {
            return Ok(());
        }
        Err(StorageError::new("checking readiness", "no write has succeeded for a while"))
    }

    /// The status once nothing more is to be done for the notification, or as it is after `timeout` or at a shutdown.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn settled(
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
                // It rings for every delivery of what may be a hundred thousand: not a read at every notify.
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

    /// Takes no further notification and begins no new attempt. Work under way goes on; [`Gateway::shutdown`] waits for it.
    pub fn begin_shutdown(&self) {
        self.inner.context.closing.cancel();
        self.inner.context.tasks.close();
    }

    /// Stops taking notifications and begins no new attempt; waits for those under way, at most so long; gives back what is
    /// left, so that the next start (or another node) sends it.
    pub async fn shutdown(&self, grace: Duration) {
        self.begin_shutdown();
        let context = &self.inner.context;
        if tokio::time::timeout(grace, context.tasks.wait()).await.is_err() {
            tracing::warn!(seconds = grace.as_secs(), "attempts under way are abandoned; they stay queued");
            context.abandoned.cancel();
            context.tasks.wait().await;
        }
        if let Err(error) = context.queue.release(context.node).await {
            tracing::error!(%error, "leases cannot be given back; they end with this process");
        }
    }

    /// The lane of an app's channel, opened when it is first used.
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

/// A place among the watchers, given up when dropped.
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
        // Ours and the map's: nobody else waits.
        if Arc::strong_count(&self.notify) == 2 {
            watchers.remove(&self.id);
        }
    }
}

/// Rings for whoever waits for this notification.
fn notify_watchers(watchers: &Watchers, id: NotificationId) {
    let notify = watchers.lock().get(&id).cloned();
    if let Some(notify) = notify {
        notify.notify_waiters();
    }
}
