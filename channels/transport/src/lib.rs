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

    /// The pool of the address's origin. What the guard says is the same each time, so it is asked when a pool is made.
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
            let addresses = self.inner.guard.judge(uri).map_err(refused)?;
            let port = authority.port_u16().unwrap_or(usual_port);
            let target = Target { host: authority.host().to_owned(), port, scheme, addresses };
            Ok(Pool::new(target, Arc::clone(&self.inner.dialler), self.inner.limits))
        })
    }
}

impl Transport for HttpTransport {
    // Written out: what `#[async_trait]` makes of it holds the request twice, in a future of more than a kilobyte for each
    // push, which is what the allocator finds expensive.
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
            let mut sending = Sending { pool: &pool, request: &request, given_back: None };
            match tokio::time::timeout(request.timeout, sending.run()).await {
                Ok(result) => result,
                // The peer has certainly not looked at a request that it gave back, and says why.
                Err(_) => Err(sending.given_back.unwrap_or_else(|| TransportError::Timeout {
                    host: pool.host().to_owned(),
                    after: request.timeout,
                })),
            }
        })
    }
}
