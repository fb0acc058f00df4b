//! Push rules of a user: when and from which conversations they want no push. Pure: the caller passes the time.

use std::collections::BTreeSet;
use std::fmt;

use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::device::{Device, Platform};
use crate::notification::{Notification, Purpose};
use crate::presence::Connection;
use crate::receipt::SkipReason;
use crate::timestamp::Timestamp;

/// Push rules of a user. Empty by default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// Platforms that mute others while the user is online on them. At most [`Rules::MAX_MUTES`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mutes: Vec<Mute>,
    /// Conversations without a push, unless the user is mentioned. At most [`Rules::MAX_CONVERSATIONS`].
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub muted_conversations: BTreeSet<String>,
    /// Daily hours without a push. `None` means that there are no such hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet_hours: Option<QuietHours>,
}

/// Rule that mutes platforms while the user is online on another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mute {
    /// Platforms of which any must be online.
    pub while_online: BTreeSet<Platform>,
    /// Platforms that get no push then.
    pub muted: BTreeSet<Platform>,
}

/// Hours of every day without a visible push. Silent notifications and removals are still sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuietHours {
    /// Start of the quiet hours, inclusive.
    pub from: Hour,
    /// End of the quiet hours, exclusive. It may be on the next day. Equal to the start, it means the whole day.
    pub to: Hour,
    /// Time zone by its IANA name (`Asia/Shanghai`). `None` means the device's, or else UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// `true` if calls still ring.
    #[serde(default)]
    pub calls: bool,
}

/// Time of day in hours and minutes: `22:30`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hour(u16);

impl Rules {
    /// Maximum number of rules about platforms.
    pub const MAX_MUTES: usize = 16;
    /// Maximum number of muted conversations.
    pub const MAX_CONVERSATIONS: usize = 1000;

    /// Returns `true` if there are no rules.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the reason why these rules forbid a push to the device now. `None` means that they permit it.
    #[must_use]
    pub fn forbid(
        &self,
        notification: &Notification,
        device: &Device,
        online: &[Connection],
        now: Timestamp,
    ) -> Option<SkipReason> {
        if notification.purpose == Purpose::Removal {
            return None;
        }
        let mutes = |mute: &Mute| {
            mute.muted.contains(&device.traits.platform)
                && online.iter().any(|connection| mute.while_online.contains(&connection.platform))
        };
        if self.mutes.iter().any(mutes) {
            return Some(SkipReason::MutedPlatform);
        }
        let mentioned = device.user.as_ref().is_some_and(|user| notification.mentions.contains(user));
        let muted = |conversation: &String| self.muted_conversations.contains(conversation);
        if notification.conversation.as_ref().is_some_and(muted) && !mentioned {
            return Some(SkipReason::MutedConversation);
        }
        let quiet = |hours: &QuietHours| {
            let rings =
                hours.calls && matches!(notification.purpose, Purpose::Call(_) | Purpose::CallOver(_));
            !rings && !notification.silent && hours.contains(now, device.traits.time_zone.as_deref())
        };
        self.quiet_hours.as_ref().is_some_and(quiet).then_some(SkipReason::QuietHours)
    }
}

impl QuietHours {
    /// Returns `true` if the name is that of a known time zone.
    #[must_use]
    pub fn is_time_zone(name: &str) -> bool {
        TimeZone::get(name).is_ok()
    }

    fn contains(&self, now: Timestamp, device_zone: Option<&str>) -> bool {
        let zone_name = self.time_zone.as_deref().or(device_zone);
        let zone = zone_name.and_then(|name| TimeZone::get(name).ok()).unwrap_or(TimeZone::UTC);
        let Ok(now) = jiff::Timestamp::from_millisecond(now.as_millis()) else { return false };
        let local = now.to_zoned_datetime(zone);
        let hour =
            Hour(u16::from(local.hour().unsigned_abs()) * 60 + u16::from(local.minute().unsigned_abs()));
        if self.from < self.to {
            (self.from..self.to).contains(&hour)
        } else {
            hour >= self.from || hour < self.to
        }
    }
}

impl Hour {
    /// Creates a time of day. `None` means that there is no such time.
    #[must_use]
    pub fn new(hour: u16, minute: u16) -> Option<Self> {
        (hour < 24 && minute < 60).then_some(Self(hour * 60 + minute))
    }

    fn parse(text: &str) -> Option<Self> {
        let (hour, minute) = text.split_once(':')?;
        let is_two_digits = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = |text: &str| is_two_digits(text).then(|| text.parse().ok()).flatten();
        Self::new(number(hour)?, number(minute)?)
    }
}

impl fmt::Display for Hour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

impl fmt::Debug for Hour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Hour {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hour {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(d)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("an hour is written like 22:30"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(from: &str, to: &str, zone: Option<&str>) -> QuietHours {
        let hour = |text| Hour::parse(text).unwrap();
        QuietHours { from: hour(from), to: hour(to), time_zone: zone.map(str::to_owned), calls: false }
    }

    fn at(text: &str) -> Timestamp {
        serde_json::from_str(&format!("\"{text}\"")).unwrap()
    }

    #[test]
    fn quiet_hours_reach_over_midnight_in_the_users_time_zone() {
        let night = hours("22:00", "07:00", Some("Asia/Shanghai"));
        assert!(night.contains(at("2026-11-24T14:00:00Z"), None), "22:00 there");
        assert!(!night.contains(at("2026-11-24T13:59:59Z"), None));
        assert!(night.contains(at("2026-11-24T22:59:59Z"), None), "06:59 there");
        assert!(!night.contains(at("2026-11-24T23:00:00Z"), None));
    }

    #[test]
    fn the_devices_time_zone_counts_where_the_rule_has_none_and_summer_time_is_known() {
        let noon = hours("12:00", "13:00", None);
        assert!(noon.contains(at("2026-07-01T10:30:00Z"), Some("Europe/Berlin")));
        assert!(!noon.contains(at("2026-12-01T10:30:00Z"), Some("Europe/Berlin")));
        assert!(noon.contains(at("2026-12-01T12:30:00Z"), Some("No/Such_Zone")), "then UTC");
        assert!(noon.contains(at("2026-12-01T12:30:00Z"), None));
    }

    #[test]
    fn the_same_hour_twice_is_the_whole_day() {
        assert!(hours("08:00", "08:00", None).contains(at("2026-12-01T03:00:00Z"), None));
    }

    #[test]
    fn a_time_of_day_is_restored_from_its_text_and_an_invalid_text_is_refused() {
        assert_eq!(serde_json::to_string(&Hour::new(7, 5)).unwrap(), "\"07:05\"");
        for wrong in ["24:00", "7:05", "07:60", "0705", "", "+7:00", "07:05:00"] {
            assert_eq!(Hour::parse(wrong), None, "{wrong}");
        }
    }
}
