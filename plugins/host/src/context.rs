//! One opened channel as the host's functions see it: its transport, and what is under way for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pushgate::Transport;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::along;
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
    under_way: AtomicUsize,
    pub(crate) names: Names,
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
            under_way: AtomicUsize::new(0),
            names: Names::default(),
        }
    }

    pub(crate) const fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Begins something that ends when the channel closes: `work` is given what tells it so.
    pub(crate) fn begin<F>(
        self: &Arc<Self>,
        work: impl FnOnce(CancellationToken) -> F,
    ) -> Result<(), NotBegun>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        // Counted before the look at `closing`: whoever closes sees either the refusal or the task.
        let task = self.tasks.token();
        if self.closing.is_cancelled() {
            return Err(NotBegun::Closed);
        }
        let place = Place::take(Arc::clone(self)).ok_or(NotBegun::Busy)?;
        let work = work(self.closing.clone());
        let work = async move {
            let _held = (task, place);
            work.await;
        };
        along::begin(work, &self.runtime);
        Ok(())
    }

    /// Ends what is under way, and waits until all of it has ended. Nothing new begins after this.
    pub(crate) async fn close(&self) {
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// One of the places for what is under way.
struct Place(Arc<Context>);

impl Place {
    fn take(context: Arc<Context>) -> Option<Self> {
        let taken = context.under_way.fetch_add(1, Ordering::AcqRel);
        let place = Self(context);
        // When there is none, dropping gives it back.
        (taken < MOST_UNDER_WAY).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::AcqRel);
    }
}
