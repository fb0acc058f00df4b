//! Channel whose implementation can be replaced while it sends. New deliveries use the new one. Running ones finish on the
//! previous one, which closes when the last of them ends.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::RwLock;
use pushgate::{Address, ChannelInfo, Delivery, Fault, Message, Probe, PushChannel, Rendered, Report};

/// Channel whose implementation can be replaced at run time.
pub struct SwappableChannel {
    info: ChannelInfo,
    current: RwLock<Arc<dyn PushChannel>>,
}

impl SwappableChannel {
    /// Returns a channel with this first implementation. Its info stays valid for all later ones, because planning and lanes
    /// rely on it.
    #[must_use]
    pub fn new(current: Arc<dyn PushChannel>) -> Self {
        Self { info: current.info().clone(), current: RwLock::new(current) }
    }

    /// Replaces the implementation. The new one must have the same kind and capability; the caller compares them.
    pub fn replace(&self, current: Arc<dyn PushChannel>) {
        let previous = std::mem::replace(&mut *self.current.write(), current);
        // Outside the lock: this may be the last reference, which closes the channel.
        drop(previous);
    }

    fn current(&self) -> Arc<dyn PushChannel> {
        Arc::clone(&self.current.read())
    }
}

#[async_trait]
impl PushChannel for SwappableChannel {
    fn info(&self) -> &ChannelInfo {
        &self.info
    }

    fn admits(&self, address: &Address) -> Result<(), Fault> {
        self.current().admits(address)
    }

    fn render(&self, message: &Message) -> Rendered {
        self.current().render(message)
    }

    async fn send(&self, delivery: &Delivery) -> Report {
        self.current().send(delivery).await
    }

    async fn probe(&self) -> Result<Probe, Fault> {
        self.current().probe().await
    }
}
