//! Builder that configures and starts a gateway.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::expiry::settle_expired;
use super::{Gateway, Inner, Watchers, notify_watchers};
use crate::app::App;
use crate::channel::PushChannel;
use crate::clock::{Clock, SystemClock};
use crate::device_event::EventTokenSigner;
use crate::fault::Kind;
use crate::guarded::{GuardedObserver, GuardedPresence};
use crate::ids::{AppId, ChannelName, NodeId, TemplateName};
use crate::layer::revalidate::Revalidator;
use crate::memory::{MemoryQueue, MemoryStore};
use crate::observe::{Event, Observer};
use crate::presence::{NobodyOnline, Presence, Sessions};
use crate::queue::{Quarantined, Queue};
use crate::secret::Secret;
use crate::selector::Selector;
use crate::store::{Registration, StorageError, Store};
use crate::template::{TemplateError, TemplateSource};
use crate::worker::WorkerContext;

/// Interval between two heartbeats of this node.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);
/// Time after a heartbeat during which the node counts as alive. After it other nodes may take over its leases.
const NODE_TTL: Duration = Duration::from_secs(20);
/// Maximum age of the last stored heartbeat for the gateway to be ready: three heartbeat intervals.
pub(super) const MAX_HEARTBEAT_AGE: Duration = Duration::from_secs(15);

/// Builder of a [`Gateway`].
///
/// Every setting has a default that works: storage in memory, the system clock, and nobody online.
pub struct Builder {
    apps: BTreeMap<AppId, App>,
    shared: Option<App>,
    store: Arc<dyn Store>,
    queue: Arc<dyn Queue>,
    presence: PresenceSource,
    clock: Arc<dyn Clock>,
    jitter: Arc<dyn Fn() -> f64 + Send + Sync>,
    observers: Vec<Arc<dyn Observer>>,
    retention: Duration,
    pruned_retention: Duration,
    max_devices_per_user: usize,
    device_events_url: Option<String>,
}

/// Source of presence information.
enum PresenceSource {
    Custom(Arc<dyn Presence>),
    Sessions,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            apps: BTreeMap::new(),
            shared: None,
            store: Arc::new(MemoryStore::default()),
            queue: Arc::new(MemoryQueue::default()),
            presence: PresenceSource::Custom(Arc::new(NobodyOnline)),
            clock: Arc::new(SystemClock),
            jitter: Arc::new(rand::random::<f64>),
            observers: Vec::new(),
            retention: Duration::from_secs(7 * 24 * 3600),
            pruned_retention: Duration::from_secs(30 * 24 * 3600),
            max_devices_per_user: Registration::DEFAULT_MAX_DEVICES,
            device_events_url: None,
        }
    }
}

impl Builder {
    /// Sets one storage for devices and accepted notifications, such as `SqliteStore` or your own tables.
    #[must_use]
    pub fn store(mut self, storage: impl Store + Queue) -> Self {
        let storage = Arc::new(storage);
        self.store = Arc::clone(&storage) as Arc<dyn Store>;
        self.queue = storage;
        self
    }

    /// Sets the storage for devices.
    #[must_use]
    pub fn devices(mut self, store: Arc<dyn Store>) -> Self {
        self.store = store;
        self
    }

    /// Sets the queue for accepted notifications.
    #[must_use]
    pub fn queue(mut self, queue: Arc<dyn Queue>) -> Self {
        self.queue = queue;
        self
    }

    /// Sets the source of presence information. Default: nobody is online.
    #[must_use]
    pub fn presence(mut self, presence: impl Presence) -> Self {
        self.presence = PresenceSource::Custom(Arc::new(GuardedPresence(Arc::new(presence))));
        self
    }

    /// Uses presence sessions: a user is online while they hold one. Sessions are managed through [`Gateway::presence_sessions`].
    #[must_use]
    pub fn presence_by_sessions(mut self) -> Self {
        self.presence = PresenceSource::Sessions;
        self
    }

    /// Sets the clock. Default: the system clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets the source of randomness for retry delays. It returns a number in 0..1.
    #[must_use]
    pub fn jitter(mut self, jitter: impl Fn() -> f64 + Send + Sync + 'static) -> Self {
        self.jitter = Arc::new(jitter);
        self
    }

