//! The vendors' side of the wire: TLS, then HTTP/2 or HTTP/1.1 as ALPN says. Knows requests and answers, and no vendor.

mod frames;
mod h1;
mod h2;
mod line;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

pub(crate) use line::{Line, Lines};

use crate::event::What;
use crate::rig::Site;

/// More than any message the vendors take.
const LARGEST_BODY: usize = 1024 * 1024;

/// A request, read to its end.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) head: http::request::Parts,
    pub(crate) body: Bytes,
    pub(crate) peer: Peer,
}

/// Who asks, on which connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Peer {
    /// The certificate it has shown, verified against the emulator's authority.
    pub(crate) certificate: Option<CertificateDer<'static>>,
    /// Its HTTP/2 connection.
    pub(crate) line: Option<Arc<Line>>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// An answer.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
}

impl Reply {
    /// A status and a body of some type.
    pub(crate) fn of(status: u16, kind: &str, body: impl Into<Bytes>) -> Self {
        Self { status, headers: vec![("content-type", kind.to_owned())], body: body.into() }
    }

    /// With this header, once.
    pub(crate) fn with(mut self, name: &'static str, value: String) -> Self {
        self.headers.retain(|(old, _)| *old != name);
        self.headers.push((name, value));
        self
    }

    /// With this header, if there is a value.
    pub(crate) fn maybe(self, name: &'static str, value: Option<String>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// The head, and the body apart. A header that HTTP does not allow is left out: faults on demand may ask for one.
    fn parts(self) -> (http::Response<()>, Bytes) {
        let mut head = http::Response::new(());
        *head.status_mut() = http::StatusCode::from_u16(self.status).unwrap_or(http::StatusCode::BAD_GATEWAY);
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::try_from(value) {
                head.headers_mut().append(HeaderName::from_static(name), value);
            }
        }
        (head, self.body)
    }
}

/// The vendors behind one port. The first keeps its connections, and answers what no other claims.
pub(crate) struct Port {
    pub(crate) keeper: Arc<dyn Site>,
    pub(crate) others: Vec<Arc<dyn Site>>,
    /// Only HTTP/2 is spoken here. A client that offers no protocol by ALPN is taken to speak it (RFC 9113 §3.3).
    pub(crate) http2_only: bool,
}

impl Port {
    /// Whose request it is.
    fn site(&self, asked: &Asked) -> &dyn Site {
        self.others.iter().find(|site| site.claims(asked)).unwrap_or(&self.keeper).as_ref()
    }
}

/// Answers at a port until dropped; connections end with it.
pub(crate) async fn serve(listener: TcpListener, tls: Arc<ServerConfig>, port: Port) {
    let port = Arc::new(port);
    let acceptor = TlsAcceptor::from(tls);
    let mut connections = JoinSet::new();
    while let Ok((tcp, _)) = listener.accept().await {
        connections.spawn(connection(tcp, acceptor.clone(), Arc::clone(&port)));
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(tcp: TcpStream, acceptor: TlsAcceptor, port: Arc<Port>) {
    // Without it an answer waits for the peer's acknowledgement of the one before.
    let _ = tcp.set_nodelay(true);
    let rig = port.keeper.rig();
    let stream = match acceptor.accept(tcp).await {
        Ok(stream) => stream,
        Err(error) => {
            return rig
                .tell(What::ConnectionRefused { reason: format!("the TLS handshake failed: {error}") });
        }
    };
    let (_, session) = stream.get_ref();
    let http2 = match session.alpn_protocol() {
        Some(protocol) => protocol == b"h2",
        None => port.http2_only,
    };
    let shown = session.peer_certificates().and_then(|chain| chain.first());
    let certificate = shown.map(|certificate| certificate.clone().into_owned());
    rig.tell(What::Connected { http2 });
    if http2 {
        let line = rig.lines.open(port.keeper.first_streams(certificate.as_ref()));
        let peer = Peer { certificate, line: Some(Arc::clone(&line)) };
        h2::serve(stream, peer, line, port).await;
    } else {
        h1::serve(stream, Peer { certificate, line: None }, port).await;
    }
}
