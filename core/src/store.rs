//! Where devices are kept. A trait, so that an embedder can put it on her own tables; `tests/kit` has the suite it must pass.

use std::collections::HashMap;

use async_trait::async_trait;

use crate::dead::DeadAddresses;
use crate::device::{Address, Device};
use crate::rules::Rules;
use crate::words::{AppId, ChannelName, DeviceId, Secret, Timestamp, UserId};

/// Storage failed: what was being done, and the cause.
#[derive(Debug, thiserror::Error)]
#[error("storage failed while {doing}: {source}")]
pub struct StorageError {
    /// What was being done (`registering a device`).
    pub doing: &'static str,
    /// The cause.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl StorageError {
    /// With what was being done and its cause.
    pub fn new(doing: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { doing, source: source.into() }
    }
}

/// A device that makes itself known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The device, with exactly the addresses it has now.
    pub device: Device,
    /// Whether its id is to be kept or found.
    pub named: Named,
    /// The address that one of the new ones takes the place of: the vendor gave a new token.
    pub replaces: Option<Address>,
    /// The most devices of its user: beyond it, those registered longest ago are forgotten.
    pub most: usize,
    /// Who may take the device over from another user.
    pub takeover: Takeover,
}

/// Who may take over a device that another user is logged in on. A store checks it in the transaction of the change, so that
/// nobody comes in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Takeover {
    /// Everybody: the caller speaks for the whole app.
    #[default]
    Always,
    /// Who brings one of the addresses that the device holds: they sit in front of it. A login brings none.
    WithAddress,
}

/// A new token in the place of an old one.
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

/// How a device is told from the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// By its id.
    ById,
    /// By its addresses: whoever holds one of them, or the one that is replaced, is this device and keeps its id.
    /// The id given is for a device that nobody knows yet.
    ByAddress,
}

impl Registration {
    /// The most devices of one user, unless said otherwise.
    pub const MOST: usize = 10;

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
        Self { device, named: Named::ById, replaces: None, most: Self::MOST, takeover: Takeover::Always }
    }
}

/// What a registration changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// The device's id, given or found.
    pub id: DeviceId,
    /// It was not known before.
    pub created: bool,
    /// Devices of the same user that were forgotten, because there were too many.
    pub dropped: Vec<DeviceId>,
}

/// A user who logs in on a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The app.
    pub app: AppId,
    /// On which device.
    pub device: DeviceId,
    /// Who.
    pub user: UserId,
    /// When.
    pub at: Timestamp,
    /// As [`Registration::most`].
    pub most: usize,
    /// Who may take the device over from another user.
    pub takeover: Takeover,
}

impl Login {
    /// Returns `true` if this login may replace that of the user who is logged in.
    #[must_use]
    pub fn may_take_over(&self, known: Option<&UserId>) -> bool {
        self.takeover == Takeover::Always || known.is_none_or(|known| *known == self.user)
    }
}

/// What becomes of a user's counter of unread notifications.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// It is this.
    Set(u32),
    /// It rises by so much.
    Raise(u32),
    /// It falls by so much, never below zero.
    Lower(u32),
}

impl Count {
    /// What a counter becomes.
    #[must_use]
    pub const fn of(self, before: u32) -> u32 {
        match self {
            Self::Set(number) => number,
            Self::Raise(by) => before.saturating_add(by),
            Self::Lower(by) => before.saturating_sub(by),
        }
    }
}

/// Where devices are kept, and what their users want.
///
/// Every method is atomic: of two that run at once, one sees what the other has left.
#[async_trait]
pub trait Store: DeadAddresses {
    /// Makes the device known as given, with exactly these addresses. Idempotent.
    /// An address (app, channel, token) that another device holds moves here: it belongs to one device, so to one user.
    /// `None` means that the device is another user's and may not be taken over; nothing was changed.
    async fn register(&self, registration: Registration) -> Result<Option<Registered>, StorageError>;

    /// Binds a known device to a user. What it changed; `None` means that no such device is known, or that it is another user's
    /// and may not be taken over.
    async fn bind(&self, login: Login) -> Result<Option<Registered>, StorageError>;

    /// Unbinds a device from its user, or from this one only; the device and its addresses stay. Whether it was so bound.
    async fn unbind(&self, app: &AppId, id: &DeviceId, user: Option<&UserId>) -> Result<bool, StorageError>;

    /// Unbinds a known device and takes its addresses on these channels away. With an owner, only while it is bound to them.
    /// Returns `false` if it is not known or not the owner's; then nothing was changed.
    async fn detach(
        &self,
        app: &AppId,
        id: &DeviceId,
        owner: Option<&UserId>,
        channels: &[ChannelName],
    ) -> Result<bool, StorageError>;

    /// The device of that id.
    async fn device(&self, app: &AppId, id: &DeviceId) -> Result<Option<Device>, StorageError>;

    /// The devices of these ids that are known, in the order of the ids.
    async fn devices(&self, app: &AppId, ids: &[DeviceId]) -> Result<Vec<Device>, StorageError> {
        let mut devices = Vec::with_capacity(ids.len());
        for id in ids {
            devices.extend(self.device(app, id).await?);
        }
        Ok(devices)
    }

    /// The devices of these users, in a stable order.
    async fn devices_of(&self, app: &AppId, users: &[UserId]) -> Result<Vec<Device>, StorageError>;

    /// At most so many of the app's devices whose id is greater than `after`, ordered by id: for walking through all of
    /// them without holding them in memory.
    async fn page(
        &self,
        app: &AppId,
        after: Option<&DeviceId>,
        most: usize,
    ) -> Result<Vec<Device>, StorageError>;

    /// Forgets the device and its addresses, dead ones too. With an owner, only while it is bound to them. Returns `false` if it is
    /// not known or not the owner's; then nothing was changed.
    async fn forget(&self, app: &AppId, id: &DeviceId, owner: Option<&UserId>) -> Result<bool, StorageError>;

    /// Takes an address off whoever holds it: the device itself said that it is no longer reached there.
    /// The device; none when nobody holds the address.
    async fn release(&self, app: &AppId, address: &Address) -> Result<Option<DeviceId>, StorageError>;

    /// Replaces the token of an address. Returns the device that held it; `None` means that no device does, or one of another
    /// user than the replacement demands, and that nothing was changed. A new token that a device of another user has
    /// registered stays there, and the old address is forgotten: no address goes to another user by this.
    async fn replace(&self, app: &AppId, replacement: Replacement) -> Result<Option<DeviceId>, StorageError>;

    /// The rules of those of these users who have any.
    async fn rules(&self, app: &AppId, users: &[UserId]) -> Result<HashMap<UserId, Rules>, StorageError>;

    /// Replaces a user's rules; empty ones are forgotten.
    async fn set_rules(&self, app: &AppId, user: &UserId, rules: &Rules) -> Result<(), StorageError>;

    /// Changes the counters of these users, which begin at zero, and gives what they are then.
    async fn count(
        &self,
        app: &AppId,
        users: &[UserId],
        change: Count,
    ) -> Result<HashMap<UserId, u32>, StorageError>;
}
