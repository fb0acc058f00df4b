//! IM server with its loop, its connections (which provide the presence) and its tables (which are the store).

mod chat;
mod dead;
mod tables;

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use pushgate::{AppId, Platform, Presence, UserId};

pub use chat::serve;
pub use tables::Tables;

/// Users with an open connection. A real server has sockets here.
#[derive(Clone, Default)]
pub struct Connections(Arc<Mutex<HashSet<String>>>);

impl Connections {
    /// Marks the user as connected.
    pub fn open(&self, user: &str) {
        self.0.lock().insert(user.to_owned());
    }

    /// Marks the user as disconnected.
    pub fn close(&self, user: &str) {
        self.0.lock().remove(user);
    }

    /// Delivers the text on an open connection. Returns `false` if the user has none.
    pub fn deliver(&self, user: &str, _text: &str) -> bool {
        self.0.lock().contains(user)
    }
}

#[async_trait]
impl Presence for Connections {
    async fn online_on(&self, _app: &AppId, user: &UserId) -> Vec<Platform> {
        if self.0.lock().contains(user.as_str()) { vec![Platform::Web] } else { Vec::new() }
    }
}
