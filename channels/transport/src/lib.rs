//! The one HTTP client all channels send through: pools of HTTP/2 connections on `h2` and rustls, HTTP/1.1 where a peer
//! has nothing better. Follows no redirect, repeats nothing a peer may have acted on, and has a deadline on everything.

mod dial;
mod h1;
mod h2c;
mod origin;
mod tls;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use pushgate::{Request, Response, Transport, TransportError};

use dial::Dialler;
use origin::Origin;
pub use tls::{BuildError, Roots};

/// A cheap handle; when the last one is dropped, idle connections close.
#[derive(Clone)]
pub struct HttpTransport {
    inner: Arc<Inner>,
}

struct Inner {
    dialler: Arc<Dialler>,
    limits: Limits,
    origins: Mutex<HashMap<(bool, String), Arc<Origin>>>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) max_connections: usize,
    pub(crate) idle_ping: Duration,
}

/// What a transport is made of.
#[derive(Debug)]
pub struct Builder {
    roots: Roots,
    proxy: Option<String>,
    connect_timeout: Duration,
    limits: Limits,
}

impl HttpTransport {
    /// System roots, no proxy, five seconds to connect, at most 32 connections an origin, a PING after 30 idle seconds.
    #[must_use]
    pub fn builder() -> Builder {
        let limits = Limits { max_connections: 32, idle_ping: Duration::from_secs(30) };
        Builder { roots: Roots::System, proxy: None, connect_timeout: Duration::from_secs(5), limits }
    }

    fn origin(&self, uri: &http::Uri) -> Result<Arc<Origin>, TransportError> {
        let refused = |why: &str| TransportError::Refused {
            host: uri.host().unwrap_or("(no host)").to_owned(),
            why: why.to_owned(),
        };
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(refused("only http and https addresses can be dialled")),
        };
        let authority = uri.authority().ok_or_else(|| refused("the address has no host"))?;
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let key = (tls, format!("{}:{port}", authority.host()));
        let mut origins = self.inner.origins.lock();
        let origin = origins.entry(key).or_insert_with(|| {
            Arc::new(Origin::new(
                authority.host(),
                port,
                tls,
                Arc::clone(&self.inner.dialler),
                self.inner.limits,
            ))
        });
        Ok(Arc::clone(origin))
    }
}

impl Builder {
    /// Which certificates are trusted.
    #[must_use]
    pub fn roots(mut self, roots: Roots) -> Self {
        self.roots = roots;
        self
    }

    /// Goes through a proxy by CONNECT: `http://[user:password@]host:port`.
    #[must_use]
    pub fn proxy(mut self, proxy: Option<String>) -> Self {
        self.proxy = proxy;
        self
    }

    /// How long name look-up, TCP and TLS may take together.
    #[must_use]
    pub const fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// The most connections to one origin.
    #[must_use]
    pub const fn max_connections(mut self, most: usize) -> Self {
        self.limits.max_connections = if most == 0 { 1 } else { most };
        self
    }

    /// After how much silence a connection is asked whether it lives; unanswered for ten seconds, it is closed.
    #[must_use]
    pub const fn idle_ping(mut self, after: Duration) -> Self {
        self.limits.idle_ping = after;
        self
    }

    /// The transport.
    ///
    /// # Errors
    /// [`BuildError`] when roots or proxy are not what they should be.
    pub fn build(self) -> Result<HttpTransport, BuildError> {
        let dialler = Dialler::new(tls::config(&self.roots)?, self.proxy.as_deref(), self.connect_timeout)?;
        let origins = Mutex::new(HashMap::new());
        Ok(HttpTransport {
            inner: Arc::new(Inner { dialler: Arc::new(dialler), limits: self.limits, origins }),
        })
    }
}

#[async_trait]
impl Transport for HttpTransport {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let origin = self.origin(&request.uri)?;
        let after = request.timeout;
        match tokio::time::timeout(after, origin.send(&request)).await {
            Ok(result) => result,
            Err(_) => Err(TransportError::Timeout { host: origin.host().to_owned(), after }),
        }
    }
}
