//! From a message to APNs' headers and payload. Pure, and written once for each message: only the path differs between
//! devices. Sources: <https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns>
//! and <https://developer.apple.com/documentation/usernotifications/generating-a-remote-notification>.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use pushgate::fit::digest_of;
use pushgate::overrides::merge;
use pushgate::{Act, AppId, Fault, Kind, Message, NotificationId, Priority, Secret, Timestamp, TokenKind};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::config::is_topic;

/// The longest that Apple keeps a notification.
pub(crate) const LONGEST_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);

/// What kind of push it is (`apns-push-type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PushType {
    /// Shown, heard, or a number on the icon.
    Alert,
    /// Wakes the app for a moment and shows nothing; a few an hour.
    Background,
    /// An incoming call (PushKit).
    Voip,
    /// A watch face (PushKit).
    Complication,
    /// Files changed (PushKit).
    Fileprovider,
    /// A managed device is to ask its server.
    Mdm,
    /// Asks an extension where the device is.
    Location,
    /// A Live Activity starts, changes or ends.
    Liveactivity,
    /// Somebody speaks (PushToTalk).
    Pushtotalk,
    /// A widget reloads.
    Widgets,
    /// A control reloads.
    Controls,
}

impl PushType {
    /// Its name, what is added to the bundle id, and the priorities it may have, the most urgent first.
    #[rustfmt::skip]
    const fn row(self) -> (&'static str, &'static str, &'static [u64]) {
        const ANY: &[u64] = &[10, 5, 1];
        const LIVE: &[u64] = &[10, 5];
        const SILENT: &[u64] = &[5];
        const AT_ONCE: &[u64] = &[10];
        match self {
            Self::Alert        => ("alert",        "",                        ANY),
            Self::Background   => ("background",   "",                        SILENT),
            Self::Voip         => ("voip",         ".voip",                   ANY),
            Self::Complication => ("complication", ".complication",           ANY),
            Self::Fileprovider => ("fileprovider", ".pushkit.fileprovider",   ANY),
            Self::Mdm          => ("mdm",          "",                        ANY),
            Self::Location     => ("location",     ".location-query",         ANY),
            Self::Liveactivity => ("liveactivity", ".push-type.liveactivity", LIVE),
            Self::Pushtotalk   => ("pushtotalk",   ".voip-ptt",               AT_ONCE),
            Self::Widgets      => ("widgets",      ".push-type.widgets",      ANY),
            Self::Controls     => ("controls",     ".push-type.controls",     ANY),
        }
    }

    /// The allowed priority next to the message's, rather more urgent than less.
    fn priority(self, message: Priority) -> u64 {
        let wanted = match message {
            Priority::High => 10,
            Priority::Normal => 5,
            Priority::Low => 1,
        };
        let (_, _, allowed) = self.row();
        *allowed.iter().rev().find(|priority| **priority >= wanted).unwrap_or(&allowed[0])
    }
}

/// How the channel's notifications are, where the message does not say.
#[derive(Debug, Clone)]
pub(crate) struct Style {
    pub(crate) topic: String,
    pub(crate) sound: Option<String>,
}

/// What every request of one delivery has in common.
pub(crate) struct Encoded {
    pub(crate) kind: PushType,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: String,
}

impl Encoded {
    /// The bytes that count against 4,096. A VoIP push may be 5,120 long: its first 1,024 are free.
    pub(crate) fn counted(&self) -> usize {
        let free = if self.kind == PushType::Voip { 1024 } else { 0 };
        self.payload.len().saturating_sub(free)
    }
}

