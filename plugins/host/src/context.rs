//! One opened channel as the host's functions see it: its transport, and what is under way for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pushgate::Transport;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::along::{self, Work};
use crate::telemetry::Names;

/// The most requests and timers under way for one channel: more than the most addresses that may be in flight.
const MOST_UNDER_WAY: usize = 131_072;

/// An opened channel.
pub(crate) struct Context {
    pub(crate) name: String,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) timeout: Duration,
    runtime: Handle,
    closing: CancellationToken,
    tasks: TaskTracker,
    /// Rung for whoever keeps the time.
    pub(crate) asked: Bell,
    pub(crate) names: Names,
}

/// Says that something was asked to one who rests while nothing is.
#[derive(Default)]
pub(crate) struct Bell {
    heard: AtomicBool,
    ring: Notify,
}

impl Bell {
    /// After the question can be seen. Costs a look, unless the other rests.
    pub(crate) fn tell(&self) {
        if !self.heard.load(Ordering::Acquire) && !self.heard.swap(true, Ordering::AcqRel) {
            self.ring.notify_one();
        }
    }

    /// Whoever asks from now on tells. Look once more before resting: who asked earlier may have thought it known.
    pub(crate) fn listen(&self) {
        self.heard.store(false, Ordering::Release);
    }

    /// Rests until something is asked.
    pub(crate) async fn told(&self) {
        self.ring.notified().await;
    }
}

/// Why nothing new is begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotBegun {
    Closed,
    Busy,
}

impl Context {
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
            asked: Bell::default(),
            names: Names::default(),
        }
    }

    pub(crate) const fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Begins something. It goes along with the send that begins it, or is left to the runtime; dropping it calls it off.
    pub(crate) fn begin<F>(self: &Arc<Self>, work: impl FnOnce() -> F) -> Result<(), NotBegun>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        // Counted before the look at `closing`: whoever closes sees either the refusal or the task.
        let task = self.tasks.token();
        if self.closing.is_cancelled() {
            return Err(NotBegun::Closed);
        }
        if self.tasks.len() > MOST_UNDER_WAY {
            return Err(NotBegun::Busy);
        }
        let work = work();
        let work = async move {
            let _task = task;
            work.await;
        };
        along::begin(self, Box::pin(work));
        Ok(())
    }

    /// Leaves it to the runtime, where it ends when the channel closes. As long as it goes along with a send, nobody closes.
    pub(crate) fn leave(self: &Arc<Self>, work: Work) {
        let context = Arc::clone(self);
        self.runtime.spawn(async move {
            tokio::select! {
                biased;
                () = context.closing.cancelled() => {}
                () = work => {}
            }
        });
    }

    /// Says when the channel closes.
    pub(crate) const fn closing(&self) -> &CancellationToken {
        &self.closing
    }

    /// Ends what is under way, and waits until all of it has ended. Nothing new begins after this.
    pub(crate) async fn close(&self) {
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
