//! Body of a submit: its fields, their validation, and the notification that it becomes.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use pushgate::app::App;
use pushgate::{
    AppId, Audience, Badge, Call, CallId, ChannelName, DeviceId, Notification, Priority, Purpose, Secret,
    TemplateName, TemplateUse, Timestamp, UserId, When,
};
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use serde_json::Value;

use super::device::{AddressBody, addresses};
use super::{overrides, refused};
use crate::problem::Problem;
use crate::push_config::PushConfig;

/// Body of `POST …/notifications`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NotificationBody {
    to: To,
    sender: Option<UserId>,
    #[serde(default)]
    kind: Kind,
    call: Option<CallBody>,
    conversation: Option<String>,
    #[serde(default)]
    mentions: Vec<UserId>,
    profile: Option<String>,
    #[serde(rename = "pushConfig", alias = "push_config")]
    push_config: Option<PushConfig>,
    title: Option<String>,
    content: Option<String>,
    payload: Option<Value>,
    template: Option<TemplateBody>,
    image: Option<String>,
    link: Option<String>,
    collapse_key: Option<String>,
    ttl: Option<DurationBody>,
    priority: Option<Priority>,
    badge: Option<BadgeCountBody>,
    #[serde(default)]
    silent: bool,
    #[serde(default)]
    when: When,
    ack_within: Option<DurationBody>,
    send_at: Option<String>,
    thread: Option<String>,
    category: Option<String>,
    #[serde(default)]
    overrides: BTreeMap<ChannelName, Value>,
    idempotency_key: Option<pushgate::IdempotencyKey>,
}

/// Longest wait for acknowledgements. A user who has not acknowledged by then is treated as offline.
const MAX_ACK_WAIT: Duration = Duration::from_secs(60);

/// Kind of a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    Message,
    Group,
    Call,
    Removal,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CallBody {
    id: CallId,
    timeout: Option<DurationBody>,
    /// `true` ends the call and withdraws its ringing notification.
    #[serde(default)]
    over: bool,
}

/// Audience: exactly one of `users`, `devices`, `addresses` and `all`, without the devices in `except_devices`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct To {
    users: Option<Vec<UserId>>,
    devices: Option<Vec<DeviceId>>,
    addresses: Option<Vec<AddressBody>>,
    #[serde(default)]
    all: bool,
    #[serde(default)]
    except_devices: Vec<DeviceId>,
}

/// Duration: a number of seconds, or a text like `90s` and `7d`.
pub(crate) enum DurationBody {
    Seconds(u64),
    Text(String),
}

impl<'de> Deserialize<'de> for DurationBody {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(DurationVisitor)
    }
}

struct DurationVisitor;

impl Visitor<'_> for DurationVisitor {
    type Value = DurationBody;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number of seconds, or a text like 90s and 7d")
    }

    fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<DurationBody, E> {
        let seconds =
            seconds.try_into().map_err(|_| E::invalid_value(de::Unexpected::Signed(seconds), &self))?;
        self.visit_u64(seconds)
    }

    fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<DurationBody, E> {
        match super::strict::whole_number(seconds) {
            Some(seconds) => self.visit_i64(seconds),
            None => Err(E::invalid_type(de::Unexpected::Float(seconds), &self)),
        }
    }

    fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<DurationBody, E> {
        Ok(DurationBody::Seconds(seconds))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<DurationBody, E> {
        Ok(DurationBody::Text(text.to_owned()))
    }
}

/// Number on the app's icon: exactly one of `set` and `increment`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BadgeCountBody {
    set: Option<u32>,
    increment: Option<u32>,
}

impl BadgeCountBody {
    fn badge(self) -> Result<Badge, Problem> {
        match (self.set, self.increment) {
            (Some(number), None) => Ok(Badge::Set(number)),
            (None, Some(by)) => Ok(Badge::Increment(by)),
            _ => Err(refused("badge", "give exactly one of set, increment")),
        }
    }
}

/// Template and its variables.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TemplateBody {
    name: TemplateName,
    vars: serde_json::Map<String, Value>,
}

impl NotificationBody {
    /// Returns `true` if the request has an idempotency key.
    pub(crate) const fn has_idempotency_key(&self) -> bool {
        self.idempotency_key.is_some()
    }

    /// Validates the body and returns its notification. `None` means that its `pushConfig` asks for no push.
    pub(crate) fn into_notification(mut self, id: AppId, app: &App) -> Result<Option<Notification>, Problem> {
        overrides::check(&self.overrides, app)?;
        let push_config = self.push_config.take();
        let notification = self.without_push_config(id)?;
        if push_config.as_ref().is_some_and(PushConfig::is_empty) {
            return Ok(None);
        }
        match push_config {
            Some(push_config) => push_config.apply(notification, app).map(Some),
            None => Ok(Some(notification)),
        }
    }

