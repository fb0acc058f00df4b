//! Virtual iPhones: their tokens, and what iOS shows of a push.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::PushType;
use super::check::Push;
use super::reason::Reason;
use crate::event::{What, Why};
use crate::mailbox::{Hold, Mailbox, Shown};

/// How long APNs keeps a push that does not say until when, in milliseconds: 30 days.
const LONGEST_KEPT_MS: u64 = 30 * 24 * 3_600_000;

/// Which of Apple's worlds a token is of. One means nothing in the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// Apps from the App Store and TestFlight.
    #[default]
    Production,
    /// Apps from Xcode.
    Sandbox,
}

/// How an iPhone is addressed. The tokens are given to whoever created it, and to nobody else.
#[derive(Debug, Clone, Serialize)]
pub struct Phone {
    /// Its name.
    pub id: String,
    /// Of which world its app is.
    pub environment: Environment,
    /// The token for alerts and background pushes, in hexadecimal digits.
    pub token: String,
    /// The token for calls.
    pub voip_token: String,
    /// The token of its Live Activity.
    pub activity_token: String,
}

/// An iPhone with the app on it.
pub(super) struct Installed {
    pub(super) id: String,
    pub(super) environment: Environment,
    pub(super) mailbox: Mailbox,
    /// Since when the app is gone, in milliseconds since 1970.
    pub(super) gone_ms: Mutex<u64>,
    /// By the suffix of their topic.
    tokens: Mutex<HashMap<&'static str, String>>,
    /// The broadcast channels its activities follow.
    pub(super) follows: Mutex<Vec<String>>,
}

/// All iPhones, found by name or token.
#[derive(Default)]
pub(super) struct Phones(RwLock<Index>);

#[derive(Default)]
struct Index {
    in_order: Vec<Arc<Installed>>,
    by_token: HashMap<String, (Arc<Installed>, &'static str)>,
}

impl Phones {
    /// A new one; it takes the place of one of the same name.
    pub(super) fn add(&self, id: &str, environment: Environment) -> Phone {
        let new = Arc::new(Installed {
            id: id.to_owned(),
            environment,
            mailbox: Mailbox::new(id),
            gone_ms: Mutex::new(0),
            tokens: Mutex::default(),
            follows: Mutex::default(),
        });
        {
            let mut index = self.0.write();
            index.in_order.retain(|old| old.id != id);
            index.by_token.retain(|_, (old, _)| old.id != id);
            index.in_order.push(Arc::clone(&new));
        }
        let token = |kind| self.token(&new, kind);
        Phone {
            id: id.to_owned(),
            environment,
            token: token(PushType::Alert),
            voip_token: token(PushType::Voip),
            activity_token: token(PushType::Liveactivity),
        }
    }

    /// The token of an iPhone for a kind of push; kinds that share a topic share it.
    pub(super) fn token(&self, phone: &Arc<Installed>, kind: PushType) -> String {
        let suffix = kind.suffix();
        let mut tokens = phone.tokens.lock();
        let token = tokens.entry(suffix).or_insert_with(|| {
            let random: [u8; 32] = rand::random();
            random.iter().map(|byte| format!("{byte:02x}")).collect()
        });
        self.0.write().by_token.insert(token.clone(), (Arc::clone(phone), suffix));
        token.clone()
    }

    pub(super) fn all(&self) -> Vec<Arc<Installed>> {
        self.0.read().in_order.clone()
    }

    pub(super) fn named(&self, id: &str) -> Option<Arc<Installed>> {
        self.0.read().in_order.iter().find(|one| one.id == id).cloned()
    }

    /// Whose token it is, and for which suffix of the topic.
    pub(super) fn addressed(&self, token: &str) -> Option<(Arc<Installed>, &'static str)> {
        // Hexadecimal digits mean the same in either case.
        self.0.read().by_token.get(&token.to_ascii_lowercase()).cloned()
    }

