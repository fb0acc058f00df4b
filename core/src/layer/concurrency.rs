//! Layer that limits the number of addresses in flight on one channel. Deliveries wait in order of arrival.

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

/// Layer that limits the number of addresses in flight.
pub struct Concurrency {
    inner: Arc<dyn PushChannel>,
    slots: Semaphore,
    max_addresses: u32,
    gate: Arc<Gate>,
    clock: Arc<dyn Clock>,
}

impl Concurrency {
    /// Wraps a channel. At most `max_addresses` addresses are in flight at once. A larger delivery is sent alone.
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
        let slots = u32::try_from(delivery.targets.len()).unwrap_or(u32::MAX).min(self.max_addresses);
        tokio::select! {
            biased;
            () = self.gate.closed() => Report::all_failed(delivery.targets.len(), &closing_fault()),
            slot = self.slots.acquire_many(slots) => match slot {
                Ok(_slot) => self.inner.send(delivery).await,
                Err(_) => Report::all_failed(delivery.targets.len(), &closing_fault()),
            },
            // An expired delivery needs no slot: the inner layers only report that it has expired.
            () = self.clock.sleep_until(delivery.message.expires_at()) => self.inner.send(delivery).await,
        }
    }
}
