//! Requests a plugin begins while it is called to send go along with that very send: polled by its task, they need none of
//! their own and wake nobody else when their answer comes. A send that ends earlier leaves them to the runtime.

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Polling, Poll};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use crate::context::Context;

pub(crate) type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

thread_local! {
    /// What is begun on this thread just now; none outside of a call to send.
    static BEGUN: RefCell<Option<Works>> = const { RefCell::new(None) };
}

/// Takes the work along with the send that is being called on this thread; gives it to the runtime where there is none.
pub(crate) fn begin(context: &Arc<Context>, work: Work) {
    let left = BEGUN.with_borrow_mut(|begun| match begun {
        Some(begun) => {
            begun.push(work);
            None
        }
        None => Some(work),
    });
    if let Some(work) = left {
        context.leave(work);
    }
}

/// One request is what a send has as a rule, and it is polled without any ado.
enum Works {
    None,
    One(Work),
    Many(FuturesUnordered<Work>),
}

impl Works {
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

    /// Works on as far as that goes.
    fn poll(&mut self, polling: &mut Polling<'_>) {
        let ended = match self {
            Self::None => false,
            Self::One(work) => work.as_mut().poll(polling).is_ready(),
            Self::Many(works) => {
                while let Poll::Ready(Some(())) = works.poll_next_unpin(polling) {}
                works.is_empty()
            }
        };
        if ended {
            *self = Self::None;
        }
    }
}

/// What goes along with one send.
pub(crate) struct Along<'a> {
    works: Works,
    context: &'a Arc<Context>,
}

impl<'a> Along<'a> {
    /// Calls the plugin, and keeps what it begins meanwhile.
    pub(crate) fn with(context: &'a Arc<Context>, call: impl FnOnce()) -> Self {
        BEGUN.set(Some(Works::None));
        call();
        Self { works: BEGUN.take().unwrap_or(Works::None), context }
    }

    /// Works on as far as that goes.
    pub(crate) fn poll(&mut self, polling: &mut Polling<'_>) {
        self.works.poll(polling);
    }
}

impl Drop for Along<'_> {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.works, Works::None) {
            Works::None => {}
            Works::One(work) => self.context.leave(work),
            Works::Many(works) => works.into_iter().for_each(|work| self.context.leave(work)),
        }
    }
}
