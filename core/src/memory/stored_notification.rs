//! Notification as the queue in memory stores it.

use std::collections::{BTreeMap, BTreeSet};

use crate::device_event::{DeviceEvent, DeviceEvents};
use crate::ids::{AppId, DeliveryId, IdempotencyKey, UserId};
use crate::notification::Notification;
use crate::receipt::{Receipt, Skip, Status};
use crate::timestamp::Timestamp;

/// Stored notification with the statuses of its recipients.
pub(super) struct StoredNotification {
    pub(super) app: AppId,
    pub(super) key: Option<IdempotencyKey>,
    pub(super) created_at: Timestamp,
    pub(super) keep_until: Timestamp,
    pub(super) revoked_at: Option<Timestamp>,
    pub(super) tag: Option<String>,
    pub(super) request: Option<Notification>,
    pub(super) planned_batches: u64,
    pub(super) skips: u64,
    pub(super) skipped: Vec<Skip>,
    pub(super) acknowledged: BTreeSet<UserId>,
    pub(super) receipts: BTreeMap<u32, Receipt>,
    pub(super) events: BTreeMap<u32, DeviceEvents>,
    pub(super) open: BTreeSet<DeliveryId>,
}

impl StoredNotification {
    /// Returns the events of a recipient.
    pub(super) fn events_of(&self, index: u32) -> DeviceEvents {
        self.events.get(&index).copied().unwrap_or_default()
    }

    /// Returns the number of recipients with this event. `None` means zero.
    pub(super) fn count_events(&self, event: DeviceEvent) -> Option<(DeviceEvent, u64)> {
        let number = self.events.values().filter(|events| events.at(event).is_some()).count() as u64;
        (number > 0).then_some((event, number))
    }

    /// Counts skipped recipients, and keeps the first [`Status::MAX_PAGE`] of them.
    pub(super) fn add_skipped(&mut self, skipped: Vec<Skip>) {
        self.skips += skipped.len() as u64;
        let capacity = Status::MAX_PAGE.saturating_sub(self.skipped.len());
        self.skipped.extend(skipped.into_iter().take(capacity));
    }
}
