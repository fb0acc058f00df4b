//! What a caller asks for: an audience, a text, options. Valid by construction where a type can say so; `submit` checks the rest.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::device::Address;
use crate::digest::RequestDigest;
use crate::words::{
    AppId, ChannelName, DeviceId, IdempotencyKey, InvalidName, Secret, TemplateName, Timestamp, UserId,
};

/// Whom a notification is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Audience {
    /// Every device of these users.
    Users(Vec<UserId>),
    /// These devices.
    Devices(Vec<DeviceId>),
    /// These addresses, registered or not: for trying a credential, and for servers that keep tokens themselves.
    Addresses(Vec<Address>),
    /// Every device of the app that somebody is logged in on.
    All,
}

impl Audience {
    /// The most users, devices or addresses that are planned at once; a larger audience is planned piece by piece.
    pub const MAX: usize = 1000;
    /// The most one notification names.
    pub const MOST: usize = 100_000;

    /// How many it names; all are more than any number.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Users(users) => users.len(),
            Self::Devices(devices) => devices.len(),
            Self::Addresses(addresses) => addresses.len(),
            Self::All => usize::MAX,
        }
    }

    /// Whether it names nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same, in pieces of at most [`Audience::MAX`].
    #[must_use]
    pub fn pieces(&self) -> Vec<Self> {
        match self {
            Self::Users(users) => users.chunks(Self::MAX).map(|some| Self::Users(some.to_vec())).collect(),
            Self::Devices(ids) => ids.chunks(Self::MAX).map(|some| Self::Devices(some.to_vec())).collect(),
            Self::Addresses(all) => {
                all.chunks(Self::MAX).map(|some| Self::Addresses(some.to_vec())).collect()
            }
            Self::All => vec![Self::All],
        }
    }
}

/// How urgent it is, for the vendor and for the device's battery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Wakes the device: somebody wrote or calls.
    #[default]
    High,
    /// At the device's convenience.
    Normal,
    /// When it costs nothing.
    Low,
}

/// For whom presence matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// Users who are online get it on their connection, and no push.
    #[default]
    Offline,
    /// Push whether online or not.
    Always,
}

/// What a notification is about.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Somebody wrote.
    #[default]
    Message,
    /// Somebody wrote to a group.
    Group,
    /// Somebody calls: it rings, and never after the call's time.
    Call(Call),
    /// The call of that id is over: accepted or rejected elsewhere, cancelled, ended. Its ring is taken back; a title or
    /// content, where there is one, takes the ring's place on the screen.
    CallOver(CallId),
    /// What was shown under the same collapse key was read elsewhere or taken back: it goes from the screen.
    Removal,
}

/// What an IM server calls a call. 1–128 bytes without control characters.
pub type CallId = IdempotencyKey;

/// A call invitation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    id: CallId,
    timeout: Duration,
}

impl Call {
    /// How long a call rings, unless said otherwise.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(90);

    /// A call that rings for `timeout`: 1 to 600 seconds.
    ///
    /// # Errors
    /// [`InvalidName`] when it rings for less or more.
    pub fn new(id: CallId, timeout: Duration) -> Result<Self, InvalidName> {
        if !(Duration::from_secs(1)..=Duration::from_secs(600)).contains(&timeout) {
            return Err(InvalidName { what: "call timeout", why: "1 to 600 seconds" });
        }
        Ok(Self { id, timeout })
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> &CallId {
        &self.id
    }

    /// How long it rings.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }
}

/// The number on the app's icon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Badge {
    /// This number; the user's counter is left alone.
    Set(u32),
    /// The user's counter, raised by this: at most [`Badge::MOST_RAISE`].
    Increment(u32),
}

impl Badge {
    /// More than this is taken as this.
    pub const MOST_RAISE: u32 = 99;
}

/// A template and what to fill it with.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct TemplateUse {
    /// Which template of the app.
    pub name: TemplateName,
    /// Its variables: a text of a user may be among them, so they never print.
    pub vars: serde_json::Map<String, Value>,
}

impl std::fmt::Debug for TemplateUse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TemplateUse").field("name", &self.name).field("vars", &self.vars.len()).finish()
    }
}

