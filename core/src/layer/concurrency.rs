//! Bounds how many addresses are in flight at one channel. First come, first served.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Semaphore;

use super::gate::Gate;
use super::inside;
use super::pace::closing;
use crate::channel::PushChannel;
use crate::clock::Clock;
use crate::delivery::Delivery;
use crate::report::Report;

/// The layer.
pub struct Concurrency {
    inside: Arc<dyn PushChannel>,
    slots: Semaphore,
    most: u32,
    gate: Arc<Gate>,
    clock: Arc<dyn Clock>,
}

impl Concurrency {
    /// At most `most` addresses at once; a single larger batch goes alone.
    pub fn new(inside: Arc<dyn PushChannel>, most: u32, gate: Arc<Gate>, clock: Arc<dyn Clock>) -> Self {
        Self { inside, slots: Semaphore::new(most as usize), most, gate, clock }
    }
}

#[async_trait]
impl PushChannel for Concurrency {
    inside!();

    async fn send(&self, delivery: &Delivery) -> Report {
        let wanted = u32::try_from(delivery.targets.len()).unwrap_or(u32::MAX).min(self.most);
        tokio::select! {
            biased;
            () = self.gate.closed() => Report::all_failed(delivery.targets.len(), &closing()),
            slot = self.slots.acquire_many(wanted) => match slot {
                Ok(_slot) => self.inside.send(delivery).await,
                Err(_) => Report::all_failed(delivery.targets.len(), &closing()),
            },
            // The layers inside say that it has expired, and need no slot for that.
            () = self.clock.sleep_until(delivery.message.expires_at()) => self.inside.send(delivery).await,
        }
    }
}
