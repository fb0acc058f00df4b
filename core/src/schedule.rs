//! When to try again: data and one pure function. Never earlier than the vendor asked, never after the message has expired.

use std::time::Duration;

use crate::channel::Capability;
use crate::fault::{Fault, Kind, Retry};
use crate::words::Timestamp;

/// The delays of one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// The shortest wait before any retry.
    pub floor: Duration,
    /// The longest wait that is not the vendor's wish.
    pub cap: Duration,
    /// The wait when the vendor throttles without saying how long.
    pub throttle: Duration,
    /// The first wait when a human has to act.
    pub slow: Duration,
    /// Older than this, a notification is given up though its time to live has not run out: something is misclassified or
    /// the vendor is out for long, and the device's app will fetch what it missed.
    pub max_age: Duration,
}

impl Schedule {
    /// The schedule for what a channel declares: at most two minutes between tries, an hour in all.
    #[must_use]
    pub fn of(capability: &Capability) -> Self {
        Self {
            floor: capability.retry_floor,
            cap: Duration::from_secs(120),
            throttle: capability.throttle_pause,
            slow: Duration::from_secs(60),
            max_age: Duration::from_secs(3600),
        }
    }

    /// When to try again after `fault` on the given attempt (from 1), or `None` to give up.
    /// `jitter` is in 0..1 and spreads what failed together.
    #[must_use]
    pub fn next(&self, fault: &Fault, attempt: u32, times: Times, jitter: f64) -> Option<Timestamp> {
        let wait = match fault.row().retry {
            Retry::Never => return None,
            Retry::Once if attempt > 1 => self.backoff(self.floor, attempt, jitter),
            Retry::Once => Duration::ZERO,
            Retry::Backoff => self.backoff(self.floor, attempt, jitter),
            Retry::Wait => self.throttle.mul_f64(1.0 + 0.1 * jitter),
            Retry::Slowly => self.backoff(self.slow, attempt, jitter),
        };
        // A hint is a promise to the vendor: at least so long, and a little more so that not all come back at once.
        let wait = match fault.retry_after {
            // And never sooner than the channel waits anyway: a hint of zero, or a date gone by, asks for no storm.
            Some(hint) => hint.mul_f64(1.0 + 0.05 * jitter).max(hint).max(self.floor),
            None => wait,
        };
        let at = times.now + wait;
        let give_up = times.expires_at.min(times.created_at + self.max_age);
        (at < give_up).then_some(at)
    }

    /// From `floor` upwards, up to twice as long with each try, never above `cap` (or `floor`, if that is longer).
    fn backoff(&self, floor: Duration, attempt: u32, jitter: f64) -> Duration {
        let top = floor.saturating_mul(2u32.saturating_pow(attempt.min(16))).min(self.cap.max(floor));
        floor + top.saturating_sub(floor).mul_f64(jitter)
    }
}

/// The hours that matter for a decision.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// Now.
    pub now: Timestamp,
    /// When the caller asked.
    pub created_at: Timestamp,
    /// When it must not be sent any more.
    pub expires_at: Timestamp,
}

/// A bearer refused twice in a row is no longer a matter of age.
#[must_use]
pub fn judged(fault: Fault, attempt: u32) -> Fault {
    if fault.kind == Kind::AuthExpired && attempt > 1 {
        return Fault { kind: Kind::Credentials, ..fault };
    }
    fault
}

#[cfg(test)]
mod tests {
    use super::*;

    const AN_HOUR: Duration = Duration::from_secs(3600);

    fn schedule() -> Schedule {
        Schedule::of(&Capability { retry_floor: Duration::from_secs(10), ..Capability::BASIC })
    }

    fn times(ttl: Duration) -> Times {
        let now = Timestamp::from_millis(1_000_000);
        Times { now, created_at: now, expires_at: now + ttl }
    }

    fn wait(fault: &Fault, attempt: u32, jitter: f64) -> Option<Duration> {
        let times = times(AN_HOUR * 24);
        schedule().next(fault, attempt, times, jitter).map(|at| at.since(times.now))
    }

    #[test]
    fn never_earlier_than_the_vendor_asked() {
        for kind in [Kind::Throttled, Kind::VendorDown, Kind::Timeout, Kind::Credentials] {
            let fault = Fault::new(kind, "").retry_after(Some(Duration::from_secs(77)));
            for jitter in [0.0, 0.5, 0.999] {
                assert!(wait(&fault, 1, jitter).unwrap() >= Duration::from_secs(77), "{kind:?}");
            }
        }
    }

    #[test]
    fn a_hint_that_is_over_or_short_does_not_make_a_storm() {
        for hint in [Duration::ZERO, Duration::from_secs(1)] {
            let fault = Fault::new(Kind::VendorDown, "").retry_after(Some(hint));
            assert!(wait(&fault, 1, 0.0).unwrap() >= Duration::from_secs(10));
        }
    }

    #[test]
    fn a_throttle_without_a_hint_waits_the_channels_pause() {
        assert!(wait(&Fault::new(Kind::Throttled, ""), 1, 0.0).unwrap() >= Duration::from_secs(60));
    }

    #[test]
    fn backoff_grows_from_the_floor_to_the_cap() {
        let fault = Fault::new(Kind::VendorDown, "");
        assert_eq!(wait(&fault, 1, 0.0).unwrap(), Duration::from_secs(10));
        assert_eq!(wait(&fault, 1, 1.0).unwrap(), Duration::from_secs(20));
        assert_eq!(wait(&fault, 2, 1.0).unwrap(), Duration::from_secs(40));
        assert_eq!(wait(&fault, 40, 1.0).unwrap(), Duration::from_secs(120));
    }

    #[test]
    fn a_fault_that_will_not_change_is_given_up() {
        for kind in [Kind::BadMessage, Kind::TokenGone, Kind::TooLarge, Kind::WrongApp, Kind::Unsupported] {
            assert_eq!(wait(&Fault::new(kind, ""), 1, 0.5), None);
        }
    }

    #[test]
    fn nothing_is_scheduled_after_its_ttl_or_after_an_hour() {
        let down = Fault::new(Kind::VendorDown, "");
        assert_eq!(schedule().next(&down, 1, times(Duration::from_secs(10)), 0.0), None);
        let hint = Fault::new(Kind::VendorDown, "").retry_after(Some(AN_HOUR));
        assert_eq!(schedule().next(&hint, 1, times(AN_HOUR * 24), 0.0), None);
    }

    #[test]
    fn an_expired_bearer_is_tried_again_at_once_and_once() {
        let fault = Fault::new(Kind::AuthExpired, "");
        assert_eq!(wait(&fault, 1, 0.9).unwrap(), Duration::ZERO);
        assert_eq!(judged(fault.clone(), 1).kind, Kind::AuthExpired);
        assert_eq!(judged(fault, 2).kind, Kind::Credentials);
    }
}
