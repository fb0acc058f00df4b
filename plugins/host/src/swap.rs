//! A channel whose inside can be exchanged while deliveries go through it: new ones take the new inside, those under way end
//! in the old one, which closes when the last of them has ended.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::RwLock;
use pushgate::{Address, ChannelInfo, Delivery, Fault, Message, Probe, PushChannel, Rendered, Report};

/// The channel.
pub struct Swap {
    info: ChannelInfo,
    inside: RwLock<Arc<dyn PushChannel>>,
}

impl Swap {
    /// With a first inside, whose info is the channel's for good: planning and lanes rely on it.
    #[must_use]
    pub fn new(inside: Arc<dyn PushChannel>) -> Self {
        Self { info: inside.info().clone(), inside: RwLock::new(inside) }
    }

    /// Exchanges the inside. The new one must be able to do what the old one could: compare their descriptions before.
    pub fn exchange(&self, inside: Arc<dyn PushChannel>) {
        let old = std::mem::replace(&mut *self.inside.write(), inside);
        // Outside of the lock: this may be the last of it.
        drop(old);
    }

    fn inside(&self) -> Arc<dyn PushChannel> {
        Arc::clone(&self.inside.read())
    }
}

#[async_trait]
impl PushChannel for Swap {
    fn info(&self) -> &ChannelInfo {
        &self.info
    }

    fn admits(&self, address: &Address) -> Result<(), Fault> {
        self.inside().admits(address)
    }

    fn render(&self, message: &Message) -> Rendered {
        self.inside().render(message)
    }

    async fn send(&self, delivery: &Delivery) -> Report {
        self.inside().send(delivery).await
    }

    async fn probe(&self) -> Result<Probe, Fault> {
        self.inside().probe().await
    }
}
