//! Lane: the worker of one app and channel.
//!
//! A lane takes deliveries from memory or from the queue, sends each through the layers, and settles the outcomes. A fault in one
//! lane does not affect the others.

mod alarms;
mod prune;
mod prune_guard;
mod settle;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::Installed;
use crate::channel::PushChannel;
use crate::clock::Clock;
use crate::fault::{Fault, Kind};
use crate::guarded::{Component, guard_async};
use crate::ids::{AppId, ChannelName, NodeId, NotificationId};
use crate::layer::revalidate::Revalidator;
use crate::layer::{gate, stack, throttle};
use crate::observe::{Event, Observer};
use crate::queue::{Lease, LeaseRequest, Queue};
use crate::report::Report;
use crate::schedule::Schedule;
use crate::store::Store;

/// State that all lanes of a gateway share.
pub(crate) struct WorkerContext {
    pub(crate) node: NodeId,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) revalidator: Arc<Revalidator>,
    /// Source of randomness in 0..1. Passed in so that tests can control it.
    pub(crate) jitter: Arc<dyn Fn() -> f64 + Send + Sync>,
    pub(crate) observers: Vec<Arc<dyn Observer>>,
    /// Wakes the callers that wait for a notification.
    pub(crate) notify_settled: Box<dyn Fn(NotificationId) + Send + Sync>,
    /// Cancelled at the start of a shutdown: no new attempt is started.
    pub(crate) closing: CancellationToken,
    /// Cancelled when attempts under way are dropped. Their leases are released.
    pub(crate) abandoned: CancellationToken,
    pub(crate) tasks: TaskTracker,
    /// Time of this node's last stored heartbeat, in milliseconds since 1970. `i64::MIN` if the last one could not be stored.
    pub(crate) heartbeat_at: AtomicI64,
}

impl WorkerContext {
    /// Passes the event to every observer.
    pub(crate) fn notify_observers(&self, event: &Event) {
        for observer in &self.observers {
            observer.on_event(event);
        }
    }
}

/// Maximum number of deliveries of one lane in memory. This keeps a push service busy; the others wait in the queue.
const MAX_IN_MEMORY: usize = 4096;
/// Poll interval for work that no in-process signal announces: retries scheduled by other nodes and expired leases.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// Maximum number of deliveries leased by one query.
const MAX_LEASES: usize = 256;

/// Worker of one app and channel.
pub(crate) struct Lane {
    app: AppId,
    name: ChannelName,
    channel: Arc<dyn PushChannel>,
    schedule: Schedule,
    prune_guard: prune_guard::PruneGuard,
    gate: Arc<gate::Gate>,
    alarms: alarms::Alarms,
    /// One permit for each delivery that may be in memory.
    memory_permits: Arc<Semaphore>,
    /// `true` while deliveries wait in the queue. New deliveries then wait behind them.
    backlog: AtomicBool,
    wake: Notify,
    context: Arc<WorkerContext>,
}

impl Lane {
    /// Creates a lane and starts its task.
    pub(crate) fn open(app: AppId, installed: &Installed, context: Arc<WorkerContext>) -> Arc<Self> {
        let gate = Arc::new(gate::Gate::new(context.closing.clone()));
        let info = installed.channel.info();
        let lane = Arc::new(Self {
            name: info.name.clone(),
            schedule: Schedule::new(&info.capability, installed.retry),
            channel: stack::stack(&app, installed, &gate, &context.clock, &context.revalidator),
            app,
            prune_guard: prune_guard::PruneGuard::default(),
            gate,
            alarms: alarms::Alarms::default(),
            memory_permits: Arc::new(Semaphore::new(MAX_IN_MEMORY)),
            backlog: AtomicBool::new(true),
            wake: Notify::new(),
            context,
        });
        let tasks = lane.context.tasks.clone();
        tasks.spawn(Arc::clone(&lane).run());
        lane
    }

    /// Reserves memory for this number of deliveries. `None` means that memory is full or that others wait in the queue.
    pub(crate) fn try_reserve(&self, deliveries: usize) -> Option<OwnedSemaphorePermit> {
        if self.backlog.load(Ordering::Acquire) {
            return None;
        }
        let permits = u32::try_from(deliveries).ok()?;
        Arc::clone(&self.memory_permits).try_acquire_many_owned(permits).ok()
    }

