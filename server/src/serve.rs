//! Serving: the listener, and a stop that loses nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use pushgate::Gateway;
use pushgate_config::Config;
use tokio::net::TcpListener;

use crate::doors::{House, router};
use crate::keys::Keyring;
use crate::tokens::UserKeys;

/// A gateway that answers at its doors.
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    gateway: Gateway,
    drain: Duration,
    stop: tokio::sync::oneshot::Sender<()>,
    served: tokio::task::JoinHandle<std::io::Result<()>>,
}

/// Opens the doors of a gateway.
///
/// # Errors
/// When the address is taken, or a user key is not of its kind.
pub async fn open(
    config: &Config,
    gateway: Gateway,
    metrics: Option<PrometheusHandle>,
) -> std::io::Result<Running> {
    let listener = TcpListener::bind(config.server.listen).await?;
    let address = listener.local_addr()?;
    let user_keys = config.apps.iter().map(|(id, app)| (id, app.user_keys.as_slice()));
    let house = House {
        gateway: gateway.clone(),
        user_keys: UserKeys::new(user_keys).map_err(std::io::Error::other)?,
        keys: Keyring::new(&config.keys),
        lease: config.presence.lease,
        max_body: config.server.max_body,
        max_header: config.server.max_header,
        patience: config.server.request_timeout,
        public_metrics: config.server.public_metrics,
        metrics,
    };
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let stopped = async move {
        // A dropped sender stops it, too.
        let _ = stopped.await;
    };
    let serving = axum::serve(listener, router(Arc::new(house))).with_graceful_shutdown(stopped);
    let served = tokio::spawn(async move { serving.await });
    Ok(Running { address, gateway, drain: config.server.shutdown_grace, stop, served })
}

impl Running {
    /// Takes no more requests, ends the attempts under way, gives back the rest.
    pub async fn stop(self) {
        // It may have stopped by itself.
        let _ = self.stop.send(());
        let requests = tokio::time::timeout(self.drain, self.served).await;
        if requests.is_err() {
            tracing::warn!("requests still open after the grace period are cut");
        }
        self.gateway.shutdown(self.drain).await;
    }
}
