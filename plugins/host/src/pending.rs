//! Calls to a plugin that wait for their completion. Each tag can be completed once. Every other completion is classified
//! as late, repeated or unknown and has no effect. This module handles no pointers of the plugin.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use pushgate::{Outcome, Timestamp};
use tokio::time::Instant;

use crate::telemetry::Misuse;

/// Result of a call: the completion, or the misuse that replaces it. [`Misuse::Never`] means that the deadline has passed.
pub(crate) type CallResult = Result<Completion, Misuse>;

/// Outcomes that a plugin passes to `complete`.
#[derive(Debug, PartialEq)]
pub(crate) struct Completion {
    pub(crate) outcomes: Vec<Outcome>,
    /// Expiry of the credentials, for a probe. `None` if the plugin gives none.
    pub(crate) expires_at: Option<Timestamp>,
    /// `true` if a requested pause exceeded the limit and was cut.
    pub(crate) is_pause_cut: bool,
}

/// Number of locks. Plugins complete calls from many threads, which would contend for a single lock.
const SHARDS: usize = 16;
/// Number of abandoned tags that a shard remembers, to distinguish late completions from repeated ones.
const MAX_ABANDONED: usize = 256;

thread_local! {
    /// Tag of the call that this thread currently polls. Its result is checked afterwards, so its task needs no wake-up.
    static POLLED_TAG: Cell<u64> = const { Cell::new(0) };
}

/// Pending calls of one plugin.
#[derive(Debug)]
pub(crate) struct PendingCalls {
    next_tag: AtomicU64,
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Debug, Default)]
struct Shard {
    entries: HashMap<u64, Entry, BuildHasherDefault<TagHasher>>,
    abandoned: VecDeque<(u64, Abandoned)>,
}

/// Fast hasher for tags. The host numbers the tags itself, so no plugin can provoke collisions.
#[derive(Debug, Default)]
struct TagHasher(u64);

impl Hasher for TagHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(self.0 ^ u64::from(*byte)));
    }

    fn write_u64(&mut self, tag: u64) {
        // Multiplicative hashing with the golden ratio spreads consecutive tags. `HashMap` also uses the upper bits.
        self.0 = tag.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }
}

/// Parameters of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallSpec {
    /// Number of the calling channel.
    pub(crate) channel: u64,
    /// Expected number of outcomes.
    pub(crate) outcomes: usize,
    /// Time after which a completion is late.
    pub(crate) deadline: Instant,
}

#[derive(Debug)]
struct Entry {
    spec: CallSpec,
    slot: Arc<Slot>,
}

/// Place of the result, shared by the caller and the completing thread.
#[derive(Debug, Default)]
struct Slot {
    result: Mutex<Option<CallResult>>,
    waker: AtomicWaker,
}

impl Slot {
    fn fill(&self, tag: u64, result: CallResult) {
        *self.result.lock() = Some(result);
        if POLLED_TAG.get() != tag {
            self.waker.wake();
        }
    }
}

/// Reason why a call ended without a completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Abandoned {
    /// The deadline passed. A later completion is a misuse.
    TimedOut,
    /// The host dropped the call. A later completion is no misuse.
    Cancelled,
}

impl Default for PendingCalls {
    fn default() -> Self {
        Self { next_tag: AtomicU64::new(1), shards: std::array::from_fn(|_| Mutex::default()) }
    }
}

impl PendingCalls {
    fn shard(&self, tag: u64) -> &Mutex<Shard> {
        &self.shards[(tag % SHARDS as u64) as usize]
    }

