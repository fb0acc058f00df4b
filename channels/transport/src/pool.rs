//! Connection pool of one origin: assigns free streams, queues requests that wait for one, and dials more connections.
//! Streams are assigned first come, first served. Dials run in tasks of their own, so that a cancelled request never
//! cancels a connection.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pushgate::TransportError;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::Limits;
use crate::dial::{DialError, Dialler, Target};
use crate::http1::{self, Exclusive};
use crate::http2::{Connection, StreamPermit};

/// Pause after a failed dial. Within it, requests without a connection fail with its error: an outage causes no dial storm.
const DIAL_PAUSE: Duration = Duration::from_millis(250);

/// Connections to one scheme, host and port.
pub(crate) struct Pool {
    target: Target,
    dialler: Arc<Dialler>,
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// HTTP/2 connections that accept new streams.
    connections: Vec<Arc<Connection>>,
    /// Idle HTTP/1.1 connections.
    idle: Vec<http1::Idle>,
    /// Number of HTTP/1.1 connections, idle or busy.
    http1: usize,
    dialling: usize,
    /// Concurrent streams per connection, as announced on the newest one. `None` before the first connection.
    streams: Option<usize>,
    waiting: VecDeque<Waiter>,
    failed: Option<(Instant, TransportError)>,
}

struct Waiter {
    answer: oneshot::Sender<Result<Lease, TransportError>>,
    /// Connection that has just refused this request.
    avoid: Option<Arc<Connection>>,
}

/// Reserved capacity to send one request: an HTTP/2 stream or an HTTP/1.1 connection.
pub(crate) enum Lease {
    H2(StreamPermit),
    H1(Exclusive),
}

enum Opened {
    H2(Arc<Connection>),
    H1(http1::Idle),
}

impl Pool {
    pub(crate) fn new(target: Target, dialler: Arc<Dialler>, limits: Limits) -> Self {
        Self { target, dialler, limits, state: Mutex::default() }
    }

    pub(crate) fn host(&self) -> &str {
        &self.target.host
    }

    pub(crate) const fn limits(&self) -> Limits {
        self.limits
    }

    /// Waits for capacity to send one request, on an open connection or a new one. Skips `avoid` as long as another
    /// connection exists or may be opened.
    pub(crate) async fn acquire(
        self: &Arc<Self>,
        avoid: Option<Arc<Connection>>,
    ) -> Result<Lease, TransportError> {
        let waiting = {
            let mut state = self.state.lock();
            let avoid =
                avoid.filter(|_| state.connections.len() > 1 || state.open() < self.limits.max_connections);
            if let Some(lease) = state.free(self, avoid.as_ref()) {
                return Ok(lease);
            }
            let (answer, waiting) = oneshot::channel();
            state.enqueue(Waiter { answer, avoid });
            waiting
        };
        self.grow();
        waiting.await.unwrap_or_else(|_| Err(self.unreachable("the pool has closed".to_owned())))
    }

    /// Releases a stream and assigns it to the longest waiting request.
    pub(crate) fn release(self: &Arc<Self>, connection: &Connection) {
        let matched = {
            let mut state = self.state.lock();
            connection.stream_ended();
            state.next_match(self)
        };
        // Outside the lock: the lease of a cancelled waiter is dropped here, which calls this function again.
        if let Some((answer, lease)) = matched {
            let _ = answer.send(Ok(lease));
        }
    }

    /// Returns an HTTP/1.1 connection to the pool after a completed exchange.
    pub(crate) fn put_back(self: &Arc<Self>, handle: http1::Idle) {
        self.state.lock().idle.push(handle);
        self.hand_out();
    }

    /// Removes an HTTP/1.1 connection that accepts no further request.
    pub(crate) fn forget_http1(self: &Arc<Self>) {
        self.state.lock().http1 -= 1;
        self.grow();
    }

    /// Applies a changed stream limit of a connection.
    pub(crate) fn limit_changed(self: &Arc<Self>, connection: &Connection) {
        self.state.lock().learn(connection);
        self.hand_out();
        self.grow();
    }

    /// Removes a connection that accepts no new streams. Its open streams run to their end.
    pub(crate) fn remove(self: &Arc<Self>, gone: &Arc<Connection>) {
        {
            let mut state = self.state.lock();
            state.connections.retain(|connection| !Arc::ptr_eq(connection, gone));
            state.clear_avoided();
        }
        self.hand_out();
        self.grow();
    }

    fn hand_out(self: &Arc<Self>) {
        loop {
            let Some((answer, lease)) = self.state.lock().next_match(self) else { return };
            let _ = answer.send(Ok(lease));
        }
    }

    /// Dials the connections that the waiting requests need, or fails them if the last dial failed a moment ago.
    fn grow(self: &Arc<Self>) {
        let mut state = self.state.lock();
        if state.waiting.is_empty() {
            return;
        }
        match state.recent_failure() {
            Some(error) if state.open() == 0 => {
                let waiters = std::mem::take(&mut state.waiting);
                drop(state);
                for waiter in waiters {
                    let _ = waiter.answer.send(Err(error.clone()));
                }
            }
            Some(_) => {}
            None => {
                let dials = state.dials_needed(self.limits.max_connections);
                state.dialling += dials;
                drop(state);
                for _ in 0..dials {
                    tokio::spawn(Dialling { pool: Arc::clone(self), settled: false }.run());
                }
            }
        }
    }

