//! Addresses that a push service reported as dead. Pruned ones are kept aside so that they can be listed and restored.
//! Others are held back by the prune guard.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::device::Address;
use crate::fault::{Fault, Kind};
use crate::ids::{AppId, ChannelName, DeviceId, UserId};
use crate::store::StorageError;
use crate::timestamp::Timestamp;

/// Proof of a push service that an address is dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    /// Time since which the push service knows it. An address that was registered later is spared.
    pub since: Timestamp,
    /// Kind of the fault that proved it.
    pub fault: Kind,
    /// The push service's own code.
    pub vendor_code: Option<String>,
}

impl Death {
    /// Returns the death that a fault proves. If the push service gave no date, the time of the attempt counts.
    #[must_use]
    pub fn new(fault: &Fault, attempted_at: Timestamp) -> Self {
        Self {
            since: fault.since.unwrap_or(attempted_at),
            fault: fault.kind,
            vendor_code: fault.vendor_code.clone(),
        }
    }
}

/// Number of a dead address within a store. Grows with each insertion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeadId(pub i64);

/// Address that a push service reported as dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadAddress {
    /// Number within the store.
    pub id: DeadId,
    /// Device that it belonged to.
    pub device: DeviceId,
    /// User of the device at that time.
    pub user: Option<UserId>,
    /// Address with its token, which `Debug` does not show.
    pub address: Address,
    /// Proof of the push service.
    pub death: Death,
    /// Time at which it was pruned or held back.
    pub at: Timestamp,
    /// State: pruned or held back.
    pub state: DeadState,
}

/// State of a dead address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadState {
    /// Removed from its device.
    Pruned,
    /// Held back by the prune guard. The device still has it.
    HeldBack,
}

/// Selection of an app's dead addresses, page by page.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeadQuery {
    /// Selects the addresses of this channel. `None` means all channels.
    pub channel: Option<ChannelName>,
    /// Selects the addresses of these devices. Empty means all devices.
    pub devices: Vec<DeviceId>,
    /// Selects the addresses in this state. `None` means both states.
    pub state: Option<DeadState>,
    /// Selects addresses that were pruned or held back at this time or later.
    pub since: Option<Timestamp>,
    /// Selects addresses that were pruned or held back before this time.
    pub until: Option<Timestamp>,
    /// Last id of the previous page. `None` means the first page.
    pub after: Option<DeadId>,
    /// Maximum number of addresses in the page.
    pub limit: usize,
}

impl DeadQuery {
    /// Maximum size of a page.
    pub const MAX_LIMIT: usize = 1000;

    /// Returns a query for the first page of all dead addresses.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Returns `true` if the query selects the address. Ignores `after` and `limit`.
    #[must_use]
    pub fn matches(&self, dead: &DeadAddress) -> bool {
        self.channel.as_ref().is_none_or(|channel| *channel == dead.address.channel)
            && (self.devices.is_empty() || self.devices.contains(&dead.device))
            && self.state.is_none_or(|state| state == dead.state)
            && self.since.is_none_or(|since| dead.at >= since)
            && self.until.is_none_or(|until| dead.at < until)
    }
}

/// Result of restoring one dead address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Restoration {
    /// The device has the address again, or the address is no longer held back.
    Restored,
    /// The address has been registered again since, on this device or another one. It stays there.
    RegisteredAnew,
    /// The device has registered another address of the same channel and kind since.
    Replaced,
    /// The device is no longer known.
    DeviceGone,
    /// There is no dead address with this id.
    Unknown,
}

/// Counters of a prune guard in its current window. A durable store keeps them across restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PruneGuardState {
    /// Start of the window. `None` means that no window has begun.
    pub window_began: Option<Timestamp>,
    /// Number of pushes that were accepted in the window.
    pub accepted: u64,
    /// Number of addresses that were pruned in the window.
    pub pruned: u64,
    /// `true` while the alarm about addresses held back is open.
    pub is_alarm_open: bool,
}

/// Storage of dead addresses. A part of [`Store`](crate::Store), because pruning and restoring change devices.
///
/// Every method is atomic. The storage holds each address of an app at most once.
#[async_trait]
pub trait DeadAddresses: Send + Sync + 'static {
    /// Removes a dead address from its device and keeps it aside, so that it can be restored. Does nothing if the device
    /// has another token by now, or was registered after `death.since`. Returns `true` if the address was pruned.
    async fn prune(
        &self,
        app: &AppId,
        address: &Address,
        death: &Death,
        at: Timestamp,
    ) -> Result<bool, StorageError>;

    /// Records a dead address that its device keeps for now. `None` means that the device has another token by now, or was
    /// registered after `death.since`. Then nothing was recorded.
    async fn hold_back(
        &self,
        app: &AppId,
        address: &Address,
        death: &Death,
        at: Timestamp,
    ) -> Result<Option<DeadId>, StorageError>;

    /// Returns a page of dead addresses, ordered by id.
    async fn dead(&self, app: &AppId, query: &DeadQuery) -> Result<Vec<DeadAddress>, StorageError>;

    /// Gives dead addresses back to their devices, as registered at `at`, and deletes their records. An address or device
    /// that has changed since stays as it is. Returns one result for each id, in their order.
    async fn restore(
        &self,
        app: &AppId,
        ids: &[DeadId],
        at: Timestamp,
    ) -> Result<Vec<Restoration>, StorageError>;

    /// Deletes dead addresses of all apps that were pruned or held back before that time, at most `limit` of them. Returns
    /// the number of deleted ones.
    async fn sweep_dead(&self, before: Timestamp, limit: usize) -> Result<usize, StorageError>;

    /// Returns the stored state of a lane's prune guard. `None` means that none was stored.
    async fn prune_guard(
        &self,
        app: &AppId,
        channel: &ChannelName,
    ) -> Result<Option<PruneGuardState>, StorageError>;

    /// Stores the state of a lane's prune guard.
    async fn set_prune_guard(
        &self,
        app: &AppId,
        channel: &ChannelName,
        state: &PruneGuardState,
    ) -> Result<(), StorageError>;
}
