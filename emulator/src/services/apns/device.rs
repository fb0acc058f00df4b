//! Virtual iPhones: their tokens, and the notifications that iOS shows.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::PushType;
use super::reason::Reason;
use super::validation::PushRequest;
use crate::event::{DropReason, EventKind};
use crate::inbox::{DeviceInbox, ShownNotification, StoragePolicy};

/// Maximum storage time of a push in milliseconds: 30 days. A push without expiration gets this time.
const MAX_STORAGE_MS: u64 = 30 * 24 * 3_600_000;

/// Environment of APNs. A token of one environment is not valid in the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// Apps from the App Store and TestFlight.
    #[default]
    Production,
    /// Development builds from Xcode.
    Sandbox,
}

/// Identity and tokens of a device. Only the creator of the device gets the tokens.
#[derive(Debug, Clone, Serialize)]
pub struct ApnsDevice {
    /// Id of the device in inbox, faults and events.
    pub id: String,
    /// Environment of the app.
    pub environment: Environment,
    /// Token for alerts and background pushes, in hexadecimal digits.
    pub token: String,
    /// Token for calls.
    pub voip_token: String,
    /// Token for the app's Live Activity.
    pub activity_token: String,
}

/// Device with the app installed.
pub(super) struct Installed {
    pub(super) id: String,
    pub(super) environment: Environment,
    pub(super) inbox: DeviceInbox,
    /// Time when the app was removed, in milliseconds since 1970.
    pub(super) unregistered_at_ms: Mutex<u64>,
    /// Tokens by the suffix of their topic.
    tokens: Mutex<HashMap<&'static str, String>>,
    /// Broadcast channels that the app's Live Activities follow.
    pub(super) followed_channels: Mutex<Vec<String>>,
}

/// All devices, indexed by token.
#[derive(Default)]
pub(super) struct Devices(RwLock<Index>);

#[derive(Default)]
struct Index {
    in_order: Vec<Arc<Installed>>,
    by_token: HashMap<String, (Arc<Installed>, &'static str)>,
}

impl Devices {
    /// Adds a device, or replaces the one with this id.
    pub(super) fn add(&self, id: &str, environment: Environment) -> ApnsDevice {
        let new = Arc::new(Installed {
            id: id.to_owned(),
            environment,
            inbox: DeviceInbox::new(id),
            unregistered_at_ms: Mutex::new(0),
            tokens: Mutex::default(),
            followed_channels: Mutex::default(),
        });
        {
            let mut index = self.0.write();
            index.in_order.retain(|old| old.id != id);
            index.by_token.retain(|_, (old, _)| old.id != id);
            index.in_order.push(Arc::clone(&new));
        }
        let token = |push_type| self.token(&new, push_type);
        ApnsDevice {
            id: id.to_owned(),
            environment,
            token: token(PushType::Alert),
            voip_token: token(PushType::Voip),
            activity_token: token(PushType::Liveactivity),
        }
    }

    /// Returns the token of a device for a push type. Push types with the same topic share a token.
    pub(super) fn token(&self, device: &Arc<Installed>, push_type: PushType) -> String {
        let suffix = push_type.suffix();
        let mut tokens = device.tokens.lock();
        let token = tokens.entry(suffix).or_insert_with(|| {
            let random: [u8; 32] = rand::random();
            random.iter().map(|byte| format!("{byte:02x}")).collect()
        });
        self.0.write().by_token.insert(token.clone(), (Arc::clone(device), suffix));
        token.clone()
    }

    /// Returns all devices, in the order in which they were added.
    pub(super) fn all(&self) -> Vec<Arc<Installed>> {
        self.0.read().in_order.clone()
    }

    /// Returns the device with this id.
    pub(super) fn find_by_id(&self, id: &str) -> Option<Arc<Installed>> {
        self.0.read().in_order.iter().find(|device| device.id == id).cloned()
    }

    /// Returns the device of a token, and the topic suffix that the token is for.
    pub(super) fn find_by_token(&self, token: &str) -> Option<(Arc<Installed>, &'static str)> {
        // Hexadecimal digits are case-insensitive.
        self.0.read().by_token.get(&token.to_ascii_lowercase()).cloned()
    }

