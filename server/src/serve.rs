//! Serves the API on its listener. A shutdown loses no accepted notification and ends by one deadline.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use pushgate::Gateway;
use pushgate_config::{Config, ConfigError};
use tokio::time::Instant;

use crate::api::bodies::BodyBudget;
use crate::api::{AppState, router};
use crate::keys::Keyring;
use crate::listener::{Bound, Listener, Shutdown};
use crate::rotation::RotationLimit;
use crate::tokens::UserKeys;

/// Interval at which the metrics recorder aggregates histogram samples. Without it they accumulate until the next scrape.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Gateway that serves its API. [`Running::stop`] ends it in order. Dropping it closes every connection at once.
pub struct Running {
    /// Address of the listener.
    pub address: SocketAddr,
    gateway: Gateway,
    grace: Duration,
    listener: Listener,
    _upkeep: Option<Upkeep>,
}

/// Binds the listener and serves the API of a gateway.
///
/// # Errors
/// When the address is in use, the limit of open descriptors is too low, or a user key is invalid.
pub async fn open(
    config: &Config,
    gateway: Gateway,
    metrics: Option<PrometheusHandle>,
) -> std::io::Result<Running> {
    let bound = Bound::bind(&config.server).await?;
    let address = bound.address()?;
    let shutdown = Shutdown::default();
    let upkeep = metrics.clone().map(|metrics| Upkeep::every(UPKEEP_INTERVAL, move || metrics.run_upkeep()));
    let state = AppState {
        gateway: gateway.clone(),
        user_keys: user_keys(config).map_err(std::io::Error::other)?,
        keys: Keyring::new(&config.keys),
        presence_expiry: config.presence.lease,
        max_body: config.server.max_body,
        bodies: BodyBudget::new(config.server.max_body_bytes_in_flight, shutdown.closing.clone()),
        rotations: RotationLimit::new(
            config.limits.rotations_per_minute,
            config.server.client_address_header.as_deref(),
        ),
        rotation_proof: config.server.rotation_without_user_token,
        shutdown: shutdown.clone(),
        max_header: config.server.max_header,
        request_timeout: config.server.request_timeout,
        public_metrics: config.server.public_metrics,
        metrics,
    };
    let listener = bound.serve(router(Arc::new(state)), shutdown);
    Ok(Running { address, gateway, grace: config.server.shutdown_grace, listener, _upkeep: upkeep })
}

/// Parses the configured keys that verify user tokens.
///
/// # Errors
/// The first key that does not fit its algorithm.
pub(crate) fn user_keys(config: &Config) -> Result<UserKeys, ConfigError> {
    let keys = config.apps.iter().map(|(id, app)| (id, app.user_keys.as_slice()));
    UserKeys::new(keys).map_err(|error| error.in_config(config))
}

impl Running {
    /// Shuts the gateway down. It accepts no further requests and starts no new attempts, and waits for those in progress.
    ///
    /// The wait ends after the configured grace period. Unfinished deliveries return to the queue.
    pub async fn stop(self) {
        let deadline = Instant::now() + self.grace;
        // Lanes and requests finish at the same time, within one deadline.
        self.gateway.begin_shutdown();
        self.listener.close(deadline).await;
        self.gateway.shutdown(deadline.saturating_duration_since(Instant::now())).await;
    }
}

/// Periodic task. Ends when dropped.
struct Upkeep(tokio::task::JoinHandle<()>);

impl Upkeep {
    /// Starts a task that calls `run` at this interval.
    fn every(interval: Duration, run: impl Fn() + Send + 'static) -> Self {
        Self(tokio::spawn(async move {
            loop {
                tokio::time::sleep(interval).await;
                run();
            }
        }))
    }
}

impl Drop for Upkeep {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn upkeep_runs_periodically_until_it_is_dropped() {
        let (ran, mut runs) = tokio::sync::mpsc::unbounded_channel();
        let upkeep = Upkeep::every(Duration::from_millis(1), move || {
            // The test may have ended.
            let _ = ran.send(());
        });
        for _ in 0..3 {
            assert!(runs.recv().await.is_some());
        }
        drop(upkeep);
        while runs.recv().await.is_some() {}
    }
}
