//! The vendors' side of the wire: TLS, HTTP/2 and HTTP/1.1.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::google::{Met, Vendor};
use crate::webpush::{self, WebPush};

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// More than any message the vendors take.
const LARGEST_BODY: usize = 1024 * 1024;

pub(crate) async fn vendor(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    vendor: Arc<Vendor>,
    webpush: Arc<WebPush>,
) {
    let acceptor = TlsAcceptor::from(tls);
    // Connections end with the emulator.
    let mut connections = JoinSet::new();
    while let Ok((tcp, _)) = listener.accept().await {
        connections.spawn(connection(tcp, acceptor.clone(), Arc::clone(&vendor), Arc::clone(&webpush)));
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(tcp: TcpStream, acceptor: TlsAcceptor, vendor: Arc<Vendor>, webpush: Arc<WebPush>) {
    let _ = tcp.set_nodelay(true);
    let Ok(stream) = acceptor.accept(tcp).await else { return };
    let service = service_fn(move |request| exchange(Arc::clone(&vendor), Arc::clone(&webpush), request));
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http2().max_concurrent_streams(100);
    if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "vendor connection ended");
    }
}

async fn exchange(
    vendor: Arc<Vendor>,
    webpush: Arc<WebPush>,
    request: http::Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Failed> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, LARGEST_BODY).collect().await?.to_bytes();
    if let Some(service) = webpush.service_of(&head) {
        return match webpush.meet(service, &head, &body) {
            webpush::Met::Answer(answer) => web_push(answer),
            webpush::Met::Hang => std::future::pending().await,
            webpush::Met::Reset => Err("reset on demand".into()),
        };
    }
    let answer = match vendor.answer(&head, &body) {
        Met::Answer(answer) => answer,
        Met::Hang => std::future::pending().await,
        // An error of the service resets the stream, or closes an HTTP/1.1 connection.
        Met::Reset => return Err("reset on demand".into()),
    };
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() = http::StatusCode::from_u16(answer.status)?;
    let kind = if answer.json { "application/json; charset=UTF-8" } else { "text/html; charset=UTF-8" };
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Some(wish) = answer.retry_after {
        response.headers_mut().insert(http::header::RETRY_AFTER, HeaderValue::try_from(wish)?);
    }
    if let Some(location) = answer.location {
        response.headers_mut().insert(http::header::LOCATION, HeaderValue::try_from(location)?);
    }
    Ok(response)
}

fn web_push(answer: webpush::Answer) -> Result<Response<Full<Bytes>>, Failed> {
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() = http::StatusCode::from_u16(answer.status)?;
    for (name, value) in answer.headers {
        response.headers_mut().insert(name, HeaderValue::try_from(value)?);
    }
    Ok(response)
}
