//! The smallest runtime that does: a task runs on the thread that wakes it, which is the gateway's thread that brings its
//! answer. No thread of our own, so nothing to stop, and no hop between threads on the way.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Nobody has it in hand.
const IDLE: u8 = 0;
/// It stands in a queue.
const QUEUED: u8 = 1;
/// A thread polls it.
const RUNNING: u8 = 2;
/// A thread polls it, and it was woken meanwhile.
const WOKEN: u8 = 3;
/// It has ended.
const DONE: u8 = 4;

struct Task {
    state: AtomicU8,
    /// Locked by the one thread that runs it; the state says which.
    work: Mutex<Option<Work>>,
}

/// Starts a task: it runs now, on this thread, until it has to wait.
pub(crate) fn spawn(work: impl Future<Output = ()> + Send + 'static) {
    let task = Task { state: AtomicU8::new(QUEUED), work: Mutex::new(Some(Box::pin(work))) };
    enqueue(Arc::new(task));
}

/// The tasks that are due on a thread; none while nobody works them off.
#[derive(Default)]
struct Due {
    tasks: VecDeque<Arc<Task>>,
    working: Working,
}

#[derive(Default, PartialEq)]
enum Working {
    #[default]
    No,
    Yes,
}

thread_local! {
    static DUE: RefCell<Due> = RefCell::default();
}

/// Queues a task on this thread, and works the queue off unless that is being done further up this very stack.
fn enqueue(task: Arc<Task>) {
    let mut first = Some(task);
    let begin = DUE.try_with(|due| {
        let mut due = due.borrow_mut();
        due.tasks.extend(first.take());
        std::mem::replace(&mut due.working, Working::Yes) == Working::No
    });
    match begin {
        Ok(true) => work_off(),
        Ok(false) => {}
        // The thread is ending: there is no queue any more.
        Err(_) => first.into_iter().for_each(run),
    }
}

fn work_off() {
    let next = || {
        DUE.with(|due| {
            let mut due = due.borrow_mut();
            let task = due.tasks.pop_front();
            if task.is_none() {
                due.working = Working::No;
            }
            task
        })
    };
    while let Some(task) = next() {
        run(task);
    }
}

fn run(task: Arc<Task>) {
    task.state.store(RUNNING, Ordering::Release);
    let waker = Waker::from(Arc::clone(&task));
    let mut work = task.work.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(running) = work.as_mut() else { return };
    // A panic ends the task; what it owed is answered when its future is dropped.
    let polled = catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(&mut Context::from_waker(&waker))));
    if matches!(polled, Ok(Poll::Pending)) {
        drop(work);
        if task.state.compare_exchange(RUNNING, IDLE, Ordering::AcqRel, Ordering::Acquire).is_err() {
            task.state.store(QUEUED, Ordering::Release);
            enqueue(task);
        }
        return;
    }
    task.state.store(DONE, Ordering::Release);
    let ended = work.take();
    drop(work);
    // Dropping may panic as polling may.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(ended)));
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        let wake = |state| match state {
            IDLE => Some(QUEUED),
            RUNNING => Some(WOKEN),
            _ => None,
        };
        if self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, wake) == Ok(IDLE) {
            enqueue(self);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    /// Waits until it has been woken so often.
    struct Rounds {
        left: usize,
        wakers: Arc<Mutex<Vec<Waker>>>,
    }

    impl Future for Rounds {
        type Output = ();
        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
            if self.left == 0 {
                return Poll::Ready(());
            }
            self.left -= 1;
            self.wakers.lock().unwrap().push(context.waker().clone());
            Poll::Pending
        }
    }

    #[test]
    fn a_task_runs_where_it_is_woken_and_once_at_a_time() {
        let wakers = Arc::new(Mutex::new(Vec::new()));
        let ended = Arc::new(AtomicUsize::new(0));
        for _ in 0..100 {
            let (rounds, ended) = (Rounds { left: 10, wakers: Arc::clone(&wakers) }, Arc::clone(&ended));
            spawn(async move {
                rounds.await;
                ended.fetch_add(1, Ordering::AcqRel);
            });
        }
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while ended.load(Ordering::Acquire) < 100 {
                        let waker = wakers.lock().unwrap().pop();
                        waker.iter().for_each(Waker::wake_by_ref);
                        // Twice, as an impatient host might.
                        waker.into_iter().for_each(Waker::wake);
                    }
                });
            }
        });
        assert_eq!(ended.load(Ordering::Acquire), 100);
    }

    #[test]
    fn a_task_that_wakes_itself_goes_on_without_deepening_the_stack() {
        let ended = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&ended);
        spawn(async move {
            for _ in 0..100_000 {
                let mut yielded = false;
                std::future::poll_fn(|context| {
                    if std::mem::replace(&mut yielded, true) {
                        return Poll::Ready(());
                    }
                    context.waker().wake_by_ref();
                    Poll::Pending
                })
                .await;
            }
            seen.fetch_add(1, Ordering::AcqRel);
        });
        assert_eq!(ended.load(Ordering::Acquire), 1);
    }

    #[test]
    fn a_panic_ends_its_task_and_no_other() {
        let dropped = Arc::new(AtomicUsize::new(0));
        struct Counts(Arc<AtomicUsize>);
        impl Drop for Counts {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::AcqRel);
            }
        }
        let held = Counts(Arc::clone(&dropped));
        spawn(async move {
            let _held = held;
            panic!("on purpose");
        });
        let held = Counts(Arc::clone(&dropped));
        spawn(async move { drop(held) });
        assert_eq!(dropped.load(Ordering::Acquire), 2);
    }
}
