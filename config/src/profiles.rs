//! `[apps.NAME.profiles]` and `[apps.NAME.categories]`: presentation of notifications, per channel of the app.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use figment::value::Value;
use pushgate::profile::Options;
use pushgate::{ChannelName, Notification, Profile};

use crate::load::Loader;
use crate::locate::KeyPath;
use crate::nearest::nearest;
use crate::read::{Rules, list};
use crate::schema::RawProfile;
use crate::section::json;

/// Time to live of a profile. Zero means immediate delivery only; no push service stores a message for more than four weeks.
const TTL: RangeInclusive<Duration> = Duration::ZERO..=Notification::MAX_TTL;

impl Loader<'_> {
    pub(crate) fn profiles(
        &mut self,
        values: BTreeMap<String, Value>,
        top: &KeyPath,
        channels: &[String],
        max: usize,
    ) -> BTreeMap<String, Profile> {
        if values.len() > max {
            let message = format!("has {} profiles; limits.profiles_per_app = {max}", values.len());
            self.reader.refuse(top, message);
        }
        let mut profiles = BTreeMap::new();
        for (name, value) in values {
            let at = top.key(&name);
            if !is_profile_name(&name) {
                self.reader.refuse(&at, "is not a profile's name; write 1 to 32 of A-Z a-z 0-9 _ -");
            }
            let Some(raw) = self.reader.read::<RawProfile>(value, &at, &Rules::default()) else { continue };
            let profile = Profile {
                mode: raw.mode,
                ttl: raw.ttl.map(|ttl| self.duration(&at.key("ttl"), ttl, TTL)),
                priority: raw.priority,
                category: raw.category,
                options: self.options(raw.options, &at.key("options"), channels),
            };
            profiles.insert(name, profile);
        }
        profiles
    }

    pub(crate) fn categories(
        &mut self,
        values: BTreeMap<String, Value>,
        top: &KeyPath,
        channels: &[String],
    ) -> BTreeMap<String, Options> {
        let mut categories = BTreeMap::new();
        for (name, value) in values {
            let at = top.key(&name);
            let Some(dict) = self.dict(value, &at) else { continue };
            let options = self.options(dict.into_iter().collect(), &at, channels);
            categories.insert(name, options);
        }
        categories
    }

    /// Reads native options per channel. Channels that the app does not have are refused.
    fn options(&mut self, values: BTreeMap<String, Value>, top: &KeyPath, channels: &[String]) -> Options {
        let mut options = Options::new();
        for (name, value) in values {
            let at = top.key(&name);
            if !channels.contains(&name) {
                let known: Vec<&str> = channels.iter().map(String::as_str).collect();
                let hint = match nearest(&name, known.iter().copied()) {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None => format!("it has {}", list(&known, '"')),
                };
                self.reader.refuse(&at, format!("is not a channel of this app; {hint}"));
                continue;
            }
            let Some(dict) = self.dict(value, &at) else { continue };
            options.extend(ChannelName::new(&name).ok().map(|name| (name, json(&Value::from(dict)))));
        }
        options
    }
}

fn is_profile_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=32).contains(&name.len()) && name.bytes().all(is_allowed)
}
