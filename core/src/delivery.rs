//! Delivery of one notification: the rendered message and a batch of recipients on one channel.
//! A channel sees nothing else, and the queue keeps nothing else to send it.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::device::Address;
use crate::device_event::EventEndpoint;
use crate::ids::{AppId, ChannelName, DeliveryId, DeviceId, NotificationId, UserId};
use crate::notification::{CallId, Notification, Priority, When};
use crate::secret::Secret;
use crate::timestamp::Timestamp;

/// Action of the device on a message.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Shows the message, unless it is silent.
    #[default]
    Show,
    /// Rings for a call.
    Ring {
        /// Id of the call that the IM server and the app use.
        call: CallId,
        /// `true` to use the platform's own call screen, where the channel and the app support it.
        voip: bool,
    },
    /// Removes from the screen what is shown under [`Message::tag`]. Such a message is silent.
    Remove,
}

/// Message rendered for one locale and cut to the size limit of one channel. `Debug` shows no text of a user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Id of the notification. Every attempt carries it, so that push service and device can recognise a duplicate.
    pub id: NotificationId,
    /// App of the notification.
    pub app: AppId,
    /// First text on the screen.
    pub title: Secret,
    /// Text below the title.
    pub content: Secret,
    /// Data that the app receives unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Secret>,
    /// HTTPS address of a picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Secret>,
    /// URL that a click opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Secret>,
    /// Key by which a later message replaces this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collapse_key: Option<String>,
    /// Key that groups the messages of one conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
    /// Category of the notification in the device's settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// Urgency for the push service and the device.
    pub priority: Priority,
    /// Number on the app's icon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub badge: Option<u32>,
    /// `true` if the device shows nothing and only the app receives the data.
    pub silent: bool,
    /// Action of the device.
    #[serde(default)]
    pub act: Act,
    /// Presence condition. It decides whether a user who has come online since still gets the message.
    #[serde(default)]
    pub when: When,
    /// Creation time of the notification.
    pub created_at: Timestamp,
    /// Time to live, counted from `created_at`. Zero means one attempt within [`Message::MAX_AGE_WITHOUT_TTL`].
    pub ttl: Duration,
    /// Native options for this channel, merged last into its request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overrides: Option<Value>,
    /// Endpoint and key for device events. `None` means that the gateway collects no device events.
    #[serde(default, rename = "return_address", skip_serializing_if = "Option::is_none")]
    pub event_endpoint: Option<EventEndpoint>,
}

impl Message {
    /// Maximum age at the only attempt of a message whose time to live is zero.
    pub const MAX_AGE_WITHOUT_TTL: Duration = Duration::from_secs(10);

    /// Creates an empty message with defaults: shown, high priority, for offline users only, with the default time to live.
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
            event_endpoint: None,
        }
    }

    /// Returns the expiry. From that time on the message must not be sent.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.created_at + if self.ttl.is_zero() { Self::MAX_AGE_WITHOUT_TTL } else { self.ttl }
    }

    /// Returns the remaining time to live in whole seconds, rounded up. Zero if the time to live is zero or has ended.
    #[must_use]
    pub fn seconds_left(&self, now: Timestamp) -> u64 {
        if self.ttl.is_zero() {
            return 0;
        }
        u64::try_from(self.expires_at().since(now).as_millis().div_ceil(1000)).unwrap_or(u64::MAX)
    }

    /// Returns the data for the app's SDK beside the payload, as JSON text with the keys that clients of ZPNs read.
    ///
    /// It holds the id, by which the SDK recognises a duplicate. A ring has the call's id too, and a removal has the tag of
    /// the notification to remove.
    #[must_use]
    pub fn note(&self) -> String {
        self.note_with(None)
    }

    /// Returns [`Message::note`] for the target with this index. If the gateway collects device events, it also holds the
    /// endpoint and the target's event token. The length is the same for every index.
    #[must_use]
    pub fn note_for(&self, index: u32) -> String {
        self.note_with(self.event_endpoint.as_ref().map(|endpoint| endpoint.url_for(self.id, index)))
    }

    fn note_with(&self, event_url: Option<String>) -> String {
        let mut note = format!(r#"{{"version":1,"zpns_request_id":"{}""#, self.id);
        let action = match &self.act {
            Act::Show => None,
            Act::Ring { call, .. } => Some(("call_id", call.to_string())),
            Act::Remove => Some(("revoke", self.tag())),
        };
        for (key, text) in action.into_iter().chain(event_url.map(|url| ("receipt", url))) {
            note.push_str(&format!(r#","{key}":{}"#, Value::from(text)));
        }
        note.push('}');
        note
    }

    /// Returns the name under which the device shows the message: the collapse key, or else the id. A message with the same
    /// name replaces it, so a duplicate is visible once.
    #[must_use]
    pub fn tag(&self) -> String {
        self.collapse_key.clone().unwrap_or_else(|| self.id.to_string())
    }
}

/// Recipient of a delivery: one address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Number of the recipient within the notification. Its status is kept under this number.
    pub index: u32,
    /// Device with this address. `None` for an address that the caller named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceId>,
    /// User of the device. `None` for an address that the caller named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    /// Address to send to.
    pub address: Address,
    /// Registration time of the address. Proof of its death from before that time is ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registered_at: Option<Timestamp>,
}

impl Target {
    /// Creates a target from an address without a known device.
    #[must_use]
    pub fn bare(index: u32, address: Address) -> Self {
        Self { index, device: None, user: None, address, registered_at: None }
    }
}

/// Batch of recipients of one notification on one channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// Id in the queue.
    pub id: DeliveryId,
    /// Channel that sends it.
    pub channel: ChannelName,
    /// Message to send.
    pub message: Arc<Message>,
    /// Recipients. Never empty, and at most the channel's `max_batch`.
    pub targets: Vec<Target>,
    /// Number of the current attempt, from 1.
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
    fn the_remaining_ttl_is_rounded_up_and_never_negative() {
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
