//! Retry schedule of failed deliveries: settings and one pure function. A retry is never earlier than the push service
//! requested, and never after the message has expired. Decision 0020 has the reasons.

use std::time::Duration;

use crate::channel::Capability;
use crate::fault::{Fault, Kind, Retry, Scope};
use crate::timestamp::Timestamp;

/// First delay while an operator has to correct the configuration.
const SLOW_DELAY: Duration = Duration::from_secs(60);
/// Maximum exponent of the growth. Beyond it every delay is at its maximum.
const MAX_EXPONENT: i32 = 64;

/// Settings of an operator for retries on one channel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryPolicy {
    /// Delay before the first retry. A channel that declares a longer minimum gets that one.
    pub first_delay: Duration,
    /// Growth of the delay with each further retry; at least 1.
    pub factor: f64,
    /// Maximum delay, unless the push service requests a longer one.
    pub max_delay: Duration,
    /// Random part of each delay, from 0 (none) to 1. It spreads the retries of deliveries that failed together.
    pub jitter: f64,
    /// Number of attempts after which a delivery has failed. `None` means that only its time to live ends it.
    pub max_attempts: Option<u32>,
    /// Age at which a delivery has failed. `None` means that only its time to live ends it.
    pub give_up_after: Option<Duration>,
}

impl Default for RetryPolicy {
    /// Returns the defaults of the configuration: from a second to ten minutes, until the time to live ends.
    fn default() -> Self {
        Self {
            first_delay: Duration::from_secs(1),
            factor: 2.0,
            max_delay: Duration::from_secs(600),
            jitter: 0.5,
            max_attempts: None,
            give_up_after: None,
        }
    }
}

/// Decision about a failed delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextStep {
    /// Retry at this time.
    RetryAt(Timestamp),
    /// End with a failure.
    GiveUp,
    /// End as expired, because the time to live ends before the next retry.
    Expire,
}

/// Retry schedule of one channel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    policy: RetryPolicy,
    /// Minimum delay that the push service tolerates.
    floor: Duration,
    /// Delay after a throttle for which the push service requests none.
    throttle_pause: Duration,
}

impl Schedule {
    /// Returns the schedule of a channel under this policy.
    #[must_use]
    pub fn new(capability: &Capability, policy: RetryPolicy) -> Self {
        Self { policy, floor: capability.retry_floor, throttle_pause: capability.throttle_pause }
    }

    /// Decides what follows `fault` on the given attempt (from 1). `random` is in 0..1.
    #[must_use]
    pub fn next(&self, fault: &Fault, attempt: u32, times: Times, random: f64) -> NextStep {
        let first = self.policy.first_delay.max(self.floor);
        let delay = match fault.info().retry {
            Retry::Never if fault.kind == Kind::Expired => return NextStep::Expire,
            Retry::Never => return NextStep::GiveUp,
            Retry::Once if attempt <= 1 => Duration::ZERO,
            Retry::Once | Retry::Backoff => self.backoff(first, attempt, random),
            Retry::Wait => self.backoff(first.max(self.throttle_pause), attempt, random),
            Retry::Slowly => self.backoff(first.max(SLOW_DELAY), attempt, random),
        };
        if self.policy.max_attempts.is_some_and(|max| attempt >= max) {
            return NextStep::GiveUp;
        }
        let at = match fault.retry_after.map(|requested| requested.min(Fault::MAX_RETRY_AFTER)) {
            // At least as long as requested, plus up to 5 %, so that not all retries come at once. Never shorter than the
            // channel's minimum: a request of zero, or a date in the past, must not cause a burst of retries.
            Some(requested) => {
                times.now + requested.max(self.floor).mul_f64(1.0 + 0.05 * random.clamp(0.0, 1.0))
            }
            None => self.before_expiry(delay, times),
        };
        let too_old = self.policy.give_up_after.map(|age| times.created_at + age);
        match (at < times.expires_at, too_old.is_none_or(|end| at < end)) {
            (true, true) => NextStep::RetryAt(at),
            (true, false) => NextStep::GiveUp,
            (false, _) => NextStep::Expire,
        }
    }

