//! Open connections of a listener: the phase of each one, and the choice of one to close when all slots are in use.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Version;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Time at shutdown for a connection without a request to write the end of its last response.
const FLUSH_TIME: Duration = Duration::from_millis(500);

/// Time limits of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeouts {
    /// Time for receiving the head of a request, from the start of the connection or the first byte of a further request.
    pub(super) header: Duration,
    /// Time between two requests, and time for the client to read one response.
    pub(super) idle: Duration,
}

/// Table of all open connections.
pub(super) struct Connections {
    slots: Arc<Semaphore>,
    timeouts: Timeouts,
    evictable: Mutex<Evictable>,
    closing: CancellationToken,
}

/// Connections that may be closed in favour of new ones, oldest first.
#[derive(Default)]
struct Evictable {
    next: u64,
    /// Connections without a complete request head, or with a body whose sender is not authenticated.
    unproven: BTreeMap<u64, CancellationToken>,
    /// Connections between two requests.
    idle: BTreeMap<u64, CancellationToken>,
}

impl Evictable {
    fn insert_unproven(&mut self, cut: &CancellationToken) -> u64 {
        self.next += 1;
        self.unproven.insert(self.next, cut.clone());
        self.next
    }

    fn insert_idle(&mut self, cut: &CancellationToken) -> u64 {
        self.next += 1;
        self.idle.insert(self.next, cut.clone());
        self.next
    }

    fn remove(&mut self, place: u64) {
        self.unproven.remove(&place);
        self.idle.remove(&place);
    }
}

impl Connections {
    pub(super) fn new(max: usize, timeouts: Timeouts, closing: CancellationToken) -> Arc<Self> {
        let slots = Arc::new(Semaphore::new(max));
        Arc::new(Self { slots, timeouts, evictable: Mutex::default(), closing })
    }

    /// Returns a slot for a new connection. If none is free, it closes an evictable connection first.
    /// `None` means that every open connection serves a request.
    pub(super) async fn slot(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
            return Some(slot);
        }
        if !self.evict() {
            return None;
        }
        Arc::clone(&self.slots).acquire_owned().await.ok()
    }

    /// Closes the oldest unproven connection, or else the one that has been idle for the longest time.
    /// Returns `false` if there is neither.
    pub(super) fn evict(&self) -> bool {
        let mut evictable = self.evictable.lock();
        let oldest = evictable.unproven.pop_first().or_else(|| evictable.idle.pop_first());
        let Some((_, cut)) = oldest else { return false };
        cut.cancel();
        true
    }

    /// Registers a connection. The caller keeps its slot while it is open.
    pub(super) fn open(self: &Arc<Self>, peer: SocketAddr) -> Arc<Connection> {
        metrics::gauge!("pushgate_connections_open").increment(1.0);
        let state = State {
            phase: Phase::Head,
            since: Instant::now(),
            place: None,
            unanswered: 0,
            unfinished: 0,
            is_http1: true,
        };
        let connection = Connection {
            peer,
            cut: CancellationToken::new(),
            table: Arc::clone(self),
            state: Mutex::new(state),
        };
        connection.enter(&mut connection.state.lock(), Phase::Head);
        Arc::new(connection)
    }
}

/// One open connection. Requests have it as an extension.
pub(crate) struct Connection {
    peer: SocketAddr,
    /// Cancelled when the connection is evicted.
    cut: CancellationToken,
    table: Arc<Connections>,
    state: Mutex<State>,
}

struct State {
    phase: Phase,
    since: Instant,
    /// Key among the evictable connections.
    place: Option<u64>,
    /// Number of requests without a response.
    unanswered: usize,
    /// Number of requests whose response is not completely written.
    unfinished: usize,
    is_http1: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The head of a request is incomplete.
    Head,
    /// A handler is running.
    Handler,
    /// Responses are being written.
    Response,
    /// No request is in progress.
    Idle,
}

impl Connection {
    /// Address of the other end of the TCP connection.
    pub(crate) const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Allows this connection to be closed in favour of new ones while it serves its unauthenticated request.
    pub(crate) fn allow_eviction(&self) {
        let mut state = self.state.lock();
        // With more requests, closing the connection would end those too.
        if state.unfinished == 1 && state.place.is_none() {
            state.place = Some(self.table.evictable.lock().insert_unproven(&self.cut));
        }
    }

