//! One HTTP/1.1 connection. What HTTP/2 does to a stream, it does to the connection.

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

use super::{Asked, LARGEST_BODY, Peer, Port, Reply};
use crate::event::What;
use crate::rig::{Met, meet};

type Failed = Box<dyn std::error::Error + Send + Sync>;

pub(super) async fn serve(stream: TlsStream<TcpStream>, peer: Peer, port: Arc<Port>) {
    let keeper = Arc::clone(&port.keeper);
    let service = service_fn(move |request| exchange(Arc::clone(&port), peer.clone(), request));
    if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "connection ended");
        if error.is_parse() {
            let reason = format!("the client does not speak HTTP/1.1: {error}");
            keeper.rig().tell(What::ConnectionRefused { reason });
        }
    }
}

async fn exchange(
    port: Arc<Port>,
    peer: Peer,
    request: http::Request<Incoming>,
) -> Result<http::Response<Full<Bytes>>, Failed> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, LARGEST_BODY).collect().await?.to_bytes();
    let asked = Asked { head, body, peer };
    match meet(port.site(&asked), &asked) {
        Met::Answer(reply) => Ok(response(reply)),
        Met::Late(reply, by) => {
            tokio::time::sleep(by).await;
            Ok(response(reply))
        }
        Met::Hang => Ok(std::future::pending::<Result<_, Infallible>>().await?),
        Met::Away(_, Some(reply)) => Ok(response(reply.with("connection", "close".to_owned()))),
        // An error of the service closes the connection.
        Met::Reset(_) | Met::Close | Met::Away(_, None) => Err("closed on demand".into()),
    }
}

fn response(reply: Reply) -> http::Response<Full<Bytes>> {
    let (head, body) = reply.parts();
    head.map(|()| Full::new(body))
}
