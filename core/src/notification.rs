//! Notification as a caller submits it: audience, text and options. Types rule out invalid values where they can, and
//! `submit` checks the rest.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::device::Address;
use crate::digest::RequestDigest;
use crate::ids::{AppId, ChannelName, DeviceId, IdempotencyKey, InvalidName, TemplateName, UserId};
use crate::secret::Secret;
use crate::timestamp::Timestamp;

/// Audience of a notification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Audience {
    /// Every device of these users.
    Users(Vec<UserId>),
    /// These devices.
    Devices(Vec<DeviceId>),
    /// These addresses, registered or not. For tests of credentials, and for servers that keep tokens themselves.
    Addresses(Vec<Address>),
    /// Every device of the app with a logged-in user.
    All,
}

impl Audience {
    /// Maximum number of users, devices or addresses that are planned in one step. A larger audience is planned in batches.
    pub const BATCH_SIZE: usize = 1000;
    /// Maximum number of users, devices or addresses of one notification.
    pub const MAX_RECIPIENTS: usize = 100_000;

    /// Returns the number of users, devices or addresses. [`Audience::All`] returns `usize::MAX`.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Users(users) => users.len(),
            Self::Devices(devices) => devices.len(),
            Self::Addresses(addresses) => addresses.len(),
            Self::All => usize::MAX,
        }
    }

    /// Returns `true` if the audience is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Splits the audience into batches of at most [`Audience::BATCH_SIZE`]. [`Audience::All`] stays whole.
    #[must_use]
    pub fn batches(&self) -> Vec<Self> {
        match self {
            Self::Users(users) => {
                users.chunks(Self::BATCH_SIZE).map(|batch| Self::Users(batch.to_vec())).collect()
            }
            Self::Devices(ids) => {
                ids.chunks(Self::BATCH_SIZE).map(|batch| Self::Devices(batch.to_vec())).collect()
            }
            Self::Addresses(addresses) => {
                addresses.chunks(Self::BATCH_SIZE).map(|batch| Self::Addresses(batch.to_vec())).collect()
            }
            Self::All => vec![Self::All],
        }
    }
}

/// Urgency of a notification for the push service and the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Wakes the device. For messages and calls.
    #[default]
    High,
    /// Delivered when the device is awake.
    Normal,
    /// Delivered when it costs no extra energy.
    Low,
}

/// Presence condition of a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// Only offline users get a push. Online users get the notification on their connection.
    #[default]
    Offline,
    /// Online and offline users get a push.
    Always,
}

/// Purpose of a notification.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Message in a conversation of two users.
    #[default]
    Message,
    /// Message in a group.
    Group,
    /// Call. It rings, and never after the call's timeout.
    Call(Call),
    /// End of the call with this id: accepted or rejected on another device, cancelled or ended. The ring is withdrawn. If
    /// there is a title or content, it replaces the ring on the screen.
    CallOver(CallId),
    /// Removal from the screen of what was shown under the same collapse key, because it was read on another device or
    /// revoked.
    Removal,
}

/// Id of a call in the IM server. 1–128 bytes without control characters.
pub type CallId = IdempotencyKey;

/// Invitation to a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    id: CallId,
    timeout: Duration,
}

impl Call {
    /// Default ringing time.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(90);

    /// Creates a call that rings for `timeout`: 1 to 600 seconds.
    ///
    /// # Errors
    /// Returns [`InvalidName`] if the timeout is shorter or longer.
    pub fn new(id: CallId, timeout: Duration) -> Result<Self, InvalidName> {
        if !(Duration::from_secs(1)..=Duration::from_secs(600)).contains(&timeout) {
            return Err(InvalidName { what: "call timeout", why: "1 to 600 seconds" });
        }
        Ok(Self { id, timeout })
    }

    /// Returns the id of the call.
    #[must_use]
    pub const fn id(&self) -> &CallId {
        &self.id
    }

    /// Returns the ringing time.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }
}

/// Number on the app's icon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Badge {
    /// Shows this number and leaves the user's counter unchanged.
    Set(u32),
    /// Adds this to the user's counter, at most [`Badge::MAX_INCREMENT`], and shows the result.
    Increment(u32),
}

impl Badge {
    /// Maximum increment. A larger one counts as this.
    pub const MAX_INCREMENT: u32 = 99;
}

/// Template with its variables.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct TemplateUse {
    /// Name of a template of the app.
    pub name: TemplateName,
    /// Variables of the template. They may hold texts of users, so `Debug` does not show them.
    pub vars: serde_json::Map<String, Value>,
}

impl std::fmt::Debug for TemplateUse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TemplateUse").field("name", &self.name).field("vars", &self.vars.len()).finish()
    }
}