    async fn open(self: &Arc<Self>) -> Result<Opened, DialError> {
        let dialled = self.dialler.dial(&self.target).await?;
        if dialled.http2 {
            return Connection::open(dialled.io, self).await.map(Opened::H2).map_err(DialError::Unreachable);
        }
        http1::open(dialled.io)
            .await
            .map(Opened::H1)
            .map_err(|error| DialError::Unreachable(error.to_string()))
    }

    fn settle(self: &Arc<Self>, opened: Result<Opened, DialError>) {
        {
            let mut state = self.state.lock();
            state.dialling -= 1;
            match opened {
                Ok(Opened::H2(connection)) => {
                    state.failed = None;
                    state.learn(&connection);
                    state.connections.push(connection);
                }
                Ok(Opened::H1(handle)) => {
                    state.failed = None;
                    state.streams = Some(1);
                    state.http1 += 1;
                    state.idle.push(handle);
                }
                Err(why) => {
                    state.failed = Some((Instant::now(), self.error(why)));
                    state.clear_avoided();
                }
            }
        }
        self.hand_out();
        self.grow();
    }

    fn error(&self, why: DialError) -> TransportError {
        match why {
            DialError::Refused(rule) => {
                TransportError::Refused { host: self.target.host.clone(), why: rule.to_owned() }
            }
            DialError::Unreachable(why) => self.unreachable(why),
        }
    }

    fn unreachable(&self, why: String) -> TransportError {
        TransportError::Unreachable { host: self.target.host.clone(), why }
    }
}

impl State {
    fn open(&self) -> usize {
        self.connections.len() + self.http1 + self.dialling
    }

    fn free(&mut self, pool: &Arc<Pool>, avoid: Option<&Arc<Connection>>) -> Option<Lease> {
        if let Some(handle) = self.idle.pop() {
            return Some(Lease::H1(Exclusive::new(handle, pool)));
        }
        // The first with a free stream, not the emptiest: a busy connection packs many requests into one write.
        self.connections
            .iter()
            .filter(|connection| avoid.is_none_or(|avoided| !Arc::ptr_eq(avoided, connection)))
            .find_map(|connection| StreamPermit::try_acquire(connection, pool))
            .map(Lease::H2)
    }

    fn enqueue(&mut self, waiter: Waiter) {
        // Cancelled waiters are removed before the queue would allocate more memory.
        if self.waiting.len() == self.waiting.capacity() {
            self.waiting.retain(|waiter| !waiter.answer.is_closed());
        }
        self.waiting.push_back(waiter);
    }

    /// Takes the longest waiting request that free capacity exists for.
    fn next_match(
        &mut self,
        pool: &Arc<Pool>,
    ) -> Option<(oneshot::Sender<Result<Lease, TransportError>>, Lease)> {
        let mut next = 0;
        while let Some(waiter) = self.waiting.get(next) {
            if waiter.answer.is_closed() {
                self.waiting.remove(next);
                continue;
            }
            let avoid = waiter.avoid.clone();
            if let Some(lease) = self.free(pool, avoid.as_ref()) {
                return self.waiting.remove(next).map(|waiter| (waiter.answer, lease));
            }
            avoid?;
            next += 1;
        }
        None
    }

    /// Lets every waiting request use any connection: the one to avoid may be the only one left.
    fn clear_avoided(&mut self) {
        for waiter in &mut self.waiting {
            waiter.avoid = None;
        }
    }

    fn learn(&mut self, connection: &Connection) {
        if let Some(limit) = connection.usable_streams() {
            self.streams = Some(limit);
        }
    }

    fn recent_failure(&self) -> Option<TransportError> {
        self.failed.as_ref().filter(|(at, _)| at.elapsed() < DIAL_PAUSE).map(|(_, error)| error.clone())
    }

    /// Returns the number of connections to dial for the waiting requests, less those already on their way. The stream
    /// limit is unknown before the first connection, so one is dialled and the rest after its SETTINGS.
    fn dials_needed(&self, max_connections: usize) -> usize {
        let available = max_connections.saturating_sub(self.open());
        if available == 0 {
            return 0;
        }
        let streams_each = self.streams.unwrap_or(usize::MAX);
        let untested =
            self.connections.iter().filter(|connection| connection.usable_streams().is_none()).count();
        let expected = (self.dialling + untested).saturating_mul(streams_each);
        if self.waiting.len() <= expected {
            return 0;
        }
        let waiting = self.waiting.iter().filter(|waiter| !waiter.answer.is_closed()).count();
        waiting.saturating_sub(expected).div_ceil(streams_each).min(available)
    }
}

/// Task that dials one connection. Reports a result to the pool even when dropped or panicking, since requests wait for it.
struct Dialling {
    pool: Arc<Pool>,
    settled: bool,
}

impl Dialling {
    async fn run(mut self) {
        let limit = self.pool.limits.connect_timeout;
        let opened = tokio::time::timeout(limit, self.pool.open())
            .await
            .unwrap_or_else(|_| Err(DialError::Unreachable(format!("no connection within {limit:?}"))));
        self.settled = true;
        self.pool.settle(opened);
    }
}

impl Drop for Dialling {
    fn drop(&mut self) {
        if !self.settled {
            self.pool.settle(Err(DialError::Unreachable("the dial was abandoned".to_owned())));
        }
    }
}
