//! Where accepted notifications wait: three atomic verbs, so that a crash at any point loses nothing and keeps nothing stuck.
//!
//! `admit` claims the idempotency key *and* enqueues; `take` leases with a fencing token; `finish` writes outcomes, what comes
//! again and receipts together. A lease lives as long as its node: nodes say by `renew` that they live. What is planned later
//! waits as parts of an audience, which are taken and finished in the same way.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::delivery::{Delivery, Message, Target};
use crate::digest::RequestDigest;
use crate::echo::{Echo, Speaker};
use crate::notification::{Audience, Notification};
use crate::receipt::{Receipt, Skip, Status};
use crate::store::StorageError;
use crate::words::{
    AppId, ChannelName, DeliveryId, DeviceId, IdempotencyKey, NodeId, NotificationId, Secret, Timestamp,
    UserId,
};

/// A notification to be kept, whole.
#[derive(Debug, Clone)]
pub struct Admission {
    /// Which one.
    pub id: NotificationId,
    /// The app it belongs to.
    pub app: AppId,
    /// The key under which asking twice notifies once, and what was asked under it.
    pub idempotency: Option<Idempotency>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// Until when its receipts and its key are kept.
    pub keep_until: Timestamp,
    /// Who gets nothing, and why.
    pub skipped: Vec<Skip>,
    /// Under which collapse key it is shown; none: under its own id.
    pub tag: Option<String>,
    /// What is to be sent.
    pub entries: Vec<Entry>,
    /// What is planned later, and from what.
    pub later: Option<Later>,
    /// Deliveries that this notification withdraws: with the admission, or not at all.
    pub withdrawal: Option<Withdrawal>,
}

/// Deliveries that are withdrawn in the transaction of another change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawal {
    /// App of the deliveries.
    pub app: AppId,
    /// Selects the deliveries.
    pub which: Which,
    /// Time that their receipts show.
    pub at: Timestamp,
}

/// What is planned later: at an hour, piece by piece because the audience is large, or unless somebody has acknowledged it.
#[derive(Debug, Clone, PartialEq)]
pub struct Later {
    /// What was asked for; its audience is that of the parts.
    pub ask: Notification,
    /// The parts, each with a place of its own.
    pub parts: Vec<Part>,
}

/// A part of an audience that is planned later, at once and whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Its place among the parts of its notification: its addresses are numbered from `place` × [`Part::NUMBERS`].
    pub place: u32,
    /// From when on.
    pub due: Timestamp,
    /// Whom it is for: at most [`Audience::MAX`], or all of the app's devices behind `after`.
    pub audience: Audience,
    /// Of all devices, those with a greater id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<DeviceId>,
    /// Why it is planned later.
    #[serde(default)]
    pub stage: Stage,
}

impl Part {
    /// How many addresses a part may have: [`Audience::MAX`] users with 50 devices each, and some more.
    pub const NUMBERS: u32 = 65_536;
}

/// Why a part is planned later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Its time has not come, or it is one of many.
    #[default]
    Fresh,
    /// These devices were online: they are pushed to if their users have not acknowledged it by then.
    Unacknowledged,
}

/// A part that is ours until we finish it or die.
#[derive(Debug, Clone, PartialEq)]
pub struct PartLease {
    /// Of which notification.
    pub notification: NotificationId,
    /// When that was asked for.
    pub created_at: Timestamp,
    /// What was asked for.
    pub ask: Notification,
    /// The part.
    pub part: Part,
    /// Who has acknowledged the notification.
    pub acknowledged: Vec<UserId>,
    /// The fencing token, as a delivery's.
    pub epoch: u64,
}

/// What `take_parts` gave.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TakenParts {
    /// The leases, earliest due first.
    pub leases: Vec<PartLease>,
    /// When the next part that nobody holds is due.
    pub next_due: Option<Timestamp>,
}

/// The end of a part's lease.
#[derive(Debug, Clone)]
pub struct PartFinish {
    /// Of which notification.
    pub notification: NotificationId,
    /// The part's place.
    pub place: u32,
    /// The lease's fencing token.
    pub epoch: u64,
    /// What is to be sent.
    pub entries: Vec<Entry>,
    /// Who of the part gets nothing, and why.
    pub skipped: Vec<Skip>,
    /// What is planned later still.
    pub next: Vec<Part>,
    /// Deliveries that the part withdraws: with the end of its lease, or not at all.
    pub withdrawal: Option<Withdrawal>,
}

/// A key, and a digest of what was asked under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The caller's key, unique within the app.
    pub key: IdempotencyKey,
    /// Digest of the request. Detects the reuse of the key for another request.
    pub digest: RequestDigest,
}

/// Claim of an idempotency key by a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyClaim {
    /// The notification that was first submitted under the key.
    pub id: NotificationId,
    /// Digest of its request. `None` means that an earlier release has stored it with a digest that cannot be computed any more;
    /// then every request under the key counts as the same one.
    pub digest: Option<RequestDigest>,
}

