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
use crate::io::{Heard, Io};
use crate::origin::{Failed, Unsent};
use crate::pool::Pool;

/// How long a PING may stay unanswered.
const PONG: Duration = Duration::from_secs(10);
/// h2 copies frames of less than 1,024 bytes together and writes larger ones one by one, each in a TLS record and a system
/// call of its own. A body is cut so that it stays below.
const FRAME: usize = 1023;

/// How much of their answers all streams together may have under way: that a slow reader of one holds nobody else up.
const WINDOW: u32 = 1 << 20;

type Driver = h2::client::Connection<Io, Bytes>;

/// An open connection.
pub(crate) struct Connection {
    handle: SendRequest<Bytes>,
    /// Changed under the pool's lock alone.
    in_flight: AtomicUsize,
    /// The peer's limit as it is now.
    limit: AtomicUsize,
    /// Whether more than one stream may be opened.
    trusted: AtomicBool,
    /// Why it was given up, if it was.
    given_up: OnceLock<String>,
}

/// A stream that may be opened; free again when dropped.
pub(crate) struct Slot {
    connection: Arc<Connection>,
    pool: Arc<Pool>,
}

impl Connection {
    /// Shakes hands and waits for the peer's SETTINGS: before them nobody knows how many streams it takes.
    pub(crate) async fn open(io: Io, pool: &Arc<Pool>) -> Result<Arc<Self>, String> {
        let heard = io.heard();
        let (handle, mut driver) = h2::client::Builder::new()
            .enable_push(false)
            .initial_max_send_streams(0)
            .initial_connection_window_size(WINDOW)
            .max_header_list_size(16 * 1024)
            .handshake::<_, Bytes>(io)
            .await
            .map_err(|error| goaway::words(&error))?;
        let ping = driver.ping_pong();
        let limit = poll_fn(|cx| limit_told(&mut driver, cx)).await?;
        let limits = pool.limits();
        let connection = Arc::new(Self {
            handle,
            in_flight: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit),
            trusted: AtomicBool::new(!limits.first_stream_alone),
            given_up: OnceLock::new(),
        });
        let watch = Watch { connection: Arc::downgrade(&connection), pool: Arc::downgrade(pool), limit };
        tokio::spawn(watch.run(driver, alive(ping, heard, limits.idle_ping)));
        Ok(connection)
    }

    /// How many streams it carries; none, if that is still to be seen.
    pub(crate) fn carries(&self) -> Option<usize> {
        let limit = self.limit.load(Ordering::Relaxed);
        (limit > 0 && self.trusted.load(Ordering::Relaxed)).then_some(limit)
    }

    pub(crate) fn give_back(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    fn has_room(&self) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        let limit = if self.trusted.load(Ordering::Relaxed) { limit } else { limit.min(1) };
        self.in_flight.load(Ordering::Relaxed) < limit
    }
}

fn limit_told(driver: &mut Driver, cx: &mut Context<'_>) -> Poll<Result<usize, String>> {
    match Pin::new(&mut *driver).poll(cx) {
        Poll::Ready(Ok(())) => Poll::Ready(Err("the peer closed the new connection".to_owned())),
        Poll::Ready(Err(error)) => Poll::Ready(Err(goaway::words(&error))),
        Poll::Pending => match driver.max_concurrent_send_streams() {
            0 => Poll::Pending,
            limit => Poll::Ready(Ok(limit)),
        },
    }
}

/// What runs beside a connection as long as it is open. It keeps neither connection nor pool alive.
struct Watch {
    connection: Weak<Connection>,
    pool: Weak<Pool>,
    limit: usize,
}

impl Watch {
    async fn run(mut self, mut driver: Driver, alive: impl Future<Output = String>) {
        let (ended, given_up) = tokio::select! {
            biased;
            ended = poll_fn(|cx| self.drive(&mut driver, cx)) => (ended.err(), None),
            why = alive => (None, Some(why)),
        };
        let (Some(pool), Some(connection)) = (self.pool.upgrade(), self.connection.upgrade()) else { return };
        tracing::debug!(
            host = pool.host(),
            ?given_up,
            why = ended.as_ref().map(goaway::words),
            "connection ended"
        );
        if let Some(why) = given_up {
            // Before the driver is dropped: those who have a stream here look for it.
            connection.given_up.get_or_init(|| why);
        }
        pool.forget(&connection);
    }

