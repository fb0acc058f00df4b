//! What a notification is asked for with.

use std::collections::BTreeMap;
use std::time::Duration;

use pushgate::{
    AppId, Audience, ChannelName, DeviceId, Notification, Priority, Secret, TemplateUse, UserId, When,
};
use serde::Deserialize;
use serde_json::Value;

use super::device::AddressBody;
use super::refused;
use crate::problem::Problem;

/// `POST …/notifications`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NotificationBody {
    to: To,
    title: Option<String>,
    content: Option<String>,
    payload: Option<Value>,
    template: Option<TemplateUse>,
    image: Option<String>,
    link: Option<String>,
    collapse_key: Option<String>,
    ttl: Option<Span>,
    #[serde(default)]
    priority: Priority,
    badge: Option<Badge>,
    #[serde(default)]
    silent: bool,
    #[serde(default)]
    when: When,
    thread: Option<String>,
    category: Option<String>,
    #[serde(default)]
    overrides: BTreeMap<ChannelName, Value>,
    idempotency_key: Option<pushgate::IdempotencyKey>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum To {
    Users(Vec<UserId>),
    Devices(Vec<DeviceId>),
    Addresses(Vec<AddressBody>),
}

/// Seconds, or a text like `90s` and `7d`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Span {
    Seconds(i64),
    Text(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Badge {
    set: u32,
}

impl NotificationBody {
    pub(crate) fn notification(self, app: AppId) -> Result<Notification, Problem> {
        let to = match self.to {
            To::Users(users) => Audience::Users(users),
            To::Devices(devices) => Audience::Devices(devices),
            To::Addresses(all) => {
                Audience::Addresses(all.into_iter().map(AddressBody::address).collect::<Result<_, _>>()?)
            }
        };
        for (name, text) in
            [("collapse_key", &self.collapse_key), ("thread", &self.thread), ("category", &self.category)]
        {
            if text.as_ref().is_some_and(|text| text.is_empty() || text.len() > Notification::MAX_KEY) {
                return Err(refused(format!("{name}: 1 to {} bytes", Notification::MAX_KEY)));
            }
        }
        if self.image.as_ref().is_some_and(|image| !image.starts_with("https://")) {
            return Err(refused("image: must be an https address"));
        }
        let ttl = self.ttl.map_or(Ok(Notification::DEFAULT_TTL), Span::duration)?;
        // A string is handed over as it is, anything else as its JSON text.
        let payload = self.payload.map(|payload| match payload {
            Value::String(text) => text,
            other => other.to_string(),
        });
        Ok(Notification {
            title: self.title.map(Secret::from),
            content: self.content.map(Secret::from),
            payload: payload.map(Secret::from),
            template: self.template,
            image: self.image.map(Secret::from),
            link: self.link.map(Secret::from),
            collapse_key: self.collapse_key,
            ttl,
            priority: self.priority,
            badge: self.badge.map(|badge| badge.set),
            silent: self.silent,
            when: self.when,
            thread: self.thread,
            category: self.category,
            overrides: self.overrides,
            idempotency_key: self.idempotency_key,
            ..Notification::new(app, to)
        })
    }
}

impl Span {
    fn duration(self) -> Result<Duration, Problem> {
        let wrong = || refused("ttl: seconds from 0 to 2419200, or a text like 90s and 7d");
        let ttl = match self {
            Self::Seconds(seconds) => Duration::from_secs(u64::try_from(seconds).map_err(|_| wrong())?),
            Self::Text(text) => humantime::parse_duration(&text).map_err(|_| wrong())?,
        };
        if ttl > Notification::MAX_TTL { Err(wrong()) } else { Ok(ttl) }
    }
}
