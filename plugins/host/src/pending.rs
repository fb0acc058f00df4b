//! Who waits for which answer. A tag is good once; whatever else arrives under it is told apart and does no harm.
//! Knows nothing of pointers: what reaches it has been read already.

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

/// An answer as it was given, or that what was given cannot be taken for one; `Never` when the deadline has come first.
pub(crate) type Answer = Result<Given, Misuse>;

/// What was given.
#[derive(Debug, PartialEq)]
pub(crate) struct Given {
    pub(crate) outcomes: Vec<Outcome>,
    /// To a probe: when the credentials end.
    pub(crate) expires_at: Option<Timestamp>,
    /// Whether a pause was asked for that is longer than a plugin may ask for.
    pub(crate) is_cut: bool,
}

/// Answers are given from many threads: with one lock they would queue for it.
const SHARDS: usize = 16;
/// How many tags a shard remembers for telling the late from the doubled.
const REMEMBERED: usize = 256;

thread_local! {
    /// Whose asker is at work on this thread and looks for the answer before it rests: it need not be woken.
    static HERE: Cell<u64> = const { Cell::new(0) };
}

/// The questions of one plugin.
#[derive(Debug)]
pub(crate) struct Pending {
    next: AtomicU64,
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Debug, Default)]
struct Shard {
    waiting: HashMap<u64, Waiting, BuildHasherDefault<Spread>>,
    given_up: VecDeque<(u64, GivenUp)>,
}

/// Spreads tags, which we number ourselves: nobody can choose them so that they collide.
#[derive(Debug, Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(self.0 ^ u64::from(*byte)));
    }

    fn write_u64(&mut self, tag: u64) {
        // The golden ratio in 64 bits: neighbours end far from each other, in the upper bits too.
        self.0 = tag.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// The channel that asks.
    pub(crate) channel: u64,
    /// So many outcomes.
    pub(crate) outcomes: usize,
    /// From when on an answer is late.
    pub(crate) until: Instant,
}

#[derive(Debug)]
struct Waiting {
    wanted: Wanted,
    slot: Arc<Slot>,
}

/// Where the answer is put.
#[derive(Debug, Default)]
struct Slot {
    answer: Mutex<Option<Answer>>,
    asker: AtomicWaker,
}

impl Slot {
    fn fill(&self, tag: u64, answer: Answer) {
        *self.answer.lock() = Some(answer);
        if HERE.get() != tag {
            self.asker.wake();
        }
    }
}

/// Why nobody waits any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GivenUp {
    /// The deadline came: an answer after it is late.
    InTime,
    /// We dropped the question ourselves: an answer to it is nobody's fault.
    ByUs,
}

impl Default for Pending {
    fn default() -> Self {
        Self { next: AtomicU64::new(1), shards: std::array::from_fn(|_| Mutex::default()) }
    }
}

impl Pending {
    fn shard(&self, tag: u64) -> &Mutex<Shard> {
        &self.shards[(tag % SHARDS as u64) as usize]
    }

