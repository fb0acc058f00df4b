//! HTTP requests and timers that a plugin starts during a call to `send` or `probe`. The task that made the call polls
//! them, so they need no task of their own and wake no other task. When the call ends first, the runtime takes over the
//! rest.

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use crate::context::ChannelContext;

pub(crate) type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

thread_local! {
    /// Work that was started during the current call on this thread. `None` outside of a call.
    static STARTED: RefCell<Option<WorkSet>> = const { RefCell::new(None) };
}

/// Adds the work to the current call of this thread. Outside of a call, spawns it on the runtime.
pub(crate) fn start(channel: &Arc<ChannelContext>, work: Work) {
    let rejected = STARTED.with_borrow_mut(|started| match started {
        Some(started) => {
            started.push(work);
            None
        }
        None => Some(work),
    });
    if let Some(work) = rejected {
        channel.detach(work);
    }
}

/// Futures to poll. Most calls start one request, which needs no `FuturesUnordered`.
enum WorkSet {
    None,
    One(Work),
    Many(FuturesUnordered<Work>),
}

impl WorkSet {
    fn push(&mut self, work: Work) {
        *self = match std::mem::replace(self, Self::None) {
            Self::None => Self::One(work),
            Self::One(first) => Self::Many([first, work].into_iter().collect()),
            Self::Many(works) => {
                works.push(work);
                Self::Many(works)
            }
        };
    }

    /// Polls every future that is ready to make progress.
    fn poll(&mut self, context: &mut Context<'_>) {
        let is_done = match self {
            Self::None => false,
            Self::One(work) => work.as_mut().poll(context).is_ready(),
            Self::Many(works) => {
                while let Poll::Ready(Some(())) = works.poll_next_unpin(context) {}
                works.is_empty()
            }
        };
        if is_done {
            *self = Self::None;
        }
    }
}

/// Work that one call has started. On drop, the unfinished work moves to the runtime.
pub(crate) struct InlineWork<'a> {
    works: WorkSet,
    channel: &'a Arc<ChannelContext>,
}

impl<'a> InlineWork<'a> {
    /// Runs the call and collects the work that the plugin starts in it.
    pub(crate) fn collect(channel: &'a Arc<ChannelContext>, call: impl FnOnce()) -> Self {
        STARTED.set(Some(WorkSet::None));
        call();
        Self { works: STARTED.take().unwrap_or(WorkSet::None), channel }
    }

    /// Polls every future that is ready to make progress.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) {
        self.works.poll(context);
    }
}

impl Drop for InlineWork<'_> {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.works, WorkSet::None) {
            WorkSet::None => {}
            WorkSet::One(work) => self.channel.detach(work),
            WorkSet::Many(works) => works.into_iter().for_each(|work| self.channel.detach(work)),
        }
    }
}