    fn without_push_config(self, app: AppId) -> Result<Notification, Problem> {
        self.check_limits()?;
        let purpose = purpose(self.kind, self.call)?;
        let (to, except_devices) = self.to.audience()?;
        let ack_within = self.ack_within.map(|wait| wait.duration("ack_within", MAX_ACK_WAIT)).transpose()?;
        let ttl = self.ttl.map(|ttl| ttl.duration("ttl", Notification::MAX_TTL)).transpose()?;
        let invalid = |error: pushgate::timestamp::InvalidTimestamp| refused("send_at", error);
        let send_at = self.send_at.map(|text| Timestamp::from_rfc3339(&text).map_err(invalid)).transpose()?;
        // A string is passed on as it is, any other value as its JSON text.
        let payload = self.payload.map(|payload| match payload {
            Value::String(text) => text,
            other => other.to_string(),
        });
        Ok(Notification {
            purpose,
            sender: self.sender,
            except_devices,
            ack_within: ack_within.filter(|wait| !wait.is_zero()),
            send_at,
            conversation: self.conversation,
            mentions: self.mentions,
            profile: self.profile,
            title: self.title.map(Secret::from),
            content: self.content.map(Secret::from),
            payload: payload.map(Secret::from),
            template: self.template.map(|TemplateBody { name, vars }| TemplateUse { name, vars }),
            image: self.image.map(Secret::from),
            link: self.link.map(Secret::from),
            collapse_key: self.collapse_key,
            ttl,
            priority: self.priority,
            badge: self.badge.map(BadgeCountBody::badge).transpose()?,
            silent: self.silent,
            when: self.when,
            thread: self.thread,
            category: self.category,
            overrides: self.overrides,
            idempotency_key: self.idempotency_key,
            ..Notification::new(app, to)
        })
    }

    fn check_limits(&self) -> Result<(), Problem> {
        let names = [
            ("collapse_key", &self.collapse_key),
            ("thread", &self.thread),
            ("category", &self.category),
            ("conversation", &self.conversation),
            ("profile", &self.profile),
        ];
        for (name, text) in names {
            if text.as_ref().is_some_and(|text| text.is_empty() || text.len() > Notification::MAX_KEY) {
                return Err(refused(name, format!("1 to {} bytes", Notification::MAX_KEY)));
            }
        }
        if self.image.as_ref().is_some_and(|image| !image.starts_with("https://")) {
            return Err(refused("image", "must be an https address"));
        }
        Ok(())
    }
}

impl To {
    fn audience(self) -> Result<(Audience, Vec<DeviceId>), Problem> {
        let addresses = self.addresses.map(|bodies| addresses("to.addresses", bodies)).transpose()?;
        let audiences = [
            self.users.map(Audience::Users),
            self.devices.map(Audience::Devices),
            addresses.map(Audience::Addresses),
            self.all.then_some(Audience::All),
        ];
        let mut audiences = audiences.into_iter().flatten();
        match (audiences.next(), audiences.next()) {
            (Some(audience), None) => Ok((audience, self.except_devices)),
            _ => Err(refused("to", "give exactly one of users, devices, addresses, all")),
        }
    }
}

fn purpose(kind: Kind, call: Option<CallBody>) -> Result<Purpose, Problem> {
    match (kind, call) {
        (Kind::Call, Some(CallBody { id, over: true, .. })) => Ok(Purpose::CallOver(id)),
        (Kind::Call, Some(CallBody { id, timeout, .. })) => {
            let wrong = || refused("call.timeout", "1 to 600 seconds");
            let timeout = match timeout {
                Some(timeout) => timeout.duration("call.timeout", Duration::from_secs(600))?,
                None => Call::DEFAULT_TIMEOUT,
            };
            Call::new(id, timeout).map(Purpose::Call).map_err(|_| wrong())
        }
        (Kind::Call, None) => Err(refused("call", "is missing; give the id of the call")),
        (_, Some(_)) => Err(refused("call", "only a notification of kind `call` has one")),
        (Kind::Message, None) => Ok(Purpose::Message),
        (Kind::Group, None) => Ok(Purpose::Group),
        (Kind::Removal, None) => Ok(Purpose::Removal),
    }
}

impl DurationBody {
    /// Returns the duration. `name` is the field, for errors.
    ///
    /// # Errors
    /// A text that is no duration, and a duration over `max`.
    pub(crate) fn duration(self, name: &str, max: Duration) -> Result<Duration, Problem> {
        let wrong =
            || refused(name, format!("must be 0 to {} seconds, or a text like 90s and 7d", max.as_secs()));
        let duration = match self {
            Self::Seconds(seconds) => Duration::from_secs(seconds),
            Self::Text(text) => humantime::parse_duration(&text).map_err(|_| wrong())?,
        };
        if duration > max { Err(wrong()) } else { Ok(duration) }
    }
}
