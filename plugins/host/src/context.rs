//! State of one open channel that the host functions use: its transport, its running work, and its metric names.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pushgate::Transport;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::inline_work::{self, Work};
use crate::telemetry::MetricNames;

/// Maximum number of requests and timers that run for one channel. Exceeds the maximum number of addresses in flight.
const MAX_TASKS: usize = 131_072;

/// State of one open channel.
pub(crate) struct ChannelContext {
    pub(crate) name: String,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) timeout: Duration,
    runtime: Handle,
    closing: CancellationToken,
    tasks: TaskTracker,
    /// Wakes the task that answers calls at their deadline.
    pub(crate) new_call: Signal,
    pub(crate) metric_names: MetricNames,
}

/// Wakes one waiting task. Repeated notifications cost one atomic load until the waiter re-arms it.
#[derive(Default)]
pub(crate) struct Signal {
    is_notified: AtomicBool,
    notify: Notify,
}

impl Signal {
    /// Notifies the waiter. Call it after the change is visible to the waiter.
    pub(crate) fn notify(&self) {
        if !self.is_notified.load(Ordering::Acquire) && !self.is_notified.swap(true, Ordering::AcqRel) {
            self.notify.notify_one();
        }
    }

    /// Re-arms the signal. Check for changes once more before [`Signal::wait`]: an earlier notification may have been
    /// skipped.
    pub(crate) fn rearm(&self) {
        self.is_notified.store(false, Ordering::Release);
    }

    /// Waits for the next notification.
    pub(crate) async fn wait(&self) {
        self.notify.notified().await;
    }
}

/// Reason why new work was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StartError {
    /// The channel is closing.
    Closed,
    /// [`MAX_TASKS`] are running.
    Busy,
}

impl ChannelContext {
    pub(crate) fn new(
        name: String,
        transport: Arc<dyn Transport>,
        timeout: Duration,
        runtime: Handle,
    ) -> Self {
        Self {
            name,
            transport,
            timeout,
            runtime,
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
            new_call: Signal::default(),
            metric_names: MetricNames::default(),
        }
    }

    pub(crate) const fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Starts a request or a timer. The current call polls it, or the runtime if there is none. Dropping it cancels it.
    pub(crate) fn start<F>(self: &Arc<Self>, work: impl FnOnce() -> F) -> Result<(), StartError>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        // Counted before `closing` is checked: `close` then causes the refusal or waits for this task.
        let task = self.tasks.token();
        if self.closing.is_cancelled() {
            return Err(StartError::Closed);
        }
        if self.tasks.len() > MAX_TASKS {
            return Err(StartError::Busy);
        }
        let work = work();
        let work = async move {
            let _task = task;
            work.await;
        };
        inline_work::start(self, Box::pin(work));
        Ok(())
    }

    /// Spawns the work on the runtime, where it ends at the latest when the channel closes. Work of a running call needs
    /// no such check, because a channel is not closed during a call.
    pub(crate) fn detach(self: &Arc<Self>, work: Work) {
        let context = Arc::clone(self);
        self.runtime.spawn(async move {
            tokio::select! {
                biased;
                () = context.closing.cancelled() => {}
                () = work => {}
            }
        });
    }

    /// Returns the token that is cancelled when the channel closes.
    pub(crate) const fn closing(&self) -> &CancellationToken {
        &self.closing
    }

    /// Cancels all running work and waits until it has ended. Refuses new work from then on.
    pub(crate) async fn close(&self) {
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
