//! Bounds how many addresses are in flight at one channel. First come, first served.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Semaphore;

use super::delegate_to_inner;
use super::gate::Gate;
use super::throttle::closing_fault;
use crate::channel::PushChannel;
use crate::clock::Clock;
use crate::delivery::Delivery;
use crate::report::Report;

/// The layer.
pub struct Concurrency {
    inner: Arc<dyn PushChannel>,
    slots: Semaphore,
    max_addresses: u32,
    gate: Arc<Gate>,
    clock: Arc<dyn Clock>,
}

impl Concurrency {
    /// At most `most` addresses at once; a single larger batch goes alone.
    pub fn new(
        inner: Arc<dyn PushChannel>,
        max_addresses: u32,
        gate: Arc<Gate>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { inner, slots: Semaphore::new(max_addresses as usize), max_addresses, gate, clock }
    }
}

#[async_trait]
impl PushChannel for Concurrency {
    delegate_to_inner!();

    async fn send(&self, delivery: &Delivery) -> Report {
        let wanted = u32::try_from(delivery.targets.len()).unwrap_or(u32::MAX).min(self.max_addresses);
        tokio::select! {
            biased;
            () = self.gate.closed() => Report::all_failed(delivery.targets.len(), &closing_fault()),
            slot = self.slots.acquire_many(wanted) => match slot {
                Ok(_slot) => self.inner.send(delivery).await,
                Err(_) => Report::all_failed(delivery.targets.len(), &closing_fault()),
            },
            // The layers inside say that it has expired, and need no slot for that.
            () = self.clock.sleep_until(delivery.message.expires_at()) => self.inner.send(delivery).await,
        }
    }
}
