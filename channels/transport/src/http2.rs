//! One HTTP/2 connection: its driver, its free streams, and one exchange on it.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use h2::{Ping, PingPong, Reason};
use http::header::{CONNECTION, CONTENT_LENGTH, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue, Version};
use pushgate::{Request, Response};

use crate::goaway;
use crate::io::{Io, ReadCounter};
use crate::origin::{ExchangeError, Unsent};
use crate::pool::Pool;

/// Maximum time to wait for the acknowledgement of a PING.
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum DATA frame. h2 batches frames below 1,024 bytes into one write, and writes each larger one by itself, in a TLS
/// record and a system call of its own.
const MAX_FRAME: usize = 1023;

/// Connection flow-control window, shared by all streams: large enough that one slow reader never blocks the others.
const CONNECTION_WINDOW: u32 = 1 << 20;

type Driver = h2::client::Connection<Io, Bytes>;

/// Open HTTP/2 connection.
pub(crate) struct Connection {
    handle: SendRequest<Bytes>,
    /// Open streams. Changed only under the pool's lock.
    in_flight: AtomicUsize,
    /// Current SETTINGS_MAX_CONCURRENT_STREAMS of the peer.
    limit: AtomicUsize,
    /// `true` once more than one concurrent stream may be opened.
    trusted: AtomicBool,
    /// Reason why the gateway closed the connection, for example an unanswered PING.
    close_reason: OnceLock<String>,
}

/// Permission to open one stream. Released on drop.
pub(crate) struct StreamPermit {
    connection: Arc<Connection>,
    pool: Arc<Pool>,
}

impl Connection {
    /// Performs the handshake and waits for the peer's SETTINGS, which hold its stream limit.
    pub(crate) async fn open(io: Io, pool: &Arc<Pool>) -> Result<Arc<Self>, String> {
        let reads = io.read_counter();
        let (handle, mut driver) = h2::client::Builder::new()
            .enable_push(false)
            .initial_max_send_streams(0)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(16 * 1024)
            .handshake::<_, Bytes>(io)
            .await
            .map_err(|error| goaway::describe(&error))?;
        let ping = driver.ping_pong();
        let limit = poll_fn(|cx| poll_stream_limit(&mut driver, cx)).await?;
        let limits = pool.limits();
        let connection = Arc::new(Self {
            handle,
            in_flight: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit),
            trusted: AtomicBool::new(!limits.first_stream_alone),
            close_reason: OnceLock::new(),
        });
        let task =
            ConnectionTask { connection: Arc::downgrade(&connection), pool: Arc::downgrade(pool), limit };
        tokio::spawn(task.run(driver, watch_liveness(ping, reads, limits.idle_ping)));
        Ok(connection)
    }

    /// Returns the number of concurrent streams. `None` while it is not known yet.
    pub(crate) fn usable_streams(&self) -> Option<usize> {
        let limit = self.limit.load(Ordering::Relaxed);
        (limit > 0 && self.trusted.load(Ordering::Relaxed)).then_some(limit)
    }

    pub(crate) fn stream_ended(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    fn has_free_stream(&self) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        let limit = if self.trusted.load(Ordering::Relaxed) { limit } else { limit.min(1) };
        self.in_flight.load(Ordering::Relaxed) < limit
    }
}

fn poll_stream_limit(driver: &mut Driver, cx: &mut Context<'_>) -> Poll<Result<usize, String>> {
    match Pin::new(&mut *driver).poll(cx) {
        Poll::Ready(Ok(())) => Poll::Ready(Err("the peer closed the new connection".to_owned())),
        Poll::Ready(Err(error)) => Poll::Ready(Err(goaway::describe(&error))),
        Poll::Pending => match driver.max_concurrent_send_streams() {
            0 => Poll::Pending,
            limit => Poll::Ready(Ok(limit)),
        },
    }
}

/// Background task of an open connection. Holds only weak references to connection and pool.
struct ConnectionTask {
    connection: Weak<Connection>,
    pool: Weak<Pool>,
    limit: usize,
}

impl ConnectionTask {
    async fn run(mut self, mut driver: Driver, liveness: impl Future<Output = String>) {
        let (ended, close_reason) = tokio::select! {
            biased;
            ended = poll_fn(|cx| self.drive(&mut driver, cx)) => (ended.err(), None),
            why = liveness => (None, Some(why)),
        };
        let (Some(pool), Some(connection)) = (self.pool.upgrade(), self.connection.upgrade()) else { return };
        tracing::debug!(
            host = pool.host(),
            ?close_reason,
            why = ended.as_ref().map(goaway::describe),
            "connection ended"
        );
        if let Some(why) = close_reason {
            // Before the driver is dropped: open streams read it when they fail.
            connection.close_reason.get_or_init(|| why);
        }
        pool.remove(&connection);
    }

    fn drive(&mut self, driver: &mut Driver, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        let polled = Pin::new(&mut *driver).poll(cx);
        let limit = driver.max_concurrent_send_streams();
        if limit != self.limit
            && let (Some(pool), Some(connection)) = (self.pool.upgrade(), self.connection.upgrade())
        {
            self.limit = limit;
            connection.limit.store(limit, Ordering::Relaxed);
            pool.limit_changed(&connection);
        }
        polled
    }
}