/// A delivery to be kept.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What is to be sent.
    pub delivery: Delivery,
    /// From when on.
    pub due: Timestamp,
    /// The node that already holds it in memory and sends it without reading it back; none: whoever takes it.
    pub held_by: Option<NodeId>,
}

/// What `admit` gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admitted {
    /// It is on stable storage. Held entries are leased with epoch 1.
    New,
    /// The key was claimed before; nothing was stored and nothing was withdrawn.
    Known(KeyClaim),
}

/// Which deliveries to lease.
#[derive(Debug, Clone)]
pub struct Want {
    /// For whom.
    pub node: NodeId,
    /// Of which lane.
    pub app: AppId,
    /// Of which lane.
    pub channel: ChannelName,
    /// Due by now.
    pub now: Timestamp,
    /// At most so many.
    pub max: usize,
}

/// A delivery that is ours until we finish it or die.
#[derive(Debug, Clone, PartialEq)]
pub struct Lease {
    /// What is to be sent.
    pub delivery: Delivery,
    /// The fencing token: it grows with every take, and `finish` is refused with an older one.
    pub epoch: u64,
}

/// What `take` gave.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Taken {
    /// The leases, earliest due first.
    pub leases: Vec<Lease>,
    /// When the lane's next delivery that nobody holds is due; none when there is none.
    pub next_due: Option<Timestamp>,
}

/// The end of a lease.
#[derive(Debug, Clone)]
pub struct Finish {
    /// Of which delivery.
    pub delivery: DeliveryId,
    /// Of which notification.
    pub notification: NotificationId,
    /// Of which app.
    pub app: AppId,
    /// The lease's fencing token.
    pub epoch: u64,
    /// What is now known, by target index; replaces what was known.
    pub receipts: Vec<Receipt>,
    /// What comes again; new deliveries of the same notification.
    pub again: Vec<Entry>,
}

/// What `finish` gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    /// Written.
    Done,
    /// Somebody else has taken the delivery since; nothing was written.
    Fenced,
}

/// What `hear` gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    /// The app of the notification.
    pub app: AppId,
    /// All that is known of the target now; none while its first attempt has not ended.
    pub receipt: Option<Receipt>,
    /// It had not told this before.
    pub is_news: bool,
}

/// Kind of a stored row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RowKind {
    /// Delivery that waits in the queue.
    Delivery,
    /// Part of an audience that is planned later.
    Part,
    /// List of the skipped in a notification.
    Notification,
    /// What is known of one recipient.
    Receipt,
    /// Device with its addresses.
    Device,
    /// Push rules of a user.
    Rules,
}

impl RowKind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Delivery, Self::Part, Self::Notification, Self::Receipt, Self::Device, Self::Rules];

    /// Returns the name used in the API, in stores and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivery => "delivery",
            Self::Part => "part",
            Self::Notification => "notification",
            Self::Receipt => "receipt",
            Self::Device => "device",
            Self::Rules => "rules",
        }
    }
}

/// Stored row that could not be decoded and was set aside. Carries nothing of the row's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Quarantined {
    /// Number within the quarantine, from 1.
    pub id: u64,
    /// Kind of the row.
    pub kind: RowKind,
    /// Key of the row within its kind.
    pub key: String,
    /// App it belongs to; `None` when that is unknown.
    pub app: Option<AppId>,
    /// Channel it belongs to; `None` when it has none or that is unknown.
    pub channel: Option<ChannelName>,
    /// Notification it belongs to; `None` when it has none.
    pub notification: Option<NotificationId>,
    /// Why it could not be decoded.
    pub reason: String,
    /// Size of what is kept of it.
    pub bytes: u64,
    /// When it was set aside.
    pub at: Timestamp,
}

/// Called once for each row that is set aside, when that is on stable storage.
pub type QuarantineListener = Arc<dyn Fn(&Quarantined) + Send + Sync>;

/// Which notifications are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// This one.
    Id(NotificationId),
    /// Those with this collapse key that were asked for before another, for these users.
    Tag {
        /// The collapse key.
        tag: String,
        /// For whom.
        users: Vec<UserId>,
        /// Asked for before this one.
        before: NotificationId,
    },
}

impl Which {
    /// Whether it means this message for this target.
    #[must_use]
    pub fn takes(&self, message: &Message, target: &Target) -> bool {
        match self {
            Self::Id(id) => message.id == *id,
            Self::Tag { tag, users, before } => {
                message.collapse_key.as_ref() == Some(tag)
                    // Ids are ordered by time.
                    && message.id < *before
                    && target.user.as_ref().is_some_and(|user| users.contains(user))
            }
        }
    }
}

