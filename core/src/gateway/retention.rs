//! Deletes stored data whose retention has ended.

use std::sync::Arc;
use std::time::Duration;

use crate::store::Store;
use crate::timestamp::Timestamp;
use crate::worker::WorkerContext;

/// Interval between sweeps.
const INTERVAL: Duration = Duration::from_secs(60);
/// Number of dead addresses deleted in one transaction.
const DEAD_BATCH: usize = 500;

/// Deletes outdated data at every interval until the gateway shuts down. Each step is one short transaction of the queue.
pub(super) async fn sweep(context: Arc<WorkerContext>, retention: Duration) {
    loop {
        let next = context.clock.now() + INTERVAL;
        tokio::select! {
            biased;
            () = context.closing.cancelled() => return,
            () = context.clock.sleep_until(next) => {}
        }
        let mut deleted = 0;
        while !context.closing.is_cancelled() {
            match context.queue.sweep(context.clock.now()).await {
                Ok(0) => break,
                Ok(rows) => deleted += rows,
                Err(error) => {
                    tracing::error!(%error, "data whose retention has ended cannot be deleted; trying again in a minute");
                    break;
                }
            }
        }
        sweep_dead(&*context.store, context.clock.now() - retention).await;
        tracing::debug!(deleted, "sweep done");
    }
}

/// Deletes the dead addresses that were pruned or held back before `before`.
async fn sweep_dead(store: &dyn Store, before: Timestamp) {
    loop {
        match store.sweep_dead(before, DEAD_BATCH).await {
            Ok(DEAD_BATCH..) => {}
            Ok(_) => return,
            Err(error) => {
                return tracing::error!(%error, "old dead addresses cannot be deleted; trying again in a minute");
            }
        }
    }
}
