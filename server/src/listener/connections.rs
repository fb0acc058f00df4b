//! The open connections of a listener: what each is waiting for, and which one is closed when there are too many.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Version;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Time that a connection without a request gets at shutdown to write the end of its last response.
const FLUSH_TIME: Duration = Duration::from_millis(500);

/// Time limits of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeouts {
    /// From the connection's begin, or the first byte of a further request, to the end of the request's head.
    pub(super) header: Duration,
    /// Between two requests; also the limit for reading one response.
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
    /// No complete request head, or an unfinished body that nobody has authenticated.
    unproven: BTreeMap<u64, CancellationToken>,
    /// Kept alive between two requests.
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

    /// Returns the place of a new connection. Closes another connection for it if none is free.
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

    /// Closes the oldest connection that has not proven itself, otherwise the one that has been idle for the longest time.
    /// Returns `false` if there is neither.
    pub(super) fn evict(&self) -> bool {
        let mut evictable = self.evictable.lock();
        let oldest = evictable.unproven.pop_first().or_else(|| evictable.idle.pop_first());
        let Some((_, cut)) = oldest else { return false };
        cut.cancel();
        true
    }

    /// Registers a connection. It counts until the slot that was taken for it is dropped.
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

/// One open connection. Handlers find it among the extensions of a request.
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
    /// Requests without a response.
    unanswered: usize,
    /// Requests whose response is not written.
    unfinished: usize,
    is_http1: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Waits for the head of a request to be complete.
    Head,
    /// A request is served.
    Handler,
    /// Responses are written.
    Response,
    /// Between requests.
    Idle,
}

impl Connection {
    /// Address of the other end of the TCP connection.
    pub(crate) const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Lets this connection be closed in favour of new ones while it serves its request, which nobody has authenticated.
    pub(crate) fn allow_eviction(&self) {
        let mut state = self.state.lock();
        // With more than one request, closing it would end the others, too.
        if state.unfinished == 1 && state.place.is_none() {
            state.place = Some(self.table.evictable.lock().insert_unproven(&self.cut));
        }
    }

    /// Records that bytes were received.
    pub(super) fn received(&self) {
        let mut state = self.state.lock();
        // The frames of HTTP/2 need not belong to a request.
        if state.phase == Phase::Idle && state.is_http1 {
            self.enter(&mut state, Phase::Head);
        }
    }

    /// Records that the head of a request is complete. Dropping the first guard records the response, dropping the second
    /// one that it is written.
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

    /// Enters the phase that the open requests leave, if it is another one.
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

    /// Returns `true` if no head of a request is complete: at shutdown there is nothing to wait for.
    pub(super) fn awaits_head(&self) -> bool {
        self.state.lock().phase == Phase::Head
    }

    /// End of the time that the present phase may take. `None` means that a handler is running, which has its own limit.
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

    /// Resolves when the connection has to be closed, with the reason.
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
            // No phase that begins during the sleep can end before it.
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

/// A request without a response.
pub(super) struct Unanswered(Arc<Connection>);

impl Drop for Unanswered {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.unanswered -= 1;
        self.0.update(&mut state);
    }
}

/// A request whose response is not written.
pub(super) struct Unfinished(Arc<Connection>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.unfinished -= 1;
        self.0.update(&mut state);
    }
}
