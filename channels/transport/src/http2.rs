//! One HTTP/2 connection: its driver, its free streams, and one exchange on it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use h2::{Ping, PingPong, Reason};
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Version};
use pushgate::{Request, Response};

use crate::dial::Io;
use crate::origin::Origin;

/// How long a PING may stay unanswered.
const PONG: Duration = Duration::from_secs(10);

/// An open connection.
pub(crate) struct Connection {
    handle: SendRequest<Bytes>,
    in_flight: AtomicUsize,
    /// The peer takes no new streams here (GOAWAY), or it has ended.
    draining: AtomicBool,
}

/// Why an exchange gave no answer.
pub(crate) enum Failed {
    /// The peer certainly did not process it.
    Unsent(String),
    /// The peer may have acted on it.
    Broken(String),
    /// The answer is longer than allowed.
    TooLong,
}

/// A free stream; free again when dropped.
pub(crate) struct Slot {
    connection: Arc<Connection>,
    origin: Arc<Origin>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.connection.in_flight.fetch_sub(1, Ordering::AcqRel);
        self.origin.freed.notify_one();
    }
}

impl Connection {
    pub(crate) async fn open(io: Io, origin: &Arc<Origin>, idle_ping: Duration) -> Result<Arc<Self>, String> {
        let (handle, mut driver) = h2::client::Builder::new()
            .enable_push(false)
            .max_header_list_size(16 * 1024)
            .handshake::<_, Bytes>(io)
            .await
            .map_err(|error| error.to_string())?;
        let ping = driver.ping_pong();
        let connection =
            Arc::new(Self { handle, in_flight: AtomicUsize::new(0), draining: AtomicBool::new(false) });
        let (held, origin): (Weak<Self>, Weak<Origin>) =
            (Arc::downgrade(&connection), Arc::downgrade(origin));
        tokio::spawn(async move {
            let ended = tokio::select! {
                ended = driver => ended.err().map(|error| error.to_string()),
                why = alive(ping, idle_ping) => Some(why),
            };
            if let (Some(origin), Some(connection)) = (origin.upgrade(), held.upgrade()) {
                connection.draining.store(true, Ordering::Release);
                tracing::debug!(host = origin.host(), why = ended, "connection ended");
                origin.forget(&connection);
            }
        });
        Ok(connection)
    }

    /// A free stream by the peer's limit as it is now.
    pub(crate) fn slot(this: &Arc<Self>, origin: &Arc<Origin>) -> Option<Slot> {
        if this.draining.load(Ordering::Acquire) {
            return None;
        }
        let limit = this.handle.current_max_send_streams();
        let taken = this
            .in_flight
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n < limit).then_some(n + 1));
        taken.ok().map(|_| Slot { connection: Arc::clone(this), origin: Arc::clone(origin) })
    }
}

/// Asks now and then whether the peer lives; returns when it does not.
async fn alive(ping: Option<PingPong>, every: Duration) -> String {
    let Some(mut ping) = ping else { return std::future::pending().await };
    loop {
        tokio::time::sleep(every).await;
        match tokio::time::timeout(PONG, ping.ping(Ping::opaque())).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return error.to_string(),
            Err(_) => return format!("no answer to a PING within {PONG:?}"),
        }
    }
}

impl Slot {
    /// Sends the request and reads the whole answer. Dropped half-way, it resets the stream.
    pub(crate) async fn exchange(self, request: &Request) -> Result<Response, Failed> {
        let mut handle = self.connection.handle.clone().ready().await.map_err(|error| self.unsent(&error))?;
        let mut head = http::Request::new(());
        *head.method_mut() = request.method.clone();
        *head.uri_mut() = request.uri.clone();
        *head.version_mut() = Version::HTTP_2;
        *head.headers_mut() = request.headers.clone();
        if !request.body.is_empty() {
            head.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(request.body.len()));
        }
        let (answer, mut stream) =
            handle.send_request(head, request.body.is_empty()).map_err(|error| self.unsent(&error))?;
        if !request.body.is_empty() {
            stream.send_data(request.body.clone(), true).map_err(|error| self.judged(&error))?;
        }
        let (head, mut body) = answer.await.map_err(|error| self.judged(&error))?.into_parts();
        let mut all = BytesMut::new();
        while let Some(chunk) = body.data().await {
            let chunk = chunk.map_err(|error| self.judged(&error))?;
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
        self.connection.draining.store(true, Ordering::Release);
        Failed::Unsent(error.to_string())
    }

    /// A stream above a remote GOAWAY's last id, or refused, was not processed (RFC 9113 §6.8, §8.7).
    fn judged(&self, error: &h2::Error) -> Failed {
        if error.is_go_away() && error.is_remote() {
            return self.unsent(error);
        }
        if error.is_remote() && error.reason() == Some(Reason::REFUSED_STREAM) {
            return Failed::Unsent(error.to_string());
        }
        Failed::Broken(error.to_string())
    }
}
