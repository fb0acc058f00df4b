//! Settles deliveries that expired in the queue.
//!
//! A lane that is paused, full or no longer configured leases no deliveries. Theirs still reach a final status soon after their
//! time to live.

use std::sync::Arc;
use std::time::Duration;

use super::Gateway;
use crate::delivery::Delivery;
use crate::fault::{Fault, Kind};
use crate::observe::Event;
use crate::queue::{Completion, Finished, Lease};
use crate::receipt::{Receipt, State};
use crate::store::StorageError;
use crate::worker::WorkerContext;

/// Interval between two passes over the queue.
const INTERVAL: Duration = Duration::from_secs(15);
/// Maximum number of deliveries leased by one query.
const BATCH: usize = 256;
/// Delay before a failed storage operation is tried again.
const STORAGE_RETRY_DELAY: Duration = Duration::from_secs(1);

/// Settles expired deliveries until the gateway shuts down.
pub(super) async fn settle_expired(context: Arc<WorkerContext>) {
    loop {
        let pass = async {
            if let Err(error) = run_pass(&context).await {
                tracing::error!(%error, "expired deliveries cannot be settled; trying again");
            }
            context.clock.sleep_until(context.clock.now() + INTERVAL).await;
        };
        tokio::select! {
            biased;
            () = context.closing.cancelled() => return,
            () = pass => {}
        }
    }
}

/// Settles every delivery that has expired by now.
async fn run_pass(context: &WorkerContext) -> Result<(), StorageError> {
    loop {
        let leases = context.queue.lease_expired(context.node, context.clock.now(), BATCH).await?;
        let is_last = leases.len() < BATCH;
        for lease in leases {
            settle(context, lease).await;
        }
        if is_last {
            return Ok(());
        }
    }
}

/// Writes the receipts of an expired delivery and notifies observers.
async fn settle(context: &WorkerContext, lease: Lease) {
    let Lease { delivery, epoch } = lease;
    let (id, app) = (delivery.message.id, delivery.message.app.clone());
    let receipts = receipts(&delivery, context.clock.now());
    let finish = Completion {
        delivery: delivery.id,
        notification: id,
        app: app.clone(),
        epoch,
        receipts: receipts.clone(),
        again: Vec::new(),
    };
    // Retries until the result is stored: otherwise the lease would stay held as long as this node lives.
    let finished = loop {
        match context.queue.finish(finish.clone()).await {
            Ok(finished) => break finished,
            Err(error) => {
                tracing::error!(notification = %id, %error, "an expired delivery cannot be settled; trying again");
                context.clock.sleep_until(context.clock.now() + STORAGE_RETRY_DELAY).await;
            }
        }
    };
    if finished == Finished::Fenced {
        return;
    }
    for receipt in receipts {
        context.notify_observers(&Event::Receipt { id, app: app.clone(), receipt });
    }
    (context.notify_settled)(id);
}

/// Returns a receipt with the state `expired` for each target of the delivery.
fn receipts(delivery: &Delivery, now: crate::Timestamp) -> Vec<Receipt> {
    let fault = Fault::new(Kind::Expired, format!("it expired at {}", delivery.message.expires_at()));
    let receipt = |target| Receipt {
        state: State::Expired,
        fault: Some(fault.clone()),
        ..Receipt::withdrawn(delivery, target, now)
    };
    delivery.targets.iter().map(receipt).collect()
}

impl Gateway {
    /// Opens the lanes that have deliveries waiting, and reports those that no configured channel serves.
    ///
    /// # Errors
    /// [`StorageError`] if storage cannot be read.
    pub(super) async fn open_waiting_lanes(&self) -> Result<(), StorageError> {
        for (app, channel) in self.queue().lanes().await? {
            let lane = self.app(&app).and_then(|known| self.lane(&app, known, &channel));
            if lane.is_some() {
                continue;
            }
            let waiting = self.queue().count_waiting(&app, &channel).await?;
            let labels = [("app", app.to_string()), ("channel", channel.to_string())];
            metrics::gauge!("pushgate_unconfigured_deliveries", &labels)
                .set(f64::from(u32::try_from(waiting).unwrap_or(u32::MAX)));
            tracing::error!(
                %app, %channel, waiting,
                "{waiting} deliveries of app `{app}` wait for channel `{channel}`, which is not configured; configure it again, or they expire"
            );
        }
        Ok(())
    }
}