    /// Returns `now + delay`, or a time halfway to the expiry if that is earlier. A long delay must not use up the rest of
    /// the time to live. Never earlier than the channel's minimum delay.
    fn before_expiry(&self, delay: Duration, times: Times) -> Timestamp {
        let remaining = times.expires_at.since(times.now);
        times.now + if delay < remaining { delay } else { (remaining / 2).max(self.floor) }
    }

    /// Returns a delay that starts at `first` and grows with each attempt up to the maximum delay.
    fn backoff(&self, first: Duration, attempt: u32, random: f64) -> Duration {
        let jitter = self.policy.jitter.clamp(0.0, 1.0);
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(MAX_EXPONENT).min(MAX_EXPONENT);
        let spread = 1.0 + jitter;
        // The maximum without the random part is lower, so that delays at the maximum are spread, too.
        let max_base = (self.policy.max_delay.as_secs_f64() / spread).max(first.as_secs_f64());
        let base = (first.as_secs_f64() * self.policy.factor.max(1.0).powi(exponent)).min(max_base);
        let seconds = base * jitter.mul_add(random.clamp(0.0, 1.0), 1.0);
        Duration::try_from_secs_f64(seconds).unwrap_or(self.policy.max_delay)
    }
}

/// Times that a decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// Current time.
    pub now: Timestamp,
    /// Creation time of the notification.
    pub created_at: Timestamp,
    /// End of its time to live.
    pub expires_at: Timestamp,
}

