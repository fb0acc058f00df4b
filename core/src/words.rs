//! The names of things: ids that are valid by construction, secrets that do not print, and wall-clock time.
//! Nothing here knows what a notification is.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

/// Why a text is not a valid name: what it was for and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub struct InvalidName {
    /// Which name was meant, in the words of the API (`app id`, `user id` …).
    pub what: &'static str,
    /// What would be right.
    pub why: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:literal, $charset:expr, $why:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the text and takes it.
            ///
            /// # Errors
            /// [`InvalidName`] with what would be right.
            pub fn new(text: &str) -> Result<Self, InvalidName> {
                let charset: fn(char) -> bool = $charset;
                if text.is_empty() || text.len() > $max || !text.chars().all(charset) {
                    return Err(InvalidName { what: $what, why: $why });
                }
                Ok(Self(Arc::from(text)))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = InvalidName;
            fn try_from(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(d)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

fn is_slug(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

fn is_printable(c: char) -> bool {
    !c.is_control()
}

name!(
    /// A tenant: own credentials, routes, templates, keys. 1–64 of `A–Z a–z 0–9 _ - .`
    AppId, "app id", 64, is_slug, "1 to 64 of A-Z a-z 0-9 _ - ."
);
name!(
    /// A person in an app, named as the IM server names him. 1–128 bytes without control characters.
    UserId, "user id", 128, is_printable, "1 to 128 bytes without control characters"
);
name!(
    /// One installation that can be pushed to. 1–128 bytes without control characters.
    DeviceId, "device id", 128, is_printable, "1 to 128 bytes without control characters"
);
name!(
    /// One configured way to a vendor within an app. 1–64 of `A–Z a–z 0–9 _ - .`
    ChannelName, "channel name", 64, is_slug, "1 to 64 of A-Z a-z 0-9 _ - ."
);
name!(
    /// A template within an app. 1–64 of `A–Z a–z 0–9 _ - .`
    TemplateName, "template name", 64, is_slug, "1 to 64 of A-Z a-z 0-9 _ - ."
);
name!(
    /// What a caller chooses so that asking twice notifies once. 1–128 bytes without control characters.
    IdempotencyKey, "idempotency key", 128, is_printable, "1 to 128 bytes without control characters"
);

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new one, ordered by time (UUID version 7).
            #[must_use]
            #[expect(clippy::new_without_default, reason = "a default that differs at every call misleads")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// Names a notification for its caller, in receipts, and to the vendor: a retry carries the same one.
    NotificationId
);
id!(
    /// Names a delivery in the queue.
    DeliveryId
);
id!(
    /// Names one running gateway, so that the queue can tell the living from the dead.
    NodeId
);

/// A text that must not be seen: tokens, titles, payloads. `Debug` shows its length only.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(Arc<str>);

impl Secret {
    /// The text itself. Call it only where the text leaves for the vendor or for the store.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(Arc::from(text))
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(Arc::from(text))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "«{} bytes»", self.0.len())
    }
}

/// A point in wall-clock time, in milliseconds since 1970. Every value survives its text form and its serde form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970, rounded down.
    #[must_use]
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// How long from `earlier` to here; zero when `earlier` is later.
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

/// RFC 3339 in UTC. A time outside the years 0 to 9999, which RFC 3339 cannot express, is `@` and its milliseconds since 1970.
/// [`FromStr`](std::str::FromStr) reads both forms, so every value comes back as it was.
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

/// Text that is no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is no time; write RFC 3339, as in 2023-11-14T22:13:20Z")]
pub struct InvalidTimestamp;

impl Timestamp {
    /// Reads RFC 3339 and nothing else: the only form that callers write. Parts of a millisecond are dropped.
    ///
    /// # Errors
    /// [`InvalidTimestamp`] when the text is not RFC 3339.
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
    fn a_secret_never_prints_its_text() {
        let secret = Secret::from("hunter2");
        assert_eq!(format!("{secret:?}"), "«7 bytes»");
    }

    #[test]
    fn names_refuse_what_is_empty_too_long_or_out_of_charset() {
        assert!(AppId::new("").is_err());
        assert!(AppId::new("two words").is_err());
        assert!(AppId::new(&"a".repeat(65)).is_err());
        assert!(UserId::new("line\nbreak").is_err());
        assert_eq!(UserId::new("小明").map(|u| u.to_string()), Ok("小明".to_owned()));
    }

    #[test]
    fn a_timestamp_reads_back_what_it_prints() {
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
