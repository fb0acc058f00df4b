//! Storage of devices. Embedders can implement the trait on their own tables, and `tests/kit` has the suite that every
//! implementation must pass.

use std::collections::HashMap;

use async_trait::async_trait;

use crate::dead::DeadAddresses;
use crate::device::{Address, Device};
use crate::ids::{AppId, ChannelName, DeviceId, UserId};
use crate::rules::Rules;
use crate::secret::Secret;
use crate::timestamp::Timestamp;

/// Failure of the storage, with the operation and the cause.
#[derive(Debug, thiserror::Error)]
#[error("storage failed while {operation}: {source}")]
pub struct StorageError {
    /// Operation that failed (`registering a device`).
    pub operation: &'static str,
    /// Cause of the failure.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl StorageError {
    /// Creates an error from the operation that failed and its cause.
    pub fn new(operation: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { operation, source: source.into() }
    }
}

/// Registration of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Device with its full set of addresses.
    pub device: Device,
    /// Identification of the device: by its id or by its addresses.
    pub identified_by: IdentifiedBy,
    /// Old address that one of the new ones replaces, because the push service issued a new token.
    pub replaces: Option<Address>,
    /// Maximum number of devices of its user. Beyond it, those registered longest ago are deleted.
    pub max_devices: usize,
    /// Permission to take the device over from another user.
    pub takeover: Takeover,
}

/// Permission to take over a device on which another user is logged in. A store checks it in the transaction of the change,
/// so that no other change comes in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Takeover {
    /// Always permitted. For callers that act for the whole app.
    #[default]
    Always,
    /// Permitted with one of the device's current addresses, which proves access to the device. A login has no address.
    WithAddress,
}

/// Replacement of a token by a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement {
    /// Address with the old token.
    pub old: Address,
    /// New token, of the same channel and kind.
    pub new: Secret,
    /// New time of registration.
    pub at: Timestamp,
    /// User that the device has to belong to. `None` means any user, or none.
    pub user: Option<UserId>,
}

/// Identification of the device in a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentifiedBy {
    /// Identified by its id.
    Id,
    /// Identified by its addresses. A stored device that holds one of them, or the replaced one, is the same device and keeps
    /// its id. The id in the registration is for a new device.
    Address,
}

impl Registration {
    /// Default maximum number of devices of one user.
    pub const DEFAULT_MAX_DEVICES: usize = 10;

    /// Returns `true` if this registration may replace what is stored under its device's id.
    #[must_use]
    pub fn may_take_over(&self, known: &Device) -> bool {
        let brings = |address: &Address| known.addresses.contains(address);
        self.takeover == Takeover::Always
            || known.user.is_none()
            || known.user == self.device.user
            || self.device.addresses.iter().chain(&self.replaces).any(brings)
    }
}

impl From<Device> for Registration {
    fn from(device: Device) -> Self {
        Self {
            device,
            identified_by: IdentifiedBy::Id,
            replaces: None,
            max_devices: Self::DEFAULT_MAX_DEVICES,
            takeover: Takeover::Always,
        }
    }
}

/// Result of a registration or login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// Id of the device, from the registration or from the stored device.
    pub id: DeviceId,
    /// `true` if the device was not known before.
    pub created: bool,
    /// Devices of the same user that were deleted because there were too many.
    pub dropped: Vec<DeviceId>,
}

/// Login of a user on a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// App of the device.
    pub app: AppId,
    /// Device on which the user logs in.
    pub device: DeviceId,
    /// User who logs in.
    pub user: UserId,
    /// Time of the login.
    pub at: Timestamp,
    /// Maximum number of devices of the user, as in [`Registration::max_devices`].
    pub max_devices: usize,
    /// Permission to take the device over from another user.
    pub takeover: Takeover,
}

impl Login {
    /// Returns `true` if this login may replace that of the user who is logged in.
    #[must_use]
    pub fn may_take_over(&self, known: Option<&UserId>) -> bool {
        self.takeover == Takeover::Always || known.is_none_or(|known| *known == self.user)
    }
}

/// Change of a user's counter of unread notifications.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Sets the counter.
    Set(u32),
    /// Adds to the counter.
    Raise(u32),
    /// Subtracts from the counter, which never falls below zero.
    Lower(u32),
}

