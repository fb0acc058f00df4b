//! One origin's connections: who gets a free stream, who waits for one, when others are dialled. Streams go to whoever has
//! waited longest; dials run by themselves, so that nobody who gives up takes a connection with him.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pushgate::TransportError;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::Limits;
use crate::dial::{DialError, Dialler, Target};
use crate::http1::{self, Turn};
use crate::http2::{Connection, Slot};

/// After a failed dial everybody without a connection gets its error for so long: an outage makes no storm of dials.
const DIAL_PAUSE: Duration = Duration::from_millis(250);

/// The connections to one scheme, host and port.
pub(crate) struct Pool {
    target: Target,
    dialler: Arc<Dialler>,
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// HTTP/2, and taking new streams.
    connections: Vec<Arc<Connection>>,
    /// HTTP/1.1, and waiting for a request.
    idle: Vec<http1::Handle>,
    /// HTTP/1.1, idle or at work.
    http1: usize,
    dialling: usize,
    /// How many streams a connection of this peer's carries, as learned from the last one.
    streams: Option<usize>,
    waiting: VecDeque<Waiter>,
    failed: Option<(Instant, TransportError)>,
}

struct Waiter {
    answer: oneshot::Sender<Result<Way, TransportError>>,
    /// The connection that has just refused him.
    avoid: Option<Arc<Connection>>,
}

/// What a request gets to be sent on.
pub(crate) enum Way {
    H2(Slot),
    H1(Turn),
}

enum Opened {
    H2(Arc<Connection>),
    H1(http1::Handle),
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

    /// A way to send one request: on a free stream, or on the first that becomes free, of an open connection or a new one.
    /// `avoid` is passed over as long as there is, or may be, another.
    pub(crate) async fn way(self: &Arc<Self>, avoid: Option<Arc<Connection>>) -> Result<Way, TransportError> {
        let waiting = {
            let mut state = self.state.lock();
            let avoid =
                avoid.filter(|_| state.connections.len() > 1 || state.open() < self.limits.max_connections);
            if let Some(way) = state.free(self, avoid.as_ref()) {
                return Ok(way);
            }
            let (answer, waiting) = oneshot::channel();
            state.enqueue(Waiter { answer, avoid });
            waiting
        };
        self.grow();
        waiting.await.unwrap_or_else(|_| Err(self.unreachable("the pool has closed".to_owned())))
    }

    /// A stream has ended; whoever has waited longest gets it.
    pub(crate) fn release(self: &Arc<Self>, connection: &Connection) {
        let matched = {
            let mut state = self.state.lock();
            connection.give_back();
            state.matched(self)
        };
        // Outside the lock: a waiter who has gone drops his stream here, which comes back to this function.
        if let Some((answer, way)) = matched {
            let _ = answer.send(Ok(way));
        }
    }

    /// An HTTP/1.1 connection has ended its request and takes another.
    pub(crate) fn put_back(self: &Arc<Self>, handle: http1::Handle) {
        self.state.lock().idle.push(handle);
        self.hand_out();
    }

    /// An HTTP/1.1 connection takes no other request.
    pub(crate) fn forget_http1(self: &Arc<Self>) {
        self.state.lock().http1 -= 1;
        self.grow();
    }

    /// A connection carries more or fewer streams than before.
    pub(crate) fn changed(self: &Arc<Self>, connection: &Connection) {
        self.state.lock().learn(connection);
        self.hand_out();
        self.grow();
    }

    /// A connection takes no new streams; those it has may end in peace.
    pub(crate) fn forget(self: &Arc<Self>, gone: &Arc<Connection>) {
        {
            let mut state = self.state.lock();
            state.connections.retain(|connection| !Arc::ptr_eq(connection, gone));
            state.pardon();
        }
        self.hand_out();
        self.grow();
    }

    fn hand_out(self: &Arc<Self>) {
        loop {
            let Some((answer, way)) = self.state.lock().matched(self) else { return };
            let _ = answer.send(Ok(way));
        }
    }

    /// Dials as many connections as those who wait need; tells them why, if there is nothing to wait for.
    fn grow(self: &Arc<Self>) {
        let mut state = self.state.lock();
        if state.waiting.is_empty() {
            return;
        }
        match state.recent_failure() {
            Some(error) if state.open() == 0 => {
                let told = std::mem::take(&mut state.waiting);
                drop(state);
                for waiter in told {
                    let _ = waiter.answer.send(Err(error.clone()));
                }
            }
            Some(_) => {}
            None => {
                let dials = state.dials_wanted(self.limits.max_connections);
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
                    state.pardon();
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

    fn free(&mut self, pool: &Arc<Pool>, avoid: Option<&Arc<Connection>>) -> Option<Way> {
        if let Some(handle) = self.idle.pop() {
            return Some(Way::H1(Turn::new(handle, pool)));
        }
        // The first with room, not the emptiest: full connections share their writes among many requests.
        self.connections
            .iter()
            .filter(|connection| avoid.is_none_or(|avoided| !Arc::ptr_eq(avoided, connection)))
            .find_map(|connection| Slot::take(connection, pool))
            .map(Way::H2)
    }

    fn enqueue(&mut self, waiter: Waiter) {
        // Those who have given up are swept when the queue is about to take more memory.
        if self.waiting.len() == self.waiting.capacity() {
            self.waiting.retain(|waiter| !waiter.answer.is_closed());
        }
        self.waiting.push_back(waiter);
    }

    /// Whoever has waited longest for what is free now.
    fn matched(&mut self, pool: &Arc<Pool>) -> Option<(oneshot::Sender<Result<Way, TransportError>>, Way)> {
        let mut next = 0;
        while let Some(waiter) = self.waiting.get(next) {
            if waiter.answer.is_closed() {
                self.waiting.remove(next);
                continue;
            }
            let avoid = waiter.avoid.clone();
            if let Some(way) = self.free(pool, avoid.as_ref()) {
                return self.waiting.remove(next).map(|waiter| (waiter.answer, way));
            }
            avoid?;
            next += 1;
        }
        None
    }

    /// Who avoids a connection may find that there is no other.
    fn pardon(&mut self) {
        for waiter in &mut self.waiting {
            waiter.avoid = None;
        }
    }

    fn learn(&mut self, connection: &Connection) {
        if let Some(limit) = connection.carries() {
            self.streams = Some(limit);
        }
    }

    fn recent_failure(&self) -> Option<TransportError> {
        self.failed.as_ref().filter(|(at, _)| at.elapsed() < DIAL_PAUSE).map(|(_, error)| error.clone())
    }

    /// As many as carry those who wait, less what is on its way. Before the first connection nobody knows what one
    /// carries, so one is dialled and the rest when it has told.
    fn dials_wanted(&self, most: usize) -> usize {
        let room = most.saturating_sub(self.open());
        if room == 0 {
            return 0;
        }
        let each = self.streams.unwrap_or(usize::MAX);
        let promising = self.connections.iter().filter(|connection| connection.carries().is_none()).count();
        let coming = (self.dialling + promising).saturating_mul(each);
        if self.waiting.len() <= coming {
            return 0;
        }
        let waiting = self.waiting.iter().filter(|waiter| !waiter.answer.is_closed()).count();
        waiting.saturating_sub(coming).div_ceil(each).min(room)
    }
}

/// A dial on its way. It settles what became of it even if it is dropped or panics: somebody is waiting.
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
