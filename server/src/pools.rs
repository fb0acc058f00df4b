//! Connection pools that channels share. Two channels share one if they reach the same service with the same credentials.
//! Different credentials never share connections, and a pool that no channel uses is closed.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use pushgate::Secret;
use pushgate_config::TransportConfig;
use pushgate_transport::HttpTransport;

/// HTTP clients in use, by their key.
#[derive(Debug, Default)]
pub(crate) struct Pools(Mutex<Vec<(PoolKey, Weak<HttpTransport>)>>);

/// Properties that two channels must have in common to share connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PoolKey {
    /// Base URL of the push service.
    pub(crate) base: String,
    /// Everything that identifies the sender to the push service.
    pub(crate) credentials: Vec<Secret>,
    /// Settings of the connections.
    pub(crate) settings: TransportConfig,
}

impl Pools {
    /// Returns the HTTP client of `key`. Calls `create` if no channel uses one yet.
    ///
    /// # Errors
    /// Those of `create`.
    pub(crate) fn get_or_create<E>(
        &self,
        key: PoolKey,
        create: impl FnOnce() -> Result<Arc<HttpTransport>, E>,
    ) -> Result<Arc<HttpTransport>, E> {
        let mut pools = self.0.lock();
        pools.retain(|(_, transport)| transport.strong_count() > 0);
        let existing = pools.iter().find(|(known, _)| *known == key).and_then(|(_, pool)| pool.upgrade());
        if let Some(transport) = existing {
            return Ok(transport);
        }
        let transport = create()?;
        pools.push((key, Arc::downgrade(&transport)));
        Ok(transport)
    }
}
