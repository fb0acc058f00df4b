//! Builder of a transport. `Debug` never prints a password or a private key.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pushgate::Secret;

use crate::destinations::{Destinations, Guard, normalized};
use crate::dial::Dialler;
use crate::proxy::Proxy;
use crate::resolve::{Resolve, System};
use crate::tls::{self, Identity, Roots};
use crate::{HttpTransport, Limits};

/// Builder of an [`HttpTransport`]; see [`HttpTransport::builder`] for the defaults.
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

/// Error of [`Builder::build`].
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The root certificates cannot be parsed.
    #[error("roots: {0}")]
    Roots(String),
    /// The client certificate or its key cannot be used. The message never quotes them.
    #[error("identity: {0}")]
    Identity(&'static str),
    /// The proxy URL cannot be parsed. The message never quotes it, since it may contain a password.
    #[error("proxy: {0}; write http://[user:password@]host:port")]
    Proxy(&'static str),
    /// An allowed destination is not a host.
    #[error(
        "allow: \"{0}\" is not a host; write push.example.org or *.example.org, with :port where it is not 443"
    )]
    Allow(String),
    /// rustls refused the TLS configuration.
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

    /// Sets the trusted root certificates. Default: [`Roots::System`].
    #[must_use]
    pub fn roots(mut self, roots: Roots) -> Self {
        self.roots = roots;
        self
    }

    /// Sets the client certificate for peers that ask for one: the chain, leaf first, and the private key (PKCS#8, PKCS#1
    /// or SEC1), both as PEM.
    #[must_use]
    pub fn identity(mut self, cert_chain_pem: impl Into<String>, key_pem: impl Into<Secret>) -> Self {
        self.identity = Some(Identity { chain: cert_chain_pem.into(), key: key_pem.into() });
        self
    }

    /// Connects through an HTTP proxy by CONNECT: `http://[user:password@]host:port`. The default port is 3128.
    #[must_use]
    pub fn proxy(mut self, proxy: Option<String>) -> Self {
        self.proxy = proxy.map(Secret::from);
        self
    }

    /// Restricts the destinations of requests. Default: [`Destinations::Any`].
    #[must_use]
    pub const fn destinations(mut self, destinations: Destinations) -> Self {
        self.destinations = destinations;
        self
    }

    /// Permits private services that [`Destinations::Public`] would refuse: `push.example.org` for a host,
    /// `*.example.org` for its subdomains, with `:port` where it is not 443. They are dialled whatever their IP address
    /// is; `https` is still required.
    #[must_use]
    pub fn allow(mut self, hosts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.allow.extend(hosts.into_iter().map(Into::into));
        self
    }

    /// Dials `address` for every request to `host`, on any port. Skips name resolution, proxy and guard. TLS server name
    /// and `Host` remain those of the request, so a server on loopback can stand in for a push service.
    #[must_use]
    pub fn connect_to(mut self, host: &str, address: SocketAddr) -> Self {
        self.connect_to.insert(normalized(host), address);
        self
    }

    /// Replaces the system's name resolver.
    #[must_use]
    pub fn resolver(mut self, resolver: Arc<dyn Resolve>) -> Self {
        self.resolver = resolver;
        self
    }

    /// Limits a new connection to one stream until its first successful response: for push services that accept more
    /// streams only after one authorised request.
    #[must_use]
    pub const fn first_stream_alone(mut self) -> Self {
        self.limits.first_stream_alone = true;
        self
    }

    /// Sets the deadline of name resolution, TCP, TLS and the peer's SETTINGS together. Default: five seconds.
    #[must_use]
    pub const fn connect_timeout(mut self, limit: Duration) -> Self {
        self.limits.connect_timeout = limit;
        self
    }

    /// Sets the maximum number of connections per origin; zero counts as one. Default: 32.
    #[must_use]
    pub const fn max_connections(mut self, limit: usize) -> Self {
        self.limits.max_connections = if limit == 0 { 1 } else { limit };
        self
    }

    /// Sets the idle time after which a connection is probed with a PING. Without an answer within ten seconds it is
    /// closed. Default: 30 seconds.
    #[must_use]
    pub const fn idle_ping(mut self, after: Duration) -> Self {
        self.limits.idle_ping = after;
        self
    }

    /// Builds the transport.
    ///
    /// # Errors
    /// Returns a [`BuildError`] if roots, identity, proxy or allowed hosts are invalid.
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