    /// Registers a call under a new tag.
    pub(crate) fn register(&self, spec: CallSpec) -> PendingCall<'_> {
        let tag = self.next_tag.fetch_add(1, Ordering::Relaxed);
        let slot = Arc::new(Slot::default());
        let entry = Entry { spec, slot: Arc::clone(&slot) };
        self.shard(tag).lock().entries.insert(tag, entry);
        PendingCall { pending: self, tag, slot, is_open: true }
    }

    /// Completes a call with `count` outcomes. `read` copies the outcomes and runs only if the call is pending and the count
    /// is right.
    ///
    /// # Errors
    /// The misuse that the caller must record. The waiting task has received it as the call's result.
    pub(crate) fn complete(
        &self,
        tag: u64,
        count: usize,
        read: impl FnOnce() -> CallResult,
    ) -> Result<(), Misuse> {
        let entry = {
            let mut shard = self.shard(tag).lock();
            match shard.entries.remove(&tag) {
                Some(entry) => entry,
                None => return self.classify_unexpected(tag, &shard),
            }
        };
        let result = if count == entry.spec.outcomes { read() } else { Err(Misuse::WrongCount) };
        let status = result.as_ref().map_or_else(|misuse| Err(*misuse), |_| Ok(()));
        entry.slot.fill(tag, result);
        status
    }

    /// Ends all calls of the channel whose deadline has passed. Returns the next deadline, or `None` without pending calls.
    pub(crate) fn expire(&self, channel: u64, now: Instant) -> Option<Instant> {
        let is_of_channel = |entry: &Entry| entry.spec.channel == channel;
        let mut next: Option<Instant> = None;
        for shard in &self.shards {
            let mut shard = shard.lock();
            let is_expired = |_: &u64, entry: &mut Entry| is_of_channel(entry) && entry.spec.deadline <= now;
            let expired: Vec<_> = shard.entries.extract_if(is_expired).collect();
            for (tag, entry) in expired {
                shard.remember(tag, Abandoned::TimedOut);
                entry.slot.fill(tag, Err(Misuse::Never));
            }
            let first = shard
                .entries
                .values()
                .filter(|entry| is_of_channel(entry))
                .map(|entry| entry.spec.deadline)
                .min();
            next = [next, first].into_iter().flatten().min();
        }
        next
    }

    /// Classifies a completion of a call that is not pending. `Ok` means that the plugin did nothing wrong.
    fn classify_unexpected(&self, tag: u64, shard: &Shard) -> Result<(), Misuse> {
        if tag == 0 || tag >= self.next_tag.load(Ordering::Relaxed) {
            return Err(Misuse::UnknownTag);
        }
        match shard.abandoned.iter().find(|(known, _)| *known == tag) {
            Some((_, Abandoned::Cancelled)) => Ok(()),
            Some((_, Abandoned::TimedOut)) => Err(Misuse::Late),
            None => Err(Misuse::Twice),
        }
    }

    /// Returns the number of pending calls.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().entries.len()).sum()
    }
}

impl Shard {
    fn remember(&mut self, tag: u64, why: Abandoned) {
        if self.abandoned.len() == MAX_ABANDONED {
            self.abandoned.pop_front();
        }
        self.abandoned.push_back((tag, why));
    }
}

/// Caller's side of a pending call. Dropping it cancels the call.
#[derive(Debug)]
pub(crate) struct PendingCall<'a> {
    pending: &'a PendingCalls,
    tag: u64,
    slot: Arc<Slot>,
    is_open: bool,
}

impl PendingCall<'_> {
    pub(crate) const fn tag(&self) -> u64 {
        self.tag
    }

    /// Runs code that may complete this call on the current thread, without waking the call's task. Poll the call
    /// afterwards.
    pub(crate) fn poll_inline<T>(&self, run: impl FnOnce() -> T) -> T {
        struct Reset(u64);
        impl Drop for Reset {
            fn drop(&mut self) {
                POLLED_TAG.set(self.0);
            }
        }
        let _reset = Reset(POLLED_TAG.replace(self.tag));
        run()
    }

    /// Polls for the result, which is returned once.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<CallResult> {
        if let Some(result) = self.take() {
            return Poll::Ready(result);
        }
        self.slot.waker.register(context.waker());
        // The result may have arrived before the waker was registered.
        self.take().map_or(Poll::Pending, Poll::Ready)
    }

    fn take(&mut self) -> Option<CallResult> {
        let result = self.slot.result.lock().take()?;
        self.is_open = false;
        Some(result)
    }
}

