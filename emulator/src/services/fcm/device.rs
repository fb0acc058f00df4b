//! Virtual devices with an app that uses Firebase: what they show, and how FCM stores messages while they are offline.
//! A web device decrypts a push before it shows it, as a browser does.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::event::EventKind;
use crate::inbox::{DeviceInbox, ShownNotification, StoragePolicy};
use crate::push_crypto::UserAgentKeys;

/// Maximum and default time to live in seconds: four weeks.
pub(super) const MAX_TTL_S: f64 = 2_419_200.0;
/// Maximum number of messages that FCM stores for a device.
const MAX_STORED: usize = 100;
/// Maximum number of collapse keys that FCM stores for a device.
const MAX_COLLAPSE_KEYS: usize = 4;

/// Platform of a virtual device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    /// A browser.
    Web,
    /// Android.
    Android,
    /// iOS, where FCM sends through APNs.
    Ios,
}

impl Platform {
    /// Returns the name of the platform in the Instance ID service.
    pub(super) const fn instance_id_name(self) -> &'static str {
        match self {
            Self::Web => "WEBPUSH",
            Self::Android => "ANDROID",
            Self::Ios => "IOS",
        }
    }
}

/// Identity and addresses of a device. Only the creator of the device gets the token.
#[derive(Debug, Clone, Serialize)]
pub struct FcmDevice {
    /// Id of the device in inbox, faults and events.
    pub id: String,
    /// Platform.
    pub platform: Platform,
    /// Registration token.
    pub token: String,
    /// Firebase installation id.
    pub fid: String,
}

/// Forwards a push to a real browser, with the message it was made from. Returns `true` on success.
pub(crate) type Relay = Box<dyn Fn(&Value, &Value) -> bool + Send + Sync>;

/// Device with the app installed.
pub(super) struct Installed {
    pub(super) device: FcmDevice,
    pub(super) inbox: DeviceInbox,
    /// Subscribed topics, each with the time of its subscription.
    pub(super) topics: Mutex<BTreeMap<String, SystemTime>>,
    /// Keys of a virtual browser. `None` for native platforms and real browsers.
    keys: Option<UserAgentKeys>,
    /// Relay to a real browser. `None` for virtual devices.
    relay: Option<Relay>,
}

impl Installed {
    fn new(id: &str, platform: Platform) -> Option<Self> {
        let base64url = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let fid = format!("c{}", &base64url(&rand::random::<[u8; 16]>())[..21]);
        let token = format!("{fid}:APA91b{}", base64url(&rand::random::<[u8; 100]>()));
        let keys = if platform == Platform::Web { Some(UserAgentKeys::generate()?) } else { None };
        let device = FcmDevice { id: id.to_owned(), platform, token, fid };
        Some(Self { device, inbox: DeviceInbox::new(id), topics: Mutex::default(), keys, relay: None })
    }

    /// Delivers a message. Returns the events to record, or `None` if the device could not get the message.
    pub(super) fn deliver(&self, message: &Value, now_ms: u64) -> Option<Vec<EventKind>> {
        if let Some(relay) = &self.relay {
            return relay(&browser_push(message), message).then(Vec::new);
        }
        let push = match &self.keys {
            Some(keys) => {
                let body = keys.public_keys().encrypt(browser_push(message).to_string().as_bytes())?;
                serde_json::from_slice(&keys.decrypt(&body).ok()?).ok()?
            }
            None => native_push(message, self.device.platform),
        };
        let policy = storage_policy(message, self.device.platform, now_ms);
        Some(self.inbox.deliver(displayed_notification(&push), policy, now_ms))
    }
}

/// All devices of a project, indexed by id, registration token and installation id.
#[derive(Default)]
pub(super) struct Devices(RwLock<Index>);

#[derive(Default)]
struct Index {
    in_order: Vec<Arc<Installed>>,
    by_id: HashMap<String, Arc<Installed>>,
    by_address: HashMap<String, Arc<Installed>>,
}

impl Devices {
    /// Adds a virtual device, or replaces the one with this id. `None` if its keys could not be generated.
    pub(super) fn add(&self, id: &str, platform: Platform) -> Option<FcmDevice> {
        let installed = Installed::new(id, platform)?;
        let device = installed.device.clone();
        self.insert(installed);
        Some(device)
    }

    /// Adds a device of a real browser, or replaces the one with this id.
    pub(super) fn add_real(&self, device: FcmDevice, relay: Relay) {
        let inbox = DeviceInbox::new(&device.id);
        self.insert(Installed { device, inbox, topics: Mutex::default(), keys: None, relay: Some(relay) });
    }

    fn insert(&self, installed: Installed) {
        let new = Arc::new(installed);
        let mut index = self.0.write();
        if let Some(old) = index.by_id.insert(new.device.id.clone(), Arc::clone(&new)) {
            index.in_order.retain(|installed| !Arc::ptr_eq(installed, &old));
            index.by_address.remove(&old.device.token);
            index.by_address.remove(&old.device.fid);
        }
        for address in [&new.device.token, &new.device.fid] {
            index.by_address.insert(address.clone(), Arc::clone(&new));
        }
        index.in_order.push(new);
    }

