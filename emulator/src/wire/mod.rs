//! Server side of the wire: TLS, then HTTP/2 or HTTP/1.1 as ALPN selects. This module knows requests and responses, and
//! no push service.

mod connection;
mod frame_io;
mod http1;
mod http2;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

pub(crate) use connection::{Connection, Connections};

use crate::event::EventKind;
use crate::service::PushService;

/// Maximum body of a request, in bytes. No push service accepts a message of this size.
const MAX_BODY: usize = 1024 * 1024;

/// Request whose body has been read to its end.
#[derive(Debug)]
pub(crate) struct HttpRequest {
    pub(crate) head: http::request::Parts,
    pub(crate) body: Bytes,
    pub(crate) peer: Peer,
}

/// Client of a request and its connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Peer {
    /// Certificate that the client presented, verified against the emulator's authority.
    pub(crate) certificate: Option<CertificateDer<'static>>,
    /// HTTP/2 connection of the client. `None` for HTTP/1.1.
    pub(crate) connection: Option<Arc<Connection>>,
}

impl HttpRequest {
    /// Returns a header. `None` if it is missing or not text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Response before it is written to HTTP/1.1 or HTTP/2.
#[derive(Debug, Default)]
pub(crate) struct HttpResponse {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
}

impl HttpResponse {
    /// Returns a response with a body of this content type.
    pub(crate) fn with_body(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self { status, headers: vec![("content-type", content_type.to_owned())], body: body.into() }
    }

    /// Adds a header, or replaces the one with this name.
    pub(crate) fn with_header(mut self, name: &'static str, value: String) -> Self {
        self.headers.retain(|(old, _)| *old != name);
        self.headers.push((name, value));
        self
    }

    /// Adds a header if there is a value.
    pub(crate) fn with_optional_header(self, name: &'static str, value: Option<String>) -> Self {
        match value {
            Some(value) => self.with_header(name, value),
            None => self,
        }
    }

    /// Returns head and body. Invalid header values are left out, because a fault may ask for one.
    fn into_parts(self) -> (http::Response<()>, Bytes) {
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

/// Push services behind one port.
pub(crate) struct ServedPort {
    /// Gets the requests that no other service handles. Its event log also records the connections of the port.
    pub(crate) default_service: Arc<dyn PushService>,
    pub(crate) other_services: Vec<Arc<dyn PushService>>,
    /// `true` if clients without ALPN are served as HTTP/2 clients with prior knowledge (RFC 9113 §3.3).
    pub(crate) http2_only: bool,
}

impl ServedPort {
    /// Returns the service that a request is for.
    fn service(&self, request: &HttpRequest) -> &dyn PushService {
        self.other_services
            .iter()
            .find(|service| service.handles(request))
            .unwrap_or(&self.default_service)
            .as_ref()
    }
}

/// Serves a port until the future is dropped. Dropping it ends all connections.
pub(crate) async fn serve(listener: TcpListener, tls: Arc<ServerConfig>, port: ServedPort) {
    let port = Arc::new(port);
    let acceptor = TlsAcceptor::from(tls);
    let mut connections = JoinSet::new();
    while let Ok((tcp, _)) = listener.accept().await {
        connections.spawn(serve_connection(tcp, acceptor.clone(), Arc::clone(&port)));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve_connection(tcp: TcpStream, acceptor: TlsAcceptor, port: Arc<ServedPort>) {
    // Otherwise a response waits for the peer's acknowledgement of the previous one.
    let _ = tcp.set_nodelay(true);
    let context = port.default_service.context();
    let stream = match acceptor.accept(tcp).await {
        Ok(stream) => stream,
        Err(error) => {
            return context.record(EventKind::ConnectionRefused {
                reason: format!("the TLS handshake failed: {error}"),
            });
        }
    };
    let (_, session) = stream.get_ref();
    let http2 = match session.alpn_protocol() {
        Some(protocol) => protocol == b"h2",
        None => port.http2_only,
    };
    let presented = session.peer_certificates().and_then(|chain| chain.first());
    let certificate = presented.map(|certificate| certificate.clone().into_owned());
    context.record(EventKind::Connected { http2 });
    if http2 {
        let restricted_limit = port.default_service.initial_stream_limit(certificate.as_ref());
        let connection = context.connections.open(restricted_limit);
        let peer = Peer { certificate, connection: Some(Arc::clone(&connection)) };
        http2::serve(stream, peer, connection, port).await;
    } else {
        http1::serve(stream, Peer { certificate, connection: None }, port).await;
    }
}
