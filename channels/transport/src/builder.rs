//! What a transport is made of. Never prints a password or a private key.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pushgate::Secret;

use crate::destinations::{Destinations, Guard, plain};
use crate::dial::Dialler;
use crate::proxy::Proxy;
use crate::resolve::{Resolve, System};
use crate::tls::{self, Identity, Roots};
use crate::{HttpTransport, Limits};

/// What a transport is made of; see [`HttpTransport::builder`].
pub struct Builder {
    roots: Roots,
    identity: Option<Identity>,
    proxy: Option<Secret>,
    resolver: Arc<dyn Resolve>,
    connect_to: HashMap<String, SocketAddr>,
    destinations: Destinations,
    allow: Vec<String>,
    limits: Limits,
}

/// Why a transport cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The roots are not certificates.
    #[error("roots: {0}")]
    Roots(String),
    /// The client certificate or its key cannot be used. Never quotes them.
    #[error("identity: {0}")]
    Identity(&'static str),
    /// The proxy is not one. Never quotes it: it may hold a password.
    #[error("proxy: {0}; write http://[user:password@]host:port")]
    Proxy(&'static str),
    /// An allowed destination is not a host.
    #[error(
        "allow: \"{0}\" is not a host; write push.example.org or *.example.org, with :port where it is not 443"
    )]
    Allow(String),
    /// TLS cannot be set up.
    #[error("tls: {0}")]
    Tls(#[from] rustls::Error),
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("destinations", &self.destinations)
            .field("allow", &self.allow)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            roots: Roots::System,
            identity: None,
            proxy: None,
            resolver: Arc::new(System),
            connect_to: HashMap::new(),
            destinations: Destinations::Any,
            allow: Vec::new(),
            limits: Limits {
                connect_timeout: Duration::from_secs(5),
                max_connections: 32,
                idle_ping: Duration::from_secs(30),
                first_stream_alone: false,
            },
        }
    }

    /// Which certificates are trusted.
    #[must_use]
    pub fn roots(mut self, roots: Roots) -> Self {
        self.roots = roots;
        self
    }

    /// Who we are to peers that ask for a client certificate: the certificate and its chain, leaf first, and the private
    /// key (PKCS#8, PKCS#1 or SEC1), both PEM.
    #[must_use]
    pub fn identity(mut self, cert_chain_pem: impl Into<String>, key_pem: impl Into<Secret>) -> Self {
        self.identity = Some(Identity { chain: cert_chain_pem.into(), key: key_pem.into() });
        self
    }

    /// Goes through a proxy by CONNECT: `http://[user:password@]host:port`, port 3128 if none is given.
    #[must_use]
    pub fn proxy(mut self, proxy: Option<String>) -> Self {
        self.proxy = proxy.map(Secret::from);
        self
    }

    /// Where requests may go; anywhere, unless said otherwise.
    #[must_use]
    pub const fn destinations(mut self, destinations: Destinations) -> Self {
        self.destinations = destinations;
        self
    }

    /// Services of the operator's own that [`Destinations::Public`] would refuse: `push.example.org` for a host,
    /// `*.example.org` for all below it, `:port` where it is not 443. They are dialled whatever their address is;
    /// `https` is still asked for.
    #[must_use]
    pub fn allow(mut self, hosts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.allow.extend(hosts.into_iter().map(Into::into));
        self
    }

    /// Dials this address whenever `host` is meant, on any port, past look-up, proxy and guard. Certificate and `Host` are
    /// still those of the request's own address: so a server on loopback can stand in for a vendor.
    #[must_use]
    pub fn connect_to(mut self, host: &str, address: SocketAddr) -> Self {
        self.connect_to.insert(plain(host), address);
        self
    }

    /// Who looks names up, in place of the machine's resolver.
    #[must_use]
    pub fn resolver(mut self, resolver: Arc<dyn Resolve>) -> Self {
        self.resolver = resolver;
        self
    }

    /// Opens a single stream on a new connection, and more only after the first answer of success: for vendors that want
    /// to see one authorised request before they trust a connection.
    #[must_use]
    pub const fn first_stream_alone(mut self) -> Self {
        self.limits.first_stream_alone = true;
        self
    }

    /// How long name look-up, TCP, TLS and the peer's first words may take together.
    #[must_use]
    pub const fn connect_timeout(mut self, limit: Duration) -> Self {
        self.limits.connect_timeout = limit;
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
    /// [`BuildError`] when roots, identity, proxy or allowed hosts are not what they should be.
    pub fn build(self) -> Result<HttpTransport, BuildError> {
        let guard = Guard::new(self.destinations, &self.allow, self.connect_to.keys().cloned().collect())?;
        let dialler = Dialler::new(
            tls::config(&self.roots, self.identity.as_ref())?,
            self.proxy.as_ref().map(|proxy| Proxy::parse(proxy.expose())).transpose()?,
            self.resolver,
            self.connect_to,
        );
        Ok(HttpTransport::new(guard, dialler, self.limits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_builder_prints_no_secret() {
        let builder = Builder::new()
            .proxy(Some("http://ann:s3cret@proxy.example:3128".to_owned()))
            .identity("certificate", "s3cret");
        let shown = format!("{builder:?}");
        assert!(!shown.contains("s3cret") && !shown.contains("ann"), "{shown}");
    }
}
