//! What is known about a notification on each device.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::delivery::{Delivery, Target};
use crate::echo::{Echo, Echoes};
use crate::fault::{Fault, Kind};
use crate::words::{ChannelName, DeviceId, NotificationId, Timestamp, UserId};

/// How far a notification has come on one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Stored, and due to be sent or sent again.
    Queued,
    /// The vendor took it.
    Sent,
    /// Given up: the fault says why.
    Failed,
    /// Its time to live ran out first.
    Expired,
    /// It was taken back, or had become needless, before it was sent.
    Revoked,
}

impl State {
    /// The name used in the API, in stores and in metrics.
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

    /// Whether nothing more will be done by the gateway.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Queued)
    }
}

/// What is known about one address of a notification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The target's number within the notification.
    pub index: u32,
    /// The device; none for a bare address.
    pub device: Option<DeviceId>,
    /// The user; none for a bare address.
    pub user: Option<UserId>,
    /// The channel it went through.
    pub channel: ChannelName,
    /// How far it has come.
    pub state: State,
    /// The vendor's name for it.
    pub vendor_id: Option<String>,
    /// The last fault; on a queued one, why it is late.
    pub fault: Option<Fault>,
    /// How many tries were made.
    pub attempts: u32,
    /// When it came to this state.
    pub at: Timestamp,
    /// When it is tried again.
    pub next_at: Option<Timestamp>,
    /// What the device itself told, and when. Stores keep it apart from the rest, which is rewritten after every attempt.
    #[serde(skip)]
    pub echoes: Echoes,
}

impl Receipt {
    /// Of a target that was taken back before its next attempt.
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
            echoes: Echoes::default(),
        }
    }

    /// Receipt of a recipient whose stored delivery or receipt could not be decoded. Device and user are unknown.
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
            echoes: Echoes::default(),
        }
    }

    /// Of a target that was not tried yet.
    #[must_use]
    pub fn untried(delivery: &Delivery, target: &Target, asked_at: Timestamp, due: Timestamp) -> Self {
        Self {
            state: State::Queued,
            attempts: 0,
            next_at: Some(due),
            ..Self::withdrawn(delivery, target, asked_at)
        }
    }
}

/// Why somebody in the audience gets nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// The user has no device, or no such device is registered.
    NoDevice,
    /// No route of the app leads to this device.
    NoRoute,
    /// A route leads to it, but it has no address on any of the route's channels.
    NoAddress,
    /// The device is online and gets it on its connection.
    Online,
    /// It is the sender's own.
    Sender,
    /// The caller named it as one that gets nothing.
    Excepted,
    /// Its user is online on a platform that mutes this one.
    MutedPlatform,
    /// Its user has muted the conversation, and is not mentioned.
    MutedConversation,
    /// Its user is not to be disturbed at this hour.
    QuietHours,
    /// It does not fit what the channel can carry, even with its content cut.
    TooLarge,
    /// Its user has acknowledged it in time.
    Acknowledged,
    /// It could not be composed when its time came, because the configuration had changed; the log says why.
    NotComposed,
    /// What the queue stored of a part of the audience could not be decoded, and was set aside.
    Quarantined,
}

/// Somebody in the audience who gets nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skip {
    /// The user, where one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    /// The device, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceId>,
    /// Why.
    pub reason: SkipReason,
}

/// What became of a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Which one.
    pub id: NotificationId,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// Time at which it was revoked for the first time. `None` means that it was not.
    pub revoked_at: Option<Timestamp>,
    /// Under which collapse key it is shown; none: under its own id.
    pub tag: Option<String>,
    /// How far the parts are that are planned later; none when it was planned at once.
    pub progress: Option<Progress>,
    /// How many addresses are in which state.
    pub counts: BTreeMap<State, u64>,
    /// How many devices told what.
    pub echoes: BTreeMap<Echo, u64>,
    /// How many of the audience got nothing.
    pub skips: u64,
    /// Who got nothing, and why: the first [`Status::MOST`] of them.
    pub skipped: Vec<Skip>,
    /// Page of the recipients, by index. Those that were not tried yet stand on the first page only, as far as there is room.
    pub receipts: Vec<Receipt>,
    /// Index to continue behind; `None` when no recipient that was tried is on a later page.
    pub next: Option<u32>,
}

impl Status {
    /// The largest page of recipients, and the most of those who were skipped, that are told of one by one.
    pub const MOST: usize = 1000;

    /// Whether nothing more is to be done.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let planned = self.progress.is_none_or(|progress| progress.open == 0);
        planned && self.counts.keys().all(|state| state.is_final())
    }
}

/// How far the parts of a notification are that are planned later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// Planned: what there is to be sent of them is in the queue, or sent.
    pub done: u64,
    /// Still to be planned.
    pub open: u64,
}