/// Where accepted notifications wait.
#[async_trait]
pub trait Queue: Send + Sync + 'static {
    /// Claims the key, keeps the notification and withdraws what it withdraws, or nothing of this. When it returns, the
    /// notification is on stable storage.
    async fn admit(&self, admission: Admission) -> Result<Admitted, StorageError>;

    /// Finds the claim of an idempotency key. `None` means that the key is free.
    async fn find_claim(&self, app: &AppId, key: &IdempotencyKey) -> Result<Option<KeyClaim>, StorageError>;

    /// Leases deliveries that are due and that no living node holds.
    async fn take(&self, want: Want) -> Result<Taken, StorageError>;

    /// Leases at most `max` deliveries of any lane that have expired and that no living node holds: for those that no lane
    /// takes. Each is ended by [`Queue::finish`].
    async fn take_expired(
        &self,
        node: NodeId,
        now: Timestamp,
        max: usize,
    ) -> Result<Vec<Lease>, StorageError>;

    /// Returns the number of a lane's deliveries that nobody holds.
    async fn count_waiting(&self, app: &AppId, channel: &ChannelName) -> Result<u64, StorageError>;

    /// Ends a lease: the delivery leaves, receipts and what comes again are written, or nothing is.
    async fn finish(&self, finish: Finish) -> Result<Finished, StorageError>;

    /// Leases parts of any app that are due and that no living node holds.
    async fn take_parts(&self, node: NodeId, now: Timestamp, most: usize)
    -> Result<TakenParts, StorageError>;

    /// Ends a part's lease: the part leaves, what was planned of it is kept and what is planned later still, and what it withdraws
    /// is withdrawn, or nothing is.
    async fn finish_part(&self, finish: PartFinish) -> Result<Finished, StorageError>;

    /// Ends a part's lease without planning it: the part is due again at that time.
    async fn postpone_part(&self, lease: &PartLease, due: Timestamp) -> Result<Finished, StorageError>;

    /// Takes back what was not sent yet: deliveries, parts of this app, and what would come again of attempts under way.
    /// Their receipts say so. How many addresses and parts. By [`Which::Id`] the notification's [`Status::revoked_at`] is set, the
    /// first time only.
    async fn withdraw(&self, app: &AppId, which: &Which, at: Timestamp) -> Result<u64, StorageError>;

    /// Keeps that a user has acknowledged a notification. Whether any part of it is still to be planned.
    async fn acknowledge(&self, app: &AppId, id: NotificationId, user: &UserId)
    -> Result<bool, StorageError>;

    /// Keeps what a target of a notification told, the first time it tells it, whether or not its attempt has ended. None
    /// when there is no such notification any more.
    async fn hear(&self, speaker: Speaker, echo: Echo, at: Timestamp) -> Result<Option<Heard>, StorageError>;

    /// The key of this installation: the first that was ever given, the same for all its nodes and ever after.
    async fn own_key(&self, fresh: &Secret) -> Result<Secret, StorageError>;

    /// Says that the node lives at least until `until`. A node does so before it holds anything: what is held by one that never did
    /// may stay held.
    async fn renew(&self, node: NodeId, until: Timestamp) -> Result<(), StorageError>;

    /// Gives back everything the node holds: others may take it at once.
    async fn release(&self, node: NodeId) -> Result<(), StorageError>;

    /// At most so many receipts of a notification, of targets with a greater number than `after`, by number; targets that
    /// were not tried yet are not among them.
    async fn receipts(
        &self,
        id: NotificationId,
        after: Option<u32>,
        most: usize,
    ) -> Result<Vec<Receipt>, StorageError>;

    /// Returns what became of a notification, with at most `limit` of its recipients, which have greater indexes than `after`.
    /// Recipients that were not tried yet are `Queued`. The cost depends on `limit`, not on the number of recipients.
    /// `None` means that the app has no such notification.
    async fn status_page(
        &self,
        app: &AppId,
        id: NotificationId,
        after: Option<u32>,
        limit: usize,
    ) -> Result<Option<Status>, StorageError>;

    /// Returns what became of a notification, with the first [`Status::MOST`] of its recipients.
    async fn status(&self, app: &AppId, id: NotificationId) -> Result<Option<Status>, StorageError> {
        self.status_page(app, id, None, Status::MOST).await
    }

    /// Lists rows that were set aside because they could not be decoded, oldest first, with greater ids than `after`.
    async fn quarantined(
        &self,
        _after: Option<u64>,
        _limit: usize,
    ) -> Result<Vec<Quarantined>, StorageError> {
        Ok(Vec::new())
    }

    /// Registers the listener for rows that are set aside. The first registration counts.
    fn on_quarantine(&self, _listener: QuarantineListener) {}

    /// Deletes a bounded number of rows that have outlived their retention, finished notifications above all, and returns
    /// that number. 0 means that nothing is overdue; the caller goes on until then.
    async fn sweep(&self, now: Timestamp) -> Result<u64, StorageError>;

    /// The lanes that have deliveries waiting: what a starting node has to look after.
    async fn lanes(&self) -> Result<Vec<(AppId, ChannelName)>, StorageError>;
}