/// What a caller asks for.
///
/// ```
/// use pushgate::Notification;
/// # fn main() -> Result<(), pushgate::InvalidName> {
/// let hello = Notification::to_user("demo", "bob")?.title("Ann").content("hello").payload(r#"{"conversation":"ann"}"#);
/// # assert_eq!(hello.to.len(), 1); Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notification {
    /// The app it belongs to.
    pub app: AppId,
    /// Whom it is for.
    pub to: Audience,
    /// What it is about.
    #[serde(default)]
    pub purpose: Purpose,
    /// Whose it is: his own devices get nothing.
    #[serde(default)]
    pub sender: Option<UserId>,
    /// Devices that get nothing: where it was written, or read.
    #[serde(default)]
    pub except_devices: Vec<DeviceId>,
    /// The conversation it belongs to; who has muted it gets nothing, unless he is mentioned.
    #[serde(default)]
    pub conversation: Option<String>,
    /// Who is named in it: a muted conversation does not hold it back from them.
    #[serde(default)]
    pub mentions: Vec<UserId>,
    /// The profile of the app whose options it is sent with.
    #[serde(default)]
    pub profile: Option<String>,
    /// What is shown first. Overrides the template's.
    #[serde(default)]
    pub title: Option<Secret>,
    /// What is shown below. Overrides the template's. Cut, at a grapheme, to what the channel can carry.
    #[serde(default)]
    pub content: Option<Secret>,
    /// Handed to the app as it is, never cut. Overrides the template's.
    #[serde(default)]
    pub payload: Option<Secret>,
    /// Title, content and payload from a template.
    #[serde(default)]
    pub template: Option<TemplateUse>,
    /// HTTPS address of a picture.
    #[serde(default)]
    pub image: Option<Secret>,
    /// Where a click leads (HTTPS on the web).
    #[serde(default)]
    pub link: Option<Secret>,
    /// A later notification with the same key replaces this one, in the vendor's queue and on the screen.
    #[serde(default)]
    pub collapse_key: Option<String>,
    /// How long it is worth sending, over what the profile says. Zero: now or never. At most [`Notification::MAX_TTL`];
    /// a call's is never longer than it rings.
    #[serde(default)]
    pub ttl: Option<Duration>,
    /// How urgent it is, over what the profile says.
    #[serde(default)]
    pub priority: Option<Priority>,
    /// The number on the app's icon.
    #[serde(default)]
    pub badge: Option<Badge>,
    /// Shows nothing: data for the app alone.
    #[serde(default)]
    pub silent: bool,
    /// Whether online users get it.
    #[serde(default)]
    pub when: When,
    /// How long devices that are online have to acknowledge it; if they have not, they are pushed to all the same.
    #[serde(default)]
    pub ack_within: Option<Duration>,
    /// When it is to be sent: its audience, and who of it is online, is looked up then. At most [`Notification::MAX_TTL`] ahead
    /// and at most as long ago; what is past is sent at once.
    #[serde(default)]
    pub send_at: Option<Timestamp>,
    /// Groups notifications of one conversation.
    #[serde(default)]
    pub thread: Option<String>,
    /// What kind of notification it is for the device's settings, over what the profile says.
    #[serde(default)]
    pub category: Option<String>,
    /// Native options for a channel, merged last into what that channel sends.
    #[serde(default)]
    pub overrides: BTreeMap<ChannelName, Value>,
    /// Asking twice with one key notifies once.
    #[serde(default)]
    pub idempotency_key: Option<IdempotencyKey>,
    /// Digest of the request as the caller sent it, by which the reuse of an idempotency key for another request is detected.
    /// `None` means that [`Notification::digest`] is used.
    #[serde(skip)]
    pub request_digest: Option<RequestDigest>,
}

impl Notification {
    /// Four weeks, the longest a large vendor keeps a message.
    pub const MAX_TTL: Duration = Duration::from_secs(28 * 24 * 3600);
    /// Seven days: as long as IM servers replay missed messages.
    pub const DEFAULT_TTL: Duration = Duration::from_secs(7 * 24 * 3600);
    /// The longest collapse key, thread or category, in bytes.
    pub const MAX_KEY: usize = 128;

    /// For an audience, with nothing to show yet.
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

    /// For every device of one user.
    ///
    /// # Errors
    /// [`crate::InvalidName`] when one of the ids is not valid.
    pub fn to_user(app: &str, user: &str) -> Result<Self, crate::InvalidName> {
        Ok(Self::new(AppId::new(app)?, Audience::Users(vec![UserId::new(user)?])))
    }

    /// Under which key it replaces what was shown before; none when it has no key, and is shown under its own id.
    #[must_use]
    pub fn tag(&self) -> Option<String> {
        match &self.purpose {
            // What comes of a call takes the place of its ring.
            Purpose::Call(call) => Some(call.id().to_string()),
            Purpose::CallOver(call) => Some(call.to_string()),
            Purpose::Message | Purpose::Group | Purpose::Removal => self.collapse_key.clone(),
        }
    }

    /// Returns [`Notification::request_digest`], or the digest of this notification in its canonical form.
    ///
    /// The canonical form is that of [`RequestDigest::from_json`] over the serialised notification, in which members are left
    /// out that are `null`, `false`, or an empty list or table. A field that a later release adds has such a value unless the
    /// caller sets it, so it changes no digest.
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

    /// The same, for nobody.
    pub(crate) fn without_audience(&self) -> Self {
        Self { to: Audience::Users(Vec::new()), ..self.clone() }
    }

    /// With a title.
    #[must_use]
    pub fn title(mut self, title: impl Into<Secret>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// With a text below the title.
    #[must_use]
    pub fn content(mut self, content: impl Into<Secret>) -> Self {
        self.content = Some(content.into());
        self
    }

    /// With a payload for the app, handed over as it is.
    #[must_use]
    pub fn payload(mut self, payload: impl Into<Secret>) -> Self {
        self.payload = Some(payload.into());
        self
    }

    /// With a time to live.
    #[must_use]
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// About this.
    #[must_use]
    pub fn purpose(mut self, purpose: Purpose) -> Self {
        self.purpose = purpose;
        self
    }

    /// From this user, whose own devices get nothing.
    #[must_use]
    pub fn sender(mut self, sender: UserId) -> Self {
        self.sender = Some(sender);
        self
    }

    /// With a key under which asking twice notifies once.
    #[must_use]
    pub fn idempotency_key(mut self, key: IdempotencyKey) -> Self {
        self.idempotency_key = Some(key);
        self
    }
}

/// Returns `true` for the value of a member that says the same as leaving the member out.
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
