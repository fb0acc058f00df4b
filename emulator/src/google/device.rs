//! Virtual devices with an app that uses Firebase: what a message shows on them, and how FCM keeps it while they are
//! offline. A web device decrypts before it shows, as a browser does.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::event::What;
use crate::mailbox::{Hold, Mailbox, Shown};
use crate::push_crypto::Keys;

/// Four weeks, which is also what a message without a time to live gets.
pub(super) const LONGEST_TTL_S: f64 = 2_419_200.0;
/// How much FCM keeps for a device, and under how many collapse keys.
const MOST_HELD: (usize, usize) = (100, 4);

/// What a virtual device runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    /// A browser.
    Web,
    /// Android.
    Android,
    /// An iPhone behind Firebase.
    Ios,
}

impl Platform {
    /// The name that the Instance ID service has for it.
    pub(super) const fn instance_id_name(self) -> &'static str {
        match self {
            Self::Web => "WEBPUSH",
            Self::Android => "ANDROID",
            Self::Ios => "IOS",
        }
    }
}

/// How a device is addressed. The token is given to whoever created the device, and to nobody else.
#[derive(Debug, Clone, Serialize)]
pub struct Device {
    /// Its name.
    pub id: String,
    /// What it runs on.
    pub platform: Platform,
    /// Its registration token.
    pub token: String,
    /// Its installation id.
    pub fid: String,
}

/// Takes what a browser gets, and the message it comes from, to a real browser. Whether it could be done.
pub(crate) type Relay = Box<dyn Fn(&Value, &Value) -> bool + Send + Sync>;

/// A device with the app on it.
pub(super) struct Installed {
    pub(super) device: Device,
    pub(super) mailbox: Mailbox,
    /// The topics it has been subscribed to, and since when.
    pub(super) topics: Mutex<BTreeMap<String, SystemTime>>,
    keys: Option<Keys>,
    /// Where a real browser's pushes go.
    relay: Option<Relay>,
}

impl Installed {
    fn new(id: &str, platform: Platform) -> Option<Self> {
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let fid = format!("c{}", &part(&rand::random::<[u8; 16]>())[..21]);
        let token = format!("{fid}:APA91b{}", part(&rand::random::<[u8; 100]>()));
        let keys = if platform == Platform::Web { Some(Keys::generate()?) } else { None };
        let device = Device { id: id.to_owned(), platform, token, fid };
        Some(Self { device, mailbox: Mailbox::new(id), topics: Mutex::default(), keys, relay: None })
    }

    /// Takes a message; what became of it, or none when it could not be read.
    pub(super) fn arrive(&self, message: &Value, now_ms: u64) -> Option<Vec<What>> {
        if let Some(relay) = &self.relay {
            return relay(&browser_push(message), message).then(Vec::new);
        }
        let push = match &self.keys {
            Some(keys) => {
                let body = keys.recipient().encrypt(browser_push(message).to_string().as_bytes())?;
                serde_json::from_slice(&keys.decrypt(&body).ok()?).ok()?
            }
            None => native_push(message, self.device.platform),
        };
        Some(self.mailbox.put(shown(&push), hold(message, self.device.platform, now_ms), now_ms))
    }
}

/// All devices of a project, found by name, token or installation id.
#[derive(Default)]
pub(super) struct Devices(RwLock<Index>);

#[derive(Default)]
struct Index {
    in_order: Vec<Arc<Installed>>,
    by_name: HashMap<String, Arc<Installed>>,
    by_key: HashMap<String, Arc<Installed>>,
}

impl Devices {
    /// A new one; it takes the place of one of the same name.
    pub(super) fn add(&self, id: &str, platform: Platform) -> Option<Device> {
        let new = Installed::new(id, platform)?;
        let device = new.device.clone();
        self.put(new);
        Some(device)
    }

    /// A real one, likewise.
    pub(super) fn adopt(&self, device: Device, relay: Relay) {
        let mailbox = Mailbox::new(&device.id);
        self.put(Installed { device, mailbox, topics: Mutex::default(), keys: None, relay: Some(relay) });
    }

    fn put(&self, new: Installed) {
        let new = Arc::new(new);
        let mut index = self.0.write();
        if let Some(old) = index.by_name.insert(new.device.id.clone(), Arc::clone(&new)) {
            index.in_order.retain(|one| !Arc::ptr_eq(one, &old));
            index.by_key.remove(&old.device.token);
            index.by_key.remove(&old.device.fid);
        }
        for key in [&new.device.token, &new.device.fid] {
            index.by_key.insert(key.clone(), Arc::clone(&new));
        }
        index.in_order.push(new);
    }