    /// Adds an observer that receives every [`Event`].
    #[must_use]
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observers.push(Arc::new(GuardedObserver(Arc::new(observer))));
        self
    }

    /// Sets the retention of receipts and idempotency keys. Default: seven days.
    #[must_use]
    pub const fn retention(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// Sets the retention of pruned addresses. Until it ends they can be restored. Default: 30 days.
    #[must_use]
    pub const fn pruned_retention(mut self, retention: Duration) -> Self {
        self.pruned_retention = retention;
        self
    }

    /// Sets the maximum number of devices of one user. Beyond it the devices registered longest ago are deleted. Default: ten.
    #[must_use]
    pub const fn max_devices_per_user(mut self, max: usize) -> Self {
        self.max_devices_per_user = max;
        self
    }

    /// Enables device events: each push carries `url` and an event token. The SDK on the device reports to `url` by POST.
    ///
    /// `url` is an HTTPS URL, or a path on the origin of the web page. The handler behind it passes each report to
    /// [`Gateway::record_event`]. Default: device events are disabled.
    #[must_use]
    pub fn device_events(mut self, url: impl Into<String>) -> Self {
        self.device_events_url = Some(url.into());
        self
    }

    /// Adds an app with its own channels, routes and templates.
    #[must_use]
    pub fn app(mut self, id: AppId, app: App) -> Self {
        self.apps.insert(id, app);
        self
    }

    /// Adds a channel to the shared app, which serves every app id that was not added by [`Builder::app`].
    #[must_use]
    pub fn channel(mut self, channel: impl PushChannel) -> Self {
        self.shared = Some(self.shared.unwrap_or_default().channel(channel));
        self
    }

    /// Adds a route to the shared app, which serves every app id that was not added by [`Builder::app`].
    #[must_use]
    pub fn route(mut self, selector: Selector, channels: impl IntoIterator<Item = ChannelName>) -> Self {
        self.shared = Some(self.shared.unwrap_or_default().route(selector, channels));
        self
    }

    /// Adds a template to the shared app, which serves every app id that was not added by [`Builder::app`].
    ///
    /// # Errors
    /// [`TemplateError::Source`] with the language, the part and the line, if the template cannot be parsed.
    pub fn template(mut self, name: TemplateName, source: TemplateSource) -> Result<Self, TemplateError> {
        self.shared = Some(self.shared.unwrap_or_default().template(name, source)?);
        Ok(self)
    }

    /// Starts the gateway and resumes the work that is left in its queue.
    ///
    /// # Errors
    /// [`StorageError`] if storage cannot be read or written.
    pub async fn start(self) -> Result<Gateway, StorageError> {
        let watchers: Arc<Watchers> = Arc::new(Mutex::new(HashMap::new()));
        let notifiers = Arc::clone(&watchers);
        let abandoned = CancellationToken::new();
        let (presence, presence_sessions): (Arc<dyn Presence>, _) = match self.presence {
            PresenceSource::Custom(presence) => (presence, None),
            PresenceSource::Sessions => {
                let sessions = Arc::new(Sessions::new(Arc::clone(&self.clock)));
                (Arc::clone(&sessions) as Arc<dyn Presence>, Some(sessions))
            }
        };
        let (store, queue) = (Arc::clone(&self.store), Arc::clone(&self.queue));
        let revalidator = Revalidator::new(store, queue, Arc::clone(&presence), Arc::clone(&self.clock));
        let context = Arc::new(WorkerContext {
            node: NodeId::new(),
            store: self.store,
            queue: self.queue,
            clock: self.clock,
            revalidator: Arc::new(revalidator),
            jitter: self.jitter,
            observers: self.observers,
            notify_settled: Box::new(move |id| notify_watchers(&notifiers, id)),
            closing: abandoned.child_token(),
            abandoned: abandoned.clone(),
            tasks: TaskTracker::new(),
            heartbeat_at: AtomicI64::new(i64::MIN),
        });
        let (observers, notifiers) = (context.observers.clone(), Arc::clone(&watchers));
        context.queue.on_quarantine(Arc::new(move |row| report_quarantined(&observers, &notifiers, row)));
        context.queue.renew(context.node, context.clock.now() + NODE_TTL).await?;
        context.heartbeat_at.store(context.clock.now().as_millis(), Ordering::Release);
        let token_signer = match &self.device_events_url {
            Some(url) => Some(EventTokenSigner::new(
                url,
                &context.queue.installation_secret(&new_installation_secret()).await?,
            )),
            None => None,
        };
        context.tasks.spawn(run_heartbeat(Arc::clone(&context)));
        context.tasks.spawn(super::retention::sweep(Arc::clone(&context), self.pruned_retention));
        context.tasks.spawn(settle_expired(Arc::clone(&context)));
        let inner = Inner {
            apps: self.apps.into_iter().map(|(id, app)| (id, Arc::new(app))).collect(),
            shared: self.shared.map(Arc::new),
            presence,
            presence_sessions,
            retention: self.retention,
            max_devices_per_user: self.max_devices_per_user,
            token_signer,
            lanes: RwLock::new(HashMap::new()),
            watchers,
            deferred_due: Notify::new(),
            context,
        };
        let gateway = Gateway { inner: Arc::new(inner), _guard: Arc::new(abandoned.drop_guard()) };
        // The planner has a guard of its own, so that it does not keep the gateway alive.
        let own_guard = Arc::new(CancellationToken::new().drop_guard());
        let planner = Gateway { inner: Arc::clone(&gateway.inner), _guard: own_guard };
        gateway.inner.context.tasks.spawn(planner.plan_deferred());
        gateway.open_waiting_lanes().await?;
        Ok(gateway)
    }
}

/// Returns 256 random bits in Base64.
fn new_installation_secret() -> Secret {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()).into()
}

/// Stores a heartbeat at every interval until the gateway shuts down.
async fn run_heartbeat(context: Arc<WorkerContext>) {
    loop {
        let next = context.clock.now() + HEARTBEAT_INTERVAL;
        tokio::select! {
            biased;
            () = context.closing.cancelled() => return,
            () = context.clock.sleep_until(next) => {}
        }
        let now = context.clock.now();
        let stored = context.queue.renew(context.node, now + NODE_TTL).await;
        let heartbeat_at = if stored.is_ok() { now.as_millis() } else { i64::MIN };
        context.heartbeat_at.store(heartbeat_at, Ordering::Release);
        if let Err(error) = stored {
            tracing::error!(%error, "heartbeat cannot be stored; the next one follows in 5 seconds");
        }
    }
}

/// Reports a quarantined row to metrics and observers, and wakes the watchers of its notification.
fn report_quarantined(observers: &[Arc<dyn Observer>], watchers: &Watchers, row: &Quarantined) {
    let name = |name: Option<String>| name.unwrap_or_default();
    let labels = [
        ("app", name(row.app.as_ref().map(ToString::to_string))),
        ("channel", name(row.channel.as_ref().map(ToString::to_string))),
        ("fault", Kind::Quarantined.info().code.to_owned()),
    ];
    metrics::counter!("pushgate_alarms_total", &labels).increment(1);
    for observer in observers {
        observer.on_event(&Event::Quarantined { row: row.clone() });
    }
    if let Some(id) = row.notification {
        notify_watchers(watchers, id);
    }
}
