//! One notification on its way: the rendered message, and the batch of addresses of one channel it goes to.
//! This is all a channel ever sees, and all the queue keeps.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::device::Address;
use crate::notification::Priority;
use crate::words::{AppId, ChannelName, DeliveryId, DeviceId, NotificationId, Secret, Timestamp, UserId};

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
    /// When the caller asked.
    pub created_at: Timestamp,
    /// How long it is worth sending, counted from `created_at`. Zero: now or never.
    pub ttl: Duration,
    /// Native options for this channel, merged last into what it sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overrides: Option<Value>,
}

impl Message {
    /// How long a message with a time to live of zero may take to its only attempt.
    pub const NOW_OR_NEVER: Duration = Duration::from_secs(10);

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
        Message {
            id: NotificationId::new(),
            app: AppId::new("demo").unwrap(),
            title: "t".into(),
            content: "c".into(),
            payload: Some("secret payload".into()),
            image: None,
            link: None,
            collapse_key: None,
            thread: None,
            category: None,
            priority: Priority::High,
            badge: None,
            silent: false,
            created_at: Timestamp::from_millis(1_000_000),
            ttl,
            overrides: None,
        }
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
    fn debug_shows_no_text_of_a_user() {
        assert!(!format!("{:?}", message(Duration::ZERO)).contains("secret payload"));
    }
}
