//! Virtual devices: what a push shows on them. A web device decrypts before it shows, as a browser does.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::push_crypto::Keys;

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

/// A notification as the device shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shown {
    /// The title.
    pub title: String,
    /// The text below.
    pub body: String,
    /// Showing the same tag again takes this one's place.
    pub tag: Option<String>,
    /// Where a click leads.
    pub link: Option<String>,
    /// What the app gets.
    pub data: Map<String, Value>,
    /// Nothing is shown: data for the app alone.
    pub silent: bool,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// How often it took the place of one shown before under its tag.
    pub times_replaced: u32,
}

pub(crate) struct Installed {
    pub(crate) device: Device,
    pub(crate) registered: bool,
    keys: Option<Keys>,
    pub(crate) inbox: Vec<Shown>,
}

impl Installed {
    pub(crate) fn new(device: Device) -> Option<Self> {
        let keys = if device.platform == Platform::Web { Some(Keys::generate()?) } else { None };
        Some(Self { device, registered: true, keys, inbox: Vec::new() })
    }

    /// Takes a push. Whether it replaced a shown one; none when it could not be read.
    pub(crate) fn arrive(&mut self, message: &Value) -> Option<bool> {
        let push = match &self.keys {
            Some(keys) => {
                let body = keys.recipient().encrypt(browser_push(message).to_string().as_bytes())?;
                serde_json::from_slice(&keys.decrypt(&body).ok()?).ok()?
            }
            None => native_push(message, self.device.platform),
        };
        Some(show(&mut self.inbox, shown(&push)))
    }
}

/// Puts a notification on top, in place of one with the same tag. Whether there was one.
pub(crate) fn show(inbox: &mut Vec<Shown>, mut shown: Shown) -> bool {
    let place = inbox.iter().position(|old| old.tag.is_some() && old.tag == shown.tag && !shown.silent);
    if let Some(place) = place {
        shown.times_replaced = inbox.remove(place).times_replaced + 1;
    }
    inbox.insert(0, shown);
    place.is_some()
}

/// The JSON a browser gets from FCM: the common notification overlaid by the one for the web, data likewise.
fn browser_push(message: &Value) -> Value {
    let web = &message["webpush"];
    let data = if web["data"].is_object() { &web["data"] } else { &message["data"] };
    let notification = overlaid(&message["notification"], &web["notification"]);
    serde_json::json!({"from": "123456789012", "fcmMessageId": uuid::Uuid::now_v7().to_string(), "priority": "normal",
        "notification": notification, "data": data, "fcmOptions": web["fcm_options"]})
}

fn native_push(message: &Value, platform: Platform) -> Value {
    let block = match platform {
        Platform::Ios => {
            let id = message["apns"]["headers"]["apns-collapse-id"].clone();
            serde_json::json!({"tag": id})
        }
        Platform::Web | Platform::Android => message["android"]["notification"].clone(),
    };
    serde_json::json!({"notification": overlaid(&message["notification"], &block), "data": message["data"]})
}

fn overlaid(common: &Value, own: &Value) -> Value {
    if !common.is_object() && !own.is_object() {
        return Value::Null;
    }
    let mut all = common.as_object().cloned().unwrap_or_default();
    all.extend(own.as_object().cloned().unwrap_or_default());
    // A notification needs something to show; options alone are a data message.
    if all.contains_key("title") || all.contains_key("body") { Value::Object(all) } else { Value::Null }
}

/// What is shown for a push of the shape FCM gives to browsers.
pub(crate) fn shown(push: &Value) -> Shown {
    let notification = &push["notification"];
    let text = |key: &str| notification[key].as_str().map(str::to_owned);
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Shown {
        title: text("title").unwrap_or_default(),
        body: text("body").unwrap_or_default(),
        tag: text("tag"),
        link: push["fcmOptions"]["link"].as_str().map(str::to_owned),
        data: push["data"].as_object().cloned().unwrap_or_default(),
        silent: notification.is_null(),
        at_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        times_replaced: 0,
    }
}