impl Count {
    /// Returns the counter after the change.
    #[must_use]
    pub const fn of(self, before: u32) -> u32 {
        match self {
            Self::Set(number) => number,
            Self::Raise(by) => before.saturating_add(by),
            Self::Lower(by) => before.saturating_sub(by),
        }
    }
}

/// Storage of devices, and of their users' push rules and counters.
///
/// Every method is atomic. Concurrent calls take effect one after the other.
#[async_trait]
pub trait Store: DeadAddresses {
    /// Creates or replaces the device and its full set of addresses. Idempotent.
    ///
    /// An address (app, channel, token) belongs to one device, so an address that another device holds moves to this one.
    /// `None` means that the device is another user's and may not be taken over. Then nothing was changed.
    async fn register(&self, registration: Registration) -> Result<Option<Registered>, StorageError>;

    /// Binds a known device to a user. `None` means that the device is unknown, or is another user's and may not be taken over.
    /// Then nothing was changed.
    async fn bind(&self, login: Login) -> Result<Option<Registered>, StorageError>;

    /// Unbinds a device from its user. With a `user`, only while it is bound to them. The device and its addresses stay.
    /// Returns `true` if it was bound so.
    async fn unbind(&self, app: &AppId, id: &DeviceId, user: Option<&UserId>) -> Result<bool, StorageError>;

    /// Unbinds a known device and removes its addresses on these channels. With an owner, only while it is bound to them.
    /// Returns `false` if it is not known or not the owner's. Then nothing was changed.
    async fn detach(
        &self,
        app: &AppId,
        id: &DeviceId,
        owner: Option<&UserId>,
        channels: &[ChannelName],
    ) -> Result<bool, StorageError>;

    /// Returns the device with this id. `None` means that it is unknown.
    async fn device(&self, app: &AppId, id: &DeviceId) -> Result<Option<Device>, StorageError>;

    /// Returns the known devices among these ids, in the order of the ids.
    async fn devices(&self, app: &AppId, ids: &[DeviceId]) -> Result<Vec<Device>, StorageError> {
        let mut devices = Vec::with_capacity(ids.len());
        for id in ids {
            devices.extend(self.device(app, id).await?);
        }
        Ok(devices)
    }

    /// Returns the devices of these users, in a stable order.
    async fn devices_of(&self, app: &AppId, users: &[UserId]) -> Result<Vec<Device>, StorageError>;

    /// Returns at most `limit` of the app's devices with an id greater than `after`, ordered by id. For iterating over all
    /// devices without holding them in memory.
    async fn page(
        &self,
        app: &AppId,
        after: Option<&DeviceId>,
        limit: usize,
    ) -> Result<Vec<Device>, StorageError>;

    /// Deletes the device and its addresses, dead ones too. With an owner, only while it is bound to them. Returns `false` if
    /// it is not known or not the owner's. Then nothing was changed.
    async fn forget(&self, app: &AppId, id: &DeviceId, owner: Option<&UserId>) -> Result<bool, StorageError>;

    /// Removes an address from the device that holds it, because the device itself reported the address as invalid. Returns
    /// that device. `None` means that no device holds the address.
    async fn release(&self, app: &AppId, address: &Address) -> Result<Option<DeviceId>, StorageError>;

    /// Replaces the token of an address. Returns the device that held it. `None` means that no device holds it, or that its
    /// device belongs to another user than the replacement requires. Then nothing was changed.
    ///
    /// No address moves to another user by this. If a device of another user has registered the new token, the token stays
    /// there and the old address is deleted.
    async fn replace(&self, app: &AppId, replacement: Replacement) -> Result<Option<DeviceId>, StorageError>;

    /// Returns the push rules of these users. Users without rules are not in the result.
    async fn rules(&self, app: &AppId, users: &[UserId]) -> Result<HashMap<UserId, Rules>, StorageError>;

    /// Replaces a user's push rules. Empty rules delete the stored ones.
    async fn set_rules(&self, app: &AppId, user: &UserId, rules: &Rules) -> Result<(), StorageError>;

    /// Changes the counters of these users, which start at zero. Returns the new values.
    async fn count(
        &self,
        app: &AppId,
        users: &[UserId],
        change: Count,
    ) -> Result<HashMap<UserId, u32>, StorageError>;
}
