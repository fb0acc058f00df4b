//! Queue of accepted notifications. Every operation is atomic, so that a crash at any point loses nothing and leaves
//! nothing stuck.
//!
//! `admit` claims the idempotency key and enqueues the deliveries. `lease` leases deliveries with a fencing token. `finish`
//! writes statuses and retries together. A lease is valid while its node lives, which the node reports by `renew`. The
//! audience of a deferred plan waits in batches, which are leased and finished in the same way.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::delivery::{Delivery, Message, Target};
use crate::device_event::{DeviceEvent, EventClaims};
use crate::digest::RequestDigest;
use crate::ids::{AppId, ChannelName, DeliveryId, DeviceId, IdempotencyKey, NodeId, NotificationId, UserId};
use crate::notification::{Audience, Notification};
use crate::receipt::{Receipt, Skip, Status};
use crate::secret::Secret;
use crate::store::StorageError;
use crate::timestamp::Timestamp;

/// Notification to store, with everything that belongs to it.
#[derive(Debug, Clone)]
pub struct Admission {
    /// Id of the notification.
    pub id: NotificationId,
    /// App of the notification.
    pub app: AppId,
    /// Idempotency key and the digest of the request. `None` if the caller gave no key.
    pub idempotency: Option<Idempotency>,
    /// Creation time.
    pub created_at: Timestamp,
    /// End of the retention of its statuses and its idempotency key.
    pub keep_until: Timestamp,
    /// Users and devices that get no push, with the reasons.
    pub skipped: Vec<Skip>,
    /// Collapse key under which it is shown. `None` means that it is shown under its id.
    pub tag: Option<String>,
    /// Deliveries to send.
    pub entries: Vec<Entry>,
    /// Deferred plan. `None` if the whole audience has been planned.
    pub deferred_plan: Option<DeferredPlan>,
    /// Deliveries that this notification withdraws, in the same transaction.
    pub withdrawal: Option<Withdrawal>,
}

/// Deliveries that are withdrawn in the transaction of another change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawal {
    /// App of the deliveries.
    pub app: AppId,
    /// Selects the deliveries.
    pub filter: WithdrawFilter,
    /// Time of the withdrawal in their statuses.
    pub at: Timestamp,
}

/// Deferred plan of a notification: for a scheduled time, for a large audience, or until users had time to acknowledge it.
#[derive(Debug, Clone, PartialEq)]
pub struct DeferredPlan {
    /// Submitted notification. Its audience is in the batches.
    pub request: Notification,
    /// Batches of the audience, each with its own place.
    pub batches: Vec<AudienceBatch>,
}

/// Batch of an audience that is planned later, in one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AudienceBatch {
    /// Number of the batch within its notification. The indexes of its recipients start at `place` ×
    /// [`AudienceBatch::MAX_RECIPIENTS`].
    pub place: u32,
    /// Earliest time of planning.
    pub due: Timestamp,
    /// Audience: at most [`Audience::BATCH_SIZE`] entries, or all of the app's devices after `after`.
    pub audience: Audience,
    /// Last device id of the previous batch, for an audience of all devices. `None` means the first batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<DeviceId>,
    /// Reason for deferring it.
    #[serde(default)]
    pub stage: Stage,
}

impl AudienceBatch {
    /// Maximum number of recipients of a batch: [`Audience::BATCH_SIZE`] users with 50 devices each, and a reserve.
    pub const MAX_RECIPIENTS: u32 = 65_536;
}

/// Reason for deferring a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The notification is scheduled, or its audience is large.
    #[default]
    Fresh,
    /// The devices were online. They get a push if their users have not acknowledged the notification by then.
    Unacknowledged,
}

/// Batch that a node holds until it finishes it or stops renewing.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchLease {
    /// Id of the notification.
    pub notification: NotificationId,
    /// Creation time of the notification.
    pub created_at: Timestamp,
    /// Submitted notification.
    pub request: Notification,
    /// Leased batch.
    pub batch: AudienceBatch,
    /// Users who have acknowledged the notification.
    pub acknowledged: Vec<UserId>,
    /// Fencing token, as in [`Lease::epoch`].
    pub epoch: u64,
}

/// Result of [`Queue::lease_batches`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LeasedBatches {
    /// Leases, earliest due first.
    pub leases: Vec<BatchLease>,
    /// Due time of the next batch that no node holds. `None` means that there is none.
    pub next_due: Option<Timestamp>,
}

/// Completion of a leased batch.
#[derive(Debug, Clone)]
pub struct BatchCompletion {
    /// Id of the notification.
    pub notification: NotificationId,
    /// Place of the batch.
    pub place: u32,
    /// Fencing token of the lease.
    pub epoch: u64,
    /// Deliveries to send.
    pub entries: Vec<Entry>,
    /// Users and devices of the batch that get no push, with the reasons.
    pub skipped: Vec<Skip>,
    /// New batches that are planned later.
    pub next: Vec<AudienceBatch>,
    /// Deliveries that the batch withdraws, in the same transaction.
    pub withdrawal: Option<Withdrawal>,
}

