//! Wall-clock time in milliseconds, with a text form that keeps every value.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Point in wall-clock time, in milliseconds since 1970. Every value has a text form and a serde form without loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Creates a timestamp from milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Returns the milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Returns the whole seconds since 1970-01-01T00:00:00Z, rounded down.
    #[must_use]
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Returns the duration from `earlier` to this time. Zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl std::ops::Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(at: SystemTime) -> Self {
        let millis = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        Self(i64::try_from(millis).unwrap_or(i64::MAX))
    }
}

/// Prefix of the text form of a time that RFC 3339 cannot express.
const MILLIS_PREFIX: char = '@';

/// Formats as RFC 3339 in UTC. A time outside the years 0 to 9999, which RFC 3339 cannot express, becomes `@` and its
/// milliseconds since 1970. [`FromStr`](std::str::FromStr) parses both forms, so every value is restored exactly.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rfc3339 = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .ok()
            .and_then(|at| at.format(&Rfc3339).ok());
        match rfc3339 {
            Some(text) => f.write_str(&text),
            None => write!(f, "{MILLIS_PREFIX}{}", self.0),
        }
    }
}

/// Error for a text that is no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is no time; write RFC 3339, as in 2023-11-14T22:13:20Z")]
pub struct InvalidTimestamp;

impl Timestamp {
    /// Parses RFC 3339 only, the form that callers use. Drops fractions of a millisecond.
    ///
    /// # Errors
    /// Returns [`InvalidTimestamp`] if the text is not RFC 3339.
    pub fn from_rfc3339(text: &str) -> Result<Self, InvalidTimestamp> {
        let at = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| InvalidTimestamp)?;
        let millis = at.unix_timestamp_nanos().div_euclid(1_000_000);
        i64::try_from(millis).map(Self).map_err(|_| InvalidTimestamp)
    }
}

impl std::str::FromStr for Timestamp {
    type Err = InvalidTimestamp;
    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        match text.strip_prefix(MILLIS_PREFIX) {
            Some(millis) => millis.parse().map(Self).map_err(|_| InvalidTimestamp),
            None => Self::from_rfc3339(text),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_restored_from_its_text() {
        let at = Timestamp::from_millis(1_700_000_000_123);
        let text = serde_json::to_string(&at).unwrap();
        assert_eq!(text, "\"2023-11-14T22:13:20.123Z\"");
        assert_eq!(serde_json::from_str::<Timestamp>(&text).unwrap(), at);
    }

    #[test]
    fn callers_write_rfc_3339_and_nothing_else() {
        let before_year_zero = Timestamp::from_rfc3339("0000-01-01T00:00:00+23:59").unwrap();
        assert!(before_year_zero.to_string().starts_with('@'), "{before_year_zero}");
        assert_eq!(Timestamp::from_rfc3339(&before_year_zero.to_string()), Err(InvalidTimestamp));
        for text in ["", "@", "@x", "yesterday", "1700000000", "2023-11-14"] {
            assert_eq!(text.parse::<Timestamp>(), Err(InvalidTimestamp), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_timestamp_survives_its_text_and_its_stored_form(millis: i64, near in -400_000_000_000_000i64..400_000_000_000_000) {
            for millis in [millis, near, i64::MIN, i64::MAX, -62_167_219_200_001, 253_402_300_800_000] {
                let at = Timestamp::from_millis(millis);
                proptest::prop_assert_eq!(at.to_string().parse(), Ok(at));
                let stored = serde_json::to_string(&at).unwrap();
                proptest::prop_assert_eq!(serde_json::from_str::<Timestamp>(&stored).unwrap(), at);
            }
        }
    }
}