    /// Returns all devices, in the order in which they were added.
    pub(super) fn all(&self) -> Vec<Arc<Installed>> {
        self.0.read().in_order.clone()
    }

    /// Returns the device with this id.
    pub(super) fn find_by_id(&self, id: &str) -> Option<Arc<Installed>> {
        self.0.read().by_id.get(id).cloned()
    }

    /// Returns the device with this registration token or installation id.
    pub(super) fn find_by_address(&self, address: &str) -> Option<Arc<Installed>> {
        self.0.read().by_address.get(address).cloned()
    }
}

/// Returns how FCM stores a message for a platform, as the message's block for that platform says.
fn storage_policy(message: &Value, platform: Platform, now_ms: u64) -> StoragePolicy {
    let header = |block: &str, name: &str| message[block]["headers"][name].as_str();
    let (ttl_s, collapse_key) = match platform {
        Platform::Web => {
            (header("webpush", "TTL").and_then(|ttl| ttl.parse().ok()), header("webpush", "Topic"))
        }
        Platform::Android => {
            let ttl = message["android"]["ttl"].as_str().and_then(|ttl| ttl.strip_suffix('s')?.parse().ok());
            (ttl, message["android"]["collapse_key"].as_str())
        }
        Platform::Ios => {
            let expires_at = header("apns", "apns-expiration").and_then(|at| at.parse::<f64>().ok());
            let ttl = expires_at.map(|at| (at - now_ms as f64 / 1000.0).max(0.0));
            (ttl, header("apns", "apns-collapse-id"))
        }
    };
    let ttl_ms = ttl_s.unwrap_or(MAX_TTL_S).clamp(0.0, MAX_TTL_S) * 1000.0;
    StoragePolicy {
        expires_at_ms: (ttl_ms > 0.0).then(|| now_ms + ttl_ms as u64),
        collapse_key: collapse_key.map(str::to_owned),
        max_pushes: MAX_STORED,
        max_collapse_keys: MAX_COLLAPSE_KEYS,
    }
}

/// Returns the JSON that a browser gets from FCM. The `webpush` block overrides the common notification and data.
fn browser_push(message: &Value) -> Value {
    let web = &message["webpush"];
    let data = if web["data"].is_object() { &web["data"] } else { &message["data"] };
    let notification = merged(&message["notification"], &web["notification"]);
    let from = message["topic"].as_str().map(|topic| format!("/topics/{topic}"));
    let from = from.unwrap_or_else(|| "123456789012".to_owned());
    let mut push =
        json!({"from": from, "fcmMessageId": uuid::Uuid::now_v7().to_string(), "priority": "normal"});
    // Empty parts are left out, because the SDK shows a notification even if it is empty.
    for (key, part) in [("notification", &notification), ("data", data), ("fcmOptions", &web["fcm_options"])]
    {
        if part.as_object().is_some_and(|part| !part.is_empty()) {
            push[key] = part.clone();
        }
    }
    push
}

/// Returns the notification and data that a native app gets.
fn native_push(message: &Value, platform: Platform) -> Value {
    let block = match platform {
        Platform::Ios => {
            let aps = &message["apns"]["payload"]["aps"];
            let id = &message["apns"]["headers"]["apns-collapse-id"];
            let platform_fields =
                json!({"tag": id, "badge": aps["badge"], "sound": aps["sound"], "thread": aps["thread-id"]});
            merged(&platform_fields, &aps["alert"])
        }
        Platform::Web | Platform::Android => {
            let mut notification = message["android"]["notification"].clone();
            if let Some(count) = notification.get("notification_count").cloned() {
                notification["badge"] = count;
            }
            notification
        }
    };
    json!({"notification": merged(&message["notification"], &block), "data": message["data"]})
}

/// Returns an object with the fields of both. Those of `overrides` win.
fn merged(common: &Value, overrides: &Value) -> Value {
    let mut fields = common.as_object().cloned().unwrap_or_default();
    fields.extend(overrides.as_object().cloned().unwrap_or_default());
    Value::Object(fields)
}

/// Returns the notification that a device shows for a push in FCM's format for apps.
pub(crate) fn displayed_notification(push: &Value) -> ShownNotification {
    let notification = &push["notification"];
    let text = |key: &str| notification[key].as_str().map(str::to_owned);
    ShownNotification {
        title: text("title").unwrap_or_default(),
        body: text("body").unwrap_or_default(),
        tag: text("tag"),
        link: push["fcmOptions"]["link"].as_str().map(str::to_owned),
        data: push["data"].as_object().cloned().unwrap_or_default(),
        // A notification without title and text counts as a data message.
        silent: text("title").is_none() && text("body").is_none(),
        badge: notification["badge"].as_u64(),
        sound: text("sound"),
        thread: text("thread"),
        ..ShownNotification::default()
    }
}