/// The caller's native options: the headers he may choose, and what is merged into the payload.
#[derive(Default)]
pub(crate) struct Overrides {
    /// What the address takes, where it takes one kind of push alone.
    of_address: Option<PushType>,
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
    /// What a message asks for, of an address of this kind: every push to a token of PushKit's is a call's, and headers that
    /// were meant for an alert do not go with it. The fault quotes nothing of the message.
    pub(crate) fn of(message: &Message, address: TokenKind) -> Result<Self, Fault> {
        let of_address = (address == TokenKind::Voip).then_some(PushType::Voip);
        let wrong = |why: &str| Fault::new(Kind::BadMessage, format!("overrides for apns: {why}"));
        let mut payload = match &message.overrides {
            None => return Ok(Self { of_address, ..Self::default() }),
            Some(Value::Object(patch)) => patch.clone(),
            Some(_) => return Err(wrong("must be a JSON object, merged into the payload")),
        };
        let headers = payload.remove("headers").unwrap_or(Value::Object(Map::new()));
        let mut headers: Headers = serde_json::from_value(headers).map_err(|_| {
            wrong("headers may hold apns-push-type, apns-topic, apns-priority and apns-collapse-id, as Apple documents them")
        })?;
        if headers.apns_topic.as_deref().is_some_and(|topic| !is_topic(topic)) {
            return Err(wrong("apns-topic is not a topic"));
        }
        if of_address.is_some() && headers.apns_push_type != of_address {
            headers = Headers::default();
        }
        let overrides = Self { of_address, headers, payload };
        let (_, _, priorities) = overrides.kind(message).row();
        if overrides.headers.priority().is_some_and(|priority| !priorities.contains(&priority)) {
            return Err(wrong("apns-priority is none that Apple takes for this push type"));
        }
        Ok(overrides)
    }

    /// Whether the caller, and not the operator, chose whom the push is for.
    pub(crate) const fn chooses_topic(&self) -> bool {
        self.headers.apns_topic.is_some() || self.headers.apns_push_type.is_some()
    }

    fn kind(&self, message: &Message) -> PushType {
        // A number on the icon is seen, so Apple counts it as an alert.
        let own =
            if message.silent && message.badge.is_none() { PushType::Background } else { PushType::Alert };
        self.of_address.or(self.headers.apns_push_type).unwrap_or(own)
    }
}

impl Headers {
    /// A number, or a text of one as in a real header; zero, which is no priority, for anything else.
    fn priority(&self) -> Option<u64> {
        let given = self.apns_priority.as_ref()?;
        Some(given.as_u64().or_else(|| given.as_str()?.parse().ok()).unwrap_or(0))
    }
}

/// Headers and payload for a message.
pub(crate) fn encode(message: &Message, overrides: &Overrides, style: &Style) -> Encoded {
    let (kind, id) = (overrides.kind(message), message.id.to_string());
    let fields = payload(message, &id, kind, style);
    let mut payload = serde_json::to_string(&fields).expect("texts and numbers always have a JSON form");
    if !overrides.payload.is_empty() {
        let mut object = serde_json::from_str(&payload).expect("we have just written it");
        merge(&mut object, &overrides.payload);
        payload = Value::Object(object).to_string();
    }
    Encoded { kind, headers: headers(message, &overrides.headers, kind, style), payload }
}

/// Shows nothing, and is kept for nobody: what a probe sends.
pub(crate) fn probe(now: Timestamp) -> Message {
    let app = AppId::new("probe").expect("five letters are a name");
    let blank = Message::new(NotificationId(Default::default()), app, now);
    Message { priority: Priority::Normal, silent: true, ttl: Duration::ZERO, ..blank }
}

fn headers(message: &Message, chosen: &Headers, kind: PushType, style: &Style) -> HeaderMap {
    let (name, suffix, _) = kind.row();
    let topic = chosen.apns_topic.clone().unwrap_or_else(|| format!("{}{suffix}", style.topic));
    let priority = chosen.priority().unwrap_or_else(|| kind.priority(message.priority));
    // Zero is Apple's now or never. Otherwise the second in which the time to live ends, the same at each attempt.
    let ends_at = message.created_at + message.ttl.min(LONGEST_LIFE);
    let expiration = if message.ttl.is_zero() { 0 } else { (ends_at.as_millis() + 999).div_euclid(1000) };
    let mut headers = HeaderMap::with_capacity(8);
    let mut put = |name: &'static str, value: &str| {
        let value = HeaderValue::try_from(value).expect("topics and collapse ids are printable ASCII");
        headers.insert(HeaderName::from_static(name), value);
    };
    put("content-type", "application/json");
    // Every attempt has the same id, so that Apple and the device can tell a duplicate.
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

