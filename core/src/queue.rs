//! Where accepted notifications wait: three atomic verbs, so that a crash at any point loses nothing and keeps nothing stuck.
//!
//! `admit` claims the idempotency key *and* enqueues; `take` leases with a fencing token; `finish` writes outcomes, what comes
//! again and receipts together. A lease lives as long as its node: nodes say by `renew` that they live.

use async_trait::async_trait;

use crate::delivery::{Delivery, Message, Target};
use crate::receipt::{Receipt, Skip, Status};
use crate::store::StorageError;
use crate::words::{
    AppId, ChannelName, DeliveryId, IdempotencyKey, NodeId, NotificationId, Timestamp, UserId,
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
    /// What is to be sent.
    pub entries: Vec<Entry>,
}

/// A key, and a digest of what was asked under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The caller's key, unique within the app.
    pub key: IdempotencyKey,
    /// Tells the same question from another one under the same key.
    pub fingerprint: u64,
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
    /// The key was taken before; nothing was stored.
    Known {
        /// By which notification.
        id: NotificationId,
        /// What was asked then.
        fingerprint: u64,
    },
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

/// Which notifications are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// This one.
    Id(NotificationId),
    /// Those with this collapse key, for these users.
    Tag {
        /// The collapse key.
        tag: String,
        /// For whom.
        users: Vec<UserId>,
    },
}

impl Which {
    /// Whether it means this message for this target.
    #[must_use]
    pub fn takes(&self, message: &Message, target: &Target) -> bool {
        match self {
            Self::Id(id) => message.id == *id,
            Self::Tag { tag, users } => {
                message.collapse_key.as_ref() == Some(tag)
                    && target.user.as_ref().is_some_and(|user| users.contains(user))
            }
        }
    }
}

/// Where accepted notifications wait.
#[async_trait]
pub trait Queue: Send + Sync + 'static {
    /// Claims the key and keeps the notification, or neither. When it returns, the notification is on stable storage.
    async fn admit(&self, admission: Admission) -> Result<Admitted, StorageError>;

    /// Leases deliveries that are due and that no living node holds.
    async fn take(&self, want: Want) -> Result<Taken, StorageError>;

    /// Ends a lease: the delivery leaves, receipts and what comes again are written, or nothing is.
    async fn finish(&self, finish: Finish) -> Result<Finished, StorageError>;

    /// Says that the node lives at least until `until`.
    async fn renew(&self, node: NodeId, until: Timestamp) -> Result<(), StorageError>;

    /// Gives back everything the node holds: others may take it at once.
    async fn release(&self, node: NodeId) -> Result<(), StorageError>;

    /// What became of a notification; targets that were not tried yet are `Queued`.
    async fn status(&self, app: &AppId, id: NotificationId) -> Result<Option<Status>, StorageError>;

    /// Forgets finished notifications whose `keep_until` has passed. How many.
    async fn sweep(&self, now: Timestamp) -> Result<u64, StorageError>;

    /// The lanes that have deliveries waiting: what a starting node has to look after.
    async fn lanes(&self) -> Result<Vec<(AppId, ChannelName)>, StorageError>;
}
