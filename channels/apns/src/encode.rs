//! Encodes a message into the headers and the payload of APNs. Pure. The result is the same for all devices; only the path
//! differs. Sources: <https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns>
//! and <https://developer.apple.com/documentation/usernotifications/generating-a-remote-notification>.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use pushgate::fit::collapse_key_digest;
use pushgate::overrides::merge;
use pushgate::{Act, AppId, Fault, Kind, Message, NotificationId, Priority, Secret, Timestamp, TokenKind};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::config::is_topic;

/// Maximum time for which APNs stores a notification.
pub(crate) const MAX_TTL: Duration = Duration::from_secs(30 * 24 * 3600);

/// Push type (`apns-push-type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PushType {
    /// Alert, sound or badge.
    Alert,
    /// Wakes the app briefly without showing anything. Apple allows a few per hour.
    Background,
    /// Incoming call (PushKit).
    Voip,
    /// Update of a watch face (PushKit).
    Complication,
    /// Change of files (PushKit).
    Fileprovider,
    /// Tells a managed device to contact its server.
    Mdm,
    /// Location query to an app extension.
    Location,
    /// Start, update or end of a Live Activity.
    Liveactivity,
    /// Start of speech (PushToTalk).
    Pushtotalk,
    /// Reload of a widget.
    Widgets,
    /// Reload of a control.
    Controls,
}

/// Properties of a push type.
struct PushTypeInfo {
    /// Value of `apns-push-type`.
    name: &'static str,
    /// Suffix that the topic appends to the bundle id.
    topic_suffix: &'static str,
    /// Allowed values of `apns-priority`, the most urgent first.
    priorities: &'static [u64],
}

impl PushType {
    #[rustfmt::skip]
    const fn info(self) -> PushTypeInfo {
        const ANY: &[u64] = &[10, 5, 1];
        const ACTIVITY: &[u64] = &[10, 5];
        const BACKGROUND: &[u64] = &[5];
        const URGENT: &[u64] = &[10];
        let (name, topic_suffix, priorities) = match self {
            Self::Alert        => ("alert",        "",                        ANY),
            Self::Background   => ("background",   "",                        BACKGROUND),
            Self::Voip         => ("voip",         ".voip",                   ANY),
            Self::Complication => ("complication", ".complication",           ANY),
            Self::Fileprovider => ("fileprovider", ".pushkit.fileprovider",   ANY),
            Self::Mdm          => ("mdm",          "",                        ANY),
            Self::Location     => ("location",     ".location-query",         ANY),
            Self::Liveactivity => ("liveactivity", ".push-type.liveactivity", ACTIVITY),
            Self::Pushtotalk   => ("pushtotalk",   ".voip-ptt",               URGENT),
            Self::Widgets      => ("widgets",      ".push-type.widgets",      ANY),
            Self::Controls     => ("controls",     ".push-type.controls",     ANY),
        };
        PushTypeInfo { name, topic_suffix, priorities }
    }

    /// Returns the least urgent allowed priority that is at least as urgent as the message.
    fn priority(self, message: Priority) -> u64 {
        let requested = match message {
            Priority::High => 10,
            Priority::Normal => 5,
            Priority::Low => 1,
        };
        let allowed = self.info().priorities;
        *allowed.iter().rev().find(|priority| **priority >= requested).unwrap_or(&allowed[0])
    }
}

/// Defaults of the channel for all messages.
#[derive(Debug, Clone)]
pub(crate) struct Style {
    pub(crate) topic: String,
    pub(crate) sound: Option<String>,
}

/// Encoded message, the same for all devices.
pub(crate) struct Encoded {
    pub(crate) kind: PushType,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: String,
}

impl Encoded {
    /// Returns the number of bytes that count towards the limit of 4,096. A VoIP push may have 5,120, so 1,024 do not count.
    pub(crate) fn counted(&self) -> usize {
        let free = if self.kind == PushType::Voip { 1024 } else { 0 };
        self.payload.len().saturating_sub(free)
    }
}