    /// The iPhone a push is for.
    pub(super) fn target(
        &self,
        token: &str,
        push: &Push,
        here: Environment,
    ) -> Result<Arc<Installed>, Reason> {
        let is_hex = token.len().is_multiple_of(2) && token.chars().all(|c| c.is_ascii_hexdigit());
        let found = if is_hex { self.addressed(token) } else { None };
        let (phone, suffix) = found.ok_or(Reason::BadDeviceToken)?;
        if phone.environment != here {
            return Err(Reason::BadDeviceToken);
        }
        if suffix != push.kind.suffix() {
            return Err(Reason::DeviceTokenNotForTopic);
        }
        if !phone.mailbox.registered() {
            return Err(Reason::Unregistered(*phone.gone_ms.lock()));
        }
        Ok(phone)
    }
}

impl Installed {
    /// Takes a push; what became of it.
    pub(super) fn arrive(&self, push: &Push, now_ms: u64) -> Vec<What> {
        let Some(shown) = shown(push) else {
            return vec![What::Dropped { device: self.id.clone(), why: Why::Meaningless }];
        };
        let longest = now_ms + LONGEST_KEPT_MS;
        let until_ms = match push.expiration {
            Some(0) => None,
            Some(at) => Some(at.saturating_mul(1000).min(longest)),
            None => Some(longest),
        };
        // Only the newest is kept for an app.
        let hold = Hold { until_ms, collapse: push.collapse.clone(), most: 1, most_keys: 1 };
        self.mailbox.put(shown, hold, now_ms)
    }
}

/// What iOS makes of it; none when that is nothing at all, which APNs does not know and accepts.
fn shown(push: &Push) -> Option<Shown> {
    let Ok(Value::Object(mut payload)) = serde_json::from_slice::<Value>(&push.body) else { return None };
    let aps = payload.remove("aps").unwrap_or_default();
    let alert = &aps["alert"];
    let part = |key: &str| alert[key].as_str().map(str::to_owned);
    let title = [part("title").or_else(|| part("title-loc-key")), part("subtitle")];
    let title = title.into_iter().flatten().collect::<Vec<_>>().join("\n");
    let body = alert.as_str().map(str::to_owned).or_else(|| part("body")).or_else(|| part("loc-key"));
    let sound = aps["sound"].as_str().or_else(|| aps["sound"]["name"].as_str());
    let shown = Shown {
        title,
        body: body.unwrap_or_default(),
        tag: push.collapse.clone(),
        data: payload,
        badge: aps["badge"].as_u64(),
        sound: sound.map(str::to_owned),
        thread: aps["thread-id"].as_str().map(str::to_owned),
        ..Shown::default()
    };
    match push.kind {
        PushType::Voip => Some(Shown { rings: true, ..shown }),
        PushType::Liveactivity => activity(&aps, shown),
        PushType::Alert if !alert.is_null() => Some(shown),
        // A badge or a sound alone changes something, and shows nothing.
        PushType::Alert if shown.badge.is_some() || shown.sound.is_some() => {
            Some(Shown { silent: true, ..shown })
        }
        PushType::Background if aps["content-available"] != 1 => None,
        PushType::Alert => None,
        _ => Some(Shown { silent: true, ..shown }),
    }
}

/// A Live Activity shows its newest state, in place of the one before.
fn activity(aps: &Value, shown: Shown) -> Option<Shown> {
    let state = aps["content-state"].as_object()?;
    if !matches!(aps["event"].as_str(), Some("start" | "update" | "end")) || !aps["timestamp"].is_number() {
        return None;
    }
    let mut data: Map<String, Value> = shown.data.clone();
    data.insert("event".to_owned(), aps["event"].clone());
    data.insert("content-state".to_owned(), Value::Object(state.clone()));
    let title = if shown.title.is_empty() { "Live Activity".to_owned() } else { shown.title.clone() };
    Some(Shown { title, tag: Some("live-activity".to_owned()), data, ..shown })
}
