//! Who is online, as the IM server knows it.

use async_trait::async_trait;

use crate::device::Platform;
use crate::words::{AppId, UserId};

/// Tells who is online. An embedder answers from her connections; the default says that nobody is.
#[async_trait]
pub trait Presence: Send + Sync + 'static {
    /// The platforms on which the user has a live connection now; empty when he is away.
    async fn online_on(&self, app: &AppId, user: &UserId) -> Vec<Platform>;
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
