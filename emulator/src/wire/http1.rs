//! HTTP/1.1 connection. Faults that reset a stream in HTTP/2 close the whole connection here.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::{HttpRequest, HttpResponse, MAX_BODY, Peer, ServedPort};
use crate::event::EventKind;
use crate::service::{ServerAction, next_action};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Serves one connection until it ends.
pub(super) async fn serve(stream: TlsStream<TcpStream>, peer: Peer, port: Arc<ServedPort>) {
    let default_service = Arc::clone(&port.default_service);
    let service = service_fn(move |request| exchange(Arc::clone(&port), peer.clone(), request));
    if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "HTTP/1.1 connection ended with an error");
        if error.is_parse() {
            let reason = format!("the client does not speak HTTP/1.1: {error}");
            default_service.context().record(EventKind::ConnectionRefused { reason });
        }
    }
}

async fn exchange(
    port: Arc<ServedPort>,
    peer: Peer,
    request: http::Request<Incoming>,
) -> Result<http::Response<Full<Bytes>>, BoxError> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await?.to_bytes();
    let request = HttpRequest { head, body, peer };
    match next_action(port.service(&request), &request) {
        ServerAction::Respond(response) => Ok(to_hyper(response)),
        ServerAction::RespondLater(response, delay) => {
            tokio::time::sleep(delay).await;
            Ok(to_hyper(response))
        }
        ServerAction::Hang => Ok(std::future::pending::<Result<_, Infallible>>().await?),
        ServerAction::SendGoaway(_, Some(response)) => {
            Ok(to_hyper(response.with_header("connection", "close".to_owned())))
        }
        // hyper closes the connection when the service returns an error.
        ServerAction::ResetStream(_) | ServerAction::CloseConnection | ServerAction::SendGoaway(_, None) => {
            Err("closed by a fault rule".into())
        }
    }
}

fn to_hyper(response: HttpResponse) -> http::Response<Full<Bytes>> {
    let (head, body) = response.into_parts();
    head.map(|()| Full::new(body))
}
