//! Requests a plugin begins while it is called to send go along with that very send: polled by its task, they need none of
//! their own and wake nobody else when their answer comes. A send that ends earlier leaves them to the runtime.

use std::cell::RefCell;
use std::pin::Pin;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::runtime::Handle;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

thread_local! {
    /// What is begun on this thread just now; none outside of a call to send.
    static BEGUN: RefCell<Option<Vec<Work>>> = const { RefCell::new(None) };
}

/// Takes the work along with the send that is being called on this thread; gives it to the runtime where there is none.
pub(crate) fn begin(work: impl Future<Output = ()> + Send + 'static, runtime: &Handle) {
    let work: Work = Box::pin(work);
    let left = BEGUN.with_borrow_mut(|begun| match begun {
        Some(begun) => {
            begun.push(work);
            None
        }
        None => Some(work),
    });
    if let Some(work) = left {
        runtime.spawn(work);
    }
}

/// What goes along with one send.
pub(crate) struct Along {
    works: FuturesUnordered<Work>,
    runtime: Handle,
}

impl Along {
    /// Calls the plugin, and keeps what it begins meanwhile.
    pub(crate) fn with(runtime: Handle, call: impl FnOnce()) -> Self {
        BEGUN.set(Some(Vec::new()));
        call();
        let works = BEGUN.take().into_iter().flatten().collect();
        Self { works, runtime }
    }

    /// Works on until all has ended.
    pub(crate) async fn all_ended(&mut self) {
        while self.works.next().await.is_some() {}
    }
}

impl Drop for Along {
    fn drop(&mut self) {
        for work in std::mem::take(&mut self.works) {
            self.runtime.spawn(work);
        }
    }
}
