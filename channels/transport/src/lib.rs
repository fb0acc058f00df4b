//! HTTP client of all channels: pooled HTTP/2 connections on `h2` and rustls, HTTP/1.1 for peers without HTTP/2.
//! It follows no redirect, never repeats a request that a peer may have processed, and puts a deadline on everything.

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

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use pushgate::{Request, Response, Transport, TransportError};

pub use builder::{BuildError, Builder};
pub use destinations::Destinations;
pub use resolve::Resolve;
pub use tls::Roots;

use destinations::Guard;
use dial::{Dialler, Scheme, Target};
use origin::Sending;
use pool::Pool;
use pools::Pools;

/// Cheaply cloneable handle to the connection pools. Idle connections close when the last handle is dropped.
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
    /// Returns a builder with the defaults: system roots, no proxy, any destination, a connect timeout of five seconds, at
    /// most 32 connections per origin, and a PING after 30 idle seconds.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn new(guard: Guard, dialler: Dialler, limits: Limits) -> Self {
        let pools = Pools::default();
        Self { inner: Arc::new(Inner { guard, dialler: Arc::new(dialler), limits, pools }) }
    }

    /// Returns the pool of the URI's origin. The guard is asked only when a pool is created: its verdict on an origin never
    /// changes.
    fn pool(&self, uri: &http::Uri) -> Result<Arc<Pool>, TransportError> {
        let refused = |why: &str| TransportError::Refused {
            host: uri.host().unwrap_or("(no host)").to_owned(),
            why: why.to_owned(),
        };
        let (scheme, usual_port) = match uri.scheme_str() {
            Some("https") => (Scheme::Https, 443),
            Some("http") => (Scheme::Http, 80),
            _ => return Err(refused("only http and https addresses can be dialled")),
        };
        let authority = uri.authority().ok_or_else(|| refused("the address has no host"))?;
        self.inner.pools.pool(scheme, authority.as_str(), || {
            let addresses = self.inner.guard.check(uri).map_err(refused)?;
            let port = authority.port_u16().unwrap_or(usual_port);
            let target = Target { host: authority.host().to_owned(), port, scheme, addresses };
            Ok(Pool::new(target, Arc::clone(&self.inner.dialler), self.inner.limits))
        })
    }
}

impl Transport for HttpTransport {
    // Expanded by hand: the future that `#[async_trait]` generates holds the request twice and exceeds a kilobyte, which
    // makes its allocation the most expensive one of a push.
    fn send<'life0, 'async_trait>(
        &'life0 self,
        request: Request,
    ) -> Pin<Box<dyn Future<Output = Result<Response, TransportError>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move {
            let pool = self.pool(&request.uri)?;
            let mut sending = Sending { pool: &pool, request: &request, returned: None };
            match tokio::time::timeout(request.timeout, sending.run()).await {
                Ok(result) => result,
                // A returned request has certainly not been processed; its error says why it was returned.
                Err(_) => Err(sending.returned.unwrap_or_else(|| TransportError::Timeout {
                    host: pool.host().to_owned(),
                    after: request.timeout,
                })),
            }
        })
    }
}
