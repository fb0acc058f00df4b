//! One origin's connections: who gets a free stream, when another connection is dialled, what is given back unsent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pushgate::{Request, Response, TransportError};
use tokio::sync::Notify;

use crate::Limits;
use crate::dial::Dialler;
use crate::h1;
use crate::h2c::{Connection, Failed, Slot};

/// After a failed dial everybody without a connection gets its error for so long: an outage makes no storm of dials.
const DIAL_PAUSE: Duration = Duration::from_millis(250);
/// How often one request is given another connection when the peer certainly did not process it.
const TRIES: u32 = 6;

/// A scheme, host and port.
pub(crate) struct Origin {
    host: String,
    port: u16,
    tls: bool,
    dialler: Arc<Dialler>,
    limits: Limits,
    pool: Mutex<Pool>,
    /// Rung when a stream, a dial or a connection has ended; each ring wakes one waiter, first come first served.
    pub(crate) freed: Notify,
    h1: h1::Idle,
}

#[derive(Default)]
struct Pool {
    connections: Vec<Arc<Connection>>,
    dialling: bool,
    failed: Option<(Instant, TransportError)>,
}

/// What a request gets to be sent on.
enum Way {
    H2(Slot),
    H1(h1::Sender),
}

/// What there is for whoever needs a stream.
enum Look {
    /// A free one.
    Free(Slot),
    /// Nothing, and dialling has just failed.
    Failed(TransportError),
    /// It is his turn to dial.
    Dial,
    /// Until something is freed.
    Wait,
}

impl Origin {
    pub(crate) fn new(host: &str, port: u16, tls: bool, dialler: Arc<Dialler>, limits: Limits) -> Self {
        Self {
            host: host.to_owned(),
            port,
            tls,
            dialler,
            limits,
            pool: Mutex::new(Pool::default()),
            freed: Notify::new(),
            h1: h1::Idle::new(limits.max_connections),
        }
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Sends on the first free stream. The caller keeps the deadline.
    pub(crate) async fn send(self: &Arc<Self>, request: &Request) -> Result<Response, TransportError> {
        let mut tries = 0;
        loop {
            let failed = match self.way().await? {
                Way::H2(slot) => slot.exchange(request).await,
                Way::H1(sender) => self.h1.exchange(sender, request).await,
            };
            match failed {
                Ok(response) => return Ok(response),
                Err(Failed::Unsent(why)) if tries < TRIES => {
                    tracing::debug!(host = %self.host, why, "request given back unsent");
                    tries += 1;
                }
                Err(Failed::Unsent(why) | Failed::Broken(why)) => {
                    return Err(TransportError::Broken { host: self.host.clone(), why });
                }
                Err(Failed::TooLong) => {
                    let limit = request.max_answer;
                    return Err(TransportError::AnswerTooLong { host: self.host.clone(), limit });
                }
            }
        }
    }

    /// A free stream, dialling if there is none and it is nobody else's turn to dial.
    async fn way(self: &Arc<Self>) -> Result<Way, TransportError> {
        loop {
            if let Some(sender) = self.h1.reuse().await {
                return Ok(Way::H1(sender));
            }
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            match self.look() {
                Look::Free(slot) => return Ok(Way::H2(slot)),
                Look::Failed(error) => return Err(error),
                Look::Dial => return self.dial().await,
                Look::Wait => freed.await,
            }
        }
    }

    fn look(self: &Arc<Self>) -> Look {
        let mut pool = self.pool.lock();
        if let Some(slot) = pool.connections.iter().find_map(|c| Connection::slot(c, self)) {
            return Look::Free(slot);
        }
        if let Some((at, error)) = &pool.failed
            && pool.connections.is_empty()
            && at.elapsed() < DIAL_PAUSE
        {
            return Look::Failed(error.clone());
        }
        if pool.dialling || pool.connections.len() >= self.limits.max_connections {
            return Look::Wait;
        }
        pool.dialling = true;
        Look::Dial
    }

    async fn dial(self: &Arc<Self>) -> Result<Way, TransportError> {
        // Dropped with its caller, too: then the next one dials.
        let turn = Turn(Arc::clone(self));
        let dialled = self.dialler.dial(&self.host, self.port, self.tls).await;
        let way = match dialled {
            Ok(dialled) if dialled.http2 => Connection::open(dialled.io, self, self.limits.idle_ping)
                .await
                .map(|connection| {
                    let slot = Connection::slot(&connection, self);
                    self.pool.lock().connections.push(connection);
                    slot
                })
                .map_err(|why| TransportError::Unreachable { host: self.host.clone(), why }),
            Ok(dialled) => {
                self.pool.lock().failed = None;
                drop(turn);
                return self.h1.open(dialled.io, &self.host).await.map(Way::H1);
            }
            Err(error) => Err(error),
        };
        self.pool.lock().failed = way.as_ref().err().map(|error| (Instant::now(), error.clone()));
        drop(turn);
        match way? {
            Some(slot) => Ok(Way::H2(slot)),
            None => Err(TransportError::Unreachable {
                host: self.host.clone(),
                why: "the peer allows no streams on a new connection".to_owned(),
            }),
        }
    }

    /// Forgets a connection that has ended.
    pub(crate) fn forget(&self, ended: &Arc<Connection>) {
        self.pool.lock().connections.retain(|connection| !Arc::ptr_eq(connection, ended));
        self.freed.notify_waiters();
    }
}

/// The turn to dial. When it ends, everybody looks again: there is a new connection, or somebody else's turn.
struct Turn(Arc<Origin>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.pool.lock().dialling = false;
        self.0.freed.notify_waiters();
    }
}