/// Changes [`Kind::AuthExpired`] of one address to [`Kind::Credentials`] after the first attempt. A bearer token that is
/// refused twice in a row has not merely expired. For a whole lane, the gate layer does this.
#[must_use]
pub fn escalate_auth_expired(fault: Fault, attempt: u32) -> Fault {
    if fault.kind == Kind::AuthExpired && fault.scope == Scope::Address && attempt > 1 {
        return Fault { kind: Kind::Credentials, ..fault };
    }
    fault
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const HOUR: Duration = Duration::from_secs(3600);
    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn schedule_with(policy: RetryPolicy) -> Schedule {
        Schedule::new(&Capability { retry_floor: 10 * SECOND, ..Capability::BASIC }, policy)
    }

    fn times(ttl: Duration) -> Times {
        let now = Timestamp::from_millis(1_000_000);
        Times { now, created_at: now, expires_at: now + ttl }
    }

    fn next(policy: RetryPolicy, fault: &Fault, attempt: u32, random: f64) -> NextStep {
        schedule_with(policy).next(fault, attempt, times(7 * DAY), random)
    }

    fn delay(fault: &Fault, attempt: u32, random: f64) -> Duration {
        match next(RetryPolicy::default(), fault, attempt, random) {
            NextStep::RetryAt(at) => at.since(times(DAY).now),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_retry_is_never_earlier_than_the_push_service_asked() {
        for kind in [Kind::Throttled, Kind::VendorDown, Kind::Timeout, Kind::Credentials] {
            for requested in [77 * SECOND, HOUR, DAY] {
                let fault = Fault::new(kind, "").retry_after(Some(requested));
                for random in [0.0, 0.5, 0.999] {
                    assert!(delay(&fault, 1, random) >= requested, "{kind:?} {requested:?}");
                }
            }
        }
    }

    #[test]
    fn a_requested_delay_that_is_past_or_short_causes_no_burst_of_retries() {
        for requested in [Duration::ZERO, SECOND] {
            let fault = Fault::new(Kind::VendorDown, "").retry_after(Some(requested));
            assert!(delay(&fault, 1, 0.0) >= 10 * SECOND);
        }
    }

    #[test]
    fn no_requested_delay_overflows_or_lasts_longer_than_a_day() {
        for requested in [Duration::MAX, Duration::from_secs(u64::MAX), Duration::from_millis(u64::MAX)] {
            // Set as a plugin's child may: without the constructor that bounds it.
            let fault = Fault { retry_after: Some(requested), ..Fault::new(Kind::Throttled, "") };
            let delay = delay(&fault, u32::MAX, 0.999);
            assert!(delay >= DAY && delay <= DAY.mul_f64(1.05), "{delay:?}");
        }
        assert_eq!(Fault::new(Kind::Throttled, "").retry_after(Some(Duration::MAX)).retry_after, Some(DAY));
    }

    #[test]
    fn a_throttle_without_a_requested_delay_waits_for_the_pause_of_the_channel() {
        assert!(delay(&Fault::new(Kind::Throttled, ""), 1, 0.0) >= 60 * SECOND);
    }

    #[test]
    fn delays_grow_from_the_minimum_of_the_channel_to_the_longest_delay_and_are_spread_at_both_ends() {
        let fault = Fault::new(Kind::VendorDown, "");
        assert_eq!([1, 2, 3].map(|attempt| delay(&fault, attempt, 0.0)), [10, 20, 40].map(|s| s * SECOND));
        assert_eq!([1, 2].map(|attempt| delay(&fault, attempt, 1.0)), [15, 30].map(|s| s * SECOND));
        for attempt in [8, 40, u32::MAX] {
            assert_eq!(
                (delay(&fault, attempt, 0.0), delay(&fault, attempt, 1.0)),
                (400 * SECOND, 600 * SECOND)
            );
        }
    }

    #[test]
    fn a_permanent_fault_is_not_retried() {
        let policy = RetryPolicy::default();
        for kind in [Kind::BadMessage, Kind::TokenGone, Kind::TooLarge, Kind::WrongApp, Kind::Unsupported] {
            assert_eq!(next(policy, &Fault::new(kind, ""), 1, 0.5), NextStep::GiveUp);
        }
    }

    #[test]
    fn retries_go_on_until_the_time_to_live_ends_and_use_the_rest_of_it() {
        let schedule = schedule_with(RetryPolicy::default());
        let down = Fault::new(Kind::VendorDown, "");
        let at = |remaining: Duration| Times { created_at: Timestamp::from_millis(0), ..times(remaining) };
        let now = times(DAY).now;
        let late = Times { created_at: now - 6 * DAY, ..times(DAY) };
        assert_eq!(schedule.next(&down, 900, late, 0.0), NextStep::RetryAt(now + 400 * SECOND));
        assert_eq!(schedule.next(&down, 900, at(300 * SECOND), 0.0), NextStep::RetryAt(now + 150 * SECOND));
        assert_eq!(schedule.next(&down, 900, at(11 * SECOND), 0.0), NextStep::RetryAt(now + 10 * SECOND));
        assert_eq!(schedule.next(&down, 900, at(10 * SECOND), 0.0), NextStep::Expire);
        let with_delay = down.retry_after(Some(HOUR));
        assert_eq!(schedule.next(&with_delay, 1, at(HOUR + SECOND), 0.0), NextStep::RetryAt(now + HOUR));
        assert_eq!(schedule.next(&with_delay, 1, at(HOUR), 0.0), NextStep::Expire);
    }

    #[test]
    fn an_operator_may_end_retries_earlier() {
        let down = Fault::new(Kind::VendorDown, "");
        let three = RetryPolicy { max_attempts: Some(3), ..RetryPolicy::default() };
        assert!(matches!(next(three, &down, 2, 0.0), NextStep::RetryAt(_)));
        assert_eq!(next(three, &down, 3, 0.0), NextStep::GiveUp);
        let young = RetryPolicy { give_up_after: Some(HOUR), ..RetryPolicy::default() };
        assert!(matches!(next(young, &down, 1, 0.0), NextStep::RetryAt(_)));
        assert_eq!(next(young, &down.retry_after(Some(HOUR)), 1, 0.0), NextStep::GiveUp);
    }

    #[test]
    fn an_expired_bearer_token_is_retried_once_and_immediately() {
        let fault = Fault::new(Kind::AuthExpired, "");
        assert_eq!(delay(&fault, 1, 0.9), Duration::ZERO);
        assert_eq!(escalate_auth_expired(fault.clone(), 1).kind, Kind::AuthExpired);
        assert_eq!(escalate_auth_expired(fault, 2).kind, Kind::Credentials);
    }
}
