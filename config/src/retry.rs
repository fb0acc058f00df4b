//! `[retry]`, and the overrides of one channel.

use std::ops::RangeInclusive;
use std::time::Duration;

use figment::value::Value;
use pushgate::RetryPolicy;

use crate::load::Loader;
use crate::locate::KeyPath;
use crate::read::Rules;
use crate::schema::RawRetry;

/// Delays of retries. A push service that has just failed needs a pause; a delay over a day is not useful.
const DELAY: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(24 * 3600);
/// Growth of the delays. Below one they would shrink; above ten the second would reach the maximum.
const FACTOR: RangeInclusive<f64> = 1.0..=10.0;
/// Random share of a delay.
const JITTER: RangeInclusive<f64> = 0.0..=1.0;
/// Largest age of a delivery: the longest time to live. Zero means no limit.
const AGE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(28 * 24 * 3600);

impl Loader<'_> {
    /// Reads a retry table. Keys that it leaves out are taken from `general`.
    pub(crate) fn retry(&mut self, value: Value, at: &KeyPath, general: RetryPolicy) -> Option<RetryPolicy> {
        let raw: RawRetry = self.reader.read(value, at, &Rules::default())?;
        let mut policy = general;
        if let Some(delay) = raw.first_delay {
            policy.first_delay = self.duration(&at.key("first_delay"), delay, DELAY);
        }
        if let Some(factor) = raw.factor {
            self.within(&at.key("factor"), factor, FACTOR, |number| number);
            policy.factor = factor;
        }
        if let Some(delay) = raw.max_delay {
            policy.max_delay = self.duration(&at.key("max_delay"), delay, DELAY);
        }
        if let Some(jitter) = raw.jitter {
            self.within(&at.key("jitter"), jitter, JITTER, |number| number);
            policy.jitter = jitter;
        }
        if let Some(max) = raw.max_attempts {
            policy.max_attempts = (max > 0).then_some(max);
        }
        if let Some(age) = raw.give_up_after {
            let age = self.duration(&at.key("give_up_after"), age, AGE);
            policy.give_up_after = (!age.is_zero()).then_some(age);
        }
        if policy.first_delay > policy.max_delay {
            let shown = humantime::format_duration;
            let message = format!(
                "first_delay = {} is longer than max_delay = {}; lower first_delay, or raise max_delay",
                shown(policy.first_delay),
                shown(policy.max_delay)
            );
            let key = if raw.first_delay.is_some() { "first_delay" } else { "max_delay" };
            self.reader.refuse(&at.key(key), message);
        }
        Some(policy)
    }
}
