//! Clock that advances only when a test moves it. No task sleeps in real time, so tests are exact and fast.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pushgate::{Clock, Timestamp};
use tokio::sync::watch;

/// Manual clock, shared by the test, which moves it, and the code under test, which reads it.
#[derive(Debug)]
pub struct ManualClock {
    state: watch::Sender<State>,
    tickets: AtomicU64,
}

#[derive(Debug)]
struct State {
    now: Timestamp,
    /// Sleeping tasks by wake-up time. The number distinguishes tasks with the same wake-up time.
    sleepers: BTreeSet<(Timestamp, u64)>,
}

impl ManualClock {
    /// Creates a clock that shows `now`.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self {
            state: watch::Sender::new(State { now, sleepers: BTreeSet::new() }),
            tickets: AtomicU64::new(0),
        }
    }

    /// Returns the current time, as [`Clock::now`] does, without the trait in scope.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.state.borrow().now
    }

    /// Moves the clock forward and wakes the tasks that are due.
    pub fn advance(&self, by: Duration) {
        self.state.send_modify(|state| state.now = state.now + by);
    }

    /// Sets the clock, also backwards, as happens to the clocks of machines.
    pub fn set(&self, now: Timestamp) {
        self.state.send_modify(|state| state.now = now);
    }

    /// Waits until a task sleeps, and returns the earliest wake-up time. A task that is due but has not run yet does
    /// not count.
    pub async fn sleeper(&self) -> Timestamp {
        let mut watching = self.state.subscribe();
        loop {
            let next = {
                let state = watching.borrow_and_update();
                let now = state.now;
                state.sleepers.iter().map(|(until, _)| *until).find(|until| *until > now)
            };
            if let Some(until) = next {
                return until;
            }
            // The sender is `self`, so it is never gone; were it, there would be nobody left to wait for.
            let _ = watching.changed().await;
        }
    }
}

impl Default for ManualClock {
    /// Creates a clock that shows 2023-11-14T22:13:20Z, the time of the test vectors.
    fn default() -> Self {
        Self::at(Timestamp::from_millis(1_700_000_000_000))
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Self::now(self)
    }

    async fn sleep_until(&self, at: Timestamp) {
        let mut watching = self.state.subscribe();
        if watching.borrow_and_update().now >= at {
            return;
        }
        let _sleeper = Sleeper::enter(self, at);
        let _ = watching.wait_for(|state| state.now >= at).await;
    }
}

/// Registration of a sleeping task, removed when the sleep is dropped.
struct Sleeper<'a> {
    clock: &'a ManualClock,
    entry: (Timestamp, u64),
}

impl<'a> Sleeper<'a> {
    fn enter(clock: &'a ManualClock, until: Timestamp) -> Self {
        let entry = (until, clock.tickets.fetch_add(1, Ordering::Relaxed));
        clock.state.send_modify(|state| {
            state.sleepers.insert(entry);
        });
        Self { clock, entry }
    }
}

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        self.clock.state.send_modify(|state| {
            state.sleepers.remove(&self.entry);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_sleeper_wakes_when_his_hour_has_come_and_not_before() {
        let clock = Arc::new(ManualClock::default());
        let at = clock.now() + Duration::from_secs(10);
        let sleeping = tokio::spawn({
            let clock = Arc::clone(&clock);
            async move { clock.sleep_until(at).await }
        });
        assert_eq!(clock.sleeper().await, at);
        clock.advance(Duration::from_millis(9_999));
        assert_eq!(clock.sleeper().await, at);
        assert!(!sleeping.is_finished());
        clock.advance(Duration::from_millis(1));
        sleeping.await.unwrap();
    }

    #[tokio::test]
    async fn the_earliest_sleeper_is_told_and_a_dropped_one_is_forgotten() {
        let clock = ManualClock::default();
        let at = |secs| clock.now() + Duration::from_secs(secs);
        let mut early = clock.sleep_until(at(1));
        let mut late = clock.sleep_until(at(2));
        assert!((&mut late).now_or_never().is_none());
        assert!((&mut early).now_or_never().is_none());
        assert_eq!(clock.sleeper().await, at(1));
        drop(early);
        assert_eq!(clock.sleeper().await, at(2));
    }

    #[tokio::test]
    async fn an_hour_that_has_passed_is_not_waited_for() {
        let clock = ManualClock::default();
        clock.sleep_until(clock.now()).await;
    }
}