    /// A new question.
    pub(crate) fn ask(&self, wanted: Wanted) -> Question<'_> {
        let tag = self.next.fetch_add(1, Ordering::Relaxed);
        let slot = Arc::new(Slot::default());
        let waiting = Waiting { wanted, slot: Arc::clone(&slot) };
        self.shard(tag).lock().waiting.insert(tag, waiting);
        Question { pending: self, tag, slot, open: true }
    }

    /// Takes an answer in. `read` makes outcomes of what was handed over, and is called only when somebody waits for them.
    ///
    /// # Errors
    /// What was against the contract; the one who waits has been told already.
    pub(crate) fn answer(&self, tag: u64, count: usize, read: impl FnOnce() -> Answer) -> Result<(), Misuse> {
        let waiting = {
            let mut shard = self.shard(tag).lock();
            match shard.waiting.remove(&tag) {
                Some(waiting) => waiting,
                None => return self.stray(tag, &shard),
            }
        };
        let answer = if count == waiting.wanted.outcomes { read() } else { Err(Misuse::WrongCount) };
        let verdict = answer.as_ref().map_or_else(|misuse| Err(*misuse), |_| Ok(()));
        waiting.slot.fill(tag, answer);
        verdict
    }

    /// Answers for the plugin whatever the channel has waited for until its time was over. Gives the deadline that comes next.
    pub(crate) fn expire(&self, channel: u64, now: Instant) -> Option<Instant> {
        let ours = |waiting: &Waiting| waiting.wanted.channel == channel;
        let mut next: Option<Instant> = None;
        for shard in &self.shards {
            let mut shard = shard.lock();
            let is_over = |_: &u64, waiting: &mut Waiting| ours(waiting) && waiting.wanted.until <= now;
            let over: Vec<_> = shard.waiting.extract_if(is_over).collect();
            for (tag, waiting) in over {
                shard.remember(tag, GivenUp::InTime);
                waiting.slot.fill(tag, Err(Misuse::Never));
            }
            let first = shard.waiting.values().filter(|one| ours(one)).map(|one| one.wanted.until).min();
            next = [next, first].into_iter().flatten().min();
        }
        next
    }

    /// An answer nobody waits for.
    fn stray(&self, tag: u64, shard: &Shard) -> Result<(), Misuse> {
        if tag == 0 || tag >= self.next.load(Ordering::Relaxed) {
            return Err(Misuse::UnknownTag);
        }
        match shard.given_up.iter().find(|(known, _)| *known == tag) {
            Some((_, GivenUp::ByUs)) => Ok(()),
            Some((_, GivenUp::InTime)) => Err(Misuse::Late),
            None => Err(Misuse::Twice),
        }
    }

    /// How many are waiting.
    #[cfg(test)]
    fn waiting(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().waiting.len()).sum()
    }
}

impl Shard {
    fn remember(&mut self, tag: u64, why: GivenUp) {
        if self.given_up.len() == REMEMBERED {
            self.given_up.pop_front();
        }
        self.given_up.push_back((tag, why));
    }
}

/// A question that is forgotten when whoever asked goes away.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    pending: &'a Pending,
    tag: u64,
    slot: Arc<Slot>,
    open: bool,
}

