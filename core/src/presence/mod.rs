//! Presence of users, as the IM server reports it.

mod sessions;

use std::collections::HashMap;

use async_trait::async_trait;

use crate::device::{Device, Platform};
use crate::ids::{AppId, DeviceId, UserId};
use crate::timestamp::Timestamp;

pub use sessions::{Session, Sessions};

/// Live connection of a user to the IM server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Connection {
    /// Platform of the connection.
    pub platform: Platform,
    /// Device of the connection. `None` means that it is unknown; then every device of the platform counts as connected.
    pub device: Option<DeviceId>,
}

impl Connection {
    /// Returns `true` if the connection is this device's.
    #[must_use]
    pub fn is_of(&self, device: &Device) -> bool {
        match &self.device {
            Some(id) => *id == device.id,
            None => self.platform == device.traits.platform,
        }
    }
}

/// Source of presence. An embedder implements it with the connections of its IM server. By default nobody is online.
///
/// Only [`Presence::online_on`] is required. The other methods are for sources that know more, or that answer for many
/// users at once.
#[async_trait]
pub trait Presence: Send + Sync + 'static {
    /// Returns the platforms on which the user has a live connection now. Empty means that the user is offline.
    async fn online_on(&self, app: &AppId, user: &UserId) -> Vec<Platform>;

    /// Returns the user's live connections now, with their devices where these are known.
    async fn connections(&self, app: &AppId, user: &UserId) -> Vec<Connection> {
        let platforms = self.online_on(app, user).await;
        platforms.into_iter().map(|platform| Connection { platform, device: None }).collect()
    }

    /// Returns the connections of many users at once. Offline users may be missing.
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

    /// Returns `true` if the user has come online since `at` with a new connection.
    ///
    /// Called before a delivery that had to wait is tried: a user who has come online since got the notification on the
    /// connection. A source without a history returns `false`. Then only currently connected devices are skipped.
    async fn has_connected_since(&self, app: &AppId, user: &UserId, at: Timestamp) -> bool {
        let _ = (app, user, at);
        false
    }
}

/// Presence that reports every user as offline. For callers that submit notifications to offline users only.
#[derive(Debug, Clone, Copy, Default)]
pub struct NobodyOnline;

#[async_trait]
impl Presence for NobodyOnline {
    async fn online_on(&self, _app: &AppId, _user: &UserId) -> Vec<Platform> {
        Vec::new()
    }
}
