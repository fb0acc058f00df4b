//! Minimal runtime. A task runs on the thread that wakes it, which is a thread of the gateway. The runtime has no threads of
//! its own, so nothing must be stopped and no task moves between threads without need.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// State of a task that waits for a wake-up.
const IDLE: u8 = 0;
/// State of a task in a queue.
const QUEUED: u8 = 1;
/// State of a task that a thread polls.
const RUNNING: u8 = 2;
/// State of a task that was woken while a thread polls it.
const WOKEN: u8 = 3;
/// State of a task that has ended.
const DONE: u8 = 4;

struct Task {
    state: AtomicU8,
    /// Future of the task. Only the thread that runs the task locks it, so the lock is never contended.
    work: Mutex<Option<Work>>,
}

/// Starts a task and runs it on this thread until it has to wait.
pub(crate) fn spawn(work: impl Future<Output = ()> + Send + 'static) {
    let task = Task { state: AtomicU8::new(QUEUED), work: Mutex::new(Some(Box::pin(work))) };
    enqueue(Arc::new(task));
}

/// Tasks that are ready to run on a thread.
#[derive(Default)]
struct RunQueue {
    tasks: VecDeque<Arc<Task>>,
    state: QueueState,
}

#[derive(Default, PartialEq)]
enum QueueState {
    #[default]
    Idle,
    Draining,
}

thread_local! {
    static QUEUE: RefCell<RunQueue> = RefCell::default();
}

/// Queues a task on this thread and drains the queue, unless a caller further up the stack already drains it.
fn enqueue(task: Arc<Task>) {
    let mut task = Some(task);
    let is_drain_needed = QUEUE.try_with(|queue| {
        let mut queue = queue.borrow_mut();
        queue.tasks.extend(task.take());
        std::mem::replace(&mut queue.state, QueueState::Draining) == QueueState::Idle
    });
    match is_drain_needed {
        Ok(true) => drain(),
        Ok(false) => {}
        // The thread is ending and its queue is gone.
        Err(_) => task.into_iter().for_each(run),
    }
}

fn drain() {
    let next = || {
        QUEUE.with(|queue| {
            let mut queue = queue.borrow_mut();
            let task = queue.tasks.pop_front();
            if task.is_none() {
                queue.state = QueueState::Idle;
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
    // A panic ends the task. Dropping its future completes the call with faults.
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
    // Dropping the future may panic, too.
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

    /// Future that ends after `remaining` wake-ups.
    struct WakeCount {
        remaining: usize,
        wakers: Arc<Mutex<Vec<Waker>>>,
    }

    impl Future for WakeCount {
        type Output = ();
        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
            if self.remaining == 0 {
                return Poll::Ready(());
            }
            self.remaining -= 1;
            self.wakers.lock().unwrap().push(context.waker().clone());
            Poll::Pending
        }
    }

    #[test]
    fn woken_tasks_run_to_their_end_and_on_one_thread_at_a_time() {
        let wakers = Arc::new(Mutex::new(Vec::new()));
        let ended = Arc::new(AtomicUsize::new(0));
        for _ in 0..100 {
            let (wakes, ended) =
                (WakeCount { remaining: 10, wakers: Arc::clone(&wakers) }, Arc::clone(&ended));
            spawn(async move {
                wakes.await;
                ended.fetch_add(1, Ordering::AcqRel);
            });
        }
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while ended.load(Ordering::Acquire) < 100 {
                        let waker = wakers.lock().unwrap().pop();
                        waker.iter().for_each(Waker::wake_by_ref);
                        // A second wake-up must have no effect.
                        waker.into_iter().for_each(Waker::wake);
                    }
                });
            }
        });
        assert_eq!(ended.load(Ordering::Acquire), 100);
    }

    #[test]
    fn a_task_that_wakes_itself_does_not_grow_the_stack() {
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
    fn a_panic_ends_only_its_own_task() {
        let dropped = Arc::new(AtomicUsize::new(0));
        struct Counts(Arc<AtomicUsize>);
        impl Drop for Counts {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::AcqRel);
            }
        }
        let guard = Counts(Arc::clone(&dropped));
        spawn(async move {
            let _guard = guard;
            panic!("on purpose");
        });
        let guard = Counts(Arc::clone(&dropped));
        spawn(async move { drop(guard) });
        assert_eq!(dropped.load(Ordering::Acquire), 2);
    }
}