/// Overrides of the caller: headers, and fields that are merged into the payload.
#[derive(Default)]
pub(crate) struct Overrides {
    /// Push type that the kind of address requires. `None` for an address that accepts any.
    required_type: Option<PushType>,
    headers: Headers,
    payload: Map<String, Value>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Headers {
    apns_push_type: Option<PushType>,
    apns_topic: Option<String>,
    apns_priority: Option<Value>,
    apns_collapse_id: Option<String>,
}

impl Overrides {
    /// Parses the overrides of a message for an address of this kind. Every push to a PushKit token is a call, so headers for
    /// another push type are dropped.
    ///
    /// # Errors
    /// Returns a fault that quotes nothing of the message.
    pub(crate) fn from_message(message: &Message, address: TokenKind) -> Result<Self, Fault> {
        let required_type = (address == TokenKind::Voip).then_some(PushType::Voip);
        let bad_message = |why: &str| Fault::new(Kind::BadMessage, format!("overrides for apns: {why}"));
        let mut payload = match &message.overrides {
            None => return Ok(Self { required_type, ..Self::default() }),
            Some(Value::Object(patch)) => patch.clone(),
            Some(_) => return Err(bad_message("must be a JSON object, merged into the payload")),
        };
        let headers = payload.remove("headers").unwrap_or(Value::Object(Map::new()));
        let mut headers: Headers = serde_json::from_value(headers).map_err(|_| {
            bad_message("headers may hold apns-push-type, apns-topic, apns-priority and apns-collapse-id, as Apple documents them")
        })?;
        if headers.apns_topic.as_deref().is_some_and(|topic| !is_topic(topic)) {
            return Err(bad_message("apns-topic is not a topic"));
        }
        if required_type.is_some() && headers.apns_push_type != required_type {
            headers = Headers::default();
        }
        let overrides = Self { required_type, headers, payload };
        let priorities = overrides.push_type(message).info().priorities;
        if overrides.headers.priority().is_some_and(|priority| !priorities.contains(&priority)) {
            return Err(bad_message("apns-priority is not allowed for this push type"));
        }
        Ok(overrides)
    }

    /// Returns `true` if the caller, and not the operator, chose the topic.
    pub(crate) const fn chooses_topic(&self) -> bool {
        self.headers.apns_topic.is_some() || self.headers.apns_push_type.is_some()
    }

    fn push_type(&self, message: &Message) -> PushType {
        // A badge is visible, so Apple counts it as an alert.
        let default_type =
            if message.silent && message.badge.is_none() { PushType::Background } else { PushType::Alert };
        self.required_type.or(self.headers.apns_push_type).unwrap_or(default_type)
    }
}

impl Headers {
    /// Returns the chosen priority, given as a number or as a string. Any other value becomes zero, which is invalid.
    fn priority(&self) -> Option<u64> {
        let value = self.apns_priority.as_ref()?;
        Some(value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(0))
    }
}

/// Encodes headers and payload of a message.
pub(crate) fn encode(message: &Message, overrides: &Overrides, style: &Style) -> Encoded {
    let (kind, id) = (overrides.push_type(message), message.id.to_string());
    let fields = payload(message, &id, kind, style);
    let mut payload = serde_json::to_string(&fields).expect("texts and numbers always have a JSON form");
    if !overrides.payload.is_empty() {
        let mut object = serde_json::from_str(&payload).expect("we have just written it");
        merge(&mut object, &overrides.payload);
        payload = Value::Object(object).to_string();
    }
    Encoded { kind, headers: headers(message, &overrides.headers, kind, style), payload }
}

/// Returns the message of a probe: silent, and not stored by APNs.
pub(crate) fn probe(now: Timestamp) -> Message {
    let app = AppId::new("probe").expect("five letters are a name");
    let blank = Message::new(NotificationId(Default::default()), app, now);
    Message { priority: Priority::Normal, silent: true, ttl: Duration::ZERO, ..blank }
}

fn headers(message: &Message, chosen: &Headers, kind: PushType, style: &Style) -> HeaderMap {
    let PushTypeInfo { name, topic_suffix, .. } = kind.info();
    let topic = chosen.apns_topic.clone().unwrap_or_else(|| format!("{}{topic_suffix}", style.topic));
    let priority = chosen.priority().unwrap_or_else(|| kind.priority(message.priority));
    // Zero means now or never. Otherwise the expiry in seconds, rounded up, which is the same at each attempt.
    let expires_at = message.created_at + message.ttl.min(MAX_TTL);
    let expiration = if message.ttl.is_zero() { 0 } else { (expires_at.as_millis() + 999).div_euclid(1000) };
    let mut headers = HeaderMap::with_capacity(8);
    let mut put = |name: &'static str, value: &str| {
        let value = HeaderValue::try_from(value).expect("topics and collapse ids are printable ASCII");
        headers.insert(HeaderName::from_static(name), value);
    };
    put("content-type", "application/json");
    // Every attempt has the same id, so that APNs and the device recognize duplicates.
    put("apns-id", &message.id.to_string());
    put("apns-push-type", name);
    put("apns-topic", &topic);
    put("apns-priority", &priority.to_string());
    put("apns-expiration", &expiration.to_string());
    if let Some(id) = collapse_id(message, chosen, kind) {
        put("apns-collapse-id", &id);
    }
    headers
}

