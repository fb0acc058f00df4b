//! Delivery status of a notification, as a whole and for each recipient.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::delivery::{Delivery, Target};
use crate::device_event::{DeviceEvent, DeviceEvents};
use crate::fault::{Fault, Kind};
use crate::ids::{ChannelName, DeviceId, NotificationId, UserId};
use crate::timestamp::Timestamp;

/// State of a notification for one recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Stored, and waiting for its first attempt or a retry.
    Queued,
    /// Accepted by the push service.
    Sent,
    /// Failed for good. The fault has the reason.
    Failed,
    /// The time to live ended before the push service accepted it.
    Expired,
    /// Withdrawn, or no longer needed, before it was sent.
    Revoked,
}

impl State {
    /// Returns the name used in the API, in stores and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }

    /// Returns `true` if the gateway makes no further attempt.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Queued)
    }
}

/// Delivery status of one recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Index of the recipient within the notification.
    pub index: u32,
    /// Device of the recipient. `None` for an address that the caller named.
    pub device: Option<DeviceId>,
    /// User of the recipient. `None` for an address that the caller named.
    pub user: Option<UserId>,
    /// Channel of the delivery.
    pub channel: ChannelName,
    /// Current state.
    pub state: State,
    /// Message id of the push service. `None` if it gave none.
    pub vendor_id: Option<String>,
    /// Last fault. On a queued recipient, the reason for the retry.
    pub fault: Option<Fault>,
    /// Number of attempts so far.
    pub attempts: u32,
    /// Time of the change to this state.
    pub at: Timestamp,
    /// Time of the next attempt. `None` if there is none.
    pub next_at: Option<Timestamp>,
    /// Device events with their times. Stores keep them separately, because the rest is rewritten after every attempt.
    #[serde(skip)]
    pub events: DeviceEvents,
}

impl Receipt {
    /// Creates the status of a recipient that was withdrawn before its next attempt.
    #[must_use]
    pub fn withdrawn(delivery: &Delivery, target: &Target, at: Timestamp) -> Self {
        Self {
            index: target.index,
            device: target.device.clone(),
            user: target.user.clone(),
            channel: delivery.channel.clone(),
            state: State::Revoked,
            vendor_id: None,
            fault: None,
            attempts: delivery.attempt.saturating_sub(1),
            at,
            next_at: None,
            events: DeviceEvents::default(),
        }
    }

    /// Creates the status of a recipient whose stored delivery or status could not be decoded. Device and user are unknown.
    #[must_use]
    pub fn quarantined(index: u32, channel: ChannelName, at: Timestamp) -> Self {
        Self {
            index,
            device: None,
            user: None,
            channel,
            state: State::Failed,
            vendor_id: None,
            fault: Some(Fault::new(Kind::Quarantined, "the stored row could not be decoded")),
            attempts: 0,
            at,
            next_at: None,
            events: DeviceEvents::default(),
        }
    }

    /// Creates the status of a recipient without an attempt. It is queued until `due`.
    #[must_use]
    pub fn untried(delivery: &Delivery, target: &Target, created_at: Timestamp, due: Timestamp) -> Self {
        Self {
            state: State::Queued,
            attempts: 0,
            next_at: Some(due),
            ..Self::withdrawn(delivery, target, created_at)
        }
    }
}

/// Reason why a user or device of the audience gets no push.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// The user has no device, or the device is not registered.
    NoDevice,
    /// No route of the app matches the device.
    NoRoute,
    /// A route matches, but the device has no address on its channels.
    NoAddress,
    /// The device is online and gets the notification on its connection.
    Online,
    /// The device is the sender's.
    Sender,
    /// The caller excluded the device.
    Excepted,
    /// The user is online on a platform that mutes this one.
    MutedPlatform,
    /// The user has muted the conversation, and is not mentioned.
    MutedConversation,
    /// The user has quiet hours now.
    QuietHours,
    /// The notification exceeds the size limit of the channel, even with its content cut.
    TooLarge,
    /// The user acknowledged the notification in time.
    Acknowledged,
    /// The notification could not be composed at its scheduled time, because the configuration had changed. The log has the
    /// reason.
    NotComposed,
    /// The stored batch of the audience could not be decoded, and was set aside.
    Quarantined,
}

/// User or device of the audience that gets no push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skip {
    /// User. `None` if it is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    /// Device. `None` if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceId>,
    /// Reason for the skip.
    pub reason: SkipReason,
}

/// Delivery status of a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Id of the notification.
    pub id: NotificationId,
    /// Creation time.
    pub created_at: Timestamp,
    /// Time at which it was revoked for the first time. `None` means that it was not.
    pub revoked_at: Option<Timestamp>,
    /// Collapse key under which it is shown. `None` means that it is shown under its id.
    pub tag: Option<String>,
    /// Progress of the deferred plan. `None` means that the whole audience was planned at submission.
    pub progress: Option<Progress>,
    /// Number of recipients in each state.
    pub counts: BTreeMap<State, u64>,
    /// Number of recipients with each device event.
    pub events: BTreeMap<DeviceEvent, u64>,
    /// Number of skipped users and devices.
    pub skips: u64,
    /// Skipped users and devices with the reasons: the first [`Status::MAX_PAGE`] of them.
    pub skipped: Vec<Skip>,
    /// Page of recipients, ordered by index. Recipients without an attempt are on the first page only, up to its limit.
    pub receipts: Vec<Receipt>,
    /// Index for the next page's `after`. `None` means that no recipient with an attempt is on a later page.
    pub next: Option<u32>,
}

impl Status {
    /// Maximum size of a page of recipients, and maximum length of the list of skipped users and devices.
    pub const MAX_PAGE: usize = 1000;

    /// Returns `true` if every batch is planned and every recipient is in a final state.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let planned = self.progress.is_none_or(|progress| progress.open == 0);
        planned && self.counts.keys().all(|state| state.is_final())
    }
}

/// Progress of a deferred plan, in batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// Number of planned batches. Their deliveries are in the queue or sent.
    pub done: u64,
    /// Number of batches that are still to be planned.
    pub open: u64,
}
