//! Time, handed in: what the hour is, and waiting for an hour. Nothing else in the workspace waits on the wall clock.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use crate::words::Timestamp;

/// The wall clock.
#[async_trait]
pub trait Clock: Send + Sync + 'static {
    /// What the hour is.
    fn now(&self) -> Timestamp;
    /// Returns when `at` has come, at once if it has passed.
    async fn sleep_until(&self, at: Timestamp);
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }

    async fn sleep_until(&self, at: Timestamp) {
        // The wall clock may be set while we sleep: look again at least once a minute.
        loop {
            let left = at.since(self.now());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(Duration::from_secs(60))).await;
        }
    }
}