/// Notification that a caller submits.
///
/// ```
/// use pushgate::Notification;
/// # fn main() -> Result<(), pushgate::InvalidName> {
/// let hello = Notification::to_user("demo", "bob")?.title("Ann").content("hello").payload(r#"{"conversation":"ann"}"#);
/// # assert_eq!(hello.to.len(), 1); Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notification {
    /// App of the notification.
    pub app: AppId,
    /// Audience.
    pub to: Audience,
    /// Purpose.
    #[serde(default)]
    pub purpose: Purpose,
    /// Sender, whose own devices get no push.
    #[serde(default)]
    pub sender: Option<UserId>,
    /// Devices that get no push, such as the one where the message was written or read.
    #[serde(default)]
    pub except_devices: Vec<DeviceId>,
    /// Conversation. Users who have muted it get no push unless they are mentioned.
    #[serde(default)]
    pub conversation: Option<String>,
    /// Mentioned users, who get a push even if they have muted the conversation.
    #[serde(default)]
    pub mentions: Vec<UserId>,
    /// Profile of the app whose options apply.
    #[serde(default)]
    pub profile: Option<String>,
    /// First text on the screen. Overrides the template's.
    #[serde(default)]
    pub title: Option<Secret>,
    /// Text below the title. Overrides the template's. Cut, between graphemes, to the size limit of the channel.
    #[serde(default)]
    pub content: Option<Secret>,
    /// Data that the app receives unchanged. Never cut. Overrides the template's.
    #[serde(default)]
    pub payload: Option<Secret>,
    /// Template that gives title, content and payload.
    #[serde(default)]
    pub template: Option<TemplateUse>,
    /// HTTPS address of a picture.
    #[serde(default)]
    pub image: Option<Secret>,
    /// URL that a click opens (HTTPS on the web).
    #[serde(default)]
    pub link: Option<Secret>,
    /// Key by which a later notification replaces this one, in the push service's queue and on the screen.
    #[serde(default)]
    pub collapse_key: Option<String>,
    /// Time to live. Overrides the profile's. Zero means one immediate attempt. At most [`Notification::MAX_TTL`]. That of a
    /// call is at most its ringing time.
    #[serde(default)]
    pub ttl: Option<Duration>,
    /// Urgency. Overrides the profile's.
    #[serde(default)]
    pub priority: Option<Priority>,
    /// Number on the app's icon.
    #[serde(default)]
    pub badge: Option<Badge>,
    /// `true` if the device shows nothing and only the app receives the data.
    #[serde(default)]
    pub silent: bool,
    /// Presence condition: whether online users get a push.
    #[serde(default)]
    pub when: When,
    /// Time in which users who are online have to acknowledge the notification. After it, those who have not get a push.
    #[serde(default)]
    pub ack_within: Option<Duration>,
    /// Time at which it is sent. Audience and presence are looked up then. At most [`Notification::MAX_TTL`] in the future or
    /// in the past. A past time means at once.
    #[serde(default)]
    pub send_at: Option<Timestamp>,
    /// Key that groups the notifications of one conversation.
    #[serde(default)]
    pub thread: Option<String>,
    /// Category of the notification in the device's settings. Overrides the profile's.
    #[serde(default)]
    pub category: Option<String>,
    /// Native options by channel, merged last into the request of that channel.
    #[serde(default)]
    pub overrides: BTreeMap<ChannelName, Value>,
    /// Idempotency key. Two submissions with the same key send one notification.
    #[serde(default)]
    pub idempotency_key: Option<IdempotencyKey>,
    /// Digest of the request as the caller sent it. Detects the reuse of an idempotency key for another request.
    /// `None` means that [`Notification::digest`] computes it.
    #[serde(skip)]
    pub request_digest: Option<RequestDigest>,
}

impl Notification {
    /// Maximum time to live: four weeks, the longest time for which a large push service keeps a message.
    pub const MAX_TTL: Duration = Duration::from_secs(28 * 24 * 3600);
    /// Default time to live: seven days, for which IM servers commonly replay missed messages.
    pub const DEFAULT_TTL: Duration = Duration::from_secs(7 * 24 * 3600);
    /// Maximum length of a collapse key, thread or category, in bytes.
    pub const MAX_KEY: usize = 128;

    /// Creates a notification without a text.
    #[must_use]
    pub const fn new(app: AppId, to: Audience) -> Self {
        Self {
            app,
            to,
            purpose: Purpose::Message,
            sender: None,
            except_devices: Vec::new(),
            conversation: None,
            mentions: Vec::new(),
            profile: None,
            title: None,
            content: None,
            payload: None,
            template: None,
            image: None,
            link: None,
            collapse_key: None,
            ttl: None,
            priority: None,
            badge: None,
            silent: false,
            when: When::Offline,
            ack_within: None,
            send_at: None,
            thread: None,
            category: None,
            overrides: BTreeMap::new(),
            idempotency_key: None,
            request_digest: None,
        }
    }