/// Idempotency key with the digest of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// Key of the caller, unique within the app.
    pub key: IdempotencyKey,
    /// Digest of the request. Detects the reuse of the key for another request.
    pub digest: RequestDigest,
}

/// Claim of an idempotency key by a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyClaim {
    /// The notification that was first submitted under the key.
    pub id: NotificationId,
    /// Digest of its request. `None` means that an earlier release stored it with a digest that cannot be computed any more.
    /// Then every request under the key counts as the same one.
    pub digest: Option<RequestDigest>,
}

/// Delivery to store.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Delivery to send.
    pub delivery: Delivery,
    /// Earliest time of the attempt.
    pub due: Timestamp,
    /// Node that already holds the delivery in memory and sends it without reading it back. `None` means that any node may
    /// lease it.
    pub held_by: Option<NodeId>,
}

/// Result of [`Queue::admit`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admitted {
    /// The notification is on stable storage. Entries that a node holds are leased with epoch 1.
    New,
    /// The key was claimed before. Nothing was stored or withdrawn.
    Known(KeyClaim),
}

/// Request to lease deliveries of a lane.
#[derive(Debug, Clone)]
pub struct LeaseRequest {
    /// Node that leases.
    pub node: NodeId,
    /// App of the lane.
    pub app: AppId,
    /// Channel of the lane.
    pub channel: ChannelName,
    /// Current time. Only deliveries that are due are leased.
    pub now: Timestamp,
    /// Maximum number of deliveries.
    pub max: usize,
}

/// Delivery that a node holds until it finishes it or stops renewing.
#[derive(Debug, Clone, PartialEq)]
pub struct Lease {
    /// Delivery to send.
    pub delivery: Delivery,
    /// Fencing token. It grows with every lease of the delivery, and [`Queue::finish`] rejects an older one.
    pub epoch: u64,
}

/// Result of [`Queue::lease`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LeasedDeliveries {
    /// Leases, earliest due first.
    pub leases: Vec<Lease>,
    /// Due time of the lane's next delivery that no node holds. `None` means that there is none.
    pub next_due: Option<Timestamp>,
}

/// Completion of a leased delivery.
#[derive(Debug, Clone)]
pub struct Completion {
    /// Id of the delivery.
    pub delivery: DeliveryId,
    /// Id of the notification.
    pub notification: NotificationId,
    /// App of the notification.
    pub app: AppId,
    /// Fencing token of the lease.
    pub epoch: u64,
    /// New statuses by recipient index. They replace the stored ones.
    pub receipts: Vec<Receipt>,
    /// Retries, as new deliveries of the same notification.
    pub again: Vec<Entry>,
}

/// Result of completing a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    /// The completion was written.
    Done,
    /// Another node has leased it since. Nothing was written.
    Fenced,
}

/// Result of [`Queue::record_event`].
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedEvent {
    /// App of the notification.
    pub app: AppId,
    /// Status of the recipient after the event. `None` means that its first attempt has not ended.
    pub receipt: Option<Receipt>,
    /// `true` if the event was recorded for the first time.
    pub is_first: bool,
}

/// Kind of a stored row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RowKind {
    /// Delivery that waits in the queue.
    Delivery,
    /// Batch of an audience that is planned later.
    Part,
    /// List of skipped users and devices of a notification.
    Notification,
    /// Status of one recipient.
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
    /// App of the row. `None` means that it is unknown.
    pub app: Option<AppId>,
    /// Channel of the row. `None` means that it has none, or that it is unknown.
    pub channel: Option<ChannelName>,
    /// Notification of the row. `None` means that it has none.
    pub notification: Option<NotificationId>,
    /// Reason why it could not be decoded.
    pub reason: String,
    /// Size of the kept content in bytes.
    pub bytes: u64,
    /// Time at which it was set aside.
    pub at: Timestamp,
}

/// Listener that is called once for each row that is set aside, after that is on stable storage.
pub type QuarantineListener = Arc<dyn Fn(&Quarantined) + Send + Sync>;

/// Selects the deliveries to withdraw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WithdrawFilter {
    /// Deliveries of one notification.
    Id(NotificationId),
    /// Deliveries to these users of earlier notifications with the same collapse key.
    Tag {
        /// Collapse key.
        tag: String,
        /// Users of the deliveries.
        users: Vec<UserId>,
        /// Notification that replaces the earlier ones.
        before: NotificationId,
    },
}