    pub(super) fn all(&self) -> Vec<Arc<Installed>> {
        self.0.read().in_order.clone()
    }

    pub(super) fn named(&self, id: &str) -> Option<Arc<Installed>> {
        self.0.read().by_name.get(id).cloned()
    }

    /// The one with this token or installation id.
    pub(super) fn addressed(&self, key: &str) -> Option<Arc<Installed>> {
        self.0.read().by_key.get(key).cloned()
    }
}

/// How FCM keeps a message for a platform: as the platform's own block says.
fn hold(message: &Value, platform: Platform, now_ms: u64) -> Hold {
    let header = |block: &str, name: &str| message[block]["headers"][name].as_str();
    let (ttl_s, collapse) = match platform {
        Platform::Web => {
            (header("webpush", "TTL").and_then(|ttl| ttl.parse().ok()), header("webpush", "Topic"))
        }
        Platform::Android => {
            let ttl = message["android"]["ttl"].as_str().and_then(|ttl| ttl.strip_suffix('s')?.parse().ok());
            (ttl, message["android"]["collapse_key"].as_str())
        }
        Platform::Ios => {
            let until = header("apns", "apns-expiration").and_then(|at| at.parse::<f64>().ok());
            let ttl = until.map(|at| (at - now_ms as f64 / 1000.0).max(0.0));
            (ttl, header("apns", "apns-collapse-id"))
        }
    };
    let ttl_ms = ttl_s.unwrap_or(LONGEST_TTL_S).clamp(0.0, LONGEST_TTL_S) * 1000.0;
    let until_ms = (ttl_ms > 0.0).then(|| now_ms + ttl_ms as u64);
    let (most, most_keys) = MOST_HELD;
    Hold { until_ms, collapse: collapse.map(str::to_owned), most, most_keys }
}

/// The JSON a browser gets from FCM: the common notification overlaid by the one for the web, data likewise.
fn browser_push(message: &Value) -> Value {
    let web = &message["webpush"];
    let data = if web["data"].is_object() { &web["data"] } else { &message["data"] };
    let notification = overlaid(&message["notification"], &web["notification"]);
    let from = message["topic"].as_str().map(|topic| format!("/topics/{topic}"));
    let from = from.unwrap_or_else(|| "123456789012".to_owned());
    let mut push =
        json!({"from": from, "fcmMessageId": uuid::Uuid::now_v7().to_string(), "priority": "normal"});
    // The SDK shows whatever is there, were it empty.
    for (key, part) in [("notification", &notification), ("data", data), ("fcmOptions", &web["fcm_options"])]
    {
        if part.as_object().is_some_and(|part| !part.is_empty()) {
            push[key] = part.clone();
        }
    }
    push
}

fn native_push(message: &Value, platform: Platform) -> Value {
    let block = match platform {
        Platform::Ios => {
            let aps = &message["apns"]["payload"]["aps"];
            let id = &message["apns"]["headers"]["apns-collapse-id"];
            let own =
                json!({"tag": id, "badge": aps["badge"], "sound": aps["sound"], "thread": aps["thread-id"]});
            overlaid(&own, &aps["alert"])
        }
        Platform::Web | Platform::Android => {
            let mut own = message["android"]["notification"].clone();
            if let Some(count) = own.get("notification_count").cloned() {
                own["badge"] = count;
            }
            own
        }
    };
    json!({"notification": overlaid(&message["notification"], &block), "data": message["data"]})
}

/// One object over another.
fn overlaid(common: &Value, own: &Value) -> Value {
    let mut all = common.as_object().cloned().unwrap_or_default();
    all.extend(own.as_object().cloned().unwrap_or_default());
    Value::Object(all)
}

/// What is shown for a push of the shape FCM gives to apps.
pub(crate) fn shown(push: &Value) -> Shown {
    let notification = &push["notification"];
    let text = |key: &str| notification[key].as_str().map(str::to_owned);
    Shown {
        title: text("title").unwrap_or_default(),
        body: text("body").unwrap_or_default(),
        tag: text("tag"),
        link: push["fcmOptions"]["link"].as_str().map(str::to_owned),
        data: push["data"].as_object().cloned().unwrap_or_default(),
        // A notification needs something to show; options alone are a data message.
        silent: text("title").is_none() && text("body").is_none(),
        badge: notification["badge"].as_u64(),
        sound: text("sound"),
        thread: text("thread"),
        ..Shown::default()
    }
}
