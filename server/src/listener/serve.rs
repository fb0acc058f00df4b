//! Serves one connection: HTTP/1.1, or HTTP/2 with prior knowledge. Every phase has a timeout.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::connections::{Connection, Unfinished};

/// Interval of HTTP/2 pings, and timeout of each.
const PING: Duration = Duration::from_secs(20);
/// Largest number of concurrent requests on one HTTP/2 connection.
const MAX_STREAMS: u32 = 128;
/// Flow-control windows of an HTTP/2 stream and connection: bytes of bodies that may be sent before a handler reads them.
const STREAM_WINDOW: u32 = 128 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// Space in the HTTP/1.1 read buffer beyond the longest head, so that a slightly longer head gets a response.
const BUFFER_MARGIN: usize = 16 * 1024;

/// Settings of the HTTP protocols, the same for every connection.
pub(super) fn protocols(max_header: usize) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    let buffer = max_header + BUFFER_MARGIN;
    // `Connection` limits the time for a head, because hyper would count the time between two requests as well.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(buffer);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(buffer).unwrap_or(u32::MAX));
    builder
}

/// Signals of the listener to its connections.
#[derive(Clone, Default)]
pub(super) struct Signals {
    /// No further request is accepted.
    pub(super) closing: CancellationToken,
    /// All connections end at once.
    pub(super) abort: CancellationToken,
}

/// Serves a connection until either side closes it, it runs out of time, or the listener ends.
pub(super) async fn serve(
    stream: TcpStream,
    connection: Arc<Connection>,
    router: Router,
    protocols: auto::Builder<TokioExecutor>,
    signals: Signals,
) {
    let io = TokioIo::new(Observed { stream, connection: Arc::clone(&connection) });
    let router = TowerToHyperService::new(router);
    let request_connection = Arc::clone(&connection);
    let service = service_fn(move |request| respond(&router, &request_connection, request));
    let mut served = pin!(protocols.serve_connection(io, service));
    let mut expired = pin!(connection.expired());
    let mut is_closing = false;
    let reason = loop {
        tokio::select! {
            _ = served.as_mut() => return,
            reason = expired.as_mut() => break reason,
            () = signals.abort.cancelled() => break "shutdown",
            () = signals.closing.cancelled(), if !is_closing => {
                if connection.awaits_head() {
                    break "shutdown";
                }
                is_closing = true;
                served.as_mut().graceful_shutdown();
            }
        }
    };
    metrics::counter!("pushgate_connections_closed_total", "reason" => reason).increment(1);
}

/// Answers one request, and records its progress in its connection.
fn respond(
    router: &TowerToHyperService<Router>,
    connection: &Arc<Connection>,
    mut request: Request<Incoming>,
) -> impl Future<Output = Result<Response<Written>, Infallible>> + use<> {
    let (unanswered, unfinished) = connection.request(request.version());
    request.extensions_mut().insert(Arc::clone(connection));
    let response = router.call(request);
    async move {
        let response = response.await?;
        drop(unanswered);
        Ok(response.map(|body| Written { body, _unfinished: unfinished }))
    }
}

/// Body of a response. It is dropped when it is completely written.
struct Written {
    body: Body,
    _unfinished: Unfinished,
}

impl hyper::body::Body for Written {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// TCP stream that records what it receives.
struct Observed {
    stream: TcpStream,
    connection: Arc<Connection>,
}

impl AsyncRead for Observed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.connection.received();
        }
        polled
    }
}

impl AsyncWrite for Observed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
