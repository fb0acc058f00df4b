//! Ids and names that are valid by construction. Nothing here knows what a notification is.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// Error for a text that is not a valid name or value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub struct InvalidName {
    /// Kind of the name, as the API calls it (`app id`, `user id` …).
    pub what: &'static str,
    /// Rule for a valid name.
    pub why: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:literal, $charset:expr, $why:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Creates a name from a valid text.
            ///
            /// # Errors
            /// Returns [`InvalidName`] with the rule for a valid name.
            pub fn new(text: &str) -> Result<Self, InvalidName> {
                let charset: fn(char) -> bool = $charset;
                if text.is_empty() || text.len() > $max || !text.chars().all(charset) {
                    return Err(InvalidName { what: $what, why: $why });
                }
                Ok(Self(Arc::from(text)))
            }

            /// Returns the text.
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
    /// Id of an app: a tenant with its own credentials, routes, templates and keys. 1–64 of `A–Z a–z 0–9 _ - .`
    AppId, "app id", 64, is_slug, "1 to 64 of A-Z a-z 0-9 _ - ."
);
name!(
    /// Id of a user of an app, as the IM server assigns it. 1–128 bytes without control characters.
    UserId, "user id", 128, is_printable, "1 to 128 bytes without control characters"
);
name!(
    /// Id of a device: one installation of an app. 1–128 bytes without control characters.
    DeviceId, "device id", 128, is_printable, "1 to 128 bytes without control characters"
);
name!(
    /// Name of a channel within an app. 1–64 of `A–Z a–z 0–9 _ - .`
    ChannelName, "channel name", 64, is_slug, "1 to 64 of A-Z a-z 0-9 _ - ."
);
name!(
    /// Name of a template within an app. 1–64 of `A–Z a–z 0–9 _ - .`
    TemplateName, "template name", 64, is_slug, "1 to 64 of A-Z a-z 0-9 _ - ."
);
name!(
    /// Key of a caller that makes repeated submissions send one notification. 1–128 bytes without control characters.
    IdempotencyKey, "idempotency key", 128, is_printable, "1 to 128 bytes without control characters"
);

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// Creates an id. Later ones are greater (UUID version 7).
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
    /// Id of a notification for callers, statuses and push services. A retry has the same one.
    NotificationId
);
id!(
    /// Id of a delivery in the queue.
    DeliveryId
);
id!(
    /// Id of one running gateway, under which the queue keeps its heartbeat and leases.
    NodeId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_refuse_what_is_empty_too_long_or_out_of_charset() {
        assert!(AppId::new("").is_err());
        assert!(AppId::new("two words").is_err());
        assert!(AppId::new(&"a".repeat(65)).is_err());
        assert!(UserId::new("line\nbreak").is_err());
        assert_eq!(UserId::new("小明").map(|u| u.to_string()), Ok("小明".to_owned()));
    }
}
