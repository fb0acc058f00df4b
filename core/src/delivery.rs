//! One notification on its way: the rendered message, and the batch of addresses of one channel it goes to.
//! This is all a channel ever sees, and all the queue keeps.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::device::Address;
use crate::echo::ReturnAddress;
use crate::notification::{CallId, Notification, Priority, When};
use crate::words::{AppId, ChannelName, DeliveryId, DeviceId, NotificationId, Secret, Timestamp, UserId};

/// What the device is to do with a message.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Show it, unless it is silent.
    #[default]
    Show,
    /// Ring.
    Ring {
        /// The call's id, as the IM server and the app know it.
        call: CallId,
        /// By the platform's own call screen, where the channel and the app can.
        voip: bool,
    },
    /// Take off the screen what is shown under [`Message::tag`]. Such a message is silent.
    Remove,
}

/// What is to be shown and handed over: rendered for one locale, cut to what one channel can carry.
/// Texts of users never print.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// The id every attempt carries to the vendor and to the device, so that a duplicate can be told.
    pub id: NotificationId,
    /// The app it belongs to.
    pub app: AppId,
    /// Shown first.
    pub title: Secret,
    /// Shown below.
    pub content: Secret,
    /// Handed to the app as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Secret>,
    /// HTTPS address of a picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Secret>,
    /// Where a click leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Secret>,
    /// A later message with the same key replaces this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collapse_key: Option<String>,
    /// Groups messages of one conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
    /// What kind of notification it is for the device's settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// How urgent it is.
    pub priority: Priority,
    /// The number on the app's icon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub badge: Option<u32>,
    /// Shows nothing: data for the app alone.
    pub silent: bool,
    /// What the device is to do with it.
    #[serde(default)]
    pub act: Act,
    /// Whether a user who has come online meanwhile still gets it.
    #[serde(default)]
    pub when: When,
    /// When the caller asked.
    pub created_at: Timestamp,
    /// How long it is worth sending, counted from `created_at`. Zero: now or never.
    pub ttl: Duration,
    /// Native options for this channel, merged last into what it sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overrides: Option<Value>,
    /// Where its devices tell what became of it; none when nobody wants to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_address: Option<ReturnAddress>,
}

impl Message {
    /// How long a message with a time to live of zero may take to its only attempt.
    pub const NOW_OR_NEVER: Duration = Duration::from_secs(10);

    /// One that says nothing yet: shown, urgent, for who is away, worth sending as long as a notification is by default.
    #[must_use]
    pub fn new(id: NotificationId, app: AppId, created_at: Timestamp) -> Self {
        Self {
            id,
            app,
            title: Secret::default(),
            content: Secret::default(),
            payload: None,
            image: None,
            link: None,
            collapse_key: None,
            thread: None,
            category: None,
            priority: Priority::default(),
            badge: None,
            silent: false,
            act: Act::default(),
            when: When::default(),
            created_at,
            ttl: Notification::DEFAULT_TTL,
            overrides: None,
            return_address: None,
        }
    }

    /// From when on it must not be sent any more.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.created_at + if self.ttl.is_zero() { Self::NOW_OR_NEVER } else { self.ttl }
    }

    /// The time to live that is left for the vendor, in whole seconds, rounded up; zero stays zero.
    #[must_use]
    pub fn seconds_left(&self, now: Timestamp) -> u64 {
        if self.ttl.is_zero() {
            return 0;
        }
        u64::try_from(self.expires_at().since(now).as_millis().div_ceil(1000)).unwrap_or(u64::MAX)
    }

    /// What goes to the app's SDK beside the payload, as JSON text in the keys that clients of ZPNs look for: the id that tells
    /// a duplicate, of a ring the call's id, and of a removal the tag of what is to go from the screen.
    #[must_use]
    pub fn note(&self) -> String {
        self.note_to(None)
    }

    /// The note for the target of that number, with where it tells what became of the message, if anybody wants to know.
    /// It is as long for every number.
    #[must_use]
    pub fn note_for(&self, index: u32) -> String {
        self.note_to(self.return_address.as_ref().map(|address| address.of(self.id, index)))
    }

    fn note_to(&self, receipt: Option<String>) -> String {
        let mut note = format!(r#"{{"version":1,"zpns_request_id":"{}""#, self.id);
        let more = match &self.act {
            Act::Show => None,
            Act::Ring { call, .. } => Some(("call_id", call.to_string())),
            Act::Remove => Some(("revoke", self.tag())),
        };
        for (key, text) in more.into_iter().chain(receipt.map(|receipt| ("receipt", receipt))) {
            note.push_str(&format!(r#","{key}":{}"#, Value::from(text)));
        }
        note.push('}');
        note
    }

    /// Under which name the device shows it: showing the same name again replaces, so a duplicate is seen once.
    #[must_use]
    pub fn tag(&self) -> String {
        self.collapse_key.clone().unwrap_or_else(|| self.id.to_string())
    }
}

/// One address a delivery goes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Its number within the notification: what receipts are kept under.
    pub index: u32,
    /// The device behind it; none for a bare address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceId>,
    /// The user it is for; none for a bare address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    /// Where to.
    pub address: Address,
    /// When that address was registered: older news of its death is not believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registered_at: Option<Timestamp>,
}

impl Target {
    /// An address that belongs to nobody we know.
    #[must_use]
    pub fn bare(index: u32, address: Address) -> Self {
        Self { index, device: None, user: None, address, registered_at: None }
    }
}

/// One notification on its way to a batch of addresses of one channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// Its name in the queue.
    pub id: DeliveryId,
    /// The channel that sends it.
    pub channel: ChannelName,
    /// What is sent.
    pub message: Arc<Message>,
    /// To whom; never empty, never more than the channel's `max_batch`.
    pub targets: Vec<Target>,
    /// Which try this is, from 1.
    pub attempt: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(ttl: Duration) -> Message {
        let (id, app) = (NotificationId::new(), AppId::new("demo").unwrap());
        let payload = Some("secret payload".into());
        Message { payload, ttl, ..Message::new(id, app, Timestamp::from_millis(1_000_000)) }
    }

    #[test]
    fn what_is_left_of_the_ttl_is_rounded_up_and_never_negative() {
        let message = message(Duration::from_secs(60));
        let at = |millis: i64| Timestamp::from_millis(1_000_000 + millis);
        assert_eq!(message.seconds_left(at(0)), 60);
        assert_eq!(message.seconds_left(at(100)), 60);
        assert_eq!(message.seconds_left(at(59_999)), 1);
        assert_eq!(message.seconds_left(at(99_000)), 0);
    }

    #[test]
    fn the_note_names_the_call_of_a_ring_and_the_tag_of_a_removal() {
        let plain = message(Duration::ZERO);
        let note = |act| {
            let message = Message { act, collapse_key: Some("a \"key\"".to_owned()), ..plain.clone() };
            serde_json::from_str::<Value>(&message.note()).unwrap()
        };
        let id = plain.id.to_string();
        assert_eq!(note(Act::Show), serde_json::json!({"version": 1, "zpns_request_id": id}));
        let ring = Act::Ring { call: CallId::new("c1").unwrap(), voip: false };
        assert_eq!(note(ring)["call_id"], "c1");
        assert_eq!(note(Act::Remove)["revoke"], "a \"key\"");
    }

    #[test]
    fn debug_shows_no_text_of_a_user() {
        assert!(!format!("{:?}", message(Duration::ZERO)).contains("secret payload"));
    }
}
