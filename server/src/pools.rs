//! Connections that channels share: whoever is the same to the vendor and reaches him the same way gets the same transport.
//! Never shares between different credentials, and keeps no connection alive that no channel uses.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use pushgate::Secret;
use pushgate_config::TransportConfig;
use pushgate_transport::HttpTransport;

/// The transports in use.
#[derive(Debug, Default)]
pub(crate) struct Pools(Mutex<Vec<(Owner, Weak<HttpTransport>)>>);

/// Whose connections they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    /// Where they lead to.
    pub(crate) base: String,
    /// All that the vendor knows us by.
    pub(crate) credentials: Vec<Secret>,
    /// How they are made.
    pub(crate) settings: TransportConfig,
}

impl Pools {
    /// The transport of `owner`; `make` makes it for the first channel that asks.
    ///
    /// # Errors
    /// Those of `make`.
    pub(crate) fn of<E>(
        &self,
        owner: Owner,
        make: impl FnOnce() -> Result<Arc<HttpTransport>, E>,
    ) -> Result<Arc<HttpTransport>, E> {
        let mut pools = self.0.lock();
        pools.retain(|(_, transport)| transport.strong_count() > 0);
        let found = pools.iter().find(|(known, _)| *known == owner).and_then(|(_, pool)| pool.upgrade());
        if let Some(transport) = found {
            return Ok(transport);
        }
        let transport = make()?;
        pools.push((owner, Arc::downgrade(&transport)));
        Ok(transport)
    }
}