impl Drop for PendingCall<'_> {
    fn drop(&mut self) {
        if !self.is_open {
            return;
        }
        let mut shard = self.pending.shard(self.tag).lock();
        if shard.entries.remove(&self.tag).is_some() {
            shard.remember(self.tag, Abandoned::Cancelled);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn spec(outcomes: usize) -> CallSpec {
        CallSpec { channel: 1, outcomes, deadline: Instant::now() + Duration::from_secs(1) }
    }

    fn accepted(count: usize) -> impl FnOnce() -> CallResult {
        move || {
            Ok(Completion {
                outcomes: vec![Outcome::accepted("id"); count],
                expires_at: None,
                is_pause_cut: false,
            })
        }
    }

    #[test]
    fn a_call_is_completed_once() {
        let pending = PendingCalls::default();
        let mut call = pending.register(spec(2));
        assert_eq!(pending.complete(call.tag(), 2, accepted(2)), Ok(()));
        assert_eq!(call.take().unwrap().unwrap().outcomes.len(), 2);
        assert_eq!(pending.complete(call.tag(), 2, accepted(2)), Err(Misuse::Twice));
    }

    #[test]
    fn a_wrong_number_of_outcomes_is_reported_to_the_caller_and_not_read() {
        let pending = PendingCalls::default();
        let mut call = pending.register(spec(2));
        let read = || unreachable!("outcomes of a wrong count are not read");
        assert_eq!(pending.complete(call.tag(), 3, read), Err(Misuse::WrongCount));
        assert_eq!(call.take(), Some(Err(Misuse::WrongCount)));
    }

    #[test]
    fn late_repeated_and_unknown_completions_are_distinguished() {
        let pending = PendingCalls::default();
        assert_eq!(pending.complete(0, 1, accepted(1)), Err(Misuse::UnknownTag));
        assert_eq!(pending.complete(77, 1, accepted(1)), Err(Misuse::UnknownTag));
        let mut call = pending.register(spec(1));
        assert_eq!(pending.expire(1, last_deadline(&pending)), None);
        assert_eq!(call.take(), Some(Err(Misuse::Never)));
        assert_eq!(pending.complete(call.tag(), 1, accepted(1)), Err(Misuse::Late));
        let call = pending.register(spec(1));
        let tag = call.tag();
        drop(call);
        assert_eq!(
            pending.complete(tag, 1, accepted(1)),
            Ok(()),
            "the host cancelled the call, so this is no misuse"
        );
    }

    /// Returns the latest deadline of all pending calls.
    fn last_deadline(pending: &PendingCalls) -> Instant {
        let latest =
            |shard: &Mutex<Shard>| shard.lock().entries.values().map(|entry| entry.spec.deadline).max();
        pending.shards.iter().filter_map(latest).max().unwrap()
    }

    #[test]
    fn expiry_ends_the_calls_of_one_channel_and_returns_its_next_deadline() {
        let pending = PendingCalls::default();
        let (now, later) = (Instant::now(), Instant::now() + Duration::from_secs(9));
        let mut first = pending.register(CallSpec { deadline: now, ..spec(1) });
        let mut second = pending.register(CallSpec { deadline: later, ..spec(1) });
        let mut other = pending.register(CallSpec { deadline: now, channel: 2, ..spec(1) });
        assert_eq!(pending.expire(1, now), Some(later));
        assert_eq!(first.take(), Some(Err(Misuse::Never)));
        assert_eq!((second.take(), other.take()), (None, None));
    }

    #[test]
    fn only_a_completion_from_another_task_wakes_the_caller() {
        let pending = PendingCalls::default();
        let (waker, woken) = counting_waker();
        let mut context = Context::from_waker(&waker);
        let mut call = pending.register(spec(1));
        assert!(call.poll(&mut context).is_pending());
        let tag = call.tag();
        call.poll_inline(|| pending.complete(tag, 1, accepted(1))).unwrap();
        assert_eq!(woken.load(Ordering::Acquire), 0);
        assert!(call.poll(&mut context).is_ready());
        let mut call = pending.register(spec(1));
        assert!(call.poll(&mut context).is_pending());
        pending.complete(call.tag(), 1, accepted(1)).unwrap();
        assert_eq!(woken.load(Ordering::Acquire), 1);
        assert!(call.poll(&mut context).is_ready());
    }

    fn counting_waker() -> (std::task::Waker, Arc<AtomicU64>) {
        struct Counts(Arc<AtomicU64>);
        impl std::task::Wake for Counts {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::AcqRel);
            }
        }
        let woken = Arc::new(AtomicU64::new(0));
        (Arc::new(Counts(Arc::clone(&woken))).into(), woken)
    }

    #[test]
    fn the_number_of_remembered_tags_is_bounded() {
        let pending = PendingCalls::default();
        for _ in 0..SHARDS * MAX_ABANDONED * 2 {
            drop(pending.register(spec(1)));
        }
        assert_eq!(pending.len(), 0);
        assert!(pending.shards.iter().all(|shard| shard.lock().abandoned.len() == MAX_ABANDONED));
    }

    #[test]
    fn of_ten_concurrent_completions_of_a_call_one_is_accepted() {
        for _ in 0..100 {
            let pending = PendingCalls::default();
            let mut call = pending.register(spec(1));
            let tag = call.tag();
            let taken = std::thread::scope(|scope| {
                let threads: Vec<_> =
                    (0..10).map(|_| scope.spawn(|| pending.complete(tag, 1, accepted(1)))).collect();
                threads.into_iter().filter_map(|thread| thread.join().ok()?.ok()).count()
            });
            assert_eq!(taken, 1);
            assert!(call.take().unwrap().is_ok());
        }
    }
}
