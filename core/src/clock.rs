//! The clock that every component takes as a parameter. Nothing else in the workspace waits on the wall clock.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use crate::timestamp::Timestamp;

/// Wall clock.
#[async_trait]
pub trait Clock: Send + Sync + 'static {
    /// Returns the current time.
    fn now(&self) -> Timestamp;
    /// Waits until `at`. Returns at once if that time has passed.
    async fn sleep_until(&self, at: Timestamp);
}

/// Clock of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }

    async fn sleep_until(&self, at: Timestamp) {
        // Somebody may set the wall clock during the sleep, so it is read again at least once a minute.
        loop {
            let remaining = at.since(self.now());
            if remaining.is_zero() {
                return;
            }
            tokio::time::sleep(remaining.min(Duration::from_secs(60))).await;
        }
    }
}