/// Sends a PING after each idle period. Returns the reason once the peer does not answer.
async fn watch_liveness(ping: Option<PingPong>, reads: ReadCounter, idle: Duration) -> String {
    let Some(mut ping) = ping else { return std::future::pending().await };
    loop {
        let before = reads.count();
        tokio::time::sleep(idle).await;
        if reads.count() != before {
            continue;
        }
        match tokio::time::timeout(PING_TIMEOUT, ping.ping(Ping::opaque())).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return goaway::describe(&error),
            Err(_) => return format!("no answer to a PING within {PING_TIMEOUT:?}"),
        }
    }
}

impl StreamPermit {
    /// Reserves a stream. `None` if all are in use. Must be called under the pool's lock.
    pub(crate) fn try_acquire(connection: &Arc<Connection>, pool: &Arc<Pool>) -> Option<Self> {
        connection.has_free_stream().then(|| {
            connection.in_flight.fetch_add(1, Ordering::Relaxed);
            Self { connection: Arc::clone(connection), pool: Arc::clone(pool) }
        })
    }

    /// Sends the request and reads the whole response. Resets the stream if dropped before that.
    pub(crate) async fn exchange(self, request: &Request) -> Result<Response, ExchangeError> {
        let mut handle = self.connection.handle.clone().ready().await.map_err(|error| self.unsent(&error))?;
        let (answer, mut stream) = handle
            .send_request(head(request), request.body.is_empty())
            .map_err(|error| self.write_error(&error, request))?;
        let mut rest = request.body.clone();
        while !rest.is_empty() {
            let part = rest.split_to(rest.len().min(MAX_FRAME));
            if stream.send_data(part, rest.is_empty()).is_err() {
                break; // The stream has ended; the response future reports how.
            }
        }
        let (head, mut body) = answer.await.map_err(|error| self.classify(&error))?.into_parts();
        if head.status.is_success() && !self.connection.trusted.swap(true, Ordering::Relaxed) {
            self.pool.limit_changed(&self.connection);
        }
        let mut received = BytesMut::new();
        while let Some(chunk) = body.data().await {
            // A response has begun, so the peer has processed the request whatever follows.
            let chunk = chunk.map_err(|error| self.broken(&error))?;
            if received.len() + chunk.len() > request.max_answer {
                return Err(ExchangeError::TooLong);
            }
            // Releases flow-control capacity. Fails only on an ended stream, which the next read reports.
            let _ = body.flow_control().release_capacity(chunk.len());
            received.extend_from_slice(&chunk);
        }
        Ok(Response { status: head.status, headers: head.headers, body: received.freeze() })
    }

    fn unsent(&self, error: &h2::Error) -> ExchangeError {
        self.pool.remove(&self.connection);
        ExchangeError::Unsent(match goaway::reason(error) {
            Some(reason) => Unsent::GoneAway(reason),
            None => Unsent::Closed(goaway::describe(error)),
        })
    }

    fn write_error(&self, error: &h2::Error, request: &Request) -> ExchangeError {
        let is_connection_error = error.is_go_away() || error.is_io() || error.is_reset();
        if !is_connection_error && is_hop_by_hop(&request.headers) {
            return ExchangeError::Malformed("it carries a header that HTTP/2 forbids");
        }
        self.unsent(error)
    }

    /// Classifies the failure of a sent request. A stream above the last id of a remote GOAWAY, or a refused one, was not
    /// processed (RFC 9113 §6.8, §8.7).
    fn classify(&self, error: &h2::Error) -> ExchangeError {
        if error.is_go_away() && error.is_remote() {
            return self.unsent(error);
        }
        if error.is_remote() && error.reason() == Some(Reason::REFUSED_STREAM) {
            return ExchangeError::Unsent(Unsent::Refused(Arc::clone(&self.connection)));
        }
        self.broken(error)
    }

    fn broken(&self, error: &h2::Error) -> ExchangeError {
        ExchangeError::Broken(
            self.connection.close_reason.get().cloned().unwrap_or_else(|| goaway::describe(error)),
        )
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        self.pool.release(&self.connection);
    }
}

fn head(request: &Request) -> http::Request<()> {
    let mut head = http::Request::new(());
    *head.method_mut() = request.method.clone();
    *head.uri_mut() = request.uri.clone();
    *head.version_mut() = Version::HTTP_2;
    *head.headers_mut() = request.headers.clone();
    if !request.body.is_empty() {
        head.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(request.body.len()));
    }
    head
}

/// Returns `true` if a header is specific to one HTTP/1.1 connection, which HTTP/2 forbids (RFC 9113 §8.2.2).
fn is_hop_by_hop(headers: &HeaderMap) -> bool {
    [CONNECTION, TRANSFER_ENCODING, UPGRADE, TE].iter().any(|name| headers.contains_key(name))
        || ["keep-alive", "proxy-connection"].iter().any(|name| headers.contains_key(*name))
}
