//! A lane: everything one app sends through one channel. Takes deliveries from memory or from the queue, sends each through
//! the layers, and settles what came of it. One lane's trouble is no other lane's.

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
use crate::layer::revalidate::Revalidator;
use crate::layer::{gate, stack, throttle};
use crate::observe::{Event, Observer};
use crate::queue::{Lease, Queue, Want};
use crate::report::Report;
use crate::schedule::Schedule;
use crate::store::Store;
use crate::words::{AppId, ChannelName, NodeId, NotificationId};

/// What every lane of a gateway shares.
pub(crate) struct WorkerContext {
    pub(crate) node: NodeId,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) revalidator: Arc<Revalidator>,
    /// In 0..1, handed in so that tests can know it.
    pub(crate) jitter: Arc<dyn Fn() -> f64 + Send + Sync>,
    pub(crate) observers: Vec<Arc<dyn Observer>>,
    pub(crate) notify_settled: Box<dyn Fn(NotificationId) + Send + Sync>,
    /// Cancelled when no new work is begun.
    pub(crate) closing: CancellationToken,
    /// Cancelled when work under way is dropped; its leases are given back.
    pub(crate) abandoned: CancellationToken,
    pub(crate) tasks: TaskTracker,
    /// When this node's last heartbeat was stored, in milliseconds since 1970; the least number when it could not be.
    pub(crate) heartbeat_at: AtomicI64,
}

impl WorkerContext {
    pub(crate) fn notify_observers(&self, event: &Event) {
        for observer in &self.observers {
            observer.saw(event);
        }
    }
}

/// Deliveries of one lane in memory at once: enough to keep the vendor busy; the rest waits on disk at a few bytes each.
const MAX_IN_MEMORY: usize = 4096;
/// How often the queue is looked at for what nobody told us of: retries of another node, leases of the dead.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// How many deliveries are leased at once.
const MAX_LEASES: usize = 256;

/// Everything one app sends through one channel.
pub(crate) struct Lane {
    app: AppId,
    name: ChannelName,
    channel: Arc<dyn PushChannel>,
    schedule: Schedule,
    prune_guard: prune_guard::PruneGuard,
    gate: Arc<gate::Gate>,
    alarms: alarms::Alarms,
    memory_permits: Arc<Semaphore>,
    /// Something waits in the queue for this lane: whoever comes now lines up behind it.
    backlog: AtomicBool,
    wake: Notify,
    context: Arc<WorkerContext>,
}

impl Lane {
    /// Opens a lane and starts looking after it.
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

    /// Room in memory for so many deliveries; none when there is no room, or when others wait in the queue.
    pub(crate) fn try_reserve(&self, deliveries: usize) -> Option<OwnedSemaphorePermit> {
        if self.backlog.load(Ordering::Acquire) {
            return None;
        }
        let permits = u32::try_from(deliveries).ok()?;
        Arc::clone(&self.memory_permits).try_acquire_many_owned(permits).ok()
    }

    /// Sends what is already on stable storage and held by this node, without reading it back.
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

    /// Says that something waits in the queue for this lane.
    pub(crate) fn notify_backlog(&self) {
        self.backlog.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Takes from the queue what is due, as long as there is room; then waits for the next due time or a nudge.
    async fn run(self: Arc<Self>) {
        tokio::select! {
            biased;
            () = self.context.closing.cancelled() => {}
            () = self.process_queue() => {}
        }
        self.store_prune_guard().await;
    }

    async fn process_queue(self: &Arc<Self>) {
        while let Err(error) = self.resume_prune_guard().await {
            tracing::error!(app = %self.app, channel = %self.name, %error, "dead addresses cannot be read; trying again");
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

    /// Leases and begins what is due. Gives the time to look again.
    async fn refill(self: &Arc<Self>) -> crate::Timestamp {
        loop {
            let now = self.context.clock.now();
            let Ok(first) = Arc::clone(&self.memory_permits).acquire_owned().await else {
                return now + POLL_INTERVAL;
            };
            let max = self.memory_permits.available_permits().min(MAX_LEASES - 1) + 1;
            // Before the look, so that a nudge during it is not lost.
            self.backlog.store(false, Ordering::Release);
            let request =
                Want { node: self.context.node, app: self.app.clone(), channel: self.name.clone(), now, max };
            let taken = match self.context.queue.take(request).await {
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

    /// Makes an attempt. A panic in the middle of it is a failed attempt: the lease must not stay held.
    async fn attempt_guarded(&self, lease: &Lease) {
        let started_at = self.context.clock.now();
        if guard_async(Component::Lane, self.attempt(lease)).await.is_some() {
            return;
        }
        let fault = Fault::new(Kind::Bug, "the lane panicked during the attempt");
        let report = Report::all_failed(lease.delivery.targets.len(), &fault);
        guard_async(Component::Lane, self.settle(lease, report, started_at)).await;
    }

    /// One attempt: send, then settle.
    async fn attempt(&self, lease: &Lease) {
        let started_at = self.context.clock.now();
        let report = self.channel.send(&lease.delivery).await;
        if report.outcomes().iter().any(|outcome| outcome.fault().is_some_and(throttle::is_closing_fault)) {
            return;
        }
        self.settle(lease, report, started_at).await;
    }
}
