//! Opens connections: name resolution at every dial, a check of each address, the proxy if there is one, TLS, ALPN.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::addresses::is_public;
use crate::destinations::{Addresses, normalized};
use crate::io::Io;
use crate::proxy::Proxy;
use crate::resolve::{Resolve, connect};

/// Opens connections.
pub(crate) struct Dialler {
    tls: TlsConnector,
    proxy: Option<Proxy>,
    resolver: Arc<dyn Resolve>,
    connect_to: HashMap<String, SocketAddr>,
}

/// Destination of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// Host as written in the URI: an IPv6 address has its brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) scheme: Scheme,
    pub(crate) addresses: Addresses,
}

/// URI scheme: plain HTTP, or HTTP over TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

/// Open connection with the protocol that the peer chose by ALPN.
pub(crate) struct Dialled {
    pub(crate) io: Io,
    pub(crate) http2: bool,
}

/// Error of a dial.
pub(crate) enum DialError {
    /// Refused by the destination rules.
    Refused(&'static str),
    /// Not reachable, with a cause that an operator can act on.
    Unreachable(String),
}

impl From<io::Error> for DialError {
    fn from(error: io::Error) -> Self {
        let text = error.to_string();
        if text.contains("UnknownIssuer") {
            let advice = "its certificate is not signed by a trusted root; set transport.roots for a private authority";
            return Self::Unreachable(advice.to_owned());
        }
        Self::Unreachable(text)
    }
}

impl Dialler {
    pub(crate) fn new(
        tls: ClientConfig,
        proxy: Option<Proxy>,
        resolver: Arc<dyn Resolve>,
        connect_to: HashMap<String, SocketAddr>,
    ) -> Self {
        Self { tls: TlsConnector::from(Arc::new(tls)), proxy, resolver, connect_to }
    }

    pub(crate) async fn dial(&self, target: &Target) -> Result<Dialled, DialError> {
        let tcp = self.reach(target).await?;
        if target.scheme == Scheme::Http {
            return Ok(Dialled { io: Io::new(tcp), http2: false });
        }
        let name = ServerName::try_from(bare(&target.host).to_owned()).map_err(io::Error::other)?;
        let stream = self.tls.connect(name, tcp).await?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok(Dialled { io: Io::new(stream), http2 })
    }

    async fn reach(&self, target: &Target) -> Result<TcpStream, DialError> {
        if let Some(address) = self.connect_to.get(&normalized(&target.host)) {
            return Ok(connect([*address]).await?);
        }
        if let Some(proxy) = &self.proxy {
            let addresses = self.resolve(&proxy.host).await?;
            let tcp = connect(addresses.into_iter().map(|ip| (ip, proxy.port).into())).await?;
            return Ok(proxy.tunnel(tcp, &target.host, target.port).await?);
        }
        let addresses = self.resolve(&target.host).await?;
        // A single private address refuses the whole name: public services never mix, DNS rebinding does.
        if target.addresses == Addresses::Public && !addresses.iter().all(|ip| is_public(*ip)) {
            return Err(DialError::Refused("the name leads to an address that is not public"));
        }
        Ok(connect(addresses.into_iter().map(|ip| (ip, target.port).into())).await?)
    }

    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        match bare(host).parse() {
            Ok(address) => Ok(vec![address]),
            Err(_) => self.resolver.resolve(host).await,
        }
    }
}

fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
}