    /// Starts an attempt for a delivery that is on stable storage and leased by this node. The permit is held until its end.
    pub(crate) fn spawn_attempt(self: &Arc<Self>, lease: Lease, permit: OwnedSemaphorePermit) {
        let lane = Arc::clone(self);
        self.context.tasks.spawn(async move {
            let _permit = permit;
            tokio::select! {
                biased;
                () = lane.context.abandoned.cancelled() => {}
                () = lane.attempt_guarded(&lease) => {}
            }
        });
    }

    /// Signals that deliveries wait in the queue for this lane.
    pub(crate) fn notify_backlog(&self) {
        self.backlog.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Processes the queue until the gateway shuts down. Then stores the state of the prune guard.
    async fn run(self: Arc<Self>) {
        tokio::select! {
            biased;
            () = self.context.closing.cancelled() => {}
            () = self.process_queue() => {}
        }
        self.store_prune_guard().await;
    }

    /// Leases due deliveries while memory allows, and then waits for the next due time or a signal.
    async fn process_queue(self: &Arc<Self>) {
        while let Err(error) = self.resume_prune_guard().await {
            tracing::error!(app = %self.app, channel = %self.name, %error, "dead addresses cannot be read, and the lane cannot start; trying again");
            self.context.clock.sleep_until(self.context.clock.now() + POLL_INTERVAL).await;
        }
        loop {
            let next = self.refill().await;
            tokio::select! {
                () = self.wake.notified() => {}
                () = self.context.clock.sleep_until(next) => {}
            }
        }
    }

    /// Leases the deliveries that are due and starts their attempts. Returns the time of the next poll.
    async fn refill(self: &Arc<Self>) -> crate::Timestamp {
        loop {
            let now = self.context.clock.now();
            let Ok(first) = Arc::clone(&self.memory_permits).acquire_owned().await else {
                return now + POLL_INTERVAL;
            };
            let max = self.memory_permits.available_permits().min(MAX_LEASES - 1) + 1;
            // Cleared before the query, so that a signal during the query is not lost.
            self.backlog.store(false, Ordering::Release);
            let request = LeaseRequest {
                node: self.context.node,
                app: self.app.clone(),
                channel: self.name.clone(),
                now,
                max,
            };
            let taken = match self.context.queue.lease(request).await {
                Ok(taken) => taken,
                Err(error) => {
                    tracing::error!(app = %self.app, channel = %self.name, %error, "queue cannot be read; trying again");
                    self.backlog.store(true, Ordering::Release);
                    return now + POLL_INTERVAL;
                }
            };
            let full = taken.leases.len() == max;
            if full {
                self.backlog.store(true, Ordering::Release);
            }
            let mut first = Some(first);
            for lease in taken.leases {
                let permit = match first.take() {
                    Some(permit) => Ok(permit),
                    None => Arc::clone(&self.memory_permits).acquire_owned().await,
                };
                let Ok(permit) = permit else { return now + POLL_INTERVAL };
                self.spawn_attempt(lease, permit);
            }
            if !full {
                let next_poll = now + POLL_INTERVAL;
                return taken.next_due.map_or(next_poll, |due| due.min(next_poll));
            }
        }
    }

    /// Makes an attempt. A panic counts as a failed attempt, so that the lease does not stay held.
    async fn attempt_guarded(&self, lease: &Lease) {
        let started_at = self.context.clock.now();
        if guard_async(Component::Lane, self.attempt(lease)).await.is_some() {
            return;
        }
        let fault = Fault::new(Kind::Bug, "the lane panicked during the attempt");
        let report = Report::all_failed(lease.delivery.targets.len(), &fault);
        guard_async(Component::Lane, self.settle(lease, report, started_at)).await;
    }

    /// Sends a delivery and settles its outcomes. A delivery that was not tried because of a shutdown stays as it was.
    async fn attempt(&self, lease: &Lease) {
        let started_at = self.context.clock.now();
        let report = self.channel.send(&lease.delivery).await;
        if report.outcomes().iter().any(|outcome| outcome.fault().is_some_and(throttle::is_closing_fault)) {
            return;
        }
        self.settle(lease, report, started_at).await;
    }
}