    /// Creates a notification for every device of one user.
    ///
    /// # Errors
    /// Returns [`crate::InvalidName`] if one of the ids is invalid.
    pub fn to_user(app: &str, user: &str) -> Result<Self, crate::InvalidName> {
        Ok(Self::new(AppId::new(app)?, Audience::Users(vec![UserId::new(user)?])))
    }

    /// Returns the key by which the notification replaces an earlier one on the screen. `None` means that it has no key and is
    /// shown under its own id.
    #[must_use]
    pub fn tag(&self) -> Option<String> {
        match &self.purpose {
            // The end of a call replaces its ring.
            Purpose::Call(call) => Some(call.id().to_string()),
            Purpose::CallOver(call) => Some(call.to_string()),
            Purpose::Message | Purpose::Group | Purpose::Removal => self.collapse_key.clone(),
        }
    }

    /// Returns [`Notification::request_digest`], or the digest of this notification in its canonical form.
    ///
    /// The canonical form is that of [`RequestDigest::from_json`] over the serialised notification. It leaves out members that
    /// are `null`, `false`, or an empty list or table. A field that a later release adds has such a value unless the caller
    /// sets it, so it changes no digest.
    #[must_use]
    pub fn digest(&self) -> RequestDigest {
        self.request_digest.unwrap_or_else(|| {
            let mut document = serde_json::to_value(self).unwrap_or_default();
            if let Value::Object(members) = &mut document {
                members.retain(|_, member| !is_default(member));
            }
            RequestDigest::from_json(&document)
        })
    }

    /// Returns a copy with an empty audience.
    pub(crate) fn without_audience(&self) -> Self {
        Self { to: Audience::Users(Vec::new()), ..self.clone() }
    }

    /// Sets the title.
    #[must_use]
    pub fn title(mut self, title: impl Into<Secret>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// Sets the text below the title.
    #[must_use]
    pub fn content(mut self, content: impl Into<Secret>) -> Self {
        self.content = Some(content.into());
        self
    }

    /// Sets the data that the app receives unchanged.
    #[must_use]
    pub fn payload(mut self, payload: impl Into<Secret>) -> Self {
        self.payload = Some(payload.into());
        self
    }

    /// Sets the time to live.
    #[must_use]
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Sets the purpose.
    #[must_use]
    pub fn purpose(mut self, purpose: Purpose) -> Self {
        self.purpose = purpose;
        self
    }

    /// Sets the sender, whose own devices get no push.
    #[must_use]
    pub fn sender(mut self, sender: UserId) -> Self {
        self.sender = Some(sender);
        self
    }

    /// Sets the idempotency key.
    #[must_use]
    pub fn idempotency_key(mut self, key: IdempotencyKey) -> Self {
        self.idempotency_key = Some(key);
        self
    }
}

/// Returns `true` if leaving the member out has the same meaning as this value.
fn is_default(member: &Value) -> bool {
    match member {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(true) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(notification: &Notification) -> String {
        notification.digest().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_digest_of_a_notification_stays_the_same_in_every_release() {
        let plain = Notification::to_user("demo", "bob").unwrap().title("Ann").content("hello");
        let call = Call::new(CallId::new("c").unwrap(), Duration::from_secs(30)).unwrap();
        let rich = Notification {
            silent: true,
            badge: Some(Badge::Increment(1)),
            mentions: vec![UserId::new("bob").unwrap()],
            send_at: Some(Timestamp::from_millis(1_700_000_000_123)),
            idempotency_key: Some(IdempotencyKey::new("k").unwrap()),
            ..plain.clone().purpose(Purpose::Call(call)).ttl(Duration::from_millis(1500))
        };
        // Frozen: stores keep these bytes. A new field must not change them.
        assert_eq!(hex(&plain), "8de0a4b8e05a7e84412116b99a2910cd5d8e70273dc31f1a54b8ea18532f9365");
        assert_eq!(hex(&rich), "8b963fea7501cf53b41c4c2ccde3ff50d2ed132954509c0de45df380c582b465");
    }

    #[test]
    fn the_digest_of_the_request_as_it_was_sent_is_used_where_it_is_known() {
        let sent = RequestDigest::from_json(&Value::from("as sent"));
        let plain = Notification::to_user("demo", "bob").unwrap();
        let known = Notification { request_digest: Some(sent), ..plain.clone() };
        assert_eq!(known.digest(), sent);
        assert_ne!(plain.digest(), sent);
        assert_ne!(plain.digest(), plain.clone().title("t").digest());
    }
}