impl Question<'_> {
    pub(crate) const fn tag(&self) -> u64 {
        self.tag
    }

    /// Does something that may bring the answer on this very thread. Look for it afterwards: nobody is woken for it.
    pub(crate) fn here<T>(&self, run: impl FnOnce() -> T) -> T {
        struct Before(u64);
        impl Drop for Before {
            fn drop(&mut self) {
                HERE.set(self.0);
            }
        }
        let _before = Before(HERE.replace(self.tag));
        run()
    }

    /// The answer, once.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Answer> {
        if let Some(answer) = self.take() {
            return Poll::Ready(answer);
        }
        self.slot.asker.register(context.waker());
        // It may have come before there was anybody to wake.
        self.take().map_or(Poll::Pending, Poll::Ready)
    }

    fn take(&mut self) -> Option<Answer> {
        let answer = self.slot.answer.lock().take()?;
        self.open = false;
        Some(answer)
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        let mut shard = self.pending.shard(self.tag).lock();
        if shard.waiting.remove(&self.tag).is_some() {
            shard.remember(self.tag, GivenUp::ByUs);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn wanted(outcomes: usize) -> Wanted {
        Wanted { channel: 1, outcomes, until: Instant::now() + Duration::from_secs(1) }
    }

    fn taken(count: usize) -> impl FnOnce() -> Answer {
        move || Ok(Given { outcomes: vec![Outcome::accepted("id"); count], expires_at: None, is_cut: false })
    }

    #[test]
    fn an_answer_is_taken_once() {
        let pending = Pending::default();
        let mut question = pending.ask(wanted(2));
        assert_eq!(pending.answer(question.tag(), 2, taken(2)), Ok(()));
        assert_eq!(question.take().unwrap().unwrap().outcomes.len(), 2);
        assert_eq!(pending.answer(question.tag(), 2, taken(2)), Err(Misuse::Twice));
    }

    #[test]
    fn another_number_is_told_to_whoever_waits_and_never_read() {
        let pending = Pending::default();
        let mut question = pending.ask(wanted(2));
        let read = || unreachable!("what has the wrong length is not looked at");
        assert_eq!(pending.answer(question.tag(), 3, read), Err(Misuse::WrongCount));
        assert_eq!(question.take(), Some(Err(Misuse::WrongCount)));
    }

    #[test]
    fn late_doubled_and_unknown_are_told_apart() {
        let pending = Pending::default();
        assert_eq!(pending.answer(0, 1, taken(1)), Err(Misuse::UnknownTag));
        assert_eq!(pending.answer(77, 1, taken(1)), Err(Misuse::UnknownTag));
        let mut question = pending.ask(wanted(1));
        assert_eq!(pending.expire(1, question_ends(&pending)), None);
        assert_eq!(question.take(), Some(Err(Misuse::Never)));
        assert_eq!(pending.answer(question.tag(), 1, taken(1)), Err(Misuse::Late));
        let question = pending.ask(wanted(1));
        let tag = question.tag();
        drop(question);
        assert_eq!(pending.answer(tag, 1, taken(1)), Ok(()), "we left, the plugin did nothing wrong");
    }

    /// When the last of those who wait gives up.
    fn question_ends(pending: &Pending) -> Instant {
        let ends = |shard: &Mutex<Shard>| shard.lock().waiting.values().map(|one| one.wanted.until).max();
        pending.shards.iter().filter_map(ends).max().unwrap()
    }

    #[test]
    fn a_deadline_is_one_channels_and_the_next_one_is_named() {
        let pending = Pending::default();
        let (soon, later) = (Instant::now(), Instant::now() + Duration::from_secs(9));
        let mut first = pending.ask(Wanted { until: soon, ..wanted(1) });
        let mut second = pending.ask(Wanted { until: later, ..wanted(1) });
        let mut other = pending.ask(Wanted { until: soon, channel: 2, ..wanted(1) });
        assert_eq!(pending.expire(1, soon), Some(later));
        assert_eq!(first.take(), Some(Err(Misuse::Never)));
        assert_eq!((second.take(), other.take()), (None, None));
    }

    #[test]
    fn who_is_here_is_not_woken_and_who_rests_is() {
        let pending = Pending::default();
        let (waker, woken) = counted();
        let mut context = Context::from_waker(&waker);
        let mut question = pending.ask(wanted(1));
        assert!(question.poll(&mut context).is_pending());
        let tag = question.tag();
        question.here(|| pending.answer(tag, 1, taken(1))).unwrap();
        assert_eq!(woken.load(Ordering::Acquire), 0);
        assert!(question.poll(&mut context).is_ready());
        let mut question = pending.ask(wanted(1));
        assert!(question.poll(&mut context).is_pending());
        pending.answer(question.tag(), 1, taken(1)).unwrap();
        assert_eq!(woken.load(Ordering::Acquire), 1);
        assert!(question.poll(&mut context).is_ready());
    }

    fn counted() -> (std::task::Waker, Arc<AtomicU64>) {
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
    fn what_is_remembered_is_bounded() {
        let pending = Pending::default();
        for _ in 0..SHARDS * REMEMBERED * 2 {
            drop(pending.ask(wanted(1)));
        }
        assert_eq!(pending.waiting(), 0);
        assert!(pending.shards.iter().all(|shard| shard.lock().given_up.len() == REMEMBERED));
    }

    #[test]
    fn of_ten_threads_that_answer_one_tag_one_is_taken() {
        for _ in 0..100 {
            let pending = Pending::default();
            let mut question = pending.ask(wanted(1));
            let tag = question.tag();
            let taken = std::thread::scope(|scope| {
                let threads: Vec<_> =
                    (0..10).map(|_| scope.spawn(|| pending.answer(tag, 1, taken(1)))).collect();
                threads.into_iter().filter_map(|thread| thread.join().ok()?.ok()).count()
            });
            assert_eq!(taken, 1);
            assert!(question.take().unwrap().is_ok());
        }
    }
}