/// Under which name the device shows it. What shows nothing has one only when it is asked for.
fn collapse_id(message: &Message, chosen: &Headers, kind: PushType) -> Option<String> {
    let asked =
        chosen.apns_collapse_id.clone().or(message.collapse_key.clone()).filter(|key| !key.is_empty());
    // Under the same id a duplicate replaces what is shown already.
    let tag = asked.or_else(|| (kind == PushType::Alert).then(|| message.id.to_string()))?;
    if tag.len() <= 64 && tag.bytes().all(|b| b.is_ascii_graphic()) {
        return Some(tag);
    }
    // Apple takes 64 bytes; a longer name is known by its digest.
    Some(digest_of(&tag))
}

/// The payload: what the system reads, and beside it what the app reads. `id` is the message's.
fn payload<'a>(message: &'a Message, id: &'a str, kind: PushType, style: &'a Style) -> Fields<'a> {
    Fields(vec![
        ("aps", Some(Field::Object(aps(message, kind, style)))),
        ("payload", text(&message.payload)),
        ("link", text(&message.link)),
        // For the app's service extension, which fetches it.
        ("image", text(&message.image).filter(|_| !message.silent)),
        ("zego", zego(message, id)),
    ])
}

/// What clients of ZPNs look for beside the payload, as [`Message::note`] has it: here it is a table, not a text.
fn zego<'a>(message: &'a Message, id: &'a str) -> Option<Field<'a>> {
    let (more, text) = match &message.act {
        Act::Show => ("", None),
        Act::Ring { call, .. } => ("call_id", Some(call.as_str())),
        Act::Remove => ("revoke", Some(message.collapse_key.as_deref().unwrap_or(id))),
    };
    let (version, text) = (Some(Field::Number(1)), text.map(Field::Text));
    object([("version", version), ("zpns_request_id", Some(Field::Text(id))), (more, text)])
}

fn aps<'a>(message: &'a Message, kind: PushType, style: &'a Style) -> Fields<'a> {
    let shown = !message.silent;
    let one = |is: bool| is.then_some(Field::Number(1));
    let filled = |text: &'a Secret| Some(Field::Text(text.expose())).filter(|_| !text.expose().is_empty());
    let alert =
        object([("title", filled(&message.title)), ("body", filled(&message.content))]).filter(|_| shown);
    Fields(match kind {
        PushType::Alert => vec![
            ("alert", alert),
            ("badge", message.badge.map(|badge| Field::Number(badge.into()))),
            ("sound", style.sound.as_deref().filter(|_| shown).map(Field::Text)),
            ("thread-id", message.thread.as_deref().map(Field::Text)),
            ("category", message.category.as_deref().map(Field::Text)),
            // What may wait until it costs nothing does not light up the screen either.
            (
                "interruption-level",
                Some(Field::Text("passive")).filter(|_| shown && message.priority == Priority::Low),
            ),
            // Without it the app's extension is not asked to fetch the picture.
            ("mutable-content", one(shown && message.image.is_some())),
            ("content-available", one(message.silent)),
        ],
        PushType::Background => vec![("content-available", one(true))],
        // The name for the call's screen.
        PushType::Voip => vec![("alert", alert)],
        PushType::Liveactivity => vec![
            ("alert", alert),
            ("event", Some(Field::Text("update"))),
            // The device drops what is older than what it shows: a late retry must not win over later news.
            ("timestamp", Some(Field::Number(message.created_at.as_secs()))),
        ],
        PushType::Widgets | PushType::Controls => vec![("content-changed", Some(Field::Flag(true)))],
        // The rest is the caller's own.
        _ => Vec::new(),
    })
}

/// A JSON object of what there is: an absent field is Apple's default, and every byte counts. Borrowed, because a tree of
/// values for each message would cost twice as much.
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
