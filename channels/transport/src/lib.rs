//! The one HTTP client all channels send through: pools of HTTP/2 connections on `h2` and rustls, HTTP/1.1 where a peer
//! has nothing better. Follows no redirect, repeats nothing a peer may have acted on, and has a deadline on everything.

mod addresses;
mod builder;
mod destinations;
mod dial;
mod goaway;
mod http1;
mod http2;
mod io;
mod origin;
mod pool;
mod pools;
mod proxy;
mod resolve;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pushgate::{Request, Response, Transport, TransportError};

pub use builder::{BuildError, Builder};
pub use destinations::Destinations;
pub use resolve::Resolve;
pub use tls::Roots;

use destinations::Guard;
use dial::{Dialler, Target};
use origin::Sending;
use pool::Pool;
use pools::Pools;

/// A cheap handle; when the last one is dropped, idle connections close.
#[derive(Clone)]
pub struct HttpTransport {
    inner: Arc<Inner>,
}

struct Inner {
    guard: Guard,
    dialler: Arc<Dialler>,
    limits: Limits,
    pools: Pools,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) connect_timeout: Duration,
    pub(crate) max_connections: usize,
    pub(crate) idle_ping: Duration,
    pub(crate) first_stream_alone: bool,
}

impl HttpTransport {
    /// System roots, no proxy, any destination, five seconds to connect, at most 32 connections an origin, a PING after 30
    /// idle seconds.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn new(guard: Guard, dialler: Dialler, limits: Limits) -> Self {
        let pools = Pools::default();
        Self { inner: Arc::new(Inner { guard, dialler: Arc::new(dialler), limits, pools }) }
    }

    fn pool(&self, uri: &http::Uri) -> Result<Arc<Pool>, TransportError> {
        let refused = |why: &str| TransportError::Refused {
            host: uri.host().unwrap_or("(no host)").to_owned(),
            why: why.to_owned(),
        };
        let addresses = self.inner.guard.judge(uri).map_err(refused)?;
        let authority = uri.authority().ok_or_else(|| refused("the address has no host"))?;
        let tls = uri.scheme_str() == Some("https");
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let host = authority.host();
        Ok(self.inner.pools.pool(tls, format!("{host}:{port}"), || {
            let target = Target { host: host.to_owned(), port, tls, addresses };
            Pool::new(target, Arc::clone(&self.inner.dialler), self.inner.limits)
        }))
    }
}

#[async_trait]
impl Transport for HttpTransport {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let pool = self.pool(&request.uri)?;
        let after = request.timeout;
        let mut sending = Sending { pool: &pool, request: &request, given_back: None };
        let in_time = tokio::time::timeout(after, sending.run()).await;
        match in_time {
            Ok(result) => result,
            // The peer has certainly not looked at a request that it gave back, and says why.
            Err(_) => Err(sending
                .given_back
                .unwrap_or_else(|| TransportError::Timeout { host: pool.host().to_owned(), after })),
        }
    }
}
