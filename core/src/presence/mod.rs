//! Who is online, as the IM server knows it.

mod leases;

use std::collections::HashMap;

use async_trait::async_trait;

use crate::device::{Device, Platform};
use crate::words::{AppId, DeviceId, Timestamp, UserId};

pub use leases::{Leases, Session};

/// A live connection of a user.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Connection {
    /// On which platform.
    pub platform: Platform,
    /// From which device, where that is known; otherwise every device of the platform counts as connected.
    pub device: Option<DeviceId>,
}

impl Connection {
    /// Whether it is this device's.
    #[must_use]
    pub fn is_of(&self, device: &Device) -> bool {
        match &self.device {
            Some(id) => *id == device.id,
            None => self.platform == device.traits.platform,
        }
    }
}

/// Tells who is online. An embedder answers from her connections; the default says that nobody is.
///
/// Only [`Presence::online_on`] must be written; the others are there for those who know more or can tell many at once.
#[async_trait]
pub trait Presence: Send + Sync + 'static {
    /// The platforms on which the user has a live connection now; empty when he is away.
    async fn online_on(&self, app: &AppId, user: &UserId) -> Vec<Platform>;

    /// The user's live connections now, with their devices where those are known.
    async fn connections(&self, app: &AppId, user: &UserId) -> Vec<Connection> {
        let platforms = self.online_on(app, user).await;
        platforms.into_iter().map(|platform| Connection { platform, device: None }).collect()
    }

    /// The connections of many users at once; who is away need not be in it.
    async fn connections_of(&self, app: &AppId, users: &[UserId]) -> HashMap<UserId, Vec<Connection>> {
        let mut online = HashMap::new();
        for user in users {
            let connections = self.connections(app, user).await;
            if !connections.is_empty() {
                online.insert(user.clone(), connections);
            }
        }
        online
    }

    /// Whether the user has come online since `at`, with a connection he did not have before. Asked before a notification
    /// that had to wait is tried: who came meanwhile has got it on his connection. Whoever does not remember says no; then
    /// only a device that is connected at that moment is spared.
    async fn came_since(&self, app: &AppId, user: &UserId, at: Timestamp) -> bool {
        let _ = (app, user, at);
        false
    }
}

/// Nobody is ever online: whoever asks has already found out.
#[derive(Debug, Clone, Copy, Default)]
pub struct NobodyOnline;

#[async_trait]
impl Presence for NobodyOnline {
    async fn online_on(&self, _app: &AppId, _user: &UserId) -> Vec<Platform> {
        Vec::new()
    }
}
