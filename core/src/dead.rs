//! Addresses that a push service called dead: pruned ones, kept aside so that they can be listed and restored, and those
//! that the prune guard holds back.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::device::Address;
use crate::fault::{Fault, Kind};
use crate::store::StorageError;
use crate::words::{AppId, ChannelName, DeviceId, Timestamp, UserId};

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
    /// Returns the death that a fault proves. Without a date of the push service, it is that of the attempt.
    #[must_use]
    pub fn new(fault: &Fault, attempted_at: Timestamp) -> Self {
        Self {
            since: fault.since.unwrap_or(attempted_at),
            fault: fault.kind,
            vendor_code: fault.vendor_code.clone(),
        }
    }
}

/// Number of a dead address within a store. Later ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeadId(pub i64);

/// An address that a push service called dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadAddress {
    /// Its number.
    pub id: DeadId,
    /// Device that it belonged to.
    pub device: DeviceId,
    /// User of the device at that time.
    pub user: Option<UserId>,
    /// The address. Its token never prints.
    pub address: Address,
    /// The proof.
    pub death: Death,
    /// Time at which it was pruned or held back.
    pub at: Timestamp,
    /// Whether it was pruned.
    pub state: DeadState,
}

/// What became of a dead address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadState {
    /// The device has lost it.
    Pruned,
    /// The prune guard holds it back: the device still has it.
    HeldBack,
}

/// Selection of an app's dead addresses, page by page.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeadQuery {
    /// Only of this channel.
    pub channel: Option<ChannelName>,
    /// Only of these devices; empty means of any device.
    pub devices: Vec<DeviceId>,
    /// Only those in this state.
    pub state: Option<DeadState>,
    /// Only those pruned at this time or later.
    pub since: Option<Timestamp>,
    /// Only those pruned before this time.
    pub until: Option<Timestamp>,
    /// Only those behind this one: the last one of the previous page.
    pub after: Option<DeadId>,
    /// The most addresses of a page.
    pub limit: usize,
}

impl DeadQuery {
    /// The largest page.
    pub const MAX_LIMIT: usize = 1000;

    /// Returns a query for the first page of all dead addresses.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Returns `true` if the address belongs to the selection, pages aside.
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
    /// The device has it again, or it is no longer held back.
    Restored,
    /// It has been registered anew meanwhile, here or on another device, and is left there.
    RegisteredAnew,
    /// Its device has registered another address of the same channel and kind meanwhile.
    Replaced,
    /// Its device is no longer known.
    DeviceGone,
    /// There is no such dead address any more.
    Unknown,
}

/// Counts of a prune guard in its current window. What a store keeps of it survives a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PruneGuardState {
    /// Start of the window; `None` before the first.
    pub window_began: Option<Timestamp>,
    /// Pushes that were accepted in the window.
    pub accepted: u64,
    /// Addresses that were pruned in the window.
    pub pruned: u64,
    /// Whether the alarm about addresses held back is open.
    pub is_alarm_open: bool,
}

/// Keeps dead addresses. A part of [`Store`](crate::Store), because pruning and restoring change devices.
///
/// Every method is atomic. An app has each address at most once among the dead.
#[async_trait]
pub trait DeadAddresses: Send + Sync + 'static {
    /// Takes a dead address off its device, if it still stands as it was: the very token, registered no later than
    /// `death.since`. Keeps it aside, so that it can be restored. Returns `true` if it was pruned.
    async fn prune(
        &self,
        app: &AppId,
        address: &Address,
        death: &Death,
        at: Timestamp,
    ) -> Result<bool, StorageError>;

    /// Remembers a dead address that its device keeps for now. Returns `None` if it does not stand as it was.
    async fn hold_back(
        &self,
        app: &AppId,
        address: &Address,
        death: &Death,
        at: Timestamp,
    ) -> Result<Option<DeadId>, StorageError>;

    /// Returns a page of dead addresses, ordered by id.
    async fn dead(&self, app: &AppId, query: &DeadQuery) -> Result<Vec<DeadAddress>, StorageError>;

    /// Gives dead addresses back to their devices, as registered at `at`, and forgets that they were dead. What has changed
    /// meanwhile is left as it is. Returns one result for each id, in their order.
    async fn restore(
        &self,
        app: &AppId,
        ids: &[DeadId],
        at: Timestamp,
    ) -> Result<Vec<Restoration>, StorageError>;

    /// Forgets dead addresses of all apps that were pruned or held back before that time, at most `limit` of them. Returns
    /// their number.
    async fn sweep_dead(&self, before: Timestamp, limit: usize) -> Result<usize, StorageError>;

    /// Returns the state of a lane's prune guard.
    async fn prune_guard(
        &self,
        app: &AppId,
        channel: &ChannelName,
    ) -> Result<Option<PruneGuardState>, StorageError>;

    /// Keeps the state of a lane's prune guard.
    async fn set_prune_guard(
        &self,
        app: &AppId,
        channel: &ChannelName,
        state: &PruneGuardState,
    ) -> Result<(), StorageError>;
}
