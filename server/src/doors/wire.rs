//! The native door's JSON: the only place where requests are checked, and what answers look like.

use std::collections::BTreeMap;
use std::time::Duration;

use pushgate::{
    Address, AppId, Audience, ChannelName, Device, DeviceId, Notification, Platform, Priority, Receipt,
    Secret, Skip, Status, TemplateUse, Ticket, Timestamp, TokenKind, Traits, UserId, When,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::problem::Problem;

/// `POST …/notifications`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NotificationBody {
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

/// An address: its channel, and exactly one of `token`, `fid`, `subscription`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AddressBody {
    channel: ChannelName,
    token: Option<String>,
    fid: Option<String>,
    subscription: Option<Value>,
}

/// `POST …/devices` and `PUT …/devices/{device}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeviceBody {
    pub(super) id: Option<DeviceId>,
    user: Option<UserId>,
    platform: Platform,
    manufacturer: Option<String>,
    app_build: Option<u64>,
    country: Option<String>,
    locale: Option<String>,
    time_zone: Option<String>,
    #[serde(default)]
    addresses: Vec<AddressBody>,
}

/// The most addresses a device has.
const MAX_ADDRESSES: usize = 16;

fn refused(detail: impl Into<String>) -> Problem {
    Problem::new(422, "invalid_field", detail)
}

/// JSON into a body: broken JSON is 400 `invalid_json`, JSON that is no such body 422 `invalid_body`.
pub(super) fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Problem::new(422, "invalid_body", error.to_string()),
        _ => Problem::new(400, "invalid_json", error.to_string()),
    })
}

/// `5s` or `5` in a query.
pub(super) fn span(text: &str) -> Result<Duration, Problem> {
    let seconds = text.parse::<u64>().map(Duration::from_secs);
    seconds
        .or_else(|_| humantime::parse_duration(text))
        .map_err(|_| refused(format!("`{text}` is no time span; write 5s or 2m")))
}

impl NotificationBody {
    pub(super) fn notification(self, app: AppId) -> Result<Notification, Problem> {
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

impl AddressBody {
    fn address(self) -> Result<Address, Problem> {
        let subscription = self.subscription.map(|value| value.to_string());
        let given = [
            self.token.map(|token| (TokenKind::Token, token)),
            self.fid.map(|fid| (TokenKind::Fid, fid)),
            subscription.map(|subscription| (TokenKind::Subscription, subscription)),
        ];
        let mut given = given.into_iter().flatten();
        let (Some((kind, token)), None) = (given.next(), given.next()) else {
            return Err(refused("an address has exactly one of token, fid, subscription"));
        };
        if token.is_empty() || token.len() > Address::MAX_TOKEN {
            return Err(refused(format!("{}: 1 to {} bytes", kind.as_str(), Address::MAX_TOKEN)));
        }
        Ok(Address { channel: self.channel, kind, token: token.into() })
    }
}

impl DeviceBody {
    pub(super) fn device(self, app: AppId, id: DeviceId, now: Timestamp) -> Result<Device, Problem> {
        if self.addresses.len() > MAX_ADDRESSES {
            return Err(refused(format!("addresses: at most {MAX_ADDRESSES}")));
        }
        let texts = [&self.manufacturer, &self.country, &self.locale, &self.time_zone];
        if texts.into_iter().flatten().any(|text| text.len() > 64) {
            return Err(refused("manufacturer, country, locale, time_zone: at most 64 bytes each"));
        }
        Ok(Device {
            app,
            id,
            user: self.user,
            traits: Traits {
                platform: self.platform,
                manufacturer: self.manufacturer.map(|text| text.to_lowercase()),
                app_build: self.app_build,
                country: self.country.map(|text| text.to_uppercase()),
                locale: self.locale,
                time_zone: self.time_zone,
            },
            addresses: self.addresses.into_iter().map(AddressBody::address).collect::<Result<_, _>>()?,
            registered_at: now,
        })
    }
}

/// A device as it is shown: everything but its tokens.
pub(super) fn device(device: &Device) -> Value {
    let addresses = device.addresses.iter().map(|a| json!({"channel": a.channel, "kind": a.kind}));
    json!({"id": device.id, "user": device.user, "traits": device.traits,
        "addresses": addresses.collect::<Vec<_>>(), "registered_at": device.registered_at})
}

/// The answer to a submit, with the receipts where they were waited for.
#[derive(Serialize)]
pub(super) struct Submitted {
    id: pushgate::NotificationId,
    accepted: usize,
    skipped: Vec<Skip>,
    replayed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Value>,
}

impl Submitted {
    pub(super) fn new(ticket: Ticket, status: Option<&Status>) -> Self {
        let Ticket { id, accepted, skipped, replayed } = ticket;
        Self { id, accepted, skipped, replayed, status: status.map(self::status) }
    }
}

/// Counts by state, and what is known on each device.
pub(super) fn status(status: &Status) -> Value {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for receipt in &status.receipts {
        *counts.entry(receipt.state.as_str()).or_default() += 1;
    }
    json!({"id": status.id, "created_at": status.created_at, "counts": counts, "skipped": status.skipped,
        "devices": status.receipts.iter().map(receipt).collect::<Vec<_>>()})
}

fn receipt(receipt: &Receipt) -> Value {
    let fault = receipt.fault.as_ref().map(|fault| {
        let row = fault.row();
        json!({"code": row.code, "blame": row.blame, "advice": row.advice, "detail": fault.detail, "vendor_code": fault.vendor_code})
    });
    json!({"device": receipt.device, "user": receipt.user, "channel": receipt.channel, "state": receipt.state,
        "vendor_id": receipt.vendor_id, "fault": fault, "attempts": receipt.attempts, "at": receipt.at, "next_at": receipt.next_at})
}