/// Returns the collapse id. A push that shows nothing has one only if the caller set it.
fn collapse_id(message: &Message, chosen: &Headers, kind: PushType) -> Option<String> {
    let requested =
        chosen.apns_collapse_id.clone().or(message.collapse_key.clone()).filter(|key| !key.is_empty());
    // A notification replaces an earlier one with the same id, so a duplicate is shown once.
    let id = requested.or_else(|| (kind == PushType::Alert).then(|| message.id.to_string()))?;
    if id.len() <= 64 && id.bytes().all(|b| b.is_ascii_graphic()) {
        return Some(id);
    }
    // Apple allows 64 bytes. The digest replaces a longer id.
    Some(collapse_key_digest(&id))
}

/// Returns the payload: `aps` for the system, and the other fields for the app. `id` is that of the message.
fn payload<'a>(message: &'a Message, id: &'a str, kind: PushType, style: &'a Style) -> Fields<'a> {
    Fields(vec![
        ("aps", Some(Field::Object(aps(message, kind, style)))),
        ("payload", text(&message.payload)),
        ("link", text(&message.link)),
        // The service extension of the app fetches the image.
        ("image", text(&message.image).filter(|_| !message.silent)),
        ("zego", zego(message, id)),
    ])
}

/// Returns the fields for ZPNs clients, as in [`Message::note`], but as an object instead of a text.
fn zego<'a>(message: &'a Message, id: &'a str) -> Option<Field<'a>> {
    let (name, text) = match &message.act {
        Act::Show => ("", None),
        Act::Ring { call, .. } => ("call_id", Some(call.as_str())),
        Act::Remove => ("revoke", Some(message.collapse_key.as_deref().unwrap_or(id))),
    };
    let (version, text) = (Some(Field::Number(1)), text.map(Field::Text));
    object([("version", version), ("zpns_request_id", Some(Field::Text(id))), (name, text)])
}

fn aps<'a>(message: &'a Message, kind: PushType, style: &'a Style) -> Fields<'a> {
    let is_shown = !message.silent;
    let flag = |is_set: bool| is_set.then_some(Field::Number(1));
    let non_empty = |text: &'a Secret| Some(Field::Text(text.expose())).filter(|_| !text.expose().is_empty());
    let alert = object([("title", non_empty(&message.title)), ("body", non_empty(&message.content))])
        .filter(|_| is_shown);
    Fields(match kind {
        PushType::Alert => vec![
            ("alert", alert),
            ("badge", message.badge.map(|badge| Field::Number(badge.into()))),
            ("sound", style.sound.as_deref().filter(|_| is_shown).map(Field::Text)),
            ("thread-id", message.thread.as_deref().map(Field::Text)),
            ("category", message.category.as_deref().map(Field::Text)),
            // A message of low priority does not light up the screen.
            (
                "interruption-level",
                Some(Field::Text("passive")).filter(|_| is_shown && message.priority == Priority::Low),
            ),
            // Required for the service extension that fetches the image.
            ("mutable-content", flag(is_shown && message.image.is_some())),
            ("content-available", flag(message.silent)),
        ],
        PushType::Background => vec![("content-available", flag(true))],
        // The app shows the name of the caller.
        PushType::Voip => vec![("alert", alert)],
        PushType::Liveactivity => vec![
            ("alert", alert),
            ("event", Some(Field::Text("update"))),
            // The device drops an update that is older than the one it shows, such as a late retry.
            ("timestamp", Some(Field::Number(message.created_at.as_secs()))),
        ],
        PushType::Widgets | PushType::Controls => vec![("content-changed", Some(Field::Flag(true)))],
        // Overrides provide the content of the other push types.
        _ => Vec::new(),
    })
}

/// JSON object that omits absent fields, because every byte counts. It borrows its texts, which halves the cost of a
/// [`Value`].
struct Fields<'a>(Vec<(&'static str, Option<Field<'a>>)>);

#[derive(Serialize)]
#[serde(untagged)]
enum Field<'a> {
    Text(&'a str),
    Number(i64),
    Flag(bool),
    Object(Fields<'a>),
}

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(self.0.iter().filter_map(|(name, field)| Some((name, field.as_ref()?))))
    }
}

fn object<'a, const N: usize>(fields: [(&'static str, Option<Field<'a>>); N]) -> Option<Field<'a>> {
    Some(Field::Object(Fields(fields.into())))
}

fn text(text: &Option<Secret>) -> Option<Field<'_>> {
    text.as_ref().map(|text| Field::Text(text.expose()))
}

#[cfg(test)]
mod tests;