    fn drive(&mut self, driver: &mut Driver, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        let polled = Pin::new(&mut *driver).poll(cx);
        let limit = driver.max_concurrent_send_streams();
        if limit != self.limit
            && let (Some(pool), Some(connection)) = (self.pool.upgrade(), self.connection.upgrade())
        {
            self.limit = limit;
            connection.limit.store(limit, Ordering::Relaxed);
            pool.changed(&connection);
        }
        polled
    }
}

/// Asks after each silence whether the peer lives; returns when it does not.
async fn alive(ping: Option<PingPong>, heard: Heard, silence: Duration) -> String {
    let Some(mut ping) = ping else { return std::future::pending().await };
    loop {
        let before = heard.count();
        tokio::time::sleep(silence).await;
        if heard.count() != before {
            continue;
        }
        match tokio::time::timeout(PONG, ping.ping(Ping::opaque())).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return goaway::words(&error),
            Err(_) => return format!("no answer to a PING within {PONG:?}"),
        }
    }
}

impl Slot {
    /// A stream, if there is one to be had. Call it under the pool's lock.
    pub(crate) fn take(connection: &Arc<Connection>, pool: &Arc<Pool>) -> Option<Self> {
        connection.has_room().then(|| {
            connection.in_flight.fetch_add(1, Ordering::Relaxed);
            Self { connection: Arc::clone(connection), pool: Arc::clone(pool) }
        })
    }

    /// Sends the request and reads the whole answer. Dropped half-way, it resets the stream.
    pub(crate) async fn exchange(self, request: &Request) -> Result<Response, Failed> {
        let mut handle = self.connection.handle.clone().ready().await.map_err(|error| self.unsent(&error))?;
        let (answer, mut stream) = handle
            .send_request(head(request), request.body.is_empty())
            .map_err(|error| self.unwritten(&error, request))?;
        let mut rest = request.body.clone();
        while !rest.is_empty() {
            let part = rest.split_to(rest.len().min(FRAME));
            if stream.send_data(part, rest.is_empty()).is_err() {
                break; // The stream has ended already; the answer says how.
            }
        }
        let (head, mut body) = answer.await.map_err(|error| self.judged(&error))?.into_parts();
        if head.status.is_success() && !self.connection.trusted.swap(true, Ordering::Relaxed) {
            self.pool.changed(&self.connection);
        }
        let mut all = BytesMut::new();
        while let Some(chunk) = body.data().await {
            // With the answer begun the peer has acted, whatever it says afterwards.
            let chunk = chunk.map_err(|error| self.broken(&error))?;
            if all.len() + chunk.len() > request.max_answer {
                return Err(Failed::TooLong);
            }
            // Gives the window back; it fails only on a stream that has ended, which the next read tells.
            let _ = body.flow_control().release_capacity(chunk.len());
            all.extend_from_slice(&chunk);
        }
        Ok(Response { status: head.status, headers: head.headers, body: all.freeze() })
    }

    fn unsent(&self, error: &h2::Error) -> Failed {
        self.pool.forget(&self.connection);
        Failed::Unsent(match goaway::reason(error) {
            Some(reason) => Unsent::GoneAway(reason),
            None => Unsent::Closed(goaway::words(error)),
        })
    }

    fn unwritten(&self, error: &h2::Error, request: &Request) -> Failed {
        let of_connection = error.is_go_away() || error.is_io() || error.is_reset();
        if !of_connection && is_hop_by_hop(&request.headers) {
            return Failed::Malformed("it carries a header that HTTP/2 forbids");
        }
        self.unsent(error)
    }

    /// A stream above a remote GOAWAY's last id, or refused, was not processed (RFC 9113 §6.8, §8.7).
    fn judged(&self, error: &h2::Error) -> Failed {
        if error.is_go_away() && error.is_remote() {
            return self.unsent(error);
        }
        if error.is_remote() && error.reason() == Some(Reason::REFUSED_STREAM) {
            return Failed::Unsent(Unsent::Refused(Arc::clone(&self.connection)));
        }
        self.broken(error)
    }

    fn broken(&self, error: &h2::Error) -> Failed {
        Failed::Broken(self.connection.given_up.get().cloned().unwrap_or_else(|| goaway::words(error)))
    }
}

impl Drop for Slot {
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

/// Headers about one connection have no place in HTTP/2 (RFC 9113 §8.2.2).
fn is_hop_by_hop(headers: &HeaderMap) -> bool {
    [CONNECTION, TRANSFER_ENCODING, UPGRADE, TE].iter().any(|name| headers.contains_key(name))
        || ["keep-alive", "proxy-connection"].iter().any(|name| headers.contains_key(*name))
}
