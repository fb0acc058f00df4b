//! Who waits for which answer. A tag is good once; whatever else arrives under it is told apart and does no harm.
//! Knows nothing of pointers: what reaches it has been read already.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use pushgate::{Outcome, Timestamp};
use tokio::sync::oneshot;

use crate::telemetry::Misuse;

/// An answer as it was given, or that what was given cannot be taken for one.
pub(crate) type Answer = Result<Given, Misuse>;

/// What was given.
#[derive(Debug, PartialEq)]
pub(crate) struct Given {
    pub(crate) outcomes: Vec<Outcome>,
    /// To a probe: when the credentials end.
    pub(crate) expires_at: Option<Timestamp>,
}

/// Answers are given from many threads: with one lock they would queue for it.
const SHARDS: usize = 16;
/// How many tags a shard remembers for telling the late from the doubled.
const REMEMBERED: usize = 256;

/// The questions of one plugin.
#[derive(Debug)]
pub(crate) struct Pending {
    next: AtomicU64,
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Debug, Default)]
struct Shard {
    waiting: HashMap<u64, Waiting>,
    given_up: VecDeque<(u64, GivenUp)>,
}

#[derive(Debug)]
struct Waiting {
    expected: usize,
    answer: oneshot::Sender<Answer>,
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

    /// A new question that wants so many outcomes.
    pub(crate) fn ask(&self, expected: usize) -> (Question<'_>, oneshot::Receiver<Answer>) {
        let tag = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, receiver) = oneshot::channel();
        self.shard(tag).lock().waiting.insert(tag, Waiting { expected, answer });
        (Question { pending: self, tag, why: GivenUp::ByUs }, receiver)
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
        let answer = if count == waiting.expected { read() } else { Err(Misuse::WrongCount) };
        let verdict = answer.as_ref().map_or_else(|misuse| Err(*misuse), |_| Ok(()));
        // Who waited may have gone this very moment; then the answer is nobody's.
        let _ = waiting.answer.send(answer);
        verdict
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

/// A question that is forgotten when whoever asked goes away.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    pending: &'a Pending,
    tag: u64,
    why: GivenUp,
}

impl Question<'_> {
    pub(crate) const fn tag(&self) -> u64 {
        self.tag
    }

    /// The deadline has come: an answer from now on is late.
    pub(crate) fn out_of_time(mut self) {
        self.why = GivenUp::InTime;
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        let mut shard = self.pending.shard(self.tag).lock();
        if shard.waiting.remove(&self.tag).is_none() {
            return;
        }
        if shard.given_up.len() == REMEMBERED {
            shard.given_up.pop_front();
        }
        shard.given_up.push_back((self.tag, self.why));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(count: usize) -> impl FnOnce() -> Answer {
        move || Ok(Given { outcomes: vec![Outcome::accepted("id"); count], expires_at: None })
    }

    #[test]
    fn an_answer_is_taken_once() {
        let pending = Pending::default();
        let (question, mut answer) = pending.ask(2);
        assert_eq!(pending.answer(question.tag(), 2, taken(2)), Ok(()));
        assert_eq!(answer.try_recv().unwrap().unwrap().outcomes.len(), 2);
        assert_eq!(pending.answer(question.tag(), 2, taken(2)), Err(Misuse::Twice));
    }

    #[test]
    fn another_number_is_told_to_whoever_waits_and_never_read() {
        let pending = Pending::default();
        let (question, mut answer) = pending.ask(2);
        let read = || unreachable!("what has the wrong length is not looked at");
        assert_eq!(pending.answer(question.tag(), 3, read), Err(Misuse::WrongCount));
        assert_eq!(answer.try_recv().unwrap(), Err(Misuse::WrongCount));
    }

    #[test]
    fn late_doubled_and_unknown_are_told_apart() {
        let pending = Pending::default();
        assert_eq!(pending.answer(0, 1, taken(1)), Err(Misuse::UnknownTag));
        assert_eq!(pending.answer(77, 1, taken(1)), Err(Misuse::UnknownTag));
        let (question, _answer) = pending.ask(1);
        let tag = question.tag();
        question.out_of_time();
        assert_eq!(pending.answer(tag, 1, taken(1)), Err(Misuse::Late));
        let (question, answer) = pending.ask(1);
        let tag = question.tag();
        drop((question, answer));
        assert_eq!(pending.answer(tag, 1, taken(1)), Ok(()), "we left, the plugin did nothing wrong");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let pending = Pending::default();
        for _ in 0..SHARDS * REMEMBERED * 2 {
            pending.ask(1).0.out_of_time();
        }
        assert_eq!(pending.waiting(), 0);
        assert!(pending.shards.iter().all(|shard| shard.lock().given_up.len() == REMEMBERED));
    }

    #[test]
    fn of_ten_threads_that_answer_one_tag_one_is_taken() {
        for _ in 0..100 {
            let pending = Pending::default();
            let (question, mut answer) = pending.ask(1);
            let tag = question.tag();
            let taken = std::thread::scope(|scope| {
                let threads: Vec<_> =
                    (0..10).map(|_| scope.spawn(|| pending.answer(tag, 1, taken(1)))).collect();
                threads.into_iter().filter_map(|thread| thread.join().ok()?.ok()).count()
            });
            assert_eq!(taken, 1);
            assert!(answer.try_recv().unwrap().is_ok());
        }
    }
}