impl WithdrawFilter {
    /// Returns `true` if this message to this target is selected.
    #[must_use]
    pub fn matches(&self, message: &Message, target: &Target) -> bool {
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

/// Queue of accepted notifications.
#[async_trait]
pub trait Queue: Send + Sync + 'static {
    /// Claims the idempotency key, stores the notification and applies its withdrawal, in one transaction. The notification
    /// is on stable storage when this returns.
    async fn admit(&self, admission: Admission) -> Result<Admitted, StorageError>;

    /// Finds the claim of an idempotency key. `None` means that the key is free.
    async fn find_claim(&self, app: &AppId, key: &IdempotencyKey) -> Result<Option<KeyClaim>, StorageError>;

    /// Leases deliveries of a lane that are due and that no living node holds.
    async fn lease(&self, request: LeaseRequest) -> Result<LeasedDeliveries, StorageError>;

    /// Leases at most `max` expired deliveries of any lane that no living node holds. For deliveries whose lane does not run.
    /// The caller ends each lease by [`Queue::finish`].
    async fn lease_expired(
        &self,
        node: NodeId,
        now: Timestamp,
        max: usize,
    ) -> Result<Vec<Lease>, StorageError>;

    /// Returns the number of a lane's deliveries that no node holds.
    async fn count_waiting(&self, app: &AppId, channel: &ChannelName) -> Result<u64, StorageError>;

    /// Ends a lease: removes the delivery and writes its statuses and retries, in one transaction.
    async fn finish(&self, finish: Completion) -> Result<Finished, StorageError>;

    /// Leases at most `limit` batches of any app that are due and that no living node holds.
    async fn lease_batches(
        &self,
        node: NodeId,
        now: Timestamp,
        limit: usize,
    ) -> Result<LeasedBatches, StorageError>;

    /// Ends the lease of a batch: removes the batch, stores its deliveries and new batches, and applies its withdrawal, in
    /// one transaction.
    async fn finish_batch(&self, finish: BatchCompletion) -> Result<Finished, StorageError>;

    /// Ends the lease of a batch without planning it. The batch is due again at the given time.
    async fn postpone_batch(&self, lease: &BatchLease, due: Timestamp) -> Result<Finished, StorageError>;

    /// Withdraws deliveries of this app that have not been sent, retries of attempts under way included. Marks their
    /// recipients as revoked. Returns the number of withdrawn recipients and batches.
    ///
    /// [`WithdrawFilter::Id`] also withdraws the notification's batches, and sets its [`Status::revoked_at`] the first time.
    async fn withdraw(
        &self,
        app: &AppId,
        filter: &WithdrawFilter,
        at: Timestamp,
    ) -> Result<u64, StorageError>;

    /// Records that a user has acknowledged a notification, if a batch of it is still to be planned. Returns `true` if one is.
    async fn acknowledge(&self, app: &AppId, id: NotificationId, user: &UserId)
    -> Result<bool, StorageError>;

    /// Records a device event of a recipient, also before its attempt has ended. The first time of an event counts. `None`
    /// means that the notification does not exist any more.
    async fn record_event(
        &self,
        claims: EventClaims,
        event: DeviceEvent,
        at: Timestamp,
    ) -> Result<Option<RecordedEvent>, StorageError>;

    /// Returns the secret of this installation. Stores `fresh` if there is none yet. The secret is the same for all nodes and
    /// never changes.
    async fn installation_secret(&self, fresh: &Secret) -> Result<Secret, StorageError>;

    /// Sets the expiry of the node's heartbeat. A node renews before it leases anything, because the leases of a node that
    /// never renewed may never be released.
    async fn renew(&self, node: NodeId, until: Timestamp) -> Result<(), StorageError>;

    /// Releases all leases of the node. Other nodes may lease them at once.
    async fn release(&self, node: NodeId) -> Result<(), StorageError>;

    /// Returns at most `limit` statuses of a notification's recipients with an index greater than `after`, ordered by index.
    /// Recipients without an attempt are not included.
    async fn receipts(
        &self,
        id: NotificationId,
        after: Option<u32>,
        limit: usize,
    ) -> Result<Vec<Receipt>, StorageError>;

    /// Returns the status of a notification, with at most `limit` of its recipients, whose indexes are greater than `after`.
    /// Recipients without an attempt are `Queued`. The cost depends on `limit`, not on the number of recipients. `None` means
    /// that the app has no such notification.
    async fn status_page(
        &self,
        app: &AppId,
        id: NotificationId,
        after: Option<u32>,
        limit: usize,
    ) -> Result<Option<Status>, StorageError>;

    /// Returns the status of a notification, with the first [`Status::MAX_PAGE`] of its recipients.
    async fn status(&self, app: &AppId, id: NotificationId) -> Result<Option<Status>, StorageError> {
        self.status_page(app, id, None, Status::MAX_PAGE).await
    }

    /// Lists at most `limit` quarantined rows with an id greater than `after`, oldest first. The default lists none.
    async fn quarantined(
        &self,
        _after: Option<u64>,
        _limit: usize,
    ) -> Result<Vec<Quarantined>, StorageError> {
        Ok(Vec::new())
    }

    /// Registers the listener for quarantined rows. Only the first registration has an effect. The default ignores it.
    fn on_quarantine(&self, _listener: QuarantineListener) {}

    /// Deletes a bounded number of rows whose retention has ended, mainly finished notifications. Returns that number. The
    /// caller repeats the call until it is 0.
    async fn sweep(&self, now: Timestamp) -> Result<u64, StorageError>;

    /// Returns the lanes with waiting deliveries, which a starting node has to serve.
    async fn lanes(&self) -> Result<Vec<(AppId, ChannelName)>, StorageError>;
}
