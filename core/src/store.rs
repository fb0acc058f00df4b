//! Where devices are kept. A trait, so that an embedder can put it on her own tables; `tests/kit` has the suite it must pass.

use async_trait::async_trait;

use crate::device::{Address, Device};
use crate::words::{AppId, DeviceId, Secret, Timestamp, UserId};

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

/// What a registration changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registered {
    /// The device was not known before.
    Created,
    /// The device was known; now it is as given.
    Updated,
}

/// Where devices are kept.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Makes the device known as given, with exactly these addresses. Idempotent.
    /// An address (app, channel, token) that another device holds moves here: it belongs to one device, so to one user.
    async fn register(&self, device: Device) -> Result<Registered, StorageError>;

    /// The device of that id.
    async fn device(&self, app: &AppId, id: &DeviceId) -> Result<Option<Device>, StorageError>;

    /// The devices of these users, in a stable order.
    async fn devices_of(&self, app: &AppId, users: &[UserId]) -> Result<Vec<Device>, StorageError>;

    /// Forgets the device and its addresses. Whether it was known.
    async fn forget(&self, app: &AppId, id: &DeviceId) -> Result<bool, StorageError>;

    /// Forgets an address that a vendor proved dead, if it still stands as it was: the very token, registered no later than
    /// `dead_since`. Whether it was forgotten. A pruned address is kept aside, so that it can be restored.
    async fn prune(
        &self,
        app: &AppId,
        address: &Address,
        dead_since: Timestamp,
    ) -> Result<bool, StorageError>;

    /// Puts a new token in the place of an old one, registered at `at`. Whether the old one was known.
    async fn replace(
        &self,
        app: &AppId,
        old: &Address,
        new: &Secret,
        at: Timestamp,
    ) -> Result<bool, StorageError>;
}