    /// Records that bytes were received.
    pub(super) fn received(&self) {
        let mut state = self.state.lock();
        // HTTP/2 frames need not belong to a request.
        if state.phase == Phase::Idle && state.is_http1 {
            self.enter(&mut state, Phase::Head);
        }
    }

    /// Records that the head of a request is complete. Dropping the first guard records the response. Dropping the second
    /// guard records that the response is written.
    pub(super) fn request(self: &Arc<Self>, version: Version) -> (Unanswered, Unfinished) {
        let mut state = self.state.lock();
        state.is_http1 = version != Version::HTTP_2;
        state.unanswered += 1;
        state.unfinished += 1;
        self.enter(&mut state, Phase::Handler);
        (Unanswered(Arc::clone(self)), Unfinished(Arc::clone(self)))
    }

    fn enter(&self, state: &mut State, phase: Phase) {
        state.phase = phase;
        state.since = Instant::now();
        let mut evictable = self.table.evictable.lock();
        if let Some(place) = state.place.take() {
            evictable.remove(place);
        }
        state.place = match phase {
            Phase::Head => Some(evictable.insert_unproven(&self.cut)),
            Phase::Idle => Some(evictable.insert_idle(&self.cut)),
            Phase::Handler | Phase::Response => None,
        };
    }

    /// Enters the phase that follows from the requests in progress, if it has changed.
    fn update(&self, state: &mut State) {
        let phase = match (state.unanswered, state.unfinished) {
            (0, 0) => Phase::Idle,
            (0, _) => Phase::Response,
            _ => Phase::Handler,
        };
        if phase != state.phase {
            self.enter(state, phase);
        }
    }

    /// Returns `true` if no request head is complete. A shutdown need not wait for such a connection.
    pub(super) fn awaits_head(&self) -> bool {
        self.state.lock().phase == Phase::Head
    }

    /// Returns the deadline of the current phase. `None` means that a handler is running, which has its own timeout.
    fn deadline(&self) -> Option<Instant> {
        let state = self.state.lock();
        let (since, timeouts) = (state.since, self.table.timeouts);
        let is_closing = self.table.closing.is_cancelled();
        match state.phase {
            Phase::Handler => None,
            Phase::Head | Phase::Idle if is_closing => Some(since + FLUSH_TIME),
            Phase::Head => Some(since + timeouts.header),
            Phase::Response | Phase::Idle => Some(since + timeouts.idle),
        }
    }

    /// Waits until the connection has to be closed and returns the reason, a label of the metric.
    pub(super) async fn expired(&self) -> &'static str {
        tokio::select! {
            () = self.cut.cancelled() => "evicted",
            () = self.timed_out() => if self.awaits_head() { "header_timeout" } else { "idle_timeout" },
        }
    }

    async fn timed_out(&self) {
        loop {
            let now = Instant::now();
            let deadline = self.deadline();
            if deadline.is_some_and(|deadline| deadline <= now) {
                return;
            }
            // A phase that starts during the sleep cannot end before the sleep does.
            let timeouts = self.table.timeouts;
            let shortest = timeouts.header.min(timeouts.idle);
            let is_closing = self.table.closing.is_cancelled();
            let next = now + if is_closing { shortest.min(FLUSH_TIME) } else { shortest };
            tokio::select! {
                () = tokio::time::sleep_until(deadline.map_or(next, |deadline| deadline.min(next))) => {}
                () = self.table.closing.cancelled(), if !is_closing => {}
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(place) = self.state.get_mut().place {
            self.table.evictable.lock().remove(place);
        }
        metrics::gauge!("pushgate_connections_open").decrement(1.0);
    }
}

/// Guard of a request without a response.
pub(super) struct Unanswered(Arc<Connection>);

impl Drop for Unanswered {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.unanswered -= 1;
        self.0.update(&mut state);
    }
}

/// Guard of a request whose response is not completely written.
pub(super) struct Unfinished(Arc<Connection>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.unfinished -= 1;
        self.0.update(&mut state);
    }
}