    /// Returns the device that a push is for, or the reason to refuse the push.
    pub(super) fn find_target(
        &self,
        token: &str,
        push: &PushRequest,
        here: Environment,
    ) -> Result<Arc<Installed>, Reason> {
        let is_hex = token.len().is_multiple_of(2) && token.chars().all(|c| c.is_ascii_hexdigit());
        let target = if is_hex { self.find_by_token(token) } else { None };
        let (device, suffix) = target.ok_or(Reason::BadDeviceToken)?;
        if device.environment != here {
            return Err(Reason::BadDeviceToken);
        }
        if suffix != push.push_type.suffix() {
            return Err(Reason::DeviceTokenNotForTopic);
        }
        if !device.inbox.is_registered() {
            return Err(Reason::Unregistered(*device.unregistered_at_ms.lock()));
        }
        Ok(device)
    }
}

impl Installed {
    /// Delivers a push. Returns the events to record.
    pub(super) fn deliver(&self, push: &PushRequest, now_ms: u64) -> Vec<EventKind> {
        let Some(notification) = displayed_notification(push) else {
            return vec![EventKind::Dropped { device: self.id.clone(), why: DropReason::Meaningless }];
        };
        let max_expires_at_ms = now_ms + MAX_STORAGE_MS;
        let expires_at_ms = match push.expiration {
            Some(0) => None,
            Some(at) => Some(at.saturating_mul(1000).min(max_expires_at_ms)),
            None => Some(max_expires_at_ms),
        };
        // APNs stores only the newest push for an app.
        let policy = StoragePolicy {
            expires_at_ms,
            collapse_key: push.collapse_id.clone(),
            max_pushes: 1,
            max_collapse_keys: 1,
        };
        self.inbox.deliver(notification, policy, now_ms)
    }
}

/// Returns the notification that iOS shows. `None` if iOS ignores the payload, which APNs accepts without looking.
fn displayed_notification(push: &PushRequest) -> Option<ShownNotification> {
    let Ok(Value::Object(mut payload)) = serde_json::from_slice::<Value>(&push.body) else { return None };
    let aps = payload.remove("aps").unwrap_or_default();
    let alert = &aps["alert"];
    let text = |key: &str| alert[key].as_str().map(str::to_owned);
    let title = [text("title").or_else(|| text("title-loc-key")), text("subtitle")];
    let title = title.into_iter().flatten().collect::<Vec<_>>().join("\n");
    let body = alert.as_str().map(str::to_owned).or_else(|| text("body")).or_else(|| text("loc-key"));
    let sound = aps["sound"].as_str().or_else(|| aps["sound"]["name"].as_str());
    let notification = ShownNotification {
        title,
        body: body.unwrap_or_default(),
        tag: push.collapse_id.clone(),
        data: payload,
        badge: aps["badge"].as_u64(),
        sound: sound.map(str::to_owned),
        thread: aps["thread-id"].as_str().map(str::to_owned),
        ..ShownNotification::default()
    };
    match push.push_type {
        PushType::Voip => Some(ShownNotification { rings: true, ..notification }),
        PushType::Liveactivity => displayed_activity(&aps, notification),
        PushType::Alert if !alert.is_null() => Some(notification),
        // A badge or a sound alone shows no notification.
        PushType::Alert if notification.badge.is_some() || notification.sound.is_some() => {
            Some(ShownNotification { silent: true, ..notification })
        }
        PushType::Background if aps["content-available"] != 1 => None,
        PushType::Alert => None,
        _ => Some(ShownNotification { silent: true, ..notification }),
    }
}

/// Returns the state that a Live Activity shows in place of the previous one. `None` if the payload is incomplete.
fn displayed_activity(aps: &Value, notification: ShownNotification) -> Option<ShownNotification> {
    let state = aps["content-state"].as_object()?;
    if !matches!(aps["event"].as_str(), Some("start" | "update" | "end")) || !aps["timestamp"].is_number() {
        return None;
    }
    let mut data: Map<String, Value> = notification.data.clone();
    data.insert("event".to_owned(), aps["event"].clone());
    data.insert("content-state".to_owned(), Value::Object(state.clone()));
    let title =
        if notification.title.is_empty() { "Live Activity".to_owned() } else { notification.title.clone() };
    Some(ShownNotification { title, tag: Some("live-activity".to_owned()), data, ..notification })
}
