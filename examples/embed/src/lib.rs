//! An IM server: its loop, its connections, which are its presence, and its tables, which are its store.

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

/// Who is connected. A real one has sockets here.
#[derive(Clone, Default)]
pub struct Connections(Arc<Mutex<HashSet<String>>>);

impl Connections {
    /// The user's page is open.
    pub fn open(&self, user: &str) {
        self.0.lock().insert(user.to_owned());
    }

    /// It is not.
    pub fn close(&self, user: &str) {
        self.0.lock().remove(user);
    }

    /// Whether the user got the text on his connection.
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
